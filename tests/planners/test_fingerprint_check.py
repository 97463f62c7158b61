"""Fingerprints that no plan can be made with are refused by case or channel, with the value."""

from dataclasses import replace

import pytest

from autoseg.core.errors import PlanError
from autoseg.core.labels import Labels
from planners.fingerprint_check import check_fingerprint

GRIDS = [((3.0, 1.0, 0.5), (20, 90, 80)), ((3.0, 0.9, 0.6), (22, 88, 70))]
HINT = "measure the fingerprint again: autoseg fingerprint -d Task99_Test"


def with_case(fingerprint, **change):
    """Change the second of two cases."""
    first, second = fingerprint.cases
    return replace(fingerprint, cases=(first, replace(second, **change)))


def refusal_of(fingerprint, description):
    with pytest.raises(PlanError) as refusal:
        check_fingerprint(fingerprint, description)
    return refusal.value


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="as-measured"),
        pytest.param({"stored_axes": (2, 0, 1)}, id="stored-otherwise"),
        pytest.param({"shape_after_crop": (1, 88, 70), "shape": (1, 88, 70)}, id="one-slice"),
        pytest.param({"class_voxels": (900, 0, 10)}, id="a-label-without-voxels"),
    ],
)
def test_what_can_be_planned_passes(fingerprint_of, description_of, change):
    check_fingerprint(with_case(fingerprint_of(GRIDS), **change), description_of(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"class_voxels": (900, 90)},
            "class_voxels (900, 90) counts the voxels of 2 labels; the description has 3",
            id="a-label-uncounted",
        ),
        pytest.param(
            {"shape": (22, 0, 70)},
            "shape (22, 0, 70), after cropping (22, 88, 70); cropping must leave at most the whole "
            "shape on every axis",
            id="nothing-before-cropping",
        ),
        pytest.param(
            {"shape": (22, 88, 69)},
            "shape (22, 88, 69), after cropping (22, 88, 70); cropping must leave at most the "
            "whole shape on every axis",
            id="cropped-to-more",
        ),
        pytest.param(
            {"shape_after_crop": (22, -1, 70)},
            "shape after cropping (22, -1, 70), spacing (3.0, 0.9, 0.6) mm; voxels and spacings "
            "must be positive and finite",
            id="fewer-than-no-voxels",
        ),
        pytest.param(
            {"spacing": (3.0, -0.9, 0.6)},
            "shape after cropping (22, 88, 70), spacing (3.0, -0.9, 0.6) mm; voxels and spacings "
            "must be positive and finite",
            id="negative-spacing",
        ),
        pytest.param(
            {"stored_axes": (0, 1)},
            "stored axes (0, 1); they must be empty or name each of (0, 1, 2) once",
            id="an-axis-less",
        ),
        pytest.param(
            {"stored_axes": (0, 1, 3)},
            "stored axes (0, 1, 3); they must be empty or name each of (0, 1, 2) once",
            id="no-such-axis",
        ),
        pytest.param(
            {"shape": (88, 70)},
            "shape (88, 70), after cropping (22, 88, 70), spacing (3.0, 0.9, 0.6) mm; every case "
            "must have the same 2 or 3 axes, the first has 3",
            id="an-axis-less-in-the-shape",
        ),
    ],
)
def test_impossible_cases_are_named_with_the_value(fingerprint_of, description_of, change, message):
    broken = with_case(fingerprint_of(GRIDS), **change)

    refusal = refusal_of(broken, description_of(3))

    assert str(refusal) == f"dataset 'Task99_Test', case 'case_0001': {message}"
    assert refusal.hint == HINT


@pytest.mark.parametrize(("counts", "is_refused"), [((9, 8, 7), True), ((9, 8, 7, 6), False)])
def test_ignored_voxels_must_be_counted_too(fingerprint_of, description_of, counts, is_refused):
    labels = Labels(names=("background", "organ", "tumor"), ignore=7)
    description = replace(description_of(3), labels=labels)
    fingerprint = with_case(fingerprint_of(GRIDS), class_voxels=counts)

    if not is_refused:
        check_fingerprint(fingerprint, description)
        return
    message = str(refusal_of(fingerprint, description))
    assert message.endswith("of 3 labels; the description has 4, ignored voxels included")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"std": -0.5}, "the foreground's std is -0.5; it must be at least 0", id="negative-std"
        ),
        pytest.param(
            {"minimum": 12.5, "maximum": 3.0},
            "the foreground's minimum is 12.5, its maximum 3; the minimum must not be above the "
            "maximum",
            id="minimum-above-maximum",
        ),
        pytest.param(
            {"percentile_99_5": float("inf")},
            "the foreground's percentile_99_5 is inf; it must be finite",
            id="infinite",
        ),
    ],
)
def test_impossible_intensities_are_named_by_channel(
    fingerprint_of, description_of, change, message
):
    fingerprint = fingerprint_of(GRIDS, channels=2)
    ct, pet = fingerprint.channels

    refusal = refusal_of(
        replace(fingerprint, channels=(ct, replace(pet, **change))), description_of(3, "CT", "PET")
    )

    assert str(refusal) == f"dataset 'Task99_Test', channel 'PET': {message}"
    assert refusal.hint == HINT


def test_a_constant_channel_can_be_planned_with(fingerprint_of, description_of):
    fingerprint = fingerprint_of(GRIDS)
    flat = replace(fingerprint.channels[0], std=0.0, minimum=7.5, maximum=7.5)

    check_fingerprint(replace(fingerprint, channels=(flat,)), description_of(3))
