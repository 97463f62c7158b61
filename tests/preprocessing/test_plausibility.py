"""Which cases look wrong beside the others: one planted fault of each kind."""

from dataclasses import replace

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import CaseMeasurement
from autoseg.core.labels import Labels
from preprocessing.plausibility import suspicious_cases

LABELS = Labels(names=("background", "liver", "lesion"), values=(0, 1, 4), ignore=9)
DESCRIPTION = DatasetDescription(
    name="Task", channels=("PET", "CT"), labels=LABELS, file_ending=".nii.gz"
)


def measured(name, **changes):
    """Return the measurement of a case in which nothing stands out."""
    standard = CaseMeasurement(
        name=name,
        key="key",
        shape=(30, 40, 50),
        shape_after_crop=(30, 40, 50),
        spacing=(3.0, 0.75, 0.5),
        class_voxels=(58_000, 1600, 400, 0),
        channels=(None, None),
        image_digests=(f"file of {name}",),
        extremes=((0.0, 12.0), (-1024.0, 3071.0)),
        voxel_digest=f"voxels of {name}",
        orientation="LPS",
    )
    return replace(standard, **changes)


def dataset(count=12, **odd):
    """Return cases, of which ``case_03`` has other values."""
    cases = [measured(f"case_{n:02d}") for n in range(count)]
    cases[3] = replace(cases[3], **odd)
    return cases


def only(cases, **options):
    (finding,) = suspicious_cases(cases, DESCRIPTION, **options)
    return finding


def test_nothing_is_suspicious_where_nothing_stands_out():
    assert suspicious_cases(dataset(), DESCRIPTION) == ()
    assert suspicious_cases([], DESCRIPTION) == ()


def test_every_finding_says_what_is_measured_and_usual_why_it_matters_and_what_to_do():
    found = only(dataset(spacing=(7.5, 0.75, 0.5)))
    assert all((found.what, found.measured, found.usual, found.why))
    assert found.fix.endswith("or leave it out: --exclude case_03")


def test_an_image_of_one_intensity():
    found = only(dataset(extremes=((0.0, 12.0), (-1024.0, -1024.0))))
    assert (found.kind, found.case, found.channel) == ("constant image", "case_03", 1)
    assert found.what == "channel 'CT' is the same everywhere"
    assert found.measured == "every voxel is -1024"


def test_equal_voxels_in_other_files():
    found = only(dataset(voxel_digest="voxels of case_01"))
    assert (found.kind, found.case) == ("same voxels", "case_03")
    assert found.what == "holds the voxels of case case_01"
    assert "with another header or compression" in found.measured


def test_equal_voxels_of_another_spacing():
    found = only(dataset(voxel_digest="voxels of case_01", spacing=(3.0, 0.75, 0.625)))
    assert "with spacing 3 x 0.75 x 0.625 mm, there 3 x 0.75 x 0.5 mm" in found.measured


def test_equal_files_are_refused_elsewhere_and_empty_images_are_another_finding():
    same = {"voxel_digest": "voxels of case_01"}
    assert suspicious_cases(dataset(**same, image_digests=("file of case_01",)), DESCRIPTION) == ()
    empty = [replace(case, extremes=((0.0, 0.0),) * 2, **same) for case in dataset()[:2]]
    assert {found.kind for found in suspicious_cases(empty, DESCRIPTION)} == {"constant image"}


def test_equal_voxels_of_one_patient_are_fine():
    cases = dataset(voxel_digest="voxels of case_01")
    patients = {case.name: case.name for case in cases} | {"case_03": "anna", "case_01": "anna"}
    assert suspicious_cases(cases, DESCRIPTION, patients=patients) == ()
    assert only(cases, patients=patients | {"case_01": "bert"}).kind == "same voxels"


def test_old_measurements_without_digests_are_no_copies():
    cases = [replace(case, voxel_digest="") for case in dataset()]
    assert suspicious_cases(cases, DESCRIPTION) == ()


def test_a_case_without_foreground():
    found = only(dataset(class_voxels=(50_000, 0, 0, 10_000)))
    assert (found.kind, found.case) == ("no foreground", "case_03")
    assert found.usual == "11 of 12 cases have foreground"


def test_where_more_than_a_tenth_have_no_foreground_it_is_usual():
    cases = dataset(class_voxels=(60_000, 0, 0, 0))
    cases[5] = replace(cases[5], class_voxels=(60_000, 0, 0, 0))
    assert suspicious_cases(cases, DESCRIPTION) == ()


def test_a_label_that_nearly_all_others_have():
    found = only(dataset(class_voxels=(58_400, 1600, 0, 0)))
    assert (found.kind, found.case, found.labels) == ("label missing", "case_03", (2,))
    assert found.what == "lacks 'lesion'"
    assert found.usual == "11 of 12 cases with foreground have it"


def test_a_label_far_too_large():
    found = only(dataset(class_voxels=(48_000, 8000, 400, 0)))
    assert (found.kind, found.case, found.labels) == ("label volume", "case_03", (1,))
    assert found.what == "'liver' is 5 times too large"
    # 1 voxel is 3 * 0.75 * 0.5 = 1.125 mm3.
    assert found.measured == "9 ml, 8000 voxels"
    assert found.usual == "1.8 ml, the median of 12 cases"


