import hashlib
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import DatasetError, GeometryError
from autoseg.core.fingerprint import CaseMeasurement, SymmetricPair, Symmetry
from autoseg.core.labels import Labels, Region
from preprocessing.fingerprint import RANKS, MeasurementTask, _sketch, measure_case, summarize

LABELS = Labels(names=("background", "one", "two"), values=(0, 1, 4), ignore=2)


@pytest.fixture
def task(tmp_path):
    """A case whose files run from right to left, with two mirrored labels and ignored voxels."""
    image = np.zeros((16, 9, 7), np.float32)  # x, y, z
    image[1:, 2:, :6] = 5.0
    image[2:5, 3:6, 1:4] = 10.0
    image[10:13, 3:6, 1:4] = 20.0
    image[6:8, 7, 5] = 1e6
    segmentation = np.zeros(image.shape, np.uint8)
    segmentation[image == 10] = 4
    segmentation[image == 20] = 1
    segmentation[image == 1e6] = 2
    files = {"image": image, "labels": segmentation, "ones": np.uint8(segmentation == 1)}
    for name, voxels in files.items():
        affine = np.diag([-0.5, 0.75, 2.5, 1.0])
        file = nibabel.Nifti1Image(voxels, affine)
        file.header.set_xyzt_units("mm")
        nibabel.save(file, tmp_path / f"{name}.nii")
    return MeasurementTask(
        case=Case(name="a", images=("image.nii",), segmentation="labels.nii"),
        folder=tmp_path,
        description=DatasetDescription(
            name="Task", channels=("CT",), labels=LABELS, file_ending=".nii"
        ),
        cache=tmp_path / "cache",
    )


def test_ignored_voxels_are_counted_last_and_are_no_foreground(task):
    measurement = measure_case(task)
    assert measurement.class_voxels == (16 * 9 * 7 - 27 - 27 - 2, 27, 27, 2)
    (sketch,) = measurement.channels
    assert (sketch.mean, sketch.minimum, sketch.maximum) == (15, 10, 20)
    assert measurement.shape_after_crop == (6, 7, 15)


def test_extremes_are_those_of_the_whole_image_and_digests_those_of_its_files(task):
    measurement = measure_case(task)
    assert measurement.extremes == ((0, 1e6),)
    stored = (task.folder / "image.nii").read_bytes()
    assert measurement.image_digests == (hashlib.sha256(stored).hexdigest(),)


def test_mirrored_labels_are_found_along_the_canonical_axis(task):
    assert measure_case(task).symmetric_pairs == (
        SymmetricPair(axis=2, first=1, second=2, dice=1.0),
    )


def test_symmetries_of_ten_cases_are_those_of_the_dataset(task):
    cases = [replace(measure_case(task), name=f"case {n}") for n in range(10)]
    assert summarize(cases, "Task").symmetries == (
        Symmetry(axis=2, first=1, second=2, cases=10, median_dice=1.0),
    )
    assert summarize(cases[1:], "Task").symmetries == ()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"names": ("background", "one", "other")}, id="names"),
        pytest.param({"values": (0, 1, 5)}, id="values"),
        pytest.param({"ignore": None}, id="no-ignore-label"),
        pytest.param({"ignore": 3}, id="ignore-label"),
        pytest.param({"regions": (Region(name="all", labels=(1, 2), written=1),)}, id="regions"),
    ],
)
def test_a_cached_measurement_holds_for_its_labels_only(task, change):
    task = replace(task, case=replace(task.case, segmentation="ones.nii"))
    other = replace(task.description, labels=replace(LABELS, **change))
    first = measure_case(task)
    assert measure_case(task) == first
    assert measure_case(replace(task, description=other)).key != first.key


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        pytest.param(".png", r"case 'a': 3 axes cannot be .* ending with '\.png'", id="axes"),
        pytest.param(".gipl", r"case 'a': .* ending with \.gipl cannot hold this", id="direction"),
        pytest.param(".tif", r"case 'a': .* ending with \.tif cannot hold this grid", id="place"),
    ],
)
def test_a_grid_that_the_dataset_s_ending_cannot_hold_is_refused_before_training(
    task, ending, says
):
    measure_case(task)  # what was measured for another ending does not count
    other = replace(task, description=replace(task.description, file_ending=ending))
    with pytest.raises(GeometryError, match=says) as caught:
        measure_case(other)
    assert caught.value.rule == "E-GEO-25"
    assert "file ending of their images" in caught.value.hint


def measured(name, *channels, shape=(9, 8, 7), notes=()):
    """Return the measurement of a case with these foreground intensities, one array a channel."""
    return CaseMeasurement(
        name=name,
        key="key",
        shape=shape,
        shape_after_crop=tuple(n - 1 for n in shape),
        spacing=(2.5, 0.5, 0.75),
        class_voxels=(100, len(channels[0])),
        channels=tuple(_sketch(np.asarray(values, np.float32)) for values in channels),
        notes=notes,
    )


