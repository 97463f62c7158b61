"""The temporary files of NRRD, MetaImage and GIPL: what is said where they find no place."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from autoseg.core.errors import ResourceError
from autoseg.io import images

resource = pytest.importorskip("resource", reason="limits of POSIX")

SHAPE = (20, 30, 40)


@contextmanager
def disk_for(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=[".nrrd", ".mha", ".mhd", ".gipl"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An image file of 24,000 random labels."""
    labels = np.random.default_rng(0).integers(0, 9, SHAPE, dtype=np.uint8)
    path = tmp_path / f"a{request.param}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(labels), str(path))
    return path


def refusal(path: Path, says: str) -> str:
    """Return the rule by which reading and writing are refused."""
    with pytest.raises(ResourceError, match=says) as caught:
        images.read_image(path)
    assert "TMPDIR" in caught.value.hint
    return caught.value.rule


def test_a_temporary_folder_that_is_gone_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    image = images.read_image(path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    says = r"gone/autoseg-\w+: temporary files cannot be written \(No such file"
    assert refusal(path, says) == "E-RES-62"
    with pytest.raises(ResourceError, match=says):
        images.encode_segmentation(path, image.voxels[0].astype(np.uint8), image.geometry)


def test_folders_of_which_none_is_usable_are_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "gone")])
    says = r"folder of temporary files: .*No usable temporary directory found in \['.*gone'\]"
    assert refusal(path, says) == "E-RES-62"


def test_a_full_disk_of_temporary_files_is_named(path: Path):
    image = images.read_image(path)
    labels = image.voxels[0].astype(np.uint8)
    says = rf"{tempfile.gettempdir()}(/autoseg-\w+)?: the disk of temporary files is full"
    with disk_for(64):
        assert refusal(path, says) == "E-RES-63"
    with disk_for(4096), pytest.raises(ResourceError, match=says) as caught:
        images.encode_segmentation(path, labels, image.geometry)
    assert caught.value.rule == "E-RES-63"
