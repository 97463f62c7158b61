import numpy as np
import pytest

from autoseg.core.labels import Labels, Region
from autoseg.evaluation.lesions import LesionDetection, lesion_detection
from autoseg.evaluation.overlap import overlap_per_label
from autoseg.evaluation.scoring import score_case
from autoseg.evaluation.surfaces import surface_distance

SPACING = (2.0, 1.0, 0.5)
LABELS = Labels(names=("background", "organ", "lesion", "cyst"))


def mask_of(*rows):
    return np.array([[[character == "x" for character in row] for row in rows]])


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        # One of two found, one beside it: 2 / (2 + 1 + 1).
        pytest.param("xx..x...", ".x....x.", (2, 1, 1, 0.5), id="one-of-two"),
        # A prediction that spans both finds both.
        pytest.param("xx..xx..", ".xxxx...", (2, 2, 0, 1.0), id="one-spans-two"),
        # Two parts in one lesion find it once and are no mistake.
        pytest.param("xxxxx...", "x.x.....", (1, 1, 0, 1.0), id="two-in-one"),
        pytest.param("xx......", "........", (1, 0, 0, 0.0), id="missed"),
        pytest.param("........", "x.x.....", (0, 0, 2, 0.0), id="spurious"),
        pytest.param("........", "........", (0, 0, 0, None), id="none"),
    ],
)
def test_lesions_are_found_by_one_voxel(reference, prediction, expected):
    found = lesion_detection(mask_of(reference), mask_of(prediction))
    names = ("reference", "detected", "spurious", "f1")
    assert found == LesionDetection(**dict(zip(names, expected, strict=True)))


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    corner = np.zeros((2, 2, 2), bool)
    corner[0, 0, 0] = corner[1, 1, 1] = True
    assert lesion_detection(corner, corner).reference == 1
    apart = mask_of("x.x", "...", "x..")
    assert lesion_detection(apart, apart).reference == 3


@pytest.fixture
def pair():
    """Label maps with an organ, two lesions in it, and a cyst in neither."""
    reference = np.zeros((9, 16, 24), np.uint8)
    reference[2:7, 3:12, 4:20] = 1
    reference[3:5, 5:7, 6:9] = 2
    reference[5:6, 9:11, 15:18] = 2
    prediction = np.zeros_like(reference)
    prediction[2:7, 4:13, 4:20] = 1
    prediction[3:5, 6:8, 6:9] = 2
    prediction[0:1, 0:2, 22:24] = 2
    return reference, prediction


def test_every_structure_gets_every_score(pair):
    scores = score_case("a", *pair, LABELS, SPACING)
    organ, lesion, cyst = scores.structures
    assert scores.overlaps == overlap_per_label(*pair, LABELS)
    for number, structure in enumerate((organ, lesion, cyst), 1):
        whole = surface_distance(*(each == number for each in pair), SPACING)
        assert structure.surface.nsd == pytest.approx(whole.nsd)
        assert structure.surface.hd95_mm == pytest.approx(whole.hd95_mm)
    assert (lesion.lesions.reference, lesion.lesions.detected, lesion.lesions.spurious) == (2, 1, 1)
    assert (cyst.surface.hd95_mm, cyst.surface.nsd, cyst.lesions.f1) == (None, None, None)
    assert scores.voxel_mm3 == 1.0


def test_regions_are_scored_as_unions(pair):
    regions = (
        Region(name="whole", labels=(1, 2), written=1),
        Region(name="part", labels=(2,), written=2),
    )
    labels = Labels(names=("background", "organ", "lesion", "cyst"), regions=regions)
    whole, part = score_case("a", *pair, labels, SPACING).structures
    expected = surface_distance(*(np.isin(each, (1, 2)) for each in pair), SPACING)
    assert whole.surface.assd_mm == pytest.approx(expected.assd_mm)
    assert part.lesions.reference == 2


def test_ignored_voxels_are_outside_every_structure(pair):
    reference, prediction = pair
    labels = Labels(names=("background", "organ", "lesion", "cyst"), ignore=9)
    reference[0:1] = 4  # the stray lesion of the prediction lies there
    lesion = score_case("a", reference, prediction, labels, SPACING).structures[1]
    assert lesion.lesions.spurious == 0
    assert lesion.surface.hd95_mm < 20


def test_surfaces_beside_ignored_voxels_are_not_measured(pair):
    reference, prediction = pair
    labels = Labels(names=("background", "organ", "lesion", "cyst"), ignore=9)
    reference[:, :, 13:] = 4  # cuts the organ: its box ends where the ignored voxels begin
    ignored = reference == 4
    organ = score_case("a", reference, prediction, labels, SPACING).structures[0].surface
    masks = reference == 1, (prediction == 1) & ~ignored
    assert organ == surface_distance(*masks, SPACING, ignored=ignored)
    assert organ.assd_mm > 1.05 * surface_distance(*masks, SPACING).assd_mm


def test_the_tolerance_is_passed_on(pair):
    strict, lax = (
        score_case("a", *pair, LABELS, SPACING, tolerance_mm=mm).structures[0].surface
        for mm in (0.1, 50.0)
    )
    assert strict.nsd < lax.nsd == 1
    assert score_case("a", *pair, LABELS, SPACING).structures[0].surface.tolerance_mm == 1.0


def test_pictures_are_scored_too(pair):
    picture = [each[4] for each in pair]
    scores = score_case("a", *picture, LABELS, SPACING[1:])
    assert scores.voxel_mm3 is None
    assert scores.structures[0].surface.hd95_mm == pytest.approx(1.0)


def test_precision_recall_and_volume_error():
    reference, prediction = np.array([[1, 1, 1, 1, 0, 0]]), np.array([[0, 1, 1, 1, 1, 1]])
    (organ, *_), empty = overlap_per_label(reference, prediction, LABELS), None
    assert (organ.precision, organ.recall, organ.volume_error) == (3 / 5, 3 / 4, 1 / 4)
    missed = overlap_per_label(reference, np.zeros_like(reference), LABELS)[0]
    assert (missed.precision, missed.recall, missed.volume_error) == (empty, 0, -1)
    spurious = overlap_per_label(np.zeros_like(reference), prediction, LABELS)[0]
    assert (spurious.precision, spurious.recall, spurious.volume_error) == (0, empty, empty)
