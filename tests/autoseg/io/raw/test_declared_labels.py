"""What dataset.json may declare as labels, and every contradiction that is refused."""

from typing import Any

import numpy as np
import pytest

from autoseg.core.errors import DatasetError
from autoseg.core.labels import Labels, Region
from autoseg.io.raw.declared_labels import parse_labels

BRATS = {"background": 0, "whole": [4, 1, 2], "core": [1, 4], "enhancing": [4]}


def nnunet(labels: dict[str, Any], **more: Any) -> Labels:
    return parse_labels({"labels": labels, **more}, "nnunet", "dataset.json")


def decathlon(labels: dict[str, Any], **more: Any) -> Labels:
    return parse_labels({"labels": labels, **more}, "decathlon", "dataset.json")


def test_values_without_gaps_are_positions():
    labels = nnunet({"right": 2, "background": 0, "left": [1]})
    assert labels == Labels(names=("background", "left", "right"))


@pytest.mark.parametrize("layout", [nnunet, decathlon], ids=["nnunet", "decathlon"])
def test_values_with_gaps_and_an_ignore_label_are_kept(layout: Any):
    declared = {"background": 0, "right": 9, "ignore": 7, "left": 300}
    if layout is decathlon:
        declared = {str(value): name for name, value in declared.items()}
    labels = layout(declared)
    assert labels == Labels(names=("background", "right", "left"), values=(0, 9, 300), ignore=7)
    assert labels.to_file(np.array([0, 1, 2, 3])).tolist() == [0, 9, 300, 7]


def test_regions_keep_the_order_of_the_file_and_positions_stand_for_values():
    # Values 0, 1, 2, 4 are the positions 0 to 3.
    labels = nnunet(BRATS, regions_class_order=[2, 1, 4])
    assert labels == Labels(
        names=("background", "label 1", "label 2", "enhancing"),
        values=(0, 1, 2, 4),
        regions=(
            Region(name="whole", labels=(1, 2, 3), written=2),
            Region(name="core", labels=(1, 3), written=1),
            Region(name="enhancing", labels=(3,), written=3),
        ),
    )
    # Nothing, whole, core and enhancing: each is written over the one before.
    written = [0, *(region.written for region in labels.regions)]
    assert labels.to_file(np.array(written, np.uint8)).tolist() == [0, 2, 1, 4]


def test_plain_numbers_mix_with_regions_and_an_ignore_label():
    labels = nnunet(
        {"ignore": 9, "organ": [1, 2], "background": [0], "lesion": 2}, regions_class_order=[1, 2]
    )
    assert labels.names == ("background", "label 1", "lesion")
    assert labels.regions == (
        Region(name="organ", labels=(1, 2), written=1),
        Region(name="lesion", labels=(2,), written=2),
    )
    assert (labels.values, labels.ignore) == ((), 9)


def test_regions_that_overlap_in_part_may_lose_that_part():
    labels = nnunet({"background": 0, "a": [1, 2], "b": [2, 3]}, regions_class_order=[1, 3])
    assert [region.written for region in labels.regions] == [1, 3]


def test_an_order_that_says_what_the_labels_say_is_let_through():
    labels = nnunet({"background": 0, "right": 2, "left": [1]}, regions_class_order=[2, 1])
    assert labels == Labels(names=("background", "left", "right"))


BAD_REGIONS = [
    pytest.param(BRATS, None, r"regions_class_order is missing; .* 3 regions", id="no-order"),
    pytest.param(BRATS, [1, 2], r"regions_class_order is \[1, 2\]; .* 3 regions", id="short-order"),
    pytest.param(BRATS, [2, 3, 0], r"holds \[0, 3\]; .*\[1, 2, 4\]", id="unknown-values"),
    pytest.param(
        BRATS | {"ignore": 2}, [2, 1, 4], r"whole = \[1, 2, 4\] contains the ignore label, 2",
        id="ignore-inside",
    ),
    pytest.param(
        BRATS | {"ignore": [5]}, [2, 1, 4], r"labels\.ignore is \[5\]", id="ignore-as-list"
    ),
    pytest.param(
        BRATS | {"all": [0, 1]}, [2, 1, 4, 1], r"labels\.all = \[0, 1\] contains the background",
        id="background-inside",
    ),
    pytest.param(
        BRATS | {"tumor": [4, 1]}, [2, 1, 4, 1], r"core and labels\.tumor are both \[1, 4\]",
        id="equal-regions",
    ),
    pytest.param(
        {"background": 0, "a": [1, 2], "b": 2, "c": [2]}, [1, 2, 2], "b and labels.c are both 2",
        id="equal-labels",
    ),
    pytest.param(
        {"background": 0, "a": [1, 1, 2]}, [1], r"labels\.a = \[1, 1, 2\] holds a value twice",
        id="value-twice",
    ),
    # The core is written first, and all of it is covered by the whole tumor.
    pytest.param(
        {"background": 0, "core": [2, 3], "whole": [1, 2, 3]}, [2, 1], r"every voxel .*\['core'\]",
        id="large-last",
    ),
    # Tumor and cyst are swapped: the tumor's voxels would be written as cyst.
    pytest.param(
        {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}, [1, 2, 3],
        r"\[1, 2, 3\] writes every voxel of the regions \['tumor'\]", id="swapped",
    ),
    pytest.param(
        {"background": 0, "left": 1, "right": 2}, [2, 1], r"is \[2, 1\], but no label is a region",
        id="needless",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "order", "says"), BAD_REGIONS)
def test_regions_that_contradict_are_refused(labels: dict[str, Any], order: Any, says: str):
    with pytest.raises(DatasetError, match=f"^dataset.json: .*{says}") as caught:
        nnunet(labels, regions_class_order=order)
    assert caught.value.rule == "E-VAL-39"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("labels", "rule", "says"),
    [
        pytest.param(
            {"background": 0, "left": 1, "lung": 1},
            "E-VAL-40",
            r"labels \['left', 'lung'\] share the values \[1\]",
            id="two-names-for-a-value",
        ),
        pytest.param({"left": 1, "right": 2}, "E-VAL-40", r"\[1, 2\]; needed are 0", id="no-zero"),
        pytest.param({"background": 0}, "E-VAL-40", r"values \[0\]", id="background-alone"),
        pytest.param(
            {"background": 0, "ignore": 1}, "E-VAL-40", r"values \[0\]", id="nothing-but-ignored"
        ),
        pytest.param(
            {"background": 1, "left": 0}, "E-VAL-40", "'background' is not 0", id="background-is-1"
        ),
        pytest.param({"background": 0, "left": -1}, "E-VAL-39", r"\(-1, 0\) and", id="negative"),
        pytest.param({"background": 0, "a": 65536}, "E-VAL-39", "65535", id="beyond-uint16"),
        pytest.param(
            {"background": 0, "a": 1, "ignore": 1}, "E-VAL-39", "ignore label 1", id="ignore-in-use"
        ),
        pytest.param({"background": 0, "a": 1, "Ignore": 2}, "E-VAL-39", "'Ignore'", id="spelling"),
        pytest.param({"background": 0, "a": True}, "E-SET-46", "True", id="bool"),
        pytest.param({"background": 0, "a": [1, 2.0]}, "E-SET-46", r"\[1, 2\.0\]", id="float"),
        pytest.param({"background": 0, "a": []}, "E-SET-46", r"labels\.a is \[\]", id="empty-list"),
        pytest.param({"background": 0, "a": {"b": 1}}, "E-SET-46", "'b'", id="object"),
        pytest.param({"background": 0, "a": 1, "": 2}, "E-SET-46", "is 2", id="no-name"),
    ],
)
def test_labels_that_are_none_are_refused(labels: dict[str, Any], rule: str, says: str):
    with pytest.raises(DatasetError, match=f"^dataset.json: .*{says}") as caught:
        nnunet(labels)
    assert caught.value.rule == rule
    assert caught.value.hint


@pytest.mark.parametrize(
    ("labels", "more", "rule", "says"),
    [
        pytest.param(
            {"0": "background", "1": "a", "01": "b"}, {}, "E-VAL-40", r"\['a', 'b'\]", id="1-01"
        ),
        pytest.param({"0": "background", "1": "a", "2": "a"}, {}, "E-VAL-40", r"\['a'\]", id="a-a"),
        pytest.param(
            {"background": "0", "a": "1"}, {}, "E-SET-46", "numbers as keys", id="swapped"
        ),
        pytest.param({"0": "background", "1": ""}, {}, "E-SET-46", "'1': ''", id="no-name"),
        pytest.param(
            {"0": "background", "1": "a"},
            {"regions_class_order": [2]},
            "E-VAL-39",
            r"is \[2\]",
            id="order",
        ),
        pytest.param(
            {"0": "background", "1": "a"},
            {"regions_class_order": "1"},
            "E-SET-46",
            "is '1'",
            id="order-is-text",
        ),
    ],
)
def test_decathlon_labels_that_are_none_are_refused(
    labels: dict[str, Any], more: dict[str, Any], rule: str, says: str
):
    with pytest.raises(DatasetError, match=f"^dataset.json: .*{says}") as caught:
        decathlon(labels, **more)
    assert caught.value.rule == rule
    assert caught.value.hint


def test_a_region_cannot_take_the_name_that_a_nameless_label_gets():
    with pytest.raises(DatasetError, match=r"'label 1'.* occur more than once") as caught:
        nnunet({"background": 0, "label 1": [1, 2]}, regions_class_order=[1])
    assert caught.value.rule == "E-VAL-40"
