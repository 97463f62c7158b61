"""What is told of the model that a training starts from."""

import json
from dataclasses import replace

import pytest
import torch

from autoseg.core.dataset import DatasetDescription
from autoseg.core.folds import Fold
from autoseg.core.initial import InitialFold
from autoseg.core.labels import Labels
from autoseg.core.model import FoldRecord, ModelDescription
from autoseg.core.training_config import TrainingConfig
from autoseg.execution.progress import Silence
from autoseg.io.journal import Journal
from autoseg.networks.assembler import build_network
from autoseg.pipeline.initial_model import InitialModel, match_initial, percent
from autoseg.pipeline.initial_model_text import leak_warning, table_lines, tell_initial
from autoseg.training.initial_weights import InitialWeights

OLD, NEW = "Task98_Old", "Task99_New"


class Notes(Silence):
    """Keeps what a person would read."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@pytest.fixture
def description_of(plan_of, configuration_of):
    def build(
        name=NEW,
        *,
        channels=("CT",),
        labels=("background", "organ"),
        features=(4, 8),
        spacing=(4.0, 1.0, 1.5),
        scheme="zscore",
    ):
        configuration = configuration_of(spacing, (4, 8, 12), features=features)
        return ModelDescription(
            autoseg_version="0",
            dataset=DatasetDescription(
                name=name, channels=channels, labels=Labels(names=labels), file_ending=".nii.gz"
            ),
            plan=plan_of(configuration, schemes=(scheme,) * len(channels)),
            configuration_name="3d_fullres",
            training=TrainingConfig(preset="test", epochs=1),
            decisions=(),
        )

    return build


@pytest.fixture
def initial_of(tmp_path, description_of):
    """Fold 1 of a model that was trained on the cases a, b and d."""

    def build(name=OLD, *, is_fold_named=False, **options):
        description = description_of(name, **options)
        network = build_network(
            description.configuration.arch,
            description.topology,
            channels_in=description.channels_in,
            channels_out=description.dataset.labels.channels,
        )
        return InitialModel(
            path="old/model",
            folder=tmp_path,
            weights=InitialWeights(
                description=description,
                tensors=network.state_dict(),
                origin=InitialFold(fold=1, weights_digest="0ff"),
            ),
            record=FoldRecord(
                fold=Fold(training=("a", "b", "d"), validation=("c",)),
                weights_digest="0ff",
                steps=1,
                minutes=1.0,
                device="cpu",
            ),
            is_fold_named=is_fold_named,
        )

    return build


FOLD = Fold(training=("c",), validation=("b", "d", "e"))


def told(initial, description, tmp_path, *, number=1, fold=FOLD):
    notes = Notes()
    journal = Journal(path=tmp_path / "run.jsonl")
    tell_initial(initial, description, number, fold, journal=journal, progress=notes)
    events = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    return notes.lines, events


def test_table_has_a_line_per_part_of_the_network(initial_of, description_of):
    # 3 x 3 x 3 kernels: 1 to 4, 4 to 4, 4 to 8, 8 to 8 and 4 to 8 channels; a bias and two numbers
    # of the norm for each; the upsampling is 2 x 2 x 2. The deepest stage is as wide as before.
    description = description_of(features=(4, 8, 8), labels=("background", "organ", "tumor"))
    lines = table_lines(match_initial(initial_of(), description))
    assert [line.split("  ")[0] for line in lines[:-1]] == [
        "part",
        "encoder stage 0",
        "encoder stage 1",
        "encoder stage 2",
        "decoder stage 1",
        "decoder stage 0",
        "heads",
    ]
    cells = {line[:15].strip(): line[15:].split() for line in lines[1:-1]}
    first = 4 * 27 + 12 + 4 * 4 * 27 + 12
    last = 8 * 4 * 8 + 4 + 8 * 4 * 27 + 12 + 4 * 4 * 27 + 12
    assert cells["encoder stage 0"] == ["8", "8", "0", "0", f"{first}", "100", "%"]
    assert cells["encoder stage 2"][:4] == ["8", "0", "0", "8"]
    assert cells["encoder stage 2"][-2:] == ["0", "%"]
    assert cells["decoder stage 0"] == ["10", "10", "0", "0", f"{last:,}", "100", "%"]
    # Of heads of 8 and 4 channels the coarser is new; of the finer two of three rows are the
    # model's: 10 of 42 numbers.
    assert cells["heads"] == ["4", "0", "2", "2", "42", "23.8", "%"]
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[-1].endswith("parameters are the model's")


def test_last_line_tells_the_share_and_what_is_unused(initial_of, description_of):
    matched = match_initial(initial_of(features=(4, 8, 8)), description_of())
    parameters = matched.parameters
    assert table_lines(matched)[-1] == (
        f"100 % of {parameters:,} parameters are the model's; 20 tensors of the model unused"
    )


def test_all_of_the_start_is_told_and_kept(initial_of, description_of, tmp_path):
    lines, events = told(initial_of(), description_of(), tmp_path)
    assert lines[0] == "starting from fold 1 of old/model: Task98_Old, 3d_fullres"
    assert lines[1].startswith("part ")
    assert lines[-1].startswith("100 % of ")
    assert [event["event"] for event in events] == ["initial"]
    assert (events[0]["fold"], events[0]["weights_digest"]) == (1, "0ff")
    assert events[0]["parameters"] == events[0]["parameters_taken"]


@pytest.mark.parametrize(("named", "expected"), [(False, 1), (True, 0)])
def test_another_fold_than_the_own_is_told_unless_it_was_named(
    initial_of, description_of, tmp_path, named, expected
):
    lines, _ = told(initial_of(is_fold_named=named), description_of(), tmp_path, number=2)
    assert lines.count("its fold 2 was not trained") == expected


@pytest.mark.parametrize(
    ("options", "note"),
    [
        pytest.param(
            {"labels": ("background", "organ", "tumor")},
            "note: labels that the model does not know start from chance: tumor",
            id="labels",
        ),
        pytest.param(
            {"channels": ("PET", "CT")},
            "note: channels that the model does not know start from the mean of its own: PET",
            id="channels",
        ),
        pytest.param(
            {"channels": ("MRI",)},
            "note: none of its channels is called MRI; they are taken in order",
            id="channels-called-otherwise",
        ),
        pytest.param(
            {"spacing": (3.0, 1.0, 1.5)},
            "note: the model saw images otherwise: spacing 4 x 1 x 1.5 mm, now 3 x 1 x 1.5 mm; "
            "plan --like keeps that",
            id="spacing",
        ),
        pytest.param(
            {"scheme": "ct"},
            "note: the model saw images otherwise: another normalization of intensities; "
            "plan --like keeps that",
            id="normalization",
        ),
    ],
)
def test_what_the_model_does_not_know_is_told(initial_of, description_of, tmp_path, options, note):
    lines, _ = told(initial_of(), description_of(**options), tmp_path)
    notes = [line for line in lines if line.startswith("note: ")]
    assert note in notes
    assert len(notes) == (2 if options.get("channels") == ("PET", "CT") else 1)


def test_a_leak_into_validation_is_warned_of(initial_of, description_of, tmp_path):
    initial, same = initial_of(), description_of(OLD)
    lines, events = told(initial, same, tmp_path, number=0)
    text = (
        "fold 1 of old/model was trained on 2 of the 3 cases that fold 0 validates: b, d; its "
        "validation will look better than it is"
    )
    assert lines[-1] == f"warning: {text}"
    assert (events[-1]["event"], events[-1]["text"]) == ("warning", text)


def test_many_leaking_cases_are_counted(initial_of, description_of):
    cases = tuple(f"case_{number:02}" for number in range(13))
    initial = initial_of()
    initial = replace(
        initial, record=replace(initial.record, fold=Fold(training=cases, validation=()))
    )
    warning = leak_warning(initial, description_of(OLD), 0, Fold(training=(), validation=cases))
    assert "13 of the 13 cases" in warning
    assert "case_09 and 3 more;" in warning


@pytest.mark.parametrize(
    ("name", "validation"),
    [
        pytest.param(NEW, ("a", "b"), id="another-dataset"),
        pytest.param(OLD, ("c", "e"), id="cases-it-did-not-see"),
    ],
)
def test_no_leak_is_no_warning(initial_of, description_of, name, validation):
    fold = Fold(training=("d",), validation=validation)
    assert leak_warning(initial_of(), description_of(name), 0, fold) == ""


def test_shares_are_rounded_down():
    shares = (1.0, 0.9999, 0.57, 0.0504, 0.0)
    assert [percent(share) for share in shares] == ["100 %", "99.9 %", "57 %", "5 %", "0 %"]


def test_matching_needs_no_gradients(initial_of, description_of):
    matched = match_initial(initial_of(), description_of(channels=("PET", "CT")))
    adapted = [tensor.values for tensor in matched.tensors if tensor.how == "adapted"]
    assert adapted
    assert not any(values.requires_grad for values in adapted)
    assert all(isinstance(values, torch.Tensor) for values in adapted)
