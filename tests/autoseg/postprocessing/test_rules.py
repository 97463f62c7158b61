import numpy as np
import pytest

from autoseg.core.errors import DocumentError
from autoseg.postprocessing.rules import Rule, apply_rules

SPACING = (2.0, 0.5, 0.5)
LIVER = {"structure": "liver", "labels": (1,)}


def rows(*texts):
    """One slice, a digit per voxel."""
    return np.array([[[int(digit) for digit in text] for text in texts]], np.uint8)


def cleaned(label_map, *rules):
    before = label_map.copy()
    result = apply_rules(rules, label_map.copy(), SPACING)
    np.testing.assert_array_equal(label_map, before)
    return result


def test_only_the_largest_part_stays():
    found = cleaned(rows("1100010", "1100000", "0020011"), Rule(kind="largest_component", **LIVER))
    np.testing.assert_array_equal(found, rows("1100000", "1100000", "0020000"))


def test_parts_that_touch_by_a_corner_are_one():
    label_map = rows("1100", "0011", "1000")
    found = cleaned(label_map, Rule(kind="largest_component", **LIVER))
    np.testing.assert_array_equal(found, rows("1100", "0011", "0000"))


def test_parts_of_equal_size_all_stay():
    label_map = rows("11011", "00000", "00100")
    found = cleaned(label_map, Rule(kind="largest_component", **LIVER))
    np.testing.assert_array_equal(found, rows("11011", "00000", "00000"))


def test_all_labels_together_are_one_structure():
    label_map = rows("1200002", "1100000")
    rule = Rule(kind="largest_component", structure="foreground", labels=(1, 2))
    np.testing.assert_array_equal(cleaned(label_map, rule), rows("1200000", "1100000"))


@pytest.mark.parametrize(("minimum", "kept"), [(0.9, "11010"), (1.0, "11000"), (1.1, "00000")])
def test_parts_below_a_volume_go(minimum, kept):
    # A voxel has 0.5 mm3.
    label_map = rows("11010")
    expected = {0.9: "11000", 1.0: "11000", 1.1: "00000"}[minimum]
    rule = Rule(kind="minimum_volume", minimum_mm3=minimum, **LIVER)
    np.testing.assert_array_equal(cleaned(label_map, rule), rows(expected))
    tiny = Rule(kind="minimum_volume", minimum_mm3=0.5, **LIVER)
    np.testing.assert_array_equal(cleaned(label_map, tiny), label_map)


def test_holes_are_filled_and_what_is_open_or_occupied_is_not():
    volume = np.zeros((5, 6, 7), np.uint8)
    volume[1:4, 1:5, 1:6] = 1
    volume[2, 2, 2] = 0  # a hole
    volume[2, 3, 4] = 2  # occupied by another label
    volume[1, 2, 4] = 0  # open to the outside
    found = cleaned(volume, Rule(kind="fill_holes", filled=1, **LIVER))
    expected = volume.copy()
    expected[2, 2, 2] = 1
    np.testing.assert_array_equal(found, expected)


def test_a_hole_is_closed_by_faces_alone():
    found = cleaned(
        np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)[None],
        Rule(kind="fill_holes", filled=1, **LIVER),
    )
    assert found[0, 1, 1] == 0  # open along the first axis
    picture = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    filled = apply_rules((Rule(kind="fill_holes", filled=1, **LIVER),), picture, SPACING[1:])
    assert filled[1, 1] == 1


def test_rules_follow_each_other():
    label_map = rows("1110010", "1010000", "1110000")[0]
    rules = (
        Rule(kind="fill_holes", filled=1, **LIVER),
        Rule(kind="minimum_volume", minimum_mm3=2.0, **LIVER),
    )
    found = apply_rules(rules, label_map, SPACING[1:])
    np.testing.assert_array_equal(found, rows("1110000", "1110000", "1110000")[0])


def test_what_fills_a_hole_is_seen_by_the_next_rule():
    (label_map,) = rows("11022222", "00020002", "00022222")
    organ = Rule(kind="fill_holes", structure="organ", labels=(1, 2), filled=1)
    found = cleaned(label_map, organ, Rule(kind="largest_component", **LIVER))
    np.testing.assert_array_equal(found, rows("00022222", "00021112", "00022222")[0])


def test_a_label_that_is_nowhere_changes_nothing():
    label_map = rows("2202")
    rules = (Rule(kind="largest_component", **LIVER), Rule(kind="fill_holes", filled=1, **LIVER))
    np.testing.assert_array_equal(cleaned(label_map, *rules), label_map)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "minimum_volume"}, r"minimum_mm3 0\.0 must be more than 0"),
        ({"kind": "fill_holes"}, "holes need a label to be filled by"),
    ],
)
def test_incomplete_rules_are_refused(options, message):
    with pytest.raises(DocumentError, match=message):
        Rule(**LIVER, **options)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule(kind="largest_component", **LIVER), "liver: only the largest connected part stays"),
        (
            Rule(kind="minimum_volume", minimum_mm3=30.0, **LIVER),
            "liver: parts below 30 mm3 are removed",
        ),
        (Rule(kind="fill_holes", filled=1, **LIVER), "liver: holes are filled"),
    ],
)
def test_rules_say_what_they_do(rule, text):
    assert rule.text == text
