import blosc2
import numpy as np
import pytest

from autoseg.core.errors import DamagedError
from autoseg.core.geometry import Geometry
from autoseg.core.labels import Labels
from autoseg.io import files, probabilities
from autoseg.io.probabilities import (
    ProbabilityRecord,
    ProbabilityWriter,
    array_file,
    open_probabilities,
    probability_cases,
    remove_probabilities,
    written_digest,
)

LABELS = Labels(names=("background", "left", "right"))


def record_of(file_axes, reversed_axes, shape=(5, 6, 7)):
    d = len(shape)
    affine = tuple(tuple(float(i == j) for j in range(d + 1)) for i in range(d + 1))
    geometry = Geometry(
        file_shape=shape, file_affine=affine, file_axes=file_axes, reversed_axes=reversed_axes
    )
    return ProbabilityRecord(
        case="a", geometry=geometry, output_ending=".nii.gz", labels=LABELS, digest=""
    )


def volume_of(shape):
    return np.random.default_rng(2).random((3, *shape)).astype(np.float32)


def write(folder, record, axis_order, in_file):
    """Write a volume in the file's axes as planes in the plan's order."""
    turned = np.stack([record.geometry.to_array(channel) for channel in in_file])
    planned = turned.transpose(0, *(1 + axis for axis in axis_order))
    with ProbabilityWriter(folder, record, axis_order) as writer:
        for number in range(planned.shape[1]):
            writer.write(planned[:, number])


def write_planes(folder, record, planes):
    with ProbabilityWriter(folder, record, (0, 1, 2)) as writer:
        for plane in [*planes] * 4:
            writer.write(plane)


@pytest.mark.parametrize("axis_order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize(
    ("file_axes", "reversed_axes"),
    [
        ((2, 1, 0), (False, False, False)),
        ((0, 2, 1), (True, False, True)),
        ((1, 0, 2), (False, True, True)),
    ],
)
@pytest.mark.parametrize("block", [2**26, 1, 400])
def test_arrays_have_the_axes_of_the_file(
    axis_order, file_axes, reversed_axes, block, tmp_path, monkeypatch
):
    monkeypatch.setattr(probabilities, "BLOCK_BYTES", block)
    record, expected = record_of(file_axes, reversed_axes), volume_of((5, 6, 7))
    write(tmp_path, record, axis_order, expected)
    found, array = open_probabilities(tmp_path, "a")
    assert (found.case, found.geometry, found.labels) == ("a", record.geometry, LABELS)
    assert array.dtype == np.float16
    np.testing.assert_array_equal(array[:], expected.astype(np.float16))
    np.testing.assert_array_equal(blosc2.open(str(array_file(tmp_path, "a")))[:], array[:])
    assert probability_cases(tmp_path) == ("a",)


def test_pictures_have_two_axes(tmp_path):
    record, expected = record_of((1, 0), (False, True), (5, 6)), volume_of((5, 6))
    write(tmp_path, record, (0, 1), expected)
    np.testing.assert_array_equal(
        open_probabilities(tmp_path, "a")[1][:], expected.astype(np.float16)
    )


def test_an_unfinished_array_leaves_nothing(tmp_path):
    record = record_of((2, 1, 0), (False,) * 3)
    with pytest.raises(ValueError, match="same shape"):
        write_planes(tmp_path, record, [np.zeros((3, 6, 5)), np.zeros((3, 6, 4))])
    assert list(tmp_path.iterdir()) == []
    assert not written_digest(tmp_path, "a")


def test_a_damaged_array_is_not_opened(tmp_path):
    record = record_of((2, 1, 0), (False,) * 3)
    write(tmp_path, record, (0, 1, 2), volume_of((5, 6, 7)))
    assert written_digest(tmp_path, "a") == files.digest_file(array_file(tmp_path, "a"))
    path = array_file(tmp_path, "a")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"a\.b2nd: its digest differs") as error:
        open_probabilities(tmp_path, "a")
    assert error.value.rule == "E-MODEL-59"
    assert not written_digest(tmp_path, "a")
    remove_probabilities(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []
