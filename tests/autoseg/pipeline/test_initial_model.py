"""Finding the model that a training starts from, and refusing one that does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from autoseg.core.dataset import Dataset, DatasetDescription
from autoseg.core.errors import DamagedError, UsageError
from autoseg.core.folds import Fold
from autoseg.core.initial import Initial, InitialFold
from autoseg.core.labels import Labels
from autoseg.core.model import FoldRecord, ModelDescription
from autoseg.core.training_config import TrainingConfig
from autoseg.io import documents, files
from autoseg.io.workspace import Workspace
from autoseg.networks.assembler import build_network
from autoseg.pipeline.initial_model import describe_initial, find_initial, match_initial

SPACING, PATCH = (4.0, 1.0, 1.5), (4, 8, 12)


@pytest.fixture
def description_of(plan_of, configuration_of):
    """Describe a model; the dataset has two labels unless told otherwise."""

    def build(
        name="Task98_Old",
        *,
        spacing=SPACING,
        patch=PATCH,
        features=(4, 8, 8),
        labels=("background", "organ", "tumor"),
        width_fraction=1.0,
    ):
        configuration = configuration_of(spacing, patch, features=features)
        return ModelDescription(
            autoseg_version="0",
            dataset=DatasetDescription(
                name=name, channels=("CT",), labels=Labels(names=labels), file_ending=".nii.gz"
            ),
            plan=replace(plan_of(configuration, axis_order=(0, 1, 2)), dataset=name),
            configuration_name=configuration.name,
            training=TrainingConfig(preset="test", epochs=1, width_fraction=width_fraction),
            decisions=(),
        )

    return build


@pytest.fixture
def workspace(tmp_path):
    return Workspace(path=tmp_path / "ws")


@pytest.fixture
def model_of(workspace, description_of):
    """Write a model into the workspace as a training does; the folds' weights all differ."""

    def write(*numbers, run="default", **options):
        description = description_of(**options)
        folder = workspace.dataset(description.dataset.name)
        documents.write(
            folder.dataset_file,
            Dataset(description=description.dataset, folder="raw", cases=()),
        )
        model = folder.run("default", description.configuration_name, run)
        documents.write(model / "model.json", description)
        for number in numbers:
            write_fold(model / f"fold_{number}", network_of(description, seed=number))
        return model

    return write


def network_of(description, *, seed):
    torch.manual_seed(seed)
    return build_network(
        description.configuration.arch,
        description.topology,
        channels_in=description.channels_in,
        channels_out=description.dataset.labels.channels,
    )


def write_fold(folder, network):
    data = save(network.state_dict())
    files.write_atomically(folder / "weights.safetensors", data)
    record = FoldRecord(
        fold=Fold(training=("a", "b"), validation=("c",)),
        weights_digest=files.digest(data),
        steps=7,
        minutes=0.5,
        device="cpu in float32",
    )
    documents.write(folder / "fold.json", record)


@pytest.mark.parametrize(
    ("finished", "wanted", "taken"),
    [
        pytest.param((0, 3), 3, 3, id="the-same-number"),
        pytest.param((2, 4), 0, 2, id="else-the-lowest"),
    ],
)
def test_of_a_model_folder_the_fold_of_the_same_number_is_taken(model_of, finished, wanted, taken):
    folder = model_of(*finished)
    found = find_initial(folder, wanted)
    assert (found.fold, found.is_fold_named, found.folder) == (taken, False, folder)
    expected = network_of(found.description, seed=taken).state_dict()
    assert found.weights.tensors.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(found.weights.tensors[name], weights, rtol=0, atol=0)
    weights = (folder / f"fold_{taken}" / "weights.safetensors").read_bytes()
    assert found.weights.origin == InitialFold(fold=taken, weights_digest=files.digest(weights))
    assert found.record.fold.training == ("a", "b")


def test_a_training_that_goes_on_keeps_the_fold_that_it_began_with(model_of):
    folder = model_of(0, 3)
    assert find_initial(folder, 3, settled=0).fold == 0


def test_a_fold_s_own_folder_names_the_fold(model_of, monkeypatch):
    folder = model_of(0, 3)
    found = find_initial(folder / "fold_3", 0)
    assert (found.fold, found.is_fold_named) == (3, True)
    monkeypatch.chdir(folder / "fold_3")
    assert find_initial(Path(), 0).fold == 3


@pytest.mark.parametrize("spelled", ["Task98_Old/3d_fullres", "Task98/3d_fullres", "98/3d_fullres"])
def test_a_model_of_the_workspace_may_be_spelled_shortly(model_of, workspace, spelled):
    folder = model_of(0)
    model_of(0, name="Task97_Other")
    found = find_initial(Path(spelled), 0, workspace)
    assert found.folder == folder
    assert found.path == spelled


def test_a_short_name_of_several_models_is_refused_unless_it_has_the_run(model_of, workspace):
    first, second = model_of(0), model_of(0, run="second")
    with pytest.raises(UsageError, match="--init 98/3d_fullres: may mean") as refusal:
        find_initial(Path("98/3d_fullres"), 0, workspace)
    assert str(first) in str(refusal.value)
    assert str(second) in str(refusal.value)
    assert find_initial(Path("98/3d_fullres/second"), 0, workspace).folder == second


