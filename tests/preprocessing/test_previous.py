"""First-stage predictions on the second stage's grid."""

from dataclasses import replace

import numpy as np
import pytest

from autoseg.core.errors import DamagedError
from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import Labels
from autoseg.io import files, images, store
from preprocessing.previous import PreviousTask, prepare_previous

LABELS = Labels(names=("background", "organ", "tumor"), values=(0, 3, 7))
GEOMETRY = Geometry(  # stored LAS: x runs backwards; array shape (10, 12, 8), spacing (3, 1, 2) mm
    file_shape=(8, 12, 10),
    file_affine=((-2.0, 0, 0, 14), (0, 1.0, 0, 0), (0, 0, 3.0, 0), (0, 0, 0, 1)),
    file_axes=(2, 1, 0),
    reversed_axes=(False, False, True),
)
AXIS_ORDER = (0, 2, 1)


@pytest.fixture
def task(tmp_path, plan_of, configuration_of):
    """A label map of the first stage, and a case whose second grid halves the x spacing."""
    predicted = np.zeros((10, 12, 8), np.uint8)
    predicted[2:5, 3:9, 1:4] = 1
    predicted[6:9, 4:6, 5:7] = 2
    file = tmp_path / "fold_1" / "case.nii.gz"
    images.write_segmentation(file, LABELS.to_file(predicted), GEOMETRY)
    plan_axes = predicted.transpose(AXIS_ORDER)
    crop = Box(start=(1, 0, 2), stop=(10, 8, 11))
    record = store.StoredCase(
        name="case",
        key="key",
        geometry=GEOMETRY,
        crop=crop,
        shape=(9, 16, 9),
        foreground_offsets=(0, 0, 0, 0),
        digests={},
    )
    cut = np.zeros((1, 9, 16, 9), np.float32)
    arrays = store.CaseArrays(
        image=cut,
        segmentation=cut[0].astype(np.uint8),
        nonzero=cut[0] == 0,
        foreground=np.zeros(0, np.uint32),
    )
    store.write_case(tmp_path / "cases", record, arrays)
    configuration = configuration_of((3.0, 1.0, 1.0), (8, 16, 8))
    made = PreviousTask(
        name="case",
        fold=1,
        prediction=file,
        digest=files.digest_file(file),
        labels=LABELS,
        plan=plan_of(configuration, axis_order=AXIS_ORDER),
        configuration=replace(configuration, previous_stage="3d_lowres"),
        cases=tmp_path / "cases",
        output=tmp_path / "previous",
    )
    return made, plan_axes[crop.slices]


def test_a_prediction_is_cropped_turned_and_resampled_as_its_image(task):
    made, expected = task
    assert prepare_previous(made)
    _, prediction = store.open_prediction(made.output, "case")
    # Each voxel along the second axis becomes two, both nearest to it.
    np.testing.assert_array_equal(prediction[...], expected.repeat(2, axis=1))


def test_a_prepared_prediction_is_kept_and_a_damaged_one_is_made_again(task):
    made, _ = task
    prepare_previous(made)
    assert not prepare_previous(made)
    array = made.output / "case.prediction.b2nd"
    whole = array.read_bytes()
    array.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedError, match=r"case 'case'.*its digest differs") as caught:
        store.open_prediction(made.output, "case")
    assert caught.value.rule == "E-RES-76"
    assert prepare_previous(made)
    assert array.read_bytes() == whole


def test_another_prediction_replaces_the_prepared_one(task):
    made, expected = task
    prepare_previous(made)
    other = np.zeros((10, 12, 8), np.uint8)
    images.write_segmentation(made.prediction, LABELS.to_file(other), GEOMETRY)
    changed = replace(made, digest=files.digest_file(made.prediction))
    assert prepare_previous(changed)
    assert expected.any()
    assert not store.open_prediction(made.output, "case")[1][...].any()


def test_a_prediction_that_was_not_validated_is_refused(task):
    made, _ = task
    with pytest.raises(DamagedError, match="is not the prediction that was validated") as caught:
        prepare_previous(replace(made, digest="0" * 64))
    assert "autoseg train 3d_lowres 1 --validate-only" in caught.value.hint
    made.prediction.unlink()
    with pytest.raises(DamagedError, match=r"case.nii.gz: is missing"):
        prepare_previous(made)
