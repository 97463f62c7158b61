"""Which folds a dataset gets, and when earlier ones are kept."""

import json
from dataclasses import replace

import pytest

from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.errors import UsageError
from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.core.folds import split_cases
from autoseg.core.labels import Labels
from autoseg.io import documents
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.splits import SplitRequest, decide_splits

NAMES = [f"P{n // 2}_scan{n % 2}" for n in range(12)]
LABELS = Labels(names=("background", "organ", "rare"), values=(0, 4, 9), ignore=20)
NOTHING = SplitRequest()


def dataset_of(tmp_path, names=NAMES):
    return Dataset(
        description=DatasetDescription(
            name="T", channels=("CT",), labels=LABELS, file_ending=".nii.gz"
        ),
        folder=str(tmp_path / "raw"),
        cases=tuple(Case(name=name, images=(f"{name}.nii.gz",)) for name in names),
    )


def fingerprint_of(names=NAMES, rare=()):
    return Fingerprint(
        dataset="T",
        cases=tuple(
            CaseGrid(
                name=name,
                shape=(8, 8, 8),
                shape_after_crop=(8, 8, 8),
                spacing=(1.0, 1.0, 1.0),
                class_voxels=(400, 100, 3 if name in rare else 0, 9),
            )
            for name in names
        ),
        channels=(
            ChannelStatistics(
                mean=0.0,
                median=0.0,
                std=1.0,
                minimum=0.0,
                maximum=1.0,
                percentile_00_5=0.0,
                percentile_99_5=1.0,
            ),
        ),
    )


@pytest.fixture
def decide(tmp_path):
    """Decide on folds and store them, as planning does."""
    folder = DatasetFolder(path=tmp_path / "workspace" / "T")

    def run(request=NOTHING, names=NAMES, rare=(), **options):
        splits = decide_splits(
            folder, fingerprint_of(names, rare), dataset_of(tmp_path, names), request, **options
        )
        documents.write(folder.splits_file, splits)
        return splits

    return run


def written(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def sides(fold):
    return set(fold.training), set(fold.validation)


def test_nothing_asked_for_gives_the_folds_of_nnunet(decide):
    assert decide().folds == split_cases(NAMES).folds


def test_a_label_of_two_cases_trains_in_every_fold_and_is_named_by_its_value(decide):
    rare = split_cases(NAMES).folds[0].validation[:2]  # nnU-Net's fold 0 would train without it
    splits = decide(rare=rare)
    assert all(set(rare) & set(fold.training) for fold in splits.folds)
    seed = next(d for d in splits.decisions if d.subject == "splits.seed")
    assert ("labels that a training part lacked with it", "9") in seed.numbers


@pytest.mark.parametrize("by_file", [True, False])
def test_the_cases_of_a_patient_stay_together(decide, tmp_path, by_file):
    patients = {name: name.split("_")[0] for name in NAMES}
    file = written(tmp_path / "patients.json", patients)
    request = SplitRequest(patients=file) if by_file else SplitRequest(pattern="^(P[0-9]+)_")
    splits = decide(request)
    assert len(splits.folds) == 5
    for fold in splits.folds:
        training, validation = ({patients[name] for name in side} for side in sides(fold))
        assert not training & validation


def test_a_file_of_folds_wins_and_one_beside_the_dataset_needs_no_option(decide, tmp_path):
    own = [{"train": NAMES[:8], "val": NAMES[8:]}]
    splits = decide(SplitRequest(file=written(tmp_path / "own.json", own)))
    assert [sides(fold) for fold in splits.folds] == [(set(NAMES[:8]), set(NAMES[8:]))]
    beside = [{"train": NAMES[3:], "val": NAMES[:3]}]
    written(tmp_path / "raw" / "splits_final.json", beside)
    splits = decide(overwrite=True)
    assert [sides(fold) for fold in splits.folds] == [(set(NAMES[3:]), set(NAMES[:3]))]


def test_earlier_folds_are_kept_where_nothing_is_asked_for(decide):
    grouped = decide(SplitRequest(pattern="^(P[0-9]+)_"))
    assert decide() == grouped
    assert decide(overwrite=True) == grouped  # it speaks of the plan


def test_new_cases_get_new_folds_unless_the_old_ones_were_chosen(decide):
    decide()
    more = [*NAMES, "P9_scan0"]
    assert decide(names=more).folds == split_cases(more).folds
    decide(SplitRequest(pattern="^(P[0-9]+)_"), names=more, overwrite=True)
    with pytest.raises(UsageError, match=r"splits.json: holds other folds") as caught:
        decide(names=[*more, "P9_scan1"])
    assert caught.value.hint == "give the options that made them, or --overwrite to replace them"


def test_folds_that_were_mended_by_a_seed_grow_with_their_dataset(decide):
    rare = split_cases(NAMES).folds[0].validation[:2]
    assert decide(rare=rare).folds != split_cases(NAMES).folds
    assert len(decide(names=[*NAMES, "P9_scan0"]).folds) == 5


def test_other_folds_than_the_earlier_ones_are_not_taken_silently(decide):
    decide()
    with pytest.raises(UsageError, match="made for other cases or with other options"):
        decide(SplitRequest(pattern="^(P[0-9]+)_"))


def test_two_ways_to_name_patients_contradict_each_other(tmp_path):
    with pytest.raises(UsageError, match="--patients and --patient-pattern both name"):
        SplitRequest(patients=tmp_path / "p.json", pattern="(.)")


def test_excluded_cases_are_taken_out_of_folds_of_ones_own(tmp_path):
    own = [{"train": NAMES[:8], "val": NAMES[8:]}]
    dataset = replace(dataset_of(tmp_path, NAMES[1:]), excluded=(NAMES[0],))
    splits = decide_splits(
        DatasetFolder(path=tmp_path / "workspace" / "T"),
        fingerprint_of(NAMES[1:]),
        dataset,
        SplitRequest(file=written(tmp_path / "own.json", own)),
    )
    assert sides(splits.folds[0]) == (set(NAMES[1:8]), set(NAMES[8:]))
