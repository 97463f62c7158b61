"""What is stored comes back whole or in part, and no changed byte passes."""

import json
import os
import random
from dataclasses import replace

import numpy as np
import pytest

from autoseg.core.errors import DamagedError
from autoseg.core.geometry import Box, Geometry
from autoseg.io import files, store
from autoseg.io.encoding import Encoding, decode, encode
from autoseg.io.store import CaseArrays, StoredCase

ARRAYS = ("image", "segmentation", "nonzero", "foreground")
SHAPES = [
    pytest.param((2, 9, 40, 35), id="3d-two-channels"),
    pytest.param((1, 3, 130, 150), id="3d-several-chunks"),
    pytest.param((3, 70, 1100), id="2d-several-chunks"),
    pytest.param((1, 1, 1, 1), id="one-voxel"),
]


def _geometry(shape):
    d = len(shape)
    return Geometry(
        file_shape=shape[::-1],
        file_affine=tuple(tuple(map(float, row)) for row in np.diag((*(0.5, 0.75, 3.0)[:d], 1))),
        file_axes=tuple(range(d))[::-1],
        reversed_axes=(False,) * d,
    )


def _case(shape, *, foreground=True):
    """Build a record and arrays (C, *spatial) that no permutation or shift leaves unchanged."""
    rng = np.random.default_rng(7)
    spatial = shape[1:]
    segmentation = rng.integers(0, 3, spatial).astype(np.uint8)
    voxels = [np.argwhere(segmentation == label) for label in (0, 1, 2)]
    if not foreground:
        voxels = [np.zeros((0, len(spatial)))] * 3
    record = StoredCase(
        name="case_001",
        key="made from this",
        geometry=_geometry(spatial),
        crop=Box(start=(0,) * len(spatial), stop=spatial),
        shape=spatial,
        foreground_offsets=tuple(np.cumsum([0, *map(len, voxels)]).tolist()),
        digests={},
        notes=("rounded labels",),
    )
    arrays = CaseArrays(
        image=rng.standard_normal(shape).astype(np.float32),
        segmentation=segmentation,
        nonzero=rng.random(spatial) < 0.7,
        foreground=np.ravel_multi_index(np.concatenate(voxels).astype(np.intp).T, spatial).astype(
            np.uint32
        ),
    )
    return record, arrays


@pytest.fixture
def stored(tmp_path):
    """Write a small case; return the folder and the complete record."""
    record, arrays = _case((2, 9, 40, 35))
    return tmp_path, store.write_case(tmp_path, record, arrays)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_case_comes_back_as_it_was_written(tmp_path, shape):
    record, arrays = _case(shape)
    written = store.write_case(tmp_path, record, arrays)
    found = store.read_record(tmp_path, "case_001")
    assert found == written
    assert replace(found, digests={}, seal="") == record
    opened = store.open_case(tmp_path, found)
    for what in ARRAYS:
        expected = getattr(arrays, what)
        np.testing.assert_array_equal(getattr(opened, what)[:], expected)
        assert getattr(opened, what).dtype == expected.dtype


@pytest.mark.parametrize("dtype", ["float16", "int16"])
def test_an_encoded_image_is_read_as_float32(tmp_path, dtype):
    record, arrays = _case((2, 9, 40, 35))
    encoding = (
        Encoding(dtype="float16")
        if dtype == "float16"
        else Encoding(dtype="int16", scales=(0.001, 0.25), shifts=(0, -3))
    )
    written = store.write_case(tmp_path, replace(record, encoding=encoding), arrays)
    opened = store.open_case(tmp_path, store.read_record(tmp_path, "case_001"))
    assert opened.image.stored.dtype == dtype
    part = opened.image[:, 2:5, 30:, 7:9]
    assert part.dtype == np.float32
    expected = decode(encode(arrays.image, encoding), encoding)
    np.testing.assert_array_equal(part, expected[:, 2:5, 30:, 7:9])
    errors = np.abs(expected - arrays.image).max(axis=(1, 2, 3))
    assert (errors < ([0.002, 0.002] if dtype == "float16" else [0.0006, 0.126])).all()
    assert written.encoding == encoding


def test_a_mask_that_is_full_takes_no_file(tmp_path):
    record, arrays = _case((2, 9, 40, 35))
    full = replace(arrays, nonzero=np.ones(record.shape, bool))
    written = store.write_case(tmp_path, record, full)
    assert not (tmp_path / "case_001.nonzero.b2nd").exists()
    assert store.is_stored(tmp_path, "case_001", record.key)
    opened = store.open_case(tmp_path, written)
    assert opened.nonzero.shape == record.shape
    assert opened.nonzero[2:5, :7, 30:].all()
    store.share_case(written, tmp_path, tmp_path / "other")
    assert store.is_stored(tmp_path / "other", "case_001", record.key)
    (tmp_path / "case_001.segmentation.b2nd").unlink()
    assert not store.is_stored(tmp_path, "case_001", record.key)