def test_the_training_itself_and_untrained_models_are_not_meant(model_of, workspace):
    model, own = model_of(0), model_of(0, run="own")
    model_of(run="untrained")
    found = find_initial(Path("98/3d_fullres"), 1, workspace, besides=own)
    assert found.folder == model
    with pytest.raises(UsageError, match="is the very run that would start from it"):
        find_initial(own / "fold_0", 1, workspace, besides=own)


@pytest.mark.parametrize(
    "spelled", ["99/3d_fullres", "Task98/2d", "nowhere", "98/3d_fullres/second", "98/a/b/c"]
)
def test_a_name_of_no_model_is_refused_with_those_there_are(model_of, workspace, spelled):
    model_of(0)
    with pytest.raises(
        UsageError, match=f"--init {spelled}: is no model folder; it does not exist"
    ) as refusal:
        find_initial(Path(spelled), 0, workspace)
    assert refusal.value.hint.endswith("ws are: Task98_Old/3d_fullres")


def test_a_folder_without_a_model_is_refused(tmp_path, workspace):
    with pytest.raises(UsageError, match=r"is no model folder; it has no model.json") as refusal:
        find_initial(tmp_path, 0, workspace)
    assert "DATASET/CONFIGURATION" in refusal.value.hint


@pytest.mark.parametrize(
    ("place", "words"),
    [
        pytest.param("", r"fold 0 is not trained; finished are none", id="no-fold"),
        pytest.param("fold_2", r"fold 2 is not trained; finished are none", id="this-one"),
    ],
)
def test_a_model_without_a_finished_fold_is_refused(model_of, place, words):
    with pytest.raises(UsageError, match=words) as refusal:
        find_initial(model_of() / place, 1)
    assert refusal.value.rule == "E-MODEL-61"


def test_damaged_weights_are_refused_by_their_digest(model_of):
    path = model_of(0) / "fold_0" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"its digest differs from the one in fold\.json"):
        find_initial(path.parent.parent, 0)


def test_the_description_tells_where_from_and_how_much(model_of, description_of):
    folder = model_of(0, 1)
    new = description_of("Task99_New", labels=("background", "organ", "vessel"))
    initial = describe_initial(find_initial(folder, 0), new)
    parameters = sum(w.numel() for w in network_of(new, seed=0).parameters())
    assert initial == Initial(
        path=str(folder),
        dataset="Task98_Old",
        configuration="3d_fullres",
        model_digest=files.digest((folder / "model.json").read_bytes()),
        copied=10 * 4 + 2 * 2,  # ten units of convolution and norm, two upsamplings
        adapted=2 * 2,  # two heads
        fresh=0,
        unused=0,
        parameters=parameters,
        parameters_taken=parameters - (8 + 1) - (4 + 1),  # one row of each head is new
    )
    assert describe_initial(find_initial(folder, 1), new) == initial
    assert documents.parse(documents.encode(initial), Initial, "x") == initial


@pytest.mark.parametrize(
    ("options", "networks", "hint"),
    [
        pytest.param(
            {"features": (12, 16, 16)},
            "the model has a 3D plain network of 3 stages, 4 to 8 channels, this training a 3D "
            "plain network of 3 stages, 12 to 16 channels",
            "autoseg plan -d Task99_New --like FOLDER --plan like; then train 3d_fullres --plan "
            "like",
            id="width",
        ),
        pytest.param(
            {"spacing": (1.0, 1.5), "patch": (8, 12)},
            "this training a 2D plain network of 3 stages, 4 to 8 channels",
            "autoseg plan -d Task99_New --like FOLDER --plan like; then train 3d_fullres --plan "
            "like",
            id="axes",
        ),
    ],
)
def test_a_model_of_another_network_is_refused(model_of, description_of, options, networks, hint):
    folder = model_of(0)
    new = description_of("Task99_New", **options)
    with pytest.raises(UsageError, match=r"only 0 % of the network's parameters are in") as refusal:
        describe_initial(find_initial(folder, 0), new)
    assert networks in str(refusal.value)
    assert refusal.value.hint.endswith(hint.replace("FOLDER", str(folder)))


def test_a_model_of_another_share_of_the_plan_s_width_is_refused_with_that_share(
    model_of, description_of
):
    folder = model_of(0, features=(8, 16, 16), width_fraction=0.5)
    with pytest.raises(UsageError, match=r"4 to 8 channels, this training .* 8 to 16") as refusal:
        describe_initial(find_initial(folder, 0), description_of(features=(8, 16, 16)))
    assert refusal.value.hint == "train with the model's width: --width-fraction 0.5"


def test_matching_draws_nothing(model_of, description_of):
    found = find_initial(model_of(0), 0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    match_initial(found, description_of("Task99_New"))
    assert torch.equal(torch.get_rng_state(), before)
