"""What label values mean, and how channels become a label map."""

from dataclasses import replace

import numpy as np
import pytest

from autoseg.core.errors import DatasetError
from autoseg.core.labels import Labels, Region

LABELS = Labels(names=("background", "liver", "tumor"))
REGIONS = Labels(
    names=("background", "edema", "core", "enhancing"),
    values=(0, 1, 2, 4),
    regions=(
        Region(name="whole", labels=(1, 2, 3), written=1),
        Region(name="inner", labels=(2, 3), written=2),
        Region(name="enhancing", labels=(3,), written=3),
    ),
    ignore=9,
)


def _of(count):
    return Labels(names=("background", *(f"organ {n}" for n in range(1, count))))


def test_background_counts_as_a_channel_but_not_as_foreground():
    assert LABELS.count == 3
    assert LABELS.foreground == (1, 2)


@pytest.mark.parametrize(
    ("labels", "entries"),
    [
        pytest.param(LABELS, 3, id="labels"),
        pytest.param(replace(LABELS, ignore=3), 3 + 1, id="labels-and-ignored"),
        pytest.param(REGIONS, 1 + 3 + 1, id="regions-and-ignored"),
        pytest.param(replace(REGIONS, ignore=None, regions=REGIONS.regions[:1]), 2, id="a-region"),
    ],
)
def test_entries_are_what_the_labels_of_a_dataset_file_list(labels, entries):
    assert labels.entries == entries


@pytest.mark.parametrize(("count", "dtype"), [(2, "uint8"), (256, "uint8"), (257, "uint16")])
def test_dtype_is_the_smallest_that_holds_the_largest_value(count, dtype):
    labels = _of(count)
    assert labels.dtype == np.dtype(dtype)
    assert np.iinfo(labels.dtype).max >= max(labels.foreground)


def test_labels_need_a_name():
    with pytest.raises(DatasetError, match="labels are empty; a dataset needs the background"):
        Labels(names=())


def test_label_names_occur_once():
    with pytest.raises(DatasetError, match=r"label names \['liver'\] occur more") as caught:
        Labels(names=("background", "liver", "tumor", "liver"))
    assert caught.value.rule == "E-VAL-40"


def test_regions_are_the_channels_and_what_is_scored():
    assert (REGIONS.count, REGIONS.channels, REGIONS.ignored) == (4, 3, 4)
    assert [region.name for region in REGIONS.structures] == ["whole", "inner", "enhancing"]
    assert LABELS.channels == 3
    assert LABELS.ignored is None
    assert [(s.name, s.labels, s.written) for s in LABELS.structures] == [
        ("liver", (1,), 1),
        ("tumor", (2,), 2),
    ]


def test_files_hold_the_declared_values():
    stored = REGIONS.to_file(np.array([[0, 1, 2, 3, 4]], np.uint8))
    np.testing.assert_array_equal(stored, [[0, 1, 2, 4, 9]])
    assert stored.dtype == np.uint8
    far = Labels(names=("background", "rib"), values=(0, 300)).to_file(np.array([1, 0], np.uint8))
    np.testing.assert_array_equal(far, [300, 0])
    assert far.dtype == np.uint16


def test_a_file_may_hold_other_values_in_any_order():
    own = REGIONS.in_file((3, 7, 0, 1, 255))
    assert (own.file_values, own.ignore) == ((3, 7, 0, 1), 255)
    assert replace(own, values=REGIONS.values, ignore=REGIONS.ignore) == REGIONS
    # What arrays hold stays: label 2 is at 0 in the file, voxels to ignore at 255.
    np.testing.assert_array_equal(own.to_file(np.array([2, 4], np.uint8)), [0, 255])
    assert (own.dtype, own.ignored) == (REGIONS.dtype, REGIONS.ignored)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param((0, 5, 6, 7), r"\(0, 5, 6, 7\) must be 5, as many as", id="no-ignore"),
        pytest.param((0, 5, 5, 7, 9), r"\(0, 5, 5, 7\) must differ", id="twice"),
        pytest.param((0, 5, 6, 7, 7), "ignore label 7 must differ", id="ignore-in-use"),
    ],
)
def test_values_in_a_file_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(DatasetError, match=message):
        REGIONS.in_file(values)


def test_the_ignore_label_needs_room_in_arrays():
    many = Labels(names=tuple(f"label {n}" for n in range(256)), ignore=300)
    assert many.dtype == np.uint16


@pytest.mark.parametrize(
    ("wrong", "message", "rule"),
    [
        ({"values": (0, 2, 2)}, r"label values \(0, 2, 2\) must differ, one for each", "E-VAL-40"),
        ({"values": (0, -2, 3)}, r"label values \(0, -2, 3\) .* between 0 and 65535", "E-VAL-39"),
        ({"values": (0, 1)}, r"\(0, 1\) must differ, one for each of 3 names", "E-VAL-40"),
        ({"ignore": 2}, "ignore label 2 must differ", "E-VAL-39"),
        (
            {"ignore": 70000},
            "ignore label 70000 must differ and lie between 0 and 65535",
            "E-VAL-39",
        ),
        (
            {"regions": (Region(name="all", labels=(1, 5), written=1),)},
            r"region 'all' consists of the labels \(1, 5\) and is written as 1; allowed are 1 to 2",
            "E-VAL-39",
        ),
        (
            {"regions": (Region(name="none", labels=(), written=1),)},
            r"region 'none' consists of the labels \(\)",
            "E-VAL-39",
        ),
        (
            {"regions": (Region(name="liver", labels=(1, 2), written=1),)},
            r"label names \['liver'\] occur more",
            "E-VAL-40",
        ),
    ],
    ids=["twice", "negative", "too-few", "ignore", "large", "unknown", "empty", "name"],
)
def test_labels_that_contradict_each_other_are_refused(wrong, message, rule):
    with pytest.raises(DatasetError, match=message) as caught:
        Labels(names=LABELS.names, **wrong)
    assert caught.value.rule == rule