def test_a_case_in_two_folders_takes_one_place_on_the_disk(stored, tmp_path):
    folder, record = stored
    store.share_case(record, folder, tmp_path / "other")
    for what in ARRAYS:
        mine, other = (f / f"case_001.{what}.b2nd" for f in (folder, tmp_path / "other"))
        assert mine.samefile(other)
    assert store.is_stored(tmp_path / "other", "case_001", record.key)
    # What replaces one leaves the other alone.
    _, arrays = _case((2, 9, 40, 35))
    store.write_case(folder, record, replace(arrays, image=arrays.image + 1))
    shared = store.open_case(tmp_path / "other", store.read_record(tmp_path / "other", "case_001"))
    np.testing.assert_array_equal(shared.image[:], arrays.image)


def test_a_case_is_copied_where_the_file_system_has_no_links(stored, tmp_path, monkeypatch):
    folder, record = stored

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store.share_case(record, folder, tmp_path / "other")
    assert store.is_stored(tmp_path / "other", "case_001", record.key)
    assert not (tmp_path / "other" / "case_001.image.b2nd").samefile(folder / "case_001.image.b2nd")


def test_drawing_a_voxel_reads_one_block_of_four_kilobytes(tmp_path):
    record, arrays = _case((1, 100, 100, 60))
    many = replace(arrays, foreground=np.arange(300_000, dtype=np.uint32))
    record = replace(record, foreground_offsets=(0, 0, 100_000, 300_000))
    opened = store.open_case(tmp_path, store.write_case(tmp_path, record, many))
    assert opened.foreground.blocks == (1024,)
    assert opened.foreground.dtype == np.uint32
    # The 150 000th is at (25, 0, 0): 100 x 60 voxels are a slice.
    assert store.foreground_position(record, opened, 2, 50_000) == (25, 0, 0)


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_a_part_equals_the_slice_of_the_whole(tmp_path, shape):
    record, arrays = _case(shape)
    opened = store.open_case(tmp_path, store.write_case(tmp_path, record, arrays))
    rng = np.random.default_rng(3)
    for _ in range(10):
        edges = [sorted(rng.integers(0, n + 1, 2)) for n in shape[1:]]
        box = tuple(slice(int(a), max(int(b), int(a) + 1)) for a, b in edges)
        box = tuple(slice(min(s.start, n - 1), s.stop) for s, n in zip(box, shape[1:], strict=True))
        np.testing.assert_array_equal(
            opened.image[(slice(None), *box)], arrays.image[(slice(None), *box)]
        )
        np.testing.assert_array_equal(opened.segmentation[box], arrays.segmentation[box])
        np.testing.assert_array_equal(opened.nonzero[box], arrays.nonzero[box])


def test_foreground_positions_hold_their_label(tmp_path):
    record, arrays = _case((2, 9, 40, 35))
    written = store.write_case(tmp_path, record, arrays)
    opened = store.open_case(tmp_path, written)
    for label in (0, 1, 2):
        expected = np.argwhere(arrays.segmentation == label)
        for rank in (0, len(expected) // 2, len(expected) - 1):
            position = store.foreground_position(written, opened, label, rank)
            assert position == tuple(expected[rank])
            assert all(type(index) is int for index in position)


@pytest.mark.parametrize("shape", [(1, 5, 6, 7), (1, 6, 7)], ids=["3d", "2d"])
def test_a_case_without_foreground_is_stored(tmp_path, shape):
    record, arrays = _case(shape, foreground=False)
    written = store.write_case(tmp_path, record, arrays)
    opened = store.open_case(tmp_path, written)
    assert written.foreground_offsets == (0, 0, 0, 0)
    assert opened.foreground.shape == (1,)  # padding
    assert store.is_stored(tmp_path, "case_001", record.key)


def test_the_same_case_is_the_same_bytes(tmp_path):
    record, arrays = _case((2, 9, 40, 35))
    written = [store.write_case(tmp_path / place, record, arrays) for place in ("a", "b")]
    assert written[0] == written[1]


def test_rewriting_a_case_leaves_the_arrays_of_a_reader_alone(stored):
    folder, record = stored
    opened = store.open_case(folder, record)
    before = opened.image[:]
    _, arrays = _case((2, 9, 40, 35))
    store.write_case(folder, record, replace(arrays, image=arrays.image + 1))
    np.testing.assert_array_equal(opened.image[:], before)


def test_a_case_counts_as_stored_only_for_its_key(stored):
    folder, _ = stored
    assert store.is_stored(folder, "case_001", "made from this")
    assert not store.is_stored(folder, "case_001", "made from that")
    assert not store.is_stored(folder, "case_002", "made from this")


@pytest.mark.parametrize("what", ARRAYS)
def test_no_flipped_bit_of_an_array_passes(stored, what):
    folder, record = stored
    path = folder / f"case_001.{what}.b2nd"
    whole = path.read_bytes()
    rng = random.Random(5)
    for place in (0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(10))):
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(DamagedError, match=rf"case 'case_001': .*{what}\.b2nd: its digest"):
            store.open_case(folder, record)
        assert not store.is_stored(folder, "case_001", record.key)
    path.write_bytes(whole)
    assert store.is_stored(folder, "case_001", record.key)


