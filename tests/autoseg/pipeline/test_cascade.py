"""What the second stage of a cascade takes over from the first."""

from dataclasses import replace

import numpy as np
import pytest

from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.errors import DamagedError, UsageError
from autoseg.core.fingerprint import CaseGrid, Fingerprint
from autoseg.core.folds import Fold, Splits
from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import Labels
from autoseg.core.model import FoldRecord, ModelDescription, PreviousStage
from autoseg.core.training_config import preset
from autoseg.evaluation.summary import CaseScores, Summary
from autoseg.execution.progress import Silence
from autoseg.io import documents, files, images, store
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.cascade import find_previous_stage, missing_folds, prepare_predictions
from autoseg.pipeline.fold import Training
from autoseg.training.validation import ValidatedCase
from preprocessing.runner import grid_key

SHAPE = (6, 8, 10)
GEOMETRY = Geometry(
    file_shape=SHAPE[::-1],
    file_affine=((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 2.0, 0), (0, 0, 0, 1)),
    file_axes=(2, 1, 0),
    reversed_axes=(False, False, False),
)
DESCRIPTION = DatasetDescription(
    name="T",
    channels=("CT",),
    labels=Labels(names=("background", "organ"), values=(0, 5)),
    file_ending=".nii.gz",
)
SPLITS = Splits(
    folds=(
        Fold(training=("b", "c"), validation=("a",)),
        Fold(training=("a",), validation=("b", "c")),
    )
)


@pytest.fixture
def plan(plan_of, configuration_of):
    full = configuration_of((2.0, 1.0, 1.0), (4, 8, 8))
    return plan_of(
        replace(full, name="3d_lowres"),
        full,
        replace(full, name="3d_cascade_fullres", previous_stage="3d_lowres"),
    )


@pytest.fixture
def training(tmp_path, plan):
    """The second stage's training, on three preprocessed cases."""
    folder = DatasetFolder(path=tmp_path / "T")
    cases = tuple(Case(name=name, images=(f"{name}.nii.gz",)) for name in "abc")
    documents.write(
        folder.dataset_file,
        Dataset(description=DESCRIPTION, folder=str(tmp_path), cases=cases),
    )
    grids = tuple(
        CaseGrid(
            name=name,
            shape=SHAPE,
            shape_after_crop=SHAPE,
            spacing=GEOMETRY.spacing,
            class_voxels=(400, 80),
        )
        for name in "abc"
    )
    documents.write(
        folder.fingerprint_file,
        Fingerprint(dataset="T", cases=grids, channels=(plan.normalization[0].statistics,)),
    )
    for name in "abc":
        zeros = np.zeros(SHAPE, np.uint8)
        store.write_case(
            folder.store(grid_key(plan, plan.configuration("3d_cascade_fullres"))),
            store.StoredCase(
                name=name,
                key=f"key of {name}",
                geometry=GEOMETRY,
                crop=Box(start=(0, 0, 0), stop=SHAPE),
                shape=SHAPE,
                foreground_offsets=(0, 0, 0),
                digests={},
            ),
            store.CaseArrays(
                image=zeros[None].astype(np.float32),
                segmentation=zeros,
                nonzero=zeros == 0,
                foreground=np.zeros((0, 3), np.int32),
            ),
        )
    return Training(
        folder=folder, configuration="3d_cascade_fullres", config=preset("fast"), workers=0
    )


def prediction_of(name):
    """A label map of the first stage that no other case has."""
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[1:4, 2:5, "abc".index(name) : 6] = 1
    return label_map


@pytest.fixture
def finish(training, plan):
    """Leave a fold of the first stage behind as a finished training does."""

    def write(number, plan=plan, fold=None):
        first = replace(training, configuration="3d_lowres")
        folder = first.fold_folder(number)
        fold = fold or SPLITS.folds[number]
        weights = f"weights {number}".encode()
        files.write_atomically(folder / "weights.safetensors", weights)
        documents.write(
            folder / "fold.json",
            FoldRecord(
                fold=fold, weights_digest=files.digest(weights), steps=1, minutes=1.0, device="cpu"
            ),
        )
        validation = folder / "validation"
        documents.write(
            validation / "summary.json", Summary(dataset="T", cases=(), labels=(), mean_dice=None)
        )
        for name in fold.validation:
            path = validation / f"{name}.nii.gz"
            images.write_segmentation(
                path, DESCRIPTION.labels.to_file(prediction_of(name)), GEOMETRY
            )
            record = ValidatedCase(
                scores=CaseScores(case=name, overlaps=(), voxel_mm3=2.0),
                weights_digests=(),
                prediction_digest=files.digest_file(path),
                reference_digest="",
            )
            documents.write(validation / "cases" / f"{name}.json", record)
        documents.write(first.model_folder / "model.json", described(first, plan))

    return write


def described(training, plan, previous=None):
    return ModelDescription(
        autoseg_version="0",
        dataset=DESCRIPTION,
        plan=plan,
        configuration_name=training.configuration,
        training=training.config,
        decisions=(),
        previous=previous,
    )


def test_a_configuration_without_a_previous_stage_needs_nothing(training, plan):
    alone = replace(training, configuration="3d_fullres")
    assert missing_folds(alone, plan, SPLITS) == ()
    assert find_previous_stage(alone, plan, SPLITS) is None


def test_all_folds_of_the_first_stage_are_needed(training, plan, finish):
    assert missing_folds(training, plan, SPLITS) == (0, 1)
    finish(1)
    assert missing_folds(training, plan, SPLITS) == (0,)
    message = r"not trained and validated are: 0 \(run 'default'\)"
    with pytest.raises(UsageError, match=message) as caught:
        find_previous_stage(training, plan, SPLITS)
    assert "autoseg train 3d_lowres 0; or add --with-previous" in caught.value.hint
    finish(0)
    assert find_previous_stage(training, plan, SPLITS) == PreviousStage(
        configuration="3d_lowres",
        run="default",
        weights_digests=(files.digest(b"weights 0"), files.digest(b"weights 1")),
    )


def test_a_first_stage_of_another_plan_or_other_folds_is_refused(training, plan, finish):
    finish(0)
    finish(1, plan=replace(plan, mirror_axes=(1,)))
    with pytest.raises(UsageError, match="was trained with another plan") as caught:
        find_previous_stage(training, plan, SPLITS)
    assert caught.value.rule == "E-RUN-78"
    finish(1, fold=Fold(training=("c",), validation=("b",)))
    with pytest.raises(UsageError, match="fold 1 was trained on other cases than"):
        find_previous_stage(training, plan, SPLITS)


def test_each_case_gets_the_prediction_of_the_fold_that_validated_it(training, plan, finish):
    finish(0)
    finish(1)
    description = described(training, plan, find_previous_stage(training, plan, SPLITS))
    prepare_predictions(training, description, SPLITS, progress=Silence())
    for name in "abc":
        _, prepared = store.open_prediction(training.previous_folder, name)
        np.testing.assert_array_equal(prepared[...], prediction_of(name))


def test_a_prediction_that_changed_since_its_validation_is_refused(training, plan, finish):
    finish(0)
    finish(1)
    description = described(training, plan, find_previous_stage(training, plan, SPLITS))
    path = training.folder.run("default", "3d_lowres", "default") / "fold_1/validation/c.nii.gz"
    images.write_segmentation(path, np.zeros(SHAPE, np.uint8), GEOMETRY)
    with pytest.raises(DamagedError, match=r"c.nii.gz: is missing, or is not the prediction"):
        prepare_predictions(training, description, SPLITS, progress=Silence())
