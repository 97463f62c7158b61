"""Every document type is read strictly and comes back as it was written."""

import json
import os
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autoseg
from autoseg.core.acceptance import Acceptance
from autoseg.core.check_report import CheckReport, Finding, Refusal
from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.errors import DocumentError
from autoseg.core.fingerprint import (
    CaseGrid,
    CaseMeasurement,
    CaseSketch,
    ChannelMoments,
    ChannelStatistics,
    Fingerprint,
    SymmetricPair,
    Symmetry,
)
from autoseg.core.folds import Fold, split_cases
from autoseg.core.geometry import Box, Geometry
from autoseg.core.initial import Initial, InitialFold
from autoseg.core.labels import Labels, Region
from autoseg.core.model import FoldRecord, ModelDescription, PreviousStage
from autoseg.core.network_presets import PRESETS
from autoseg.core.network_spec import Style
from autoseg.core.plan import Configuration, Decision, Normalization, Plan, Topology
from autoseg.core.repair_report import LeftOut, MendedCase, RepairReport
from autoseg.core.training_config import preset
from autoseg.evaluation.comparison import Interval
from autoseg.evaluation.lesions import LesionDetection
from autoseg.evaluation.overlap import Overlap
from autoseg.evaluation.scoring import CaseScores
from autoseg.evaluation.summary import LabelSummary, Summary
from autoseg.evaluation.surfaces import SurfaceDistance
from autoseg.io import documents
from autoseg.io.formats.tiff_sidecar import Sidecar
from autoseg.io.probabilities import ProbabilityRecord
from autoseg.io.store import StoredCase, StoredPrediction
from autoseg.pipeline.prediction import PredictedCase, PredictionManifest
from autoseg.pipeline.traced_steps import TracedStep, TracedSteps
from autoseg.postprocessing.decision import Trial
from autoseg.postprocessing.rules import Rule
from autoseg.selection import Candidate, Member, Selection
from autoseg.training.augmentation.policy import Policy
from autoseg.training.checkpoint import Checkpoint
from autoseg.training.compute import Compute
from autoseg.training.ending import CoolDown
from autoseg.training.origin import Environment, Origin
from autoseg.training.step_time import StepTime, StepTimes
from autoseg.training.validation import ValidatedCase
from planners.budget import PlannerBudget
from planners.overrides import Overrides

SOURCE = Path(autoseg.__file__).parents[1]
MARK = "__pydantic_config__: ClassVar = STRICT"

