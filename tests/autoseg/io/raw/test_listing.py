"""Which names of a folder belong to another file of it."""

import pytest

from autoseg.io.raw.listing import companions


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["a.mhd", "a.raw"], {"a.raw"}, id="mhd"),
        pytest.param(["a.mhd", "a.zraw", "b.raw"], {"a.zraw"}, id="another-stem"),
        pytest.param(["a.mha", "a.raw"], set(), id="mha-holds-its-voxels"),
        pytest.param(["a.tif", "a.json", "b.json"], {"a.json"}, id="tif"),
        pytest.param(["a_0000.tiff", "a_0001.tiff", "a.json"], {"a.json"}, id="channels"),
        pytest.param(["a_0000.tiff", "a_0000.json"], {"a_0000.json"}, id="one-per-channel"),
        pytest.param(["a_000.tif", "a.json"], set(), id="no-channel-number"),
        pytest.param(["a.nii.gz", "a.json"], set(), id="nifti"),
        pytest.param(["dataset.json"], set(), id="alone"),
    ],
)
def test_companions_are_named_by_the_file_that_they_belong_to(names: list[str], expected: set[str]):
    assert companions(names) == expected
    assert companions(reversed(names)) == expected