def test_no_flipped_bit_of_a_record_passes(stored):
    folder, record = stored
    path = folder / "case_001.json"
    whole = path.read_bytes()
    rng = random.Random(6)
    for place in range(len(whole) - 1):  # the last byte is a line feed, which says nothing
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(DamagedError, match="preprocessed case 'case_001': ") as caught:
            store.read_record(folder, "case_001")
        assert (caught.value.rule, caught.value.exit_code) == ("E-RES-76", 5)
    path.write_bytes(whole)
    assert store.read_record(folder, "case_001") == record


def test_the_record_of_another_case_does_not_pass(stored):
    folder, _ = stored
    (folder / "case_002.json").write_bytes((folder / "case_001.json").read_bytes())
    with pytest.raises(DamagedError, match=r"case 'case_002': .*not the record that was written"):
        store.read_record(folder, "case_002")


@pytest.mark.parametrize("what", ARRAYS)
@pytest.mark.parametrize(
    ("hurt", "said"),
    [
        pytest.param(lambda path: path.unlink(), "cannot be read", id="missing"),
        pytest.param(lambda path: os.truncate(path, 40), "its digest differs", id="cut"),
        pytest.param(lambda path: path.write_bytes(b""), "its digest differs", id="empty"),
    ],
)
def test_a_lost_or_torn_array_is_named(stored, what, hurt, said):
    folder, record = stored
    hurt(folder / f"case_001.{what}.b2nd")
    with pytest.raises(DamagedError, match=rf"case 'case_001': .*{what}\.b2nd: {said}"):
        store.open_case(folder, record)
    assert not store.is_stored(folder, "case_001", record.key)


def test_a_missing_or_torn_record_is_named(stored):
    folder, _ = stored
    os.truncate(folder / "case_001.json", 200)
    for name, said in (("case_001", "is no JSON"), ("case_002", "cannot be read")):
        with pytest.raises(DamagedError, match=rf"case '{name}': .*{name}\.json: {said}"):
            store.read_record(folder, name)


def _forged(folder, record, data):
    """Put other bytes where the image was and let the record vouch for them."""
    (folder / "case_001.image.b2nd").write_bytes(data)
    return replace(record, digests={**record.digests, "image": files.digest(data)})


def test_a_file_that_is_no_array_is_refused_even_if_its_digest_matches(stored):
    folder, record = stored
    forged = _forged(folder, record, b"no array at all" * 10)
    with pytest.raises(DamagedError, match=r"case 'case_001': .*image\.b2nd: is no plain array"):
        store.open_case(folder, forged)


def test_a_file_with_more_than_an_array_is_refused_even_if_its_digest_matches(stored):
    import blosc2

    folder, record = stored
    loaded = blosc2.asarray(np.zeros((1, 9, 40, 35), np.float32), meta={"code": b"print()"})
    forged = _forged(folder, record, loaded.to_cframe())
    with pytest.raises(DamagedError, match=r"case 'case_001': .*image\.b2nd: is no plain array"):
        store.open_case(folder, forged)


def test_a_case_whose_record_was_not_written_yet_is_not_there(tmp_path, monkeypatch):
    record, arrays = _case((1, 5, 6, 7))
    with monkeypatch.context() as patch:
        patch.setattr(store.documents, "write", lambda *_args, **_kwargs: None)
        store.write_case(tmp_path, record, arrays)
    assert len(list(tmp_path.iterdir())) == 4
    assert not store.is_stored(tmp_path, "case_001", record.key)


def test_content_keys_tell_values_apart_and_ignore_the_order_of_keys():
    keys = [
        store.content_key(1, "a", ["b"]),
        store.content_key(1, "ab", []),
        store.content_key(1, ["a"], "b"),
        store.content_key("1", "a", ["b"]),
        store.content_key(2, "a", ["b"]),
    ]
    assert len(set(keys)) == len(keys)
    assert store.content_key({"x": 1, "y": 2}) == store.content_key({"y": 2, "x": 1})
    assert store.content_key((3.0, 0.1)) == store.content_key([3.0, 0.1])
    expected = files.digest(json.dumps([[3.0, 0.1]]).encode())
    assert store.content_key((3.0, 0.1)) == expected
