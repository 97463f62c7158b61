"""What the second stage of a cascade takes over, and what is done with finished folds."""

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
from autoseg.evaluation.scoring import CaseScores
from autoseg.evaluation.summary import Summary
from autoseg.execution.progress import Silence
from autoseg.io import documents, files, images, store
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.cascade import find_previous_stage, missing_folds, prepare_predictions
from autoseg.pipeline.fold import (
    Training,
    check_request,
    forget_validation,
    remember_validation,
)
from autoseg.pipeline.train import train, validate_again
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
                foreground=np.zeros(0, np.uint32),
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


def test_folds_that_do_not_validate_every_case_make_no_cascade(plan):
    own = Splits(folds=(Fold(training=("a", "b"), validation=("c",)),))
    with pytest.raises(UsageError, match=r"no fold validates 2 of them: a, b") as caught:
        check_request("3d_cascade_fullres", [0], plan, own)
    assert caught.value.rule == "E-SET-48"
    check_request("3d_lowres", [0], plan, own)


def test_a_case_that_two_folds_validate_takes_the_prediction_of_the_first(training, plan, finish):
    twice = Splits(
        folds=(
            Fold(training=("c",), validation=("a", "b")),
            Fold(training=("a",), validation=("b", "c")),
        )
    )
    for number, fold in enumerate(twice.folds):
        finish(number, fold=fold)
    path = training.folder.run("default", "3d_lowres", "default") / "fold_1/validation/b.nii.gz"
    path.unlink()  # not the one that is asked for
    description = described(training, plan, find_previous_stage(training, plan, twice))
    prepare_predictions(training, description, twice, progress=Silence())
    _, prepared = store.open_prediction(training.previous_folder, "b")
    np.testing.assert_array_equal(prepared[...], prediction_of("b"))


@pytest.fixture
def first_stage(training, plan, finish):
    """The first stage's training, finished, of a planned dataset."""
    documents.write(training.folder.plan_file("default"), plan)
    documents.write(training.folder.splits_file, SPLITS)
    finish(0)
    finish(1)
    return replace(training, configuration="3d_lowres", device="cpu")


def summary_of(training):
    return training.fold_folder(0) / "validation" / "summary.json"


def test_finished_folds_are_returned_only_to_the_options_that_they_were_trained_with(first_stage):
    again = train(first_stage, [0], keep_finished=True, progress=Silence())
    assert again[0].mean_dice is None
    with pytest.raises(UsageError, match="fold 0 is trained and validated already"):
        train(first_stage, [0], progress=Silence())
    other = replace(first_stage, config=replace(first_stage.config, seed=5))
    with pytest.raises(UsageError, match="was started with another training"):
        train(other, [0], keep_finished=True, progress=Silence())


def test_folds_of_other_splits_are_not_mixed_into_a_model(first_stage):
    swapped = Splits(folds=SPLITS.folds[::-1])
    documents.write(first_stage.folder.splits_file, swapped)
    for act in (train, validate_again):
        with pytest.raises(UsageError, match="fold 0 was trained on other cases than") as caught:
            act(first_stage, [1], progress=Silence())
        assert caught.value.rule == "E-RUN-78"


def test_a_refused_validation_keeps_the_scores(first_stage):
    with pytest.raises(UsageError, match="device 'abacus' is unknown"):
        validate_again(replace(first_stage, device="abacus"), [0], progress=Silence())
    stored = first_stage.folder.read_dataset()
    labels = Labels(names=("background", "other"), values=(0, 5))
    renamed = replace(stored.description, labels=labels)
    documents.write(first_stage.folder.dataset_file, replace(stored, description=renamed))
    with pytest.raises(UsageError, match="other channels or labels than the dataset has now"):
        validate_again(first_stage, [0], progress=Silence())
    assert summary_of(first_stage).exists()


def test_scores_are_forgotten_once_so_that_a_stopped_validation_carries_on(first_stage):
    cases = first_stage.fold_folder(1) / "validation" / "cases"
    forget_validation(first_stage, 1)
    assert not list(cases.glob("*.json"))
    (cases / "b.json").write_text("validated anew")
    forget_validation(first_stage, 1)
    assert (cases / "b.json").exists()
    remember_validation(first_stage, 1)
    forget_validation(first_stage, 1)
    assert not list(cases.glob("*.json"))