DESCRIPTION = DatasetDescription(
    name="Task04_Hippocampus",
    channels=("MRI", "CT"),
    labels=Labels(
        names=("background", "anterior größer", "posterior"),
        values=(0, 2, 5),
        regions=(Region(name="whole", labels=(1, 2), written=1),),
        ignore=9,
    ),
    file_ending=".nii.gz",
    accepted=(Acceptance(rule="E-GEO-13", choice="sform"),),
)
STATISTICS = ChannelStatistics(
    mean=95.25,
    median=99.0,
    std=1e-7,
    minimum=-1024.0,
    maximum=3071.0,
    percentile_00_5=-15.1,
    percentile_99_5=1e22,
)
CONFIGURATION = Configuration(
    name="3d_cascade_fullres",
    spacing=(3.0, 0.75, 0.1),
    median_shape=(20.0, 190.5, 240.0),
    patch_size=(16, 160, 192),
    batch_size=2,
    batch_dice=True,
    network="resenc",
    arch=PRESETS["resenc"],
    style=Style(),
    topology=Topology(
        strides=((1, 1, 1), (1, 2, 2)), kernels=((1, 3, 3), (3, 3, 3)), features=(32, 64)
    ),
    previous_stage="3d_lowres",
)
DECISION = Decision(
    subject="3d_fullres.spacing",
    value="3 x 0.75 x 0.1 mm",
    rule="the median",
    numbers=(("cases", "263"),),
)
PLAN = Plan(
    name="default",
    dataset="Task04_Hippocampus",
    autoseg_version="0.1.0",
    gpu_memory_gib=7.5,
    orientation="stored",
    axis_order=(2, 0, 1),
    mirror_axes=(0,),
    normalization=(
        Normalization(scheme="ct", inside_nonzero_only=False, statistics=STATISTICS),
        Normalization(scheme="zscore", inside_nonzero_only=True, statistics=STATISTICS),
    ),
    configurations=(replace(CONFIGURATION, name="3d_lowres", previous_stage=None), CONFIGURATION),
    decisions=(DECISION,),
)
SCORES = CaseScores(
    case="case_001",
    overlaps=(
        Overlap(
            label="anterior",
            values=(1,),
            true_positive=7,
            false_positive=2,
            false_negative=1,
            dice=14 / 17,
            iou=0.7,
        ),
        Overlap(
            label="posterior",
            values=(2, 5),
            true_positive=0,
            false_positive=0,
            false_negative=0,
            dice=None,
            iou=None,
        ),
    ),
    surfaces=(
        SurfaceDistance(hd95_mm=1.5, assd_mm=0.25, nsd=0.875, tolerance_mm=0.8),
        SurfaceDistance(hd95_mm=None, assd_mm=None, nsd=None, tolerance_mm=0.8),
    ),
    lesions=(
        LesionDetection(reference=2, detected=1, spurious=3, f1=1 / 3),
        LesionDetection(reference=0, detected=0, spurious=0, f1=None),
    ),
    voxel_mm3=0.225,
)
GEOMETRY = Geometry(
    file_shape=(5, 4, 3),
    file_affine=((-0.5, 0.0, 0.0, 1.5), (0.0, 0.1, 0.0, 2.5), (0, 0, 3.0, -7.25), (0, 0, 0, 1.0)),
    file_axes=(2, 0, 1),
    reversed_axes=(False, True, False),
)
RULE = Rule(kind="largest_component", structure="liver", labels=(1,))
ROOTS = (
    PLAN,
    PlannerBudget(
        gpu_memory_gib=11.5,
        network="resenc",
        mirroring="none",
        rules="nnunet",
        overrides=Overrides(
            spacing=(3.0, 0.8, 0.7),
            patch_size=(16, 96, 64),
            batch_size=3,
            width=24,
            configurations=("2d", "3d_fullres"),
        ),
    ),
    Policy(rotation=0.2, scaling_range=(0.5, 1.5)),
    Sidecar(spacing=(3.0, 0.75, 0.5)),
    Dataset(
        description=DESCRIPTION,
        folder="raw/Task04",
        cases=(
            Case(name="a", images=("a_0000.nii.gz", "a_0001.nii.gz"), segmentation="a.nii.gz"),
            Case(name="b", images=("b.nii.gz",), patient="P07"),
        ),
    ),
    CaseSketch(
        measurement=CaseMeasurement(
            name="a",
            key="0f",
            shape=(30, 88, 90),
            shape_after_crop=(28, 80, 90),
            spacing=(3.0, 0.75, 0.1),
            class_voxels=(900, 90, 0),
            channels=(ChannelMoments(mean=1.5, variance=4.0, minimum=-2.0, maximum=9.0), None),
            symmetric_pairs=(SymmetricPair(axis=2, first=1, second=2, dice=0.8125),),
            image_digests=("a0", "b1"),
            segmentation_digest="c2",
            extremes=((-1024.0, 3071.5),),
            stored_axes=(2, 0, 1),
            voxel_digest="d3",
            orientation="LPS",
            label_centers=((1.5, -2.25, 30.0), None),
            body_center=(0.5, 0.0, -1.0),
            notes=("rounded labels",),
        ),
        quantiles=(bytes(range(250)) * 16, None),
    ),
    CheckReport(
        autoseg_version="0.1.0",
        dataset="Task04_Hippocampus",
        origin="raw/Task04_Hippocampus",
        accepted=("E-GEO-13=sform",),
        cases=7,
        read=6,
        refused=(
            Refusal(rule="E-GEO-20", case="a", file="a.nii", problem="30 and 31", fix="resample"),
        ),
        suspicious=(
            Finding(
                kind="side",
                case="b",
                labels=(2, 1),
                channel=1,
                what="left and right",
                measured="3 mm",
                usual="9 mm",
                why="it matters",
                fix="mirror it",
                picture="b.png",
            ),
        ),
        notes=("a: rounded labels",),
    ),
    Fingerprint(
        dataset="Task04_Hippocampus",
        cases=(
            CaseGrid(
                name="a",
                shape=(30, 88, 90),
                shape_after_crop=(28, 80, 90),
                spacing=(3.0, 0.75, 0.1),
                class_voxels=(900, 90, 0),
                stored_axes=(2, 0, 1),
            ),
        ),
        channels=(STATISTICS,),
        symmetries=(Symmetry(axis=2, first=1, second=2, cases=12, median_dice=0.75),),
    ),
    split_cases([f"case_{n}" for n in range(7)]),
    ModelDescription(
        autoseg_version="0.1.0",
        dataset=DESCRIPTION,
        plan=PLAN,
        configuration_name="3d_lowres",
        training=preset("fast"),
        decisions=(DECISION,),
        previous=PreviousStage(
            configuration="3d_lowres", run="default", weights_digests=("ab" * 32, "cd" * 32)
        ),
    ),
    Initial(
        path="Task01/3d_fullres",
        dataset="Task01",
        configuration="3d_fullres",
        model_digest="ef" * 32,
        copied=60,
        adapted=3,
        fresh=8,
        unused=2,
        parameters=1000,
        parameters_taken=875,
    ),
    InitialFold(fold=2, weights_digest="ab" * 32),
    StoredPrediction(name="a", key="0f", digest="ab" * 32),
    TracedSteps(steps=(TracedStep(key="ab12", step_bytes=2**32 + 1),)),
    StepTimes(
        times=(
            StepTime(
                key="0f",
                machine="AMD EPYC, 2 cores, 2 threads",
                training="3d_fullres, 16 channels",
                update_s=2.25,
                augmentation_s=0.1,
                validation_s=1e-7,
                is_disturbed=False,
            ),
        )
    ),
    FoldRecord(
        fold=Fold(training=("a", "b"), validation=("c",)),
        weights_digest="ab" * 32,
        steps=250000,
        minutes=61.5,
        device="cpu, bfloat16",
    ),
    StoredCase(
        name="a",
        key="0f",
        geometry=GEOMETRY,
        crop=Box(start=(0, 2, 1), stop=(3, 5, 4)),
        shape=(6, 3, 3),
        foreground_offsets=(0, 0, 7, 9),
        digests={"image": "ab" * 32},
        notes=("polar",),
    ),
    Summary(
        dataset="Task04_Hippocampus",
        cases=(SCORES,),
        labels=(
            LabelSummary(
                label="anterior",
                values=(1,),
                mean_dice=14 / 17,
                mean_iou=0.7,
                cases_counted=1,
                both_empty=0,
                missed=0,
                spurious=0,
            ),
        ),
        mean_dice=14 / 17,
    ),
    ValidatedCase(
        scores=SCORES, weights_digests=("ab",), prediction_digest="cd", reference_digest="ef"
    ),
    RepairReport(
        autoseg_version="0.1.0",
        source="/data/Task04",
        accepted=(Acceptance(rule="E-VAL-28", choice="fill"),),
        cases=(MendedCase(case="a", key="0f", outputs=("ab", "cd"), notes=("a.nii.gz: mended",)),),
        left_out=(LeftOut(case="b", rule="E-GEO-16", problem="sheared", fix="resample"),),
    ),
    PredictionManifest(
        autoseg_version="0.1.0",
        dataset=DESCRIPTION,
        configuration="3d_lowres",
        plan="default",
        plan_digest="ab",
        cases=(
            PredictedCase(
                case="a",
                input_digests=("ef",),
                output_digest="01",
                weights_digests=("cd",),
                mirror=True,
                rules=(RULE,),
            ),
        ),
    ),
    ProbabilityRecord(
        case="a",
        geometry=GEOMETRY,
        output_ending=".nii.gz",
        labels=Labels(names=("background", "liver")),
        digest="ab",
    ),
    Selection(
        autoseg_version="0.1.0",
        dataset="Task04_Hippocampus",
        plan="default",
        cases=("a", "b"),
        candidates=(
            Candidate(
                members=(
                    Member(
                        configuration="2d", run="default", folds=(0, 1), weights_digests=("a", "b")
                    ),
                ),
                networks=1,
                mean_dice=0.75,
                interval=Interval(low=0.7, high=0.8),
                difference=0.0,
                probability=1.0,
            ),
        ),
        chosen=0,
        reason="2d is the only candidate",
        trials=(Trial(rule=RULE, gain=0.125, probability=0.01, harmed=("liver",), kept=False),),
    ),
    Checkpoint(
        digest="ab" * 32,
        origin=Origin(description="0f", fold=1, cases=(("a", "cd"),)),
        step=250,
        elapsed_s=12.5,
        scale=65536.0,
        cool_down=CoolDown(step=200, fraction=0.5, steps=20),
        environment=Environment(device="cpu", threads=2, versions=(("torch", "2.13.0"),)),
        history=({"epoch": 0.0, "train_loss": -0.25},),
    ),
    Compute(
        kind="cpu",
        precision="bfloat16",
        channels_last=True,
        compiled=False,
        fused=False,
        threads=2,
        machine="Some CPU, AVX2",
        measured=(("float32", 0.5),),
    ),
)
"""One realistic value of every document; together they hold every strict type."""


