from dataclasses import replace

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import CaseMeasurement
from autoseg.core.labels import Labels
from preprocessing.findings import counted, dataset_notes, equal_images, extent_notes, plain

LABELS = Labels(names=("background", "liver", "lesion"), values=(0, 1, 4), ignore=9)


def described(*channels):
    return DatasetDescription(name="Task", channels=channels, labels=LABELS, file_ending=".nii.gz")


def measured(name, *class_voxels, extremes=(), digests=None):
    """Return the measurement of a case with these voxels per label, ignored ones last."""
    return CaseMeasurement(
        name=name,
        key="key",
        shape=(3, 4, 5),
        shape_after_crop=(3, 4, 5),
        spacing=(3.0, 0.75, 0.5),
        class_voxels=class_voxels or (30, 10, 10, 10),
        channels=(None,),
        image_digests=(f"digest of {name}",) if digests is None else digests,
        extremes=extremes,
    )


def test_cases_in_which_nothing_stands_out_leave_no_note():
    cases = [measured("a", extremes=((-1024, 3071),)), measured("b", extremes=((-1000, 900),))]
    assert dataset_notes(cases, described("CT")) == ()


def test_a_declared_label_that_no_case_has_is_noted_with_its_value():
    cases = [measured("b", 50, 10, 0, 0), measured("a", 50, 10, 0, 0)]
    assert dataset_notes(cases, described("PET")) == ("label 'lesion' (value 4) is in no case",)


def test_a_label_of_a_single_case_is_noted_unless_there_is_but_one():
    cases = [measured("b", 50, 10, 0, 0), measured("a", 49, 10, 1, 0)]
    (note,) = dataset_notes(cases, described("PET"))
    assert note == "label 'lesion' (value 4) is in a single case: a"
    assert dataset_notes(cases[1:], described("PET")) == ()


def test_cases_without_foreground_or_background_are_counted_and_named():
    cases = [
        measured("c", 60, 0, 0, 0),
        measured("b", 0, 20, 40, 0),
        measured("a", 55, 0, 0, 5),  # ignored voxels are no foreground
        measured("d", 0, 30, 10, 20),  # nor does their presence leave all to the foreground
    ]
    assert dataset_notes(cases, described("PET")) == (
        "2 of 4 cases have no foreground: a, c",
        "1 of 4 cases has no background: b",
    )
    (background,) = extent_notes(cases, LABELS, also_empty=False)
    assert background == "1 of 4 cases has no background: b"


def test_a_note_names_five_cases_and_counts_the_others():
    empty = [measured(f"case_{n}", 60, 0, 0, 0) for n in range(7)]
    notes = dataset_notes([*empty, measured("x"), measured("y")], described("PET"))
    assert notes == (
        "7 of 9 cases have no foreground: case_0, case_1, case_2, case_3, case_4 and 2 more",
    )


@pytest.mark.parametrize(
    ("channel", "extremes", "says"),
    [
        pytest.param("CT", (0, 4095), "no intensity is below 0", id="ct-not-rescaled"),
        pytest.param("ct", (24, 1100), "no intensity is below 0", id="ct-in-lower-case"),
        pytest.param("CT", (-1, 4095), "", id="ct-below-0"),
        pytest.param("CT", (0, 0), "", id="ct-constant"),  # the reader has noted that
        pytest.param("T1", (-512, 900), "intensities reach below 0", id="mr-shifted"),
        pytest.param("brain T2w", (-900, -100), "intensities reach below 0", id="mr-all-negative"),
        pytest.param("MRI", (-45, 900), "", id="mr-undershoot-of-5-percent"),
        pytest.param("MRI", (-46, 900), "intensities reach below 0", id="mr-beyond-it"),
        pytest.param("PET", (-512, 900), "", id="unknown-name"),
        pytest.param("amrit", (-512, 900), "", id="not-a-word-of-its-own"),
    ],
)
def test_intensities_that_do_not_fit_the_channel_are_noted(channel, extremes, says):
    cases = [
        measured("a", extremes=((5, 6), extremes)),
        measured("b", extremes=((5, 6), (-1000 if channel.lower() == "ct" else 0, 1500))),
    ]
    notes = dataset_notes(cases, described("PET", channel))
    assert len(notes) == bool(says)
    for note in notes:
        assert note.startswith(f"channel {channel!r}: in 1 of 2 cases {says}")
        assert note.endswith(f"a ({extremes[0]} to {extremes[1]})")


def test_images_are_equal_where_all_of_their_files_are():
    cases = [
        measured("d", digests=("1", "2")),
        measured("a", digests=("1", "2")),
        measured("b", digests=("2", "1")),
        measured("c", digests=("1", "3")),
        measured("f", digests=("4", "4")),
        measured("e", digests=("4", "4")),
        measured("g", digests=("4", "4")),
    ]
    assert equal_images(cases) == (("a", "d"), ("e", "f", "g"))
    assert equal_images([replace(cases[0], name=name) for name in "b"]) == ()


def test_numbers_are_written_without_exponents():
    assert [plain(57_243.0), plain(9_999_999.0, 4), plain(0.0123456)] == [
        "57200",
        "10000000",
        "0.0123",
    ]
    assert [counted(1, "case"), counted(0, "case")] == ["1 case", "0 cases"]