def rank(value, *cases):
    """Share of a value's lower neighbors in the pool in which every case weighs the same."""
    return np.mean([np.searchsorted(np.sort(case), value) / len(case) for case in cases])


@pytest.fixture
def unequal():
    """A case of many dark voxels and one of few bright ones with a long tail."""
    rng = np.random.default_rng(5)
    return (
        rng.normal(-500, 100, 150_000).astype(np.float32),
        rng.gamma(2, 200, 4_000).astype(np.float32),
    )


def test_sketch_of_four_voxels():
    sketch = _sketch(np.array([1, 2, 3, 6], np.float32))
    assert (sketch.mean, sketch.square) == (3, 12.5)  # (1 + 4 + 9 + 36) / 4
    assert (sketch.minimum, sketch.maximum) == (1, 6)
    assert len(sketch.quantiles) == RANKS
    assert sketch.quantiles[RANKS // 2] == 2.5


def test_case_without_foreground_has_no_sketch():
    assert _sketch(np.empty(0, np.float32)) is None


def test_sketch_is_exact_where_float32_sums_are_not():
    sketch = _sketch(np.full(1_000_003, 16_777.25, np.float32))
    assert sketch.mean == 16_777.25
    assert sketch.square == pytest.approx(16_777.25**2, rel=1e-14)


def test_every_case_weighs_the_same_however_many_voxels_it_has():
    statistics = summarize([measured("a", [0.0] * 9_000), measured("b", [8.0])], "Task").channels[0]
    assert statistics.mean == 4
    assert statistics.std == 4
    assert (statistics.minimum, statistics.maximum) == (0, 8)
    assert (statistics.percentile_00_5, statistics.percentile_99_5) == (0, 8)


def test_moments_are_those_of_the_equally_weighted_pool(unequal):
    first, second = (case.astype(np.float64) for case in unequal)
    statistics = summarize([measured("a", first), measured("b", second)], "Task").channels[0]
    mean = (first.mean() + second.mean()) / 2
    variance = (np.mean((first - mean) ** 2) + np.mean((second - mean) ** 2)) / 2
    assert statistics.mean == pytest.approx(mean, rel=1e-9)
    assert statistics.std == pytest.approx(variance**0.5, rel=1e-9)


def test_percentiles_are_off_by_less_than_a_tenth_of_a_percent_in_rank(unequal):
    first, second = unequal
    third = np.random.default_rng(6).normal(900, 5, 2_500).astype(np.float32)
    cases = (first, second, third)
    statistics = summarize(
        [measured(name, case) for name, case in zip("abc", cases, strict=True)], "Task"
    ).channels[0]
    assert rank(statistics.percentile_00_5, *cases) == pytest.approx(0.005, abs=0.001)
    assert rank(statistics.median, *cases) == pytest.approx(0.5, abs=0.001)
    assert rank(statistics.percentile_99_5, *cases) == pytest.approx(0.995, abs=0.001)


def test_channels_are_kept_apart():
    channels = summarize([measured("a", [1.0, 3.0], [10.0, 50.0])], "Task").channels
    assert [(c.mean, c.std) for c in channels] == [(2, 1), (30, 20)]


def test_case_without_foreground_is_listed_but_does_not_count():
    fingerprint = summarize([measured("b", []), measured("a", [4.0, 6.0])], "Task")
    assert [case.name for case in fingerprint.cases] == ["a", "b"]
    assert fingerprint.channels[0].mean == 5


def test_order_of_the_cases_does_not_matter(unequal):
    cases = [measured("b", unequal[0], notes=("repaired",)), measured("a", unequal[1])]
    assert summarize(cases, "Task") == summarize(cases[::-1], "Task")


def test_grids_and_notes_are_kept_by_case():
    fingerprint = summarize(
        [
            measured("b", [1.0], shape=(4, 8, 10), notes=("sform used", "2 voxels")),
            measured("a", [1.0]),
        ],
        "Task07",
    )
    assert fingerprint.dataset == "Task07"
    assert fingerprint.cases[1].shape == (4, 8, 10)
    assert fingerprint.cases[1].shape_after_crop == (3, 7, 9)
    assert fingerprint.cases[1].spacing == (2.5, 0.5, 0.75)
    assert fingerprint.cases[1].class_voxels == (100, 1)
    assert fingerprint.notes == ("b: sform used", "b: 2 voxels")


def test_no_case_is_refused():
    with pytest.raises(DatasetError, match="dataset 'Task07': has no training cases") as refusal:
        summarize([], "Task07")
    assert refusal.value.rule == "E-SET-47"


def test_no_foreground_in_any_case_is_refused():
    with pytest.raises(DatasetError, match="dataset 'Task07': no case has any") as refusal:
        summarize([measured("a", []), measured("b", [])], "Task07")
    assert refusal.value.rule == "E-VAL-37"
