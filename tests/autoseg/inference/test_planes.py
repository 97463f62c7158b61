import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from autoseg.core.labels import Labels, Region
from autoseg.inference.labelling import grid_axes
from autoseg.inference.planes import entropy, interpolated_planes, vote

FIVE = Labels(names=("background", "a", "b", "c", "d"))
NESTED = Labels(
    names=("background", "edema", "necrosis", "enhancing"),
    regions=(
        Region(name="whole", labels=(1, 2, 3), written=1),
        Region(name="core", labels=(2, 3), written=2),
        Region(name="enhancing", labels=(3,), written=3),
    ),
)
TWO = Labels(names=("background", "organ"))


@pytest.mark.parametrize(
    ("shape", "wanted", "options"),
    [
        pytest.param((7, 9, 12), (11, 14, 31), {}, id="finer"),
        pytest.param((13, 19, 22), (6, 11, 9), {}, id="coarser"),
        pytest.param((13, 9, 22), (6, 20, 22), {"separate": 0}, id="planes-apart"),
        pytest.param((13, 9, 22), (6, 20, 22), {"separate": 2}, id="columns-apart"),
        pytest.param((9, 12), (14, 31), {}, id="2d"),
        pytest.param((7, 9, 12), (7, 9, 12), {}, id="same"),
        pytest.param((7, 9, 12), (11, 5, 31), {"order": 0}, id="nearest"),
    ],
)
@pytest.mark.parametrize("bounds", [(), (1,), (2, 5, 6)])
def test_planes_are_those_of_interpolated_logits(shape, wanted, options, bounds, naive):
    logits = naive.smooth_logits(3, shape)
    axes = grid_axes(shape, wanted, **({"order": 1, "separate": None} | options))
    planes = list(interpolated_planes(naive.slabs_of(logits, bounds), axes))
    apart = (options["separate"],) if "separate" in options else ()
    nearest = tuple(range(len(shape))) if options.get("order") == 0 else apart
    expected = naive.interpolated(logits, wanted, nearest=nearest)
    np.testing.assert_allclose(torch.stack(planes, 1).numpy(), expected, atol=1e-5)


def members_of(*logits):
    """Give the planes of each model's folds, (folds, K, planes, rows, columns)."""
    flat = [each.reshape(-1, *each.shape[2:]) for each in logits]
    planes = [[torch.from_numpy(each[:, z].copy()) for z in range(each.shape[1])] for each in flat]
    folds = [len(each) for each in logits]
    return [(members, folds) for members in zip(*planes, strict=True)]


@pytest.mark.parametrize("labels", [FIVE, NESTED], ids=["labels", "regions"])
def test_folds_are_averaged_by_logits_and_models_by_probabilities(labels, naive):
    shape = (labels.channels, 3, 8, 9)
    first = np.stack([naive.smooth_logits(*_split(shape), seed=seed) * 30 for seed in (1, 2, 3)])
    second = np.stack([naive.smooth_logits(*_split(shape), seed=seed) * 30 for seed in (4, 5)])
    to_probability = expit if labels.regions else (lambda logits: softmax(logits, axis=0))
    expected = (to_probability(first.mean(0)) + to_probability(second.mean(0))) / 2
    planes = [vote(*each, labels) for each in members_of(first, second)]
    found = torch.stack([plane.probabilities for plane in planes], 1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    label_map = naive.expected_labels(labels, expected - 0.5 if labels.regions else expected)
    np.testing.assert_array_equal(torch.stack([plane.labels for plane in planes]), label_map)
    votes = [naive.expected_labels(labels, fold) for fold in (*first, *second)]
    others = np.mean([vote != label_map for vote in votes], axis=0)
    assert 0 < others.mean() < 1
    np.testing.assert_allclose(
        torch.stack([plane.disagreement for plane in planes]), others, atol=1e-6
    )


def _split(shape):
    return shape[0], shape[1:]


def test_one_fold_agrees_with_itself(naive):
    logits = naive.smooth_logits(5, (2, 6, 7))[None]
    for each in members_of(logits):
        assert not vote(*each, FIVE).disagreement.any()


@pytest.mark.parametrize(
    ("labels", "probabilities", "expected"),
    [
        (TWO, [0.5, 0.5], 1.0),
        (TWO, [1.0, 0.0], 0.0),
        (FIVE, [0.2] * 5, 1.0),
        # 2 of 5 labels: log 2 / log 5.
        (FIVE, [0.5, 0.5, 0, 0, 0], np.log(2) / np.log(5)),
        # One region of three is undecided.
        (NESTED, [1.0, 0.5, 0.0], 1 / 3),
        (NESTED, [1.0, 1.0, 0.0], 0.0),
    ],
)
def test_entropy_is_1_where_nothing_is_decided(labels, probabilities, expected):
    plane = torch.tensor(probabilities).view(-1, 1, 1).expand(-1, 2, 3)
    np.testing.assert_allclose(entropy(plane, labels), np.full((2, 3), expected), atol=1e-6)
