"""The guard: nothing damaged passes, nothing large is made, nothing blocks."""

import gzip
import hashlib
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.errors import ImageFileError
from autoseg.io import guard
from autoseg.io.guard import file_ending, guarded_bytes

LIMIT_BYTES = 2**20


def nifti(shape: tuple[int, ...] = (3, 4, 5)) -> bytearray:
    """Return a file of 352 bytes of header and 2 bytes per voxel; by default 472 in all."""
    voxels = np.random.default_rng(3).integers(-900, 900, shape, dtype=np.int16)
    return bytearray(nib.Nifti1Image(voxels, np.diag([0.5, 0.75, 3.0, 1.0])).to_bytes())


def test_content_and_digest_are_those_of_the_file(tmp_path: Path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti()))
    guarded = guarded_bytes(path, limit_bytes=LIMIT_BYTES)
    assert guarded.data == nifti()
    assert guarded.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]), id="two"),
        pytest.param(
            lambda data: gzip.compress(data) + gzip.compress(b"") + bytes(900), id="bgzip-and-zeros"
        ),
        pytest.param(lambda data: gzip.compress(data + bytes(64 * 1024)), id="64-KiB-behind"),
        pytest.param(lambda data: gzip.compress(data, 0), id="stored"),
    ],
)
def test_unusual_but_intact_files_are_accepted(pack: Callable[[bytes], bytes], tmp_path: Path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(pack(nifti()))
    assert guarded_bytes(path, limit_bytes=LIMIT_BYTES).data[:472] == nifti()


@pytest.mark.parametrize("chunk", [1, 7, 300])
def test_the_content_does_not_depend_on_the_size_of_the_pieces(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(guard, "_CHUNK_BYTES", chunk)
    monkeypatch.setattr("autoseg.io.formats.gzip_stream.PIECE_BYTES", chunk)
    path = tmp_path / "a.nii.gz"
    # The kind is told by the first piece: it must hold the two bytes of gzip's signature.
    if chunk == 1:
        monkeypatch.setattr(guard, "_CHUNK_BYTES", 2)
    path.write_bytes(gzip.compress(nifti()) + bytes(3) + gzip.compress(b""))
    assert guarded_bytes(path, limit_bytes=LIMIT_BYTES).data == nifti()


def test_no_flipped_bit_changes_the_content_unseen(tmp_path: Path):
    path = tmp_path / "a.nii.gz"
    intact = gzip.compress(nifti(), mtime=0)
    accepted = []
    for position in range(10, len(intact)):  # the ten bytes of gzip's own header carry no content
        damaged = bytearray(intact)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            guarded = guarded_bytes(path, limit_bytes=LIMIT_BYTES)
        except ImageFileError as error:
            assert error.rule.startswith("E-FILE-0")  # noqa: PT017 - either outcome is right
        else:
            assert guarded.data == nifti()
            accepted.append(position)
    # Deflate can say the same in two ways, such as by a match at another distance.
    assert len(accepted) < 3


@given(data=st.data())
def test_a_mutated_header_is_refused_or_yields_as_many_bytes_as_it_declares(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.getbasetemp() / "mutated.nii"
    content = nifti()
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 351))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        guarded = guarded_bytes(path, limit_bytes=LIMIT_BYTES)
    except ImageFileError as error:
        assert error.hint  # noqa: PT017 - either outcome is right
    else:
        assert guarded.data == content


@pytest.mark.parametrize(
    ("shape", "behind", "rule"),
    [
        pytest.param((3, 4, 5), 2**25, "E-FILE-05", id="zeros-behind-the-voxels"),
        pytest.param((2000, 2000, 2000), 2**25, "E-FILE-06", id="declared-size"),
        pytest.param((256, 256, 31000), 10, "E-FILE-02", id="declared-but-not-there"),
    ],
)
def test_a_bomb_is_refused_in_bounded_memory(
    shape: tuple[int, ...], behind: int, rule: str, tmp_path: Path
):
    content = nifti()
    content[42:48] = np.array(shape, "<i2").tobytes()
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(bytes(content) + bytes(behind), 1))
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError, match=r"bomb\.nii\.gz: ") as caught:
            guarded_bytes(path, limit_bytes=2**32)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.rule == rule
    assert peak_bytes < 2**23  # a quarter of what hides behind


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path):
    os.mkfifo(tmp_path / "a.nii.gz")
    with pytest.raises(ImageFileError, match=r"a\.nii\.gz: is a pipe") as caught:
        guarded_bytes(tmp_path / "a.nii.gz", limit_bytes=LIMIT_BYTES)
    assert caught.value.rule == "E-FILE-11"


def test_a_folder_with_the_name_of_an_image_is_refused(tmp_path: Path):
    (tmp_path / "a.nii").mkdir()
    with pytest.raises(ImageFileError, match=r"a\.nii: is a folder") as caught:
        guarded_bytes(tmp_path / "a.nii", limit_bytes=LIMIT_BYTES)
    assert caught.value.rule == "E-FILE-11"


def test_a_link_to_a_file_is_followed_and_one_to_nothing_is_named(tmp_path: Path):
    (tmp_path / "elsewhere").write_bytes(nifti())
    (tmp_path / "a.nii").symlink_to(tmp_path / "elsewhere")
    assert guarded_bytes(tmp_path / "a.nii", limit_bytes=LIMIT_BYTES).data == nifti()
    (tmp_path / "elsewhere").unlink()
    with pytest.raises(ImageFileError, match=r"a\.nii: there is no such file"):
        guarded_bytes(tmp_path / "a.nii", limit_bytes=LIMIT_BYTES)


@pytest.mark.parametrize("changes", [1, 2])
def test_a_file_that_changes_under_the_reader_is_read_once_more(
    changes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti())
    left, read = iter(range(changes)), guard._content

    def read_then_append(*arguments: object) -> object:
        content = read(*arguments)  # type: ignore[arg-type]
        if next(left, None) is not None:
            with path.open("ab") as file:
                file.write(b"\0")
        return content

    monkeypatch.setattr(guard, "_content", read_then_append)
    if changes == 1:
        assert guarded_bytes(path, limit_bytes=LIMIT_BYTES).data == nifti() + b"\0"
        return
    with pytest.raises(ImageFileError, match=r"a\.nii: changed twice") as caught:
        guarded_bytes(path, limit_bytes=LIMIT_BYTES)
    assert caught.value.rule == "E-FILE-12"


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_and_byte_orders_are_understood(
    version: int, byte_order: str, tmp_path: Path
):
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    header = (nib.Nifti1Header if version == 1 else nib.Nifti2Header)(endianness=byte_order)
    header.set_data_dtype(np.int16)
    data = kind(np.ones((3, 4, 5), np.int16), np.eye(4), header).to_bytes()
    path = tmp_path / "a.nii"
    path.write_bytes(data)
    assert guarded_bytes(path, limit_bytes=LIMIT_BYTES).data == data
    path.write_bytes(data[:-1])
    with pytest.raises(ImageFileError, match=rf"{len(data)} bytes expected .* \(3, 4, 5\)"):
        guarded_bytes(path, limit_bytes=LIMIT_BYTES)


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.nii.gz", ".nii.gz"), ("A.NII.GZ", ".nii.gz"), ("a.b.nii", ".nii"), ("a.gz", "")],
)
def test_file_ending(name: str, ending: str):
    assert file_ending(Path(name)) == ending
