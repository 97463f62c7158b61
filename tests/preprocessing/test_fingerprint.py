import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import DamagedError, DatasetError, GeometryError
from autoseg.core.fingerprint import CaseMeasurement, CaseSketch, SymmetricPair, Symmetry
from autoseg.core.labels import Labels, Region
from autoseg.io import documents
from autoseg.io.images import read_image
from preprocessing.fingerprint import MeasurementTask, has_changed, measure_case, summarize
from preprocessing.intensities import sketch_channel
from preprocessing.position import voxel_digest

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
    tasks = [replace(task, case=replace(task.case, name=f"case {n}")) for n in range(10)]
    cases = [measure_case(task) for task in tasks]
    assert summarize(cases, "Task", cache=task.cache).symmetries == (
        Symmetry(axis=2, first=1, second=2, cases=10, median_dice=1.0),
    )
    assert summarize(cases[1:], "Task", cache=task.cache).symmetries == ()


@pytest.mark.parametrize(
    "change",
    [
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


def test_a_cached_measurement_holds_whatever_the_labels_are_called(task, opened):
    first = measure_case(task)
    renamed = replace(LABELS, names=("background", "one", "other"))
    again = replace(task, description=replace(task.description, labels=renamed))
    assert opened(lambda: measure_case(again)) == [1, 1]  # hashed, not decoded
    assert measure_case(again) == first


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


@pytest.fixture(scope="module")
def _audit():
    """The names of files that are opened while a list is in place; a hook cannot be removed."""
    names = []
    sys.addaudithook(
        lambda event, arguments: (
            names[-1].append(str(arguments[0])) if event == "open" and names else None
        )
    )
    return names


@pytest.fixture
def opened(_audit, task):
    """Return how often a function opens each of the case's files."""

    def count(function):
        _audit.append([])
        try:
            function()
        finally:
            names = _audit.pop()
        paths = [Path(name) for name in names]
        return [paths.count(task.folder / name) for name in ("image.nii", "labels.nii")]

    return count


def test_each_file_is_read_once_to_measure_it_and_once_to_see_that_it_is_the_same(task, opened):
    assert opened(lambda: measure_case(task)) == [1, 1]
    written = (task.cache / "a.json").stat().st_ino
    assert opened(lambda: measure_case(task)) == [1, 1]
    assert (task.cache / "a.json").stat().st_ino == written


def test_each_file_is_read_once_where_other_labels_are_asked_for(task, opened):
    measure_case(task)
    names = ("background", "one", "other")
    other = replace(
        task, description=replace(task.description, labels=replace(LABELS, names=names))
    )
    assert opened(lambda: measure_case(other)) == [1, 1]


def test_a_cached_measurement_holds_for_its_number_of_channels_and_files_only(task):
    measure_case(task)
    two = replace(task, description=replace(task.description, channels=("CT", "PET")))
    with pytest.raises(DatasetError, match=r"case 'a': image\.nii: 1 channels found, 2 c"):
        measure_case(two)
    both = replace(two, case=replace(task.case, images=("image.nii", "image.nii")))
    assert len(measure_case(both).channels) == 2
    with pytest.raises(DatasetError, match="case 'a': 2 files found, 1 channels expected"):
        measure_case(replace(both, description=task.description))


def test_a_case_without_segmentation_is_refused_though_it_had_one(task):
    measure_case(task)
    with pytest.raises(DatasetError, match="case 'a': has no segmentation") as refusal:
        measure_case(replace(task, case=replace(task.case, segmentation=None)))
    assert refusal.value.rule == "E-SET-42"


def test_a_changed_file_is_read_again_and_the_one_behind_it_once(task, opened):
    first = measure_case(task)
    image = nibabel.load(task.folder / "image.nii")
    voxels = np.asarray(image.dataobj).copy()
    voxels[0, 0, 0] = 7
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine, image.header), task.folder / "image.nii")
    assert has_changed(task)
    assert opened(lambda: measure_case(task)) == [2, 1]
    assert measure_case(task) == replace(
        first,
        image_digests=(hashlib.sha256((task.folder / "image.nii").read_bytes()).hexdigest(),),
        shape_after_crop=(6, 9, 16),  # now from the corner; the last slice is still 0
        voxel_digest=voxel_digest(read_image(task.folder / "image.nii").voxels),
    )


