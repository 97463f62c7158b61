import pytest
import torch

from autoseg.core.errors import UsageError
from autoseg.core.labels import Labels, Region
from autoseg.training.losses.structures import (
    annotated,
    members,
    predicted_overlaps,
    structure_channels,
)

PLAIN = Labels(names=("background", "edema", "core"))
REGIONS = Labels(
    names=PLAIN.names,
    regions=(
        Region(name="whole", labels=(1, 2), written=1),
        Region(name="core", labels=(2,), written=2),
    ),
    ignore=255,
)
# (z, y, x) = (1, 2, 4); 3 is ignored.
TARGET = torch.tensor([[[[0, 1, 2, 2], [1, 0, 3, 3]]]])


def test_members_are_the_voxels_of_all_labels_of_a_region():
    whole, core = (members(TARGET, region).long().tolist() for region in REGIONS.regions)
    assert whole == [[[[0, 1, 1, 1], [1, 0, 0, 0]]]]
    assert core == [[[[0, 0, 1, 1], [0, 0, 0, 0]]]]


def test_all_voxels_but_the_ignored_are_annotated():
    assert annotated(TARGET, REGIONS).long().tolist() == [[[[1, 1, 1, 1], [1, 1, 0, 0]]]]
    assert annotated(TARGET, PLAIN) is None


def test_channels_of_structures_leave_out_the_background_only():
    channels = torch.arange(6).reshape(1, 3, 2)
    assert [c.tolist() for c in structure_channels(channels, PLAIN)] == [[[2, 3]], [[4, 5]]]
    both = structure_channels(channels[:, :2], REGIONS)
    assert [c.tolist() for c in both] == [[[0, 1]], [[2, 3]]]


def test_overlaps_of_regions_are_those_of_a_drawing():
    # Probabilities of exactly 1/2 (logit 0) are not above it.
    whole = torch.tensor([[[[1.0, 1, 1, 0], [-1, -1, 5, 5]]]])
    core = torch.tensor([[[[-1.0, 2, 2, -2], [-1, -1, 5, -5]]]])
    shared, sizes = predicted_overlaps(torch.stack([whole, core], 1), TARGET, REGIONS)
    # Whole: predicted in 3 that count, 2 of them right; 4 in the target. Core: 2, 1, 2.
    assert shared.tolist() == [2, 1]
    assert sizes.tolist() == [3 + 4, 2 + 2]


def test_overlaps_of_labels_are_those_of_the_largest_logit():
    target = torch.tensor([[[0, 1, 2, 2], [1, 0, 0, 1]]])
    predicted = torch.tensor([[[0, 1, 2, 1], [0, 2, 0, 1]]])
    logits = torch.nn.functional.one_hot(predicted, 3).movedim(-1, 1).float()
    shared, sizes = predicted_overlaps(logits, target, PLAIN)
    assert shared.tolist() == [2, 1]
    assert sizes.tolist() == [3 + 3, 2 + 2]


def test_ignored_voxels_never_change_overlaps():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 2, 1, 2, 4, generator=generator)
    other = logits.clone()
    other[..., 1, 2:] *= -1
    for changed, same in zip(
        predicted_overlaps(other, TARGET, REGIONS),
        predicted_overlaps(logits, TARGET, REGIONS),
        strict=True,
    ):
        assert torch.equal(changed, same)


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(UsageError, match=r"target shape \(1, 1, 2, 4\).*\(1, 2, 1, 2, 5\)"):
        predicted_overlaps(torch.zeros(1, 2, 1, 2, 5), TARGET, REGIONS)