def _inside(value: object) -> Iterator[Any]:
    """Yield every dataclass that a value consists of, itself first."""
    if is_dataclass(value):
        yield value
        for field in fields(value):
            yield from _inside(getattr(value, field.name))
    elif isinstance(value, tuple):
        for entry in value:
            yield from _inside(entry)


SAMPLES = {type(value): value for root in ROOTS for value in _inside(root)}
each_type = pytest.mark.parametrize(
    "sample", [pytest.param(value, id=kind.__name__) for kind, value in SAMPLES.items()]
)


def _strict_types() -> set[type]:
    """Return every class of the source that carries the strict configuration."""
    found = set()
    for package in ("autoseg", "planners", "preprocessing"):
        for path in (SOURCE / package).rglob("*.py"):
            if MARK in path.read_text(encoding="utf-8"):
                name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
                found |= {
                    kind
                    for kind in vars(import_module(name)).values()
                    if isinstance(kind, type)
                    and kind.__module__ == name
                    and "__pydantic_config__" in vars(kind)
                }
    return found


def _named_types(hint: object) -> Iterator[type]:
    """Yield every dataclass that a type annotation names."""
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for inner in get_args(hint):
        yield from _named_types(inner)


def _refused(document: object, kind: type, message: str) -> None:
    with pytest.raises(DocumentError, match=message) as caught:
        documents.parse(json.dumps(document).encode(), kind, "x.json")
    assert str(caught.value).startswith("x.json: ")
    assert caught.value.rule


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every value of a JSON tree that holds no others, with its path."""
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _leaves(value, (*path, key))
    else:
        yield path, tree


def _changed(tree: Any, path: tuple[Any, ...], value: object) -> Any:
    """Return a copy of a JSON tree with another value at a path."""
    copy = json.loads(json.dumps(tree))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def _tree(sample: object) -> Any:
    return json.loads(documents.encode(sample))


def test_every_strict_type_has_a_sample():
    assert {kind.__name__ for kind in SAMPLES} == {kind.__name__ for kind in _strict_types()}


@each_type
def test_every_nested_dataclass_is_strict(sample):
    strict = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
    for hint in get_type_hints(type(sample)).values():
        for kind in _named_types(hint):
            assert strict.items() <= getattr(kind, "__pydantic_config__", {}).items(), kind
            assert kind in SAMPLES


@each_type
def test_a_document_comes_back_as_it_was_written(sample, tmp_path):
    documents.write(tmp_path / "x.json", sample)
    found = documents.read(tmp_path / "x.json", type(sample))
    assert found == sample
    assert documents.encode(found) == (tmp_path / "x.json").read_bytes()


@each_type
def test_plain_values_are_those_of_the_file(sample):
    assert json.loads(json.dumps(documents.to_json(sample))) == _tree(sample)


@each_type
def test_an_unknown_key_is_refused(sample):
    message = "surprise: the key 'surprise'.* is not known"
    _refused({**_tree(sample), "surprise": 1}, type(sample), message)


@each_type
def test_a_missing_key_is_refused_unless_it_has_a_default(sample):
    tree = _tree(sample)
    for field in fields(sample):
        rest = {key: value for key, value in tree.items() if key != field.name}
        if field.default is MISSING:
            _refused(rest, type(sample), rf"x\.json: {field.name}: .*required")
        else:
            documents.parse(json.dumps(rest).encode(), type(sample), "x.json")


@each_type
def test_no_value_passes_as_another_type(sample):
    tree = _tree(sample)
    for path, value in _leaves(tree):
        if value is None:
            continue
        others = [f"{value}"] if isinstance(value, bool | int | float) else [7]
        others += [int(value)] if isinstance(value, bool) else [True]
        for other in others:
            place = ".".join(map(str, path)).replace("_", "[_ ]")
            _refused(_changed(tree, path, other), type(sample), place)


@each_type
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_number_is_nan_or_infinite(sample, value):
    tree = _tree(sample)
    for path, number in _leaves(tree):
        if isinstance(number, float):
            _refused(_changed(tree, path, value), type(sample), "which is no finite number")


@each_type
def test_nan_is_not_written(sample):
    for field in fields(sample):
        if type(getattr(sample, field.name)) is float and field.name != "gpu_memory_gib":
            broken = object.__new__(type(sample))
            for other in fields(sample):
                object.__setattr__(broken, other.name, getattr(sample, other.name))
            object.__setattr__(broken, field.name, float("nan"))
            with pytest.raises(DocumentError, match=f"{type(sample).__name__}: holds NaN"):
                documents.encode(broken)


@each_type
def test_other_schema_versions_are_refused(sample):
    tree = _tree(sample)
    for version in (0, 2, None, "1") if "schema_version" in tree else ():
        _refused(
            {**tree, "schema_version": version},
            type(sample),
            f"has schema version {version!r}, this autoseg reads 1",
        )


def test_keys_that_occur_twice_are_refused_at_any_depth():
    text = documents.encode(PLAN).decode().replace('"mean":', '"mean": 1.0,\n "mean":', 1)
    with pytest.raises(DocumentError, match=r"p\.json: keys \['mean'\] occur twice"):
        documents.parse(text.encode(), Plan, "p.json")


def test_the_place_of_a_problem_is_named_and_the_rest_are_counted():
    tree = _tree(PLAN)
    tree["configurations"][1]["batch_size"] = "7"
    tree["axis_order"] = [0, 1, 2.5]
    with pytest.raises(DocumentError, match=r"p\.json: axis_order\.2: .*'2\.5' \(and 1 more\)"):
        documents.parse(json.dumps(tree).encode(), Plan, "p.json")
    tree["axis_order"] = [0, 1, 2]
    _refused(tree, Plan, r"configurations\.1\.batch_size: .* valid integer, found '7'")


def test_an_error_of_the_type_keeps_its_rule_and_hint():
    data = b'{"names": ["background", "liver", "liver"]}'
    with pytest.raises(DocumentError, match=r"x\.json: .*label names \['liver'\]") as caught:
        documents.parse(data, Labels, "x.json")
    assert caught.value.rule == "E-VAL-40"
    with pytest.raises(DocumentError, match=r"x\.json: .*gpu_memory_gib is -1") as caught:
        documents.parse(b'{"gpu_memory_gib": -1.0}', PlannerBudget, "x.json")
    assert caught.value.hint == "give the memory of the device in GiB (2^30 bytes), for example 8"


def test_a_stride_of_zero_is_refused_and_no_bug():
    tree = _tree(CONFIGURATION)
    tree["topology"]["strides"][1][2] = 0
    with pytest.raises(DocumentError, match=r"topology: .*\(1, 2, 0\).* at least 1"):
        documents.parse(json.dumps(tree).encode(), Configuration, "x.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "is no JSON at line 1, column 1", id="empty"),
        pytest.param(b'{\n "a": 1,\n}', "is no JSON at line 3, column 1", id="comma"),
        pytest.param(b'{"a": 1} x', "is no JSON at line 1, column 10: Extra data", id="extra"),
        pytest.param(b'{"a": "\xff"}', "is no UTF-8 text", id="not-utf-8"),
        pytest.param(b'{"a": NaN}', "holds NaN, which is no finite number", id="nan"),
        pytest.param(b'{"a": -Infinity}', "holds -Infinity, which", id="infinity"),
        pytest.param(b'{"a": 1e999}', "holds 1e999, which is no finite", id="overflow"),
        pytest.param(b'{"a": -1e999}', "holds -1e999, which is no finite", id="underflow"),
        pytest.param(b"[" + b"9" * 5000 + b"]", "holds too long a number", id="digits"),
        pytest.param(b'{"a": {"b": 1, "b": 1}}', r"keys \['b'\] occur twice", id="twice"),
        pytest.param(b"[" * 100_000, "is nested too deeply", id="deep-list"),
        pytest.param(b'{"a":' * 100_000, "is nested too deeply", id="deep-object"),
    ],
)
def test_json_that_is_not_strict_is_refused(data, message):
    with pytest.raises(DocumentError, match=rf"^x\.json: {message}") as caught:
        documents.parse_json(data, "x.json")
    assert caught.value.rule == "E-SET-46"


@pytest.mark.parametrize("depth", [150, 300, 900])
def test_moderate_nesting_is_refused_too(depth):
    data = b'{"names": ' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(DocumentError, match=r"x\.json: "):
        documents.parse(data, Labels, "x.json")


@pytest.mark.parametrize("data", [b"7", b"null", b"[]", b'"text"', b"{}"])
def test_json_of_another_kind_is_refused(data):
    with pytest.raises(DocumentError, match=r"x\.json: "):
        documents.parse(data, Fingerprint, "x.json")


def test_a_file_above_the_largest_size_is_refused_unread(tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(documents.LARGEST_BYTES + 1)  # a sparse file: no byte of it is stored
    size = 64 * 2**20
    with pytest.raises(DocumentError, match=rf"x\.json: has {size + 1} bytes, allowed are {size}"):
        documents.read(tmp_path / "x.json", Labels)


def test_bytes_above_the_largest_size_are_refused_unparsed(monkeypatch):
    monkeypatch.setattr(documents, "LARGEST_BYTES", 20)
    documents.parse(b'{"names": ["a"]}    ', Labels, "x.json")
    with pytest.raises(DocumentError, match=r"x\.json: has 21 bytes, allowed are 20"):
        documents.parse(b'{"names": ["a"]}     ', Labels, "x.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DocumentError, match=r"gone\.json: cannot be read \(No such file"):
        documents.read(tmp_path / "gone.json", Labels)


@pytest.mark.timeout(10)
def test_a_folder_or_a_pipe_is_no_document(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(DocumentError, match=f"{name}: is no regular file"):
            documents.read(tmp_path / name, Labels)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.text(), st.tuples(finite, finite, finite), st.lists(st.text()), st.integers(0, 2**60))
def test_any_text_and_any_finite_number_come_back(name, numbers, notes, voxels):
    grid = CaseGrid(
        name=name, shape=(1, 2), shape_after_crop=(1, 2), spacing=numbers, class_voxels=(voxels,)
    )
    value = Fingerprint(dataset=name, cases=(grid,), channels=(), notes=tuple(notes))
    assert documents.parse(documents.encode(value), Fingerprint, "x.json") == value