@pytest.mark.parametrize("content", [b"", b"{}", b'{"name": "a", "key": "0f"}'], ids=str)
def test_what_was_kept_and_cannot_be_read_is_measured_again(task, content):
    first = measure_case(task)
    (task.cache / "a.json").write_bytes(content)
    assert measure_case(task) == first
    assert documents.read(task.cache / "a.json", CaseSketch).measurement == first


def test_a_sketch_that_is_gone_is_told(task):
    measured = measure_case(task)
    (task.cache / "a.json").unlink()
    with pytest.raises(DamagedError, match=r"a\.json: cannot be read"):
        summarize([measured], "Task", cache=task.cache)


@pytest.fixture
def keep(tmp_path):
    """Return what keeps a case with these foreground intensities, one array a channel."""

    def keep_case(name, *channels, shape=(9, 8, 7), notes=()):
        sketches = [sketch_channel(np.array(values, np.float32)) for values in channels]
        measurement = CaseMeasurement(
            name=name,
            key="key",
            shape=shape,
            shape_after_crop=tuple(n - 1 for n in shape),
            spacing=(2.5, 0.5, 0.75),
            class_voxels=(100, len(channels[0])),
            channels=tuple(sketch and sketch[0] for sketch in sketches),
            stored_axes=(2, 0, 1),
            notes=notes,
        )
        quantiles = tuple(sketch and sketch[1] for sketch in sketches)
        sketch = CaseSketch(measurement=measurement, quantiles=quantiles)
        documents.write(tmp_path / f"{name}.json", sketch, durable=False)
        return measurement

    return keep_case


def test_statistics_are_those_of_the_pool_by_channel(keep, tmp_path):
    cases = [keep("b", [0.0] * 900, [7.0] * 900), keep("a", [8.0], [7.5])]
    first, second = summarize(cases, "Task", cache=tmp_path).channels
    assert (first.mean, first.std, first.minimum, first.maximum) == (4, 4, 0, 8)
    assert (first.percentile_00_5, first.median, first.percentile_99_5) == (0, 4, 8)
    assert (second.mean, second.std, second.median) == (7.25, 0.25, 7.25)


def test_case_without_foreground_is_listed_but_does_not_count(keep, tmp_path):
    fingerprint = summarize([keep("b", []), keep("a", [4.0, 6.0])], "Task", cache=tmp_path)
    assert [case.name for case in fingerprint.cases] == ["a", "b"]
    assert fingerprint.channels[0].mean == 5


def test_a_case_that_came_and_went_leaves_nothing_behind(keep, tmp_path):
    rng = np.random.default_rng(5)
    cases = [
        keep(name, rng.normal(-500, 100, n), rng.gamma(2, 200, n), notes=("repaired",))
        for name, n in (("b", 1_500), ("a", 40), ("d", 7), ("c", 900))
    ]
    before = summarize(cases, "Task", cache=tmp_path)
    more = summarize([*cases[::-1], keep("e", [1e6], [-1e6])], "Task", cache=tmp_path)
    assert more.channels[0].maximum == 1e6
    assert summarize(cases[2:] + cases[:2], "Task", cache=tmp_path) == before


def test_grids_and_notes_are_kept_by_case(keep, tmp_path):
    cases = [
        keep("b", [1.0], shape=(4, 8, 10), notes=("sform used", "2 voxels")),
        keep("a", [1.0]),
    ]
    fingerprint = summarize(cases, "Task07", cache=tmp_path)
    assert fingerprint.dataset == "Task07"
    assert fingerprint.cases[1].shape == (4, 8, 10)
    assert fingerprint.cases[1].shape_after_crop == (3, 7, 9)
    assert fingerprint.cases[1].spacing == (2.5, 0.5, 0.75)
    assert fingerprint.cases[1].class_voxels == (100, 1)
    assert fingerprint.cases[1].stored_axes == (2, 0, 1)
    assert fingerprint.notes == ("b: sform used", "b: 2 voxels")


def test_no_case_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="dataset 'Task07': has no training cases") as refusal:
        summarize([], "Task07", cache=tmp_path)
    assert refusal.value.rule == "E-SET-47"


def test_no_foreground_in_any_case_is_refused(keep, tmp_path):
    with pytest.raises(DatasetError, match="dataset 'Task07': no case has any") as refusal:
        summarize([keep("a", []), keep("b", [])], "Task07", cache=tmp_path)
    assert refusal.value.rule == "E-VAL-37"
