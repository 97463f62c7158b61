"""What follows from measured values."""

import pytest

from autoseg.core.errors import DocumentError
from autoseg.core.fingerprint import (
    RANKS,
    CaseGrid,
    CaseMeasurement,
    CaseSketch,
    ChannelMoments,
    Fingerprint,
)


def _grid(shape, cropped, spacing):
    return CaseGrid(
        name="a", shape=shape, shape_after_crop=cropped, spacing=spacing, class_voxels=(5, 1)
    )


def test_relative_size_is_the_share_of_voxels_that_cropping_keeps():
    grid = _grid((10, 40, 20), (5, 30, 20), (5.0, 0.5, 0.75))
    assert grid.relative_size_after_crop == pytest.approx(5 * 30 * 20 / (10 * 40 * 20))


@pytest.mark.parametrize("spacing", [(1.0, 0.5), (5.0, 0.5, 0.75)], ids=["2d", "3d"])
def test_axes_are_counted_from_the_spacing(spacing):
    grid = _grid((4,) * len(spacing), (4,) * len(spacing), spacing)
    assert Fingerprint(dataset="Task01", cases=(grid,), channels=()).ndim == len(spacing)


@pytest.mark.parametrize(
    ("quantiles", "says"),
    [
        pytest.param((bytes(4 * RANKS - 4), None), r"\[3996, None\] bytes", id="too-few"),
        pytest.param((bytes(4 * RANKS), bytes(4 * RANKS)), r"\[4000, 4000\]", id="no-foreground"),
        pytest.param((None, None), r"\[None, None\]", id="none-where-there-is-foreground"),
        pytest.param((bytes(4 * RANKS),), r"\[4000\] bytes", id="another-number-of-channels"),
    ],
)
def test_a_sketch_holds_equally_many_quantiles_of_every_channel(quantiles, says):
    measurement = CaseMeasurement(
        name="a",
        key="0f",
        shape=(4, 5, 6),
        shape_after_crop=(4, 5, 6),
        spacing=(2.5, 0.5, 0.75),
        class_voxels=(119, 1),
        channels=(ChannelMoments(mean=1.0, variance=0.0, minimum=1.0, maximum=1.0), None),
    )
    with pytest.raises(DocumentError, match=rf"case 'a': .*{says}.* asks for \[4000, None\]"):
        CaseSketch(measurement=measurement, quantiles=quantiles)
