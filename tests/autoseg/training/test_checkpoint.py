import json

import pytest
import torch
from torch import nn

from autoseg.core.errors import DamagedError, UsageError
from autoseg.training import checkpoint
from autoseg.training.batches import stream
from autoseg.training.state import make_state
from autoseg.training.step import training_step

CPU = torch.device("cpu")


def fresh_state(setup):
    return make_state(setup.fresh_network(), setup.description.training, setup.device)


def train(setup, state, steps=1):
    for batch in stream(setup.source("training"), [(9, k) for k in range(steps)], CPU):
        training_step(
            state,
            batch,
            labels=setup.description.dataset.labels,
            learning_rate=0.01,
            gradient_norm=12.0,
            batch_dice=False,
            device=setup.device,
        )


@pytest.fixture
def saved(setup_of):
    """Train two steps and save; return setup and state."""
    setup = setup_of(features=(4, 6, 8))
    state = fresh_state(setup)
    train(setup, state, 2)
    state.elapsed_s = 12.5
    state.history = [{"epoch": 0.0, "train_loss": 1.25}]
    checkpoint.save(setup.folder, state, "the key")
    return setup, state


def restored(setup):
    state = fresh_state(setup)
    checkpoint.restore(setup.folder, checkpoint.find(setup.folder), state)
    return state


def assert_same_weights(first, second):
    for (name, one), (_, other) in zip(
        first.network.state_dict().items(), second.network.state_dict().items(), strict=True
    ):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_restored_training_goes_on_as_the_saved_one(setup_of, optimizer):
    setup = setup_of(features=(4, 6, 8), optimizer=optimizer)
    state = fresh_state(setup)
    train(setup, state, 2)
    checkpoint.save(setup.folder, state, "key")
    again = restored(setup)
    assert_same_weights(state, again)
    for each in (state, again):
        train(setup, each, 3)
    assert_same_weights(state, again)


def test_numbers_come_back(saved):
    setup, state = saved
    again = restored(setup)
    assert (again.step, again.elapsed_s, again.history) == (2, 12.5, state.history)
    found = checkpoint.find(setup.folder)
    assert (found.key, found.step, found.scale) == ("the key", 2, None)
    assert found.threads == torch.get_num_threads()


def test_restored_weights_keep_the_channels_last_order(saved):
    again = restored(saved[0])
    weight = again.network.encoder[1][0].conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_no_checkpoint_is_found_in_a_new_folder(tmp_path):
    assert checkpoint.find(tmp_path) is None


def test_only_the_latest_checkpoint_is_kept(saved):
    setup, state = saved
    train(setup, state)
    checkpoint.save(setup.folder, state, "the key")
    assert sorted(path.name for path in setup.folder.iterdir()) == [
        "checkpoint.json",
        "state_00000003.safetensors",
    ]


def test_run_killed_between_both_files_has_the_old_checkpoint(saved):
    setup, state = saved
    (setup.folder / "state_00000003.safetensors").write_bytes(b"whole or not, nothing names it")
    assert_same_weights(restored(setup), state)


def test_saving_the_same_step_twice_keeps_its_file(saved):
    setup, state = saved
    checkpoint.save(setup.folder, state, "the key")
    assert_same_weights(restored(setup), state)


@pytest.mark.parametrize("place", [0.0, 0.01, 0.5, 1.0], ids=["size", "header", "middle", "end"])
def test_flipped_byte_is_found_and_the_file_named(saved, place):
    setup, _ = saved
    path = setup.folder / "state_00000002.safetensors"
    data = bytearray(path.read_bytes())
    data[round(place * (len(data) - 1))] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"state_00000002\.safetensors: its digest") as error:
        restored(setup)
    assert error.value.rule == "E-MODEL-76"
    assert "start it anew" in error.value.hint


def test_missing_file_is_named(saved):
    setup, _ = saved
    (setup.folder / "state_00000002.safetensors").unlink()
    with pytest.raises(DamagedError, match=r"state_00000002\.safetensors: cannot be read"):
        restored(setup)


@pytest.mark.parametrize("content", [b"", b'{"file": ', b"[]", b'{"schema_version": 1}'])
def test_damaged_record_is_named(saved, content):
    setup, _ = saved
    (setup.folder / "checkpoint.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"checkpoint\.json") as error:
        checkpoint.find(setup.folder)
    assert error.value.rule == "E-MODEL-76"


def test_record_that_names_a_file_elsewhere_is_refused(saved):
    setup, _ = saved
    path = setup.folder / "checkpoint.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"file": "../other/state_00000002.safetensors"}))
    with pytest.raises(DamagedError, match="state_00000002"):
        restored(setup)


def test_tensors_of_another_network_are_refused(saved, setup_of):
    setup, _ = saved
    wider = fresh_state(setup_of(features=(4, 6, 12)))
    found = checkpoint.find(setup.folder)
    with pytest.raises(DamagedError, match=r"state_00000002\.safetensors: .*do not fit") as error:
        checkpoint.restore(setup.folder, found, wider)
    assert error.value.rule == "E-MODEL-76"


def test_foreign_checkpoint_names_its_folder(tmp_path):
    error = checkpoint.foreign(tmp_path)
    assert isinstance(error, UsageError)
    assert str(tmp_path) in error.text
    assert error.rule == "E-RUN-78"


def test_cleared_folder_has_no_checkpoint_and_keeps_everything_else(saved):
    setup, _ = saved
    (setup.folder / "weights.safetensors").write_bytes(b"kept")
    checkpoint.clear(setup.folder)
    assert checkpoint.find(setup.folder) is None
    assert [path.name for path in setup.folder.iterdir()] == ["weights.safetensors"]


def test_tensors_are_stored_without_code(saved):
    setup, _ = saved
    from safetensors import safe_open

    with safe_open(setup.folder / "state_00000002.safetensors", framework="numpy") as file:
        names = set(file.keys())
    assert {"network.stem.conv.weight", "network.heads.1.bias"} & names == {"network.heads.1.bias"}
    assert "optimizer.0.momentum_buffer" in names
    assert all(name.startswith(("network.", "optimizer.")) for name in names)


def test_loss_scale_comes_back(saved):
    setup, _ = saved
    scaled = fresh_state(setup)
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    scaled.scaler.scale(nn.Parameter(torch.ones(1)))  # the scale exists from the first use on
    checkpoint.save(setup.folder, scaled, "the key")
    found = checkpoint.find(setup.folder)
    assert found.scale == 512.0
    again = fresh_state(setup)
    again.scaler = torch.amp.GradScaler("cpu")
    checkpoint.restore(setup.folder, found, again)
    assert again.scaler.get_scale() == 512.0