def test_a_label_far_too_small_by_the_number_of_its_voxels_in_mm():
    # As many voxels as elsewhere, each of an eighth of the volume: so is the spacing.
    found = suspicious_cases(dataset(spacing=(1.5, 0.375, 0.25)), DESCRIPTION)
    assert [(f.kind, f.labels) for f in found] == [
        ("label volume", (1,)),
        ("label volume", (2,)),
        ("spacing", ()),
    ]
    assert found[0].what == "'liver' is 8 times too small"


def test_areas_of_pictures_are_in_mm2():
    cases = [
        replace(case, shape=(40, 50), spacing=(0.5, 0.25), orientation="")
        for case in dataset(class_voxels=(48_000, 8000, 400, 0))
    ]
    found = only(cases)
    assert (found.measured, found.usual) == (
        "1000 mm², 8000 pixels",
        "200 mm², the median of 12 cases",
    )


def test_pictures_consist_of_pixels():
    flat = {"shape": (40, 50), "spacing": (0.5, 0.25), "orientation": ""}
    cases = [replace(case, **flat) for case in dataset()]
    for changes, says in (
        ({"extremes": ((7.0, 7.0), (-1.0, 5.0))}, "every pixel is 7"),
        ({"class_voxels": (60_000, 0, 0, 0)}, "every pixel of the segmentation is background"),
        ({"class_voxels": (58_400, 1600, 0, 0)}, "no pixel of 'lesion'"),
    ):
        found = only([*cases[:3], replace(cases[3], **changes), *cases[4:]])
        assert found.measured.startswith(says)
    copied = [*cases[:3], replace(cases[3], voxel_digest="voxels of case_01"), *cases[4:]]
    assert only(copied).what == "holds the pixels of case case_01"
    without = [replace(cases[0], class_voxels=(60_000, 9, 0, 0))]
    assert only(without).measured == "0 pixels in 1 case"


def test_one_voxel_is_no_plural():
    found = only(dataset(class_voxels=(58_400, 1, 400, 0)))
    assert found.measured.endswith(" ml, 1 voxel")


@pytest.mark.parametrize(
    ("spacing", "is_odd"),
    [
        pytest.param((6.0, 0.75, 0.5), True, id="double-along-z"),
        pytest.param((3.0, 0.75, 0.25), True, id="half-along-x"),
        pytest.param((5.0, 0.75, 0.5), False, id="below-double"),
    ],
)
def test_voxels_of_another_size(spacing, is_odd):
    found = suspicious_cases(dataset(spacing=spacing), DESCRIPTION)
    assert [f.case for f in found] == ["case_03"] * is_odd
    for finding in found:
        assert finding.kind == "spacing"
        assert finding.measured == f"{' x '.join(f'{edge:g}' for edge in spacing)} mm (z, y, x)"
        assert finding.usual == "3 x 0.75 x 0.5 mm, the medians of 12 cases"


def test_pictures_among_volumes_are_not_compared_with_them():
    cases = dataset(shape=(40, 50), spacing=(9.0, 9.0), class_voxels=(60, 1, 1, 0), orientation="")
    assert "spacing" not in {found.kind for found in suspicious_cases(cases, DESCRIPTION)}


def test_axes_that_lead_elsewhere():
    found = only(dataset(orientation="RAS"))
    assert (found.kind, found.case) == ("orientation", "case_03")
    assert found.what == "axes RAS, those of others LPS"
    assert found.usual == "LPS in 11 of 12 cases"
    several = [
        replace(c, orientation=o) for c, o in zip(dataset(), ["RAS", "LPI", "LPS"] * 4, strict=True)
    ]
    assert suspicious_cases(several, DESCRIPTION) == ()


def test_intensities_of_another_scale():
    found = only(dataset(extremes=((0.0, 12.0), (0.0, 4095.0))))
    assert (found.kind, found.case, found.channel) == ("intensities", "case_03", 1)
    assert found.what == "channel 'CT': no intensity is below 0, but in HU air is about -1000"
    assert found.measured == "0 to 4095"


def test_labels_of_one_case_and_of_none():
    cases = [replace(case, class_voxels=(58_400, 1600, 0, 0)) for case in dataset()]
    found = only(cases)
    assert (found.kind, found.case, found.labels) == ("label in no case", "", (2,))
    assert found.what == "label 'lesion' (value 4) is in no case"
    cases[7] = measured("case_07")
    found = only(cases)
    assert (found.kind, found.case, found.labels) == ("label in one case", "case_07", (2,))
    assert suspicious_cases(cases[7:8], DESCRIPTION) == ()


def test_the_gravest_comes_first():
    cases = dataset(orientation="RAS")
    cases[5] = replace(cases[5], spacing=(9.0, 0.75, 0.5), class_voxels=(60_000, 0, 0, 0))
    found = suspicious_cases(cases, DESCRIPTION)
    assert [(f.kind, f.case) for f in found] == [
        ("no foreground", "case_05"),
        ("spacing", "case_05"),
        ("orientation", "case_03"),
    ]


def test_three_cases_do_not_make_outliers_of_each_other():
    cases = [
        measured("a", spacing=(1.0, 1.0, 1.0), orientation="LPS"),
        measured("b", spacing=(3.0, 0.5, 0.5), orientation="RAS", class_voxels=(9, 800, 10, 0)),
        measured("c", spacing=(9.0, 0.25, 0.25), orientation="LPS", class_voxels=(9, 0, 9, 0)),
    ]
    assert suspicious_cases(cases, DESCRIPTION) == ()
