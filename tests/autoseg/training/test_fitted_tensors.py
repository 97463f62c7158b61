"""How one tensor of a trained network becomes one of another, by numbers written out."""

import pytest
import torch

from autoseg.training.fitted_tensors import (
    ChannelNames,
    fit_inputs,
    fit_kernel,
    fit_logits,
    image_sources,
    namesakes,
)

LIVER = ("background", "liver", "tumor")


def reading(*image, previous=()):
    return ChannelNames(image=image, previous=tuple(previous), logits=LIVER)


def telling(*logits, regions=False):
    return ChannelNames(image=("CT",), logits=logits, are_regions=regions)


def filters(*columns):
    """Two filters of a (1, 1, 2) kernel: the second is ten times the first."""
    first = torch.tensor(columns, dtype=torch.float32).reshape(1, -1, 1, 1, 2)
    return torch.cat((first, 10 * first))


@pytest.mark.parametrize(
    ("names", "known", "places"),
    [
        pytest.param(("T2", "T1"), ("T1", "T2"), (1, 0), id="by-name"),
        pytest.param(("t1W",), ("T2w", "T1w"), (1,), id="whatever-case"),
        pytest.param(("R", "R", "R"), ("R", "R"), (0, 1, None), id="same-name-twice"),
        pytest.param(("ADC",), ("T1",), (None,), id="unknown"),
    ],
)
def test_namesakes(names, known, places):
    assert namesakes(names, known) == places


@pytest.mark.parametrize(
    ("names", "known", "places"),
    [
        pytest.param(("a", "b"), ("T1", "T2"), (0, 1), id="all-called-otherwise"),
        pytest.param(("T2", "ADC"), ("T1", "T2"), (1, None), id="one-is-known"),
        pytest.param(("a",), ("T1", "T2"), (None,), id="fewer"),
    ],
)
def test_image_channels_without_any_namesake_are_taken_in_their_order(names, known, places):
    assert image_sources(names, known) == places


def test_known_image_channels_are_copied_as_they_are():
    weights = filters((1, 2), (3, 4), (5, 6))
    fitted = fit_inputs(weights, reading("C", "A"), reading("A", "B", "C"))
    torch.testing.assert_close(fitted, filters((5, 6), (1, 2)), rtol=0, atol=0)
    same = reading("A", "B", "C")
    assert fit_inputs(weights, same, same) is weights


def test_unknown_image_channel_is_the_mean_and_every_filter_keeps_its_norm():
    # Squares: 3 + 0 + 0 + 4 squared is 25 before; 9 + 0 + 1.5 and 2 squared (2.25 + 4) after.
    weights = filters((3, 0), (0, 4))
    fitted = fit_inputs(weights, reading("A", "new"), reading("A", "B"))
    scale = 5 / 15.25**0.5
    torch.testing.assert_close(fitted, scale * filters((3, 0), (1.5, 2)))
    torch.testing.assert_close(fitted.flatten(1).norm(dim=1), torch.tensor([5.0, 50.0]))


def test_answer_to_independent_channels_keeps_its_size():
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(5, 2, 1, 3, 3, generator=generator)
    fitted = fit_inputs(weights, reading("A", "n1", "n2", "n3"), reading("A", "B"))
    noise = torch.randn(1, 4, 12, 60, 60, generator=generator)
    before = torch.nn.functional.conv3d(noise[:, :2], weights).std(dim=(0, 2, 3, 4))
    after = torch.nn.functional.conv3d(noise, fitted).std(dim=(0, 2, 3, 4))
    torch.testing.assert_close(after, before, rtol=0.03, atol=0)


def test_a_filter_of_zeros_stays_one():
    fitted = fit_inputs(torch.zeros(2, 1, 1, 1, 2), reading("A", "B"), reading("A"))
    assert torch.equal(fitted, torch.zeros(2, 2, 1, 1, 2))


def test_labels_of_a_previous_stage_are_by_name_and_others_their_mean():
    weights = filters((9, 9), (1, 2), (3, 6))
    fitted = fit_inputs(
        weights,
        reading("CT", previous=("tumor", "vessel", "liver")),
        reading("CT", previous=("liver", "tumor")),
    )
    assert torch.equal(fitted, filters((9, 9), (3, 6), (2, 4), (1, 2)))


def test_labels_start_from_zero_where_the_model_reads_none_and_are_dropped_where_none_are_read():
    with_labels = reading("CT", previous=("liver", "tumor"))
    fitted = fit_inputs(filters((9, 7)), with_labels, reading("CT"))
    assert torch.equal(fitted, filters((9, 7), (0, 0), (0, 0)))
    back = fit_inputs(filters((9, 7), (1, 2), (3, 4)), reading("CT"), with_labels)
    assert torch.equal(back, filters((9, 7)))


def test_logits_are_by_name_and_others_as_they_were_drawn():
    source = torch.tensor([[1.0, 10], [2, 20], [3, 30]])
    drawn = -torch.ones(4, 2)
    fitted = fit_logits(
        source, drawn, telling("background", "tumor", "spleen", "liver"), telling(*LIVER)
    )
    assert fitted.tolist() == [[1, 10], [3, 30], [-1, -1], [2, 20]]
    assert torch.equal(drawn, -torch.ones(4, 2))


def test_logits_of_the_same_labels_are_the_model_s_and_of_another_width_none():
    source = torch.arange(6.0).reshape(3, 2)
    same = telling(*LIVER)
    assert fit_logits(source, torch.zeros(3, 2), same, same) is source
    assert fit_logits(source, torch.zeros(3, 4), same, same) is None


def test_regions_without_a_namesake_are_all_drawn():
    names, known = telling("a", regions=True), telling("b", "c", regions=True)
    assert fit_logits(torch.ones(2, 3), torch.zeros(1, 3), names, known) is None


def test_a_region_of_two_labels_has_the_probability_that_softmax_gave_it():
    logits = torch.tensor([0.5, 2.0])
    known, names = telling("background", "liver"), telling("liver", regions=True)
    region = fit_logits(logits, torch.zeros(1), names, known)
    torch.testing.assert_close(region.sigmoid(), logits.softmax(0)[1:])
    again = fit_logits(region, torch.zeros(2), known, names)
    torch.testing.assert_close(again.softmax(0), logits.softmax(0))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flat_kernel_lies_in_the_middle_of_a_thick_one(axis):
    small = [3, 3, 3]
    small[axis] = 1
    weights = torch.randn(2, 3, *small, generator=torch.Generator().manual_seed(axis))
    fitted = fit_kernel(weights, torch.Size((2, 3, 3, 3, 5)))
    assert fitted.shape == (2, 3, 3, 3, 5)
    x = torch.randn(1, 3, 6, 7, 8, generator=torch.Generator().manual_seed(9))
    padding = [(k - 1) // 2 for k in small]
    torch.testing.assert_close(
        torch.nn.functional.conv3d(x, fitted, padding=(1, 1, 2)),
        torch.nn.functional.conv3d(x, weights, padding=padding),
    )


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param((2, 3, 3, 3, 1), id="smaller-along-one-axis"),
        pytest.param((2, 3, 3, 3), id="fewer-axes"),
        pytest.param((2, 3, 1, 3, 3), id="same"),
    ],
)
def test_other_kernels_stay_as_they_are(wanted):
    weights = torch.ones(2, 3, 1, 3, 3)
    assert fit_kernel(weights, torch.Size(wanted)) is weights
