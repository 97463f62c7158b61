import pytest
import torch
from torch import nn

from autoseg.core.errors import DamagedError
from autoseg.training import checkpoint
from autoseg.training.batches import Batch, augment_patches, read_patches
from autoseg.training.ending import CoolDown
from autoseg.training.state import make_state, update_average
from autoseg.training.step import training_step

CPU = torch.device("cpu")


def fresh_state(setup):
    return make_state(setup.fresh_network(), setup.description.training, setup.device)


def batch_of(source, epoch, step):
    images, targets = augment_patches(source, read_patches(source, epoch, step))
    return Batch(images=images, targets=targets, waited_s=0.0)


def train(setup, state, steps=1):
    for step in range(steps):
        training_step(
            state,
            batch_of(setup.source("training"), 9, step),
            labels=setup.description.dataset.labels,
            learning_rate=0.01,
            gradient_norm=12.0,
            batch_dice=False,
            device=setup.device,
        )


def save(setup, state):
    checkpoint.write(setup.folder, checkpoint.take(state, setup.origin, setup.device))


def find(setup):
    return checkpoint.read_record(setup.folder, checkpoint.steps(setup.folder)[0])


@pytest.fixture
def saved(setup_of):
    """Train two steps and save; return setup and state."""
    setup = setup_of(features=(4, 6, 8))
    state = fresh_state(setup)
    train(setup, state, 2)
    state.elapsed_s = 12.5
    state.history = [{"epoch": 0.0, "train_loss": 1.25}]
    save(setup, state)
    return setup, state


def restored(setup):
    state = fresh_state(setup)
    checkpoint.restore(setup.folder, find(setup), state)
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
    save(setup, state)
    again = restored(setup)
    assert_same_weights(state, again)
    for each in (state, again):
        train(setup, each, 3)
    assert_same_weights(state, again)


def test_numbers_come_back(saved):
    setup, state = saved
    again = restored(setup)
    assert (again.step, again.elapsed_s, again.history) == (2, 12.5, state.history)
    found = find(setup)
    assert (found.origin, found.step, found.scale) == (setup.origin, 2, None)
    assert found.environment.threads == torch.get_num_threads()
    assert dict(found.environment.versions)["torch"] == torch.__version__


def test_how_a_training_ends_and_what_was_skipped_come_back(saved):
    setup, state = saved
    state.step, state.skipped, state.rolled_back = 7, 3, True
    state.cool_down = CoolDown(step=5, fraction=0.25, steps=2)
    state.losses = [torch.tensor(0.5), torch.tensor(0.25)]
    save(setup, state)
    again = restored(setup)
    assert (again.skipped, again.rolled_back, again.cool_down) == (3, True, state.cool_down)
    assert torch.stack(again.losses).tolist() == [0.5, 0.25]


def test_average_of_the_weights_comes_back(setup_of):
    setup = setup_of(average_decay=0.5)
    state = fresh_state(setup)
    train(setup, state, 1)
    update_average(state, 0.5)
    save(setup, state)
    again = restored(setup)
    pairs = zip(state.average.parameters(), again.average.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    first = (state.average.heads[0].weight - state.network.heads[0].weight).abs().max()
    assert first > 0


def test_torchs_random_numbers_go_on(saved):
    setup, state = saved
    torch.manual_seed(5)
    save(setup, state)
    expected = torch.rand(3)
    torch.manual_seed(6)
    restored(setup)
    assert torch.equal(torch.rand(3), expected)


def test_restored_weights_keep_the_channels_last_order(saved):
    again = restored(saved[0])
    weight = again.network.encoder[1][0].conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_no_checkpoint_is_found_in_a_new_folder(tmp_path, setup_of):
    assert checkpoint.steps(tmp_path) == []
    assert checkpoint.restore_latest(tmp_path, fresh_state(setup_of())) == (None, ())


def test_the_last_two_and_the_best_are_kept(saved):
    setup, state = saved
    # Smoothed by 0.9: 0.5, 0.5 + 0.1 * 0.4 = 0.54, 0.9 * 0.54 + 0.1 * 0.1 = 0.496, 0.46
    for step, dice in ((3, 0.5), (4, 0.9), (5, 0.1), (6, 0.1)):
        state.step = step
        state.history.append({"epoch": step, "pseudo_dice": dice})
        save(setup, state)
    assert checkpoint.steps(setup.folder) == [6, 5, 4]
    assert {path.stem for path in setup.folder.iterdir()} == {
        "state_00000004",
        "state_00000005",
        "state_00000006",
    }


def test_of_equal_scores_the_earlier_is_the_best(saved):
    setup, state = saved
    for step in (3, 4, 5):
        state.step = step
        save(setup, state)
    assert checkpoint.steps(setup.folder) == [5, 4, 2]


def test_a_course_that_was_given_up_is_removed(saved):
    setup, state = saved
    for step in (90, 100, 110, 115):
        state.step = step
        save(setup, state)
    state.step = 105  # behind a return to step 100
    save(setup, state)
    assert checkpoint.steps(setup.folder) == [105, 2]
    assert restored(setup).step == 105


def test_damaged_checkpoint_falls_back_to_the_one_before(saved):
    setup, state = saved
    before = fresh_state(setup)
    checkpoint.restore(setup.folder, find(setup), before)
    train(setup, state)
    save(setup, state)
    (setup.folder / "state_00000003.safetensors").write_bytes(b"torn")
    again = fresh_state(setup)
    found, damaged = checkpoint.restore_latest(setup.folder, again)
    assert found.step == again.step == 2
    assert_same_weights(again, before)
    (note,) = damaged
    assert "state_00000003.safetensors: its digest differs" in note
    assert note.endswith("going on from step 2")


def test_where_all_are_damaged_the_latest_is_named(saved):
    setup, state = saved
    train(setup, state)
    save(setup, state)
    for step in (2, 3):
        (setup.folder / f"state_0000000{step}.safetensors").write_bytes(b"torn")
    with pytest.raises(DamagedError, match=r"state_00000003\.safetensors: its digest"):
        checkpoint.restore_latest(setup.folder, fresh_state(setup))


def test_run_killed_between_both_files_has_the_old_checkpoint(saved):
    setup, state = saved
    (setup.folder / "state_00000003.safetensors").write_bytes(b"whole or not, nothing names it")
    assert_same_weights(restored(setup), state)


def test_saving_the_same_step_twice_keeps_its_file(saved):
    setup, state = saved
    save(setup, state)
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


@pytest.mark.parametrize("content", [b"", b'{"digest": ', b"[]", b'{"schema_version": 2}'])
def test_damaged_record_is_named(saved, content):
    setup, _ = saved
    (setup.folder / "state_00000002.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"state_00000002\.json") as error:
        find(setup)
    assert error.value.rule == "E-MODEL-76"


def test_tensors_of_another_network_are_refused(saved, setup_of):
    setup, _ = saved
    wider = fresh_state(setup_of(features=(4, 6, 12)))
    found = find(setup)
    with pytest.raises(DamagedError, match=r"state_00000002\.safetensors: .*do not fit") as error:
        checkpoint.restore(setup.folder, found, wider)
    assert error.value.rule == "E-MODEL-76"


def test_cleared_folder_has_no_checkpoint_and_keeps_everything_else(saved):
    setup, _ = saved
    (setup.folder / "weights.safetensors").write_bytes(b"kept")
    checkpoint.clear(setup.folder)
    assert checkpoint.steps(setup.folder) == []
    assert [path.name for path in setup.folder.iterdir()] == ["weights.safetensors"]


def test_tensors_are_stored_without_code(saved):
    setup, _ = saved
    from safetensors import safe_open

    with safe_open(setup.folder / "state_00000002.safetensors", framework="numpy") as file:
        names = set(file.keys())
    assert {"network.stem.conv.weight", "network.heads.1.bias"} & names == {"network.heads.1.bias"}
    assert "optimizer.0.momentum_buffer" in names
    assert all(name.startswith(("network.", "optimizer.", "random.")) for name in names)


def test_loss_scale_comes_back(saved):
    setup, _ = saved
    scaled = fresh_state(setup)
    scaled.step = 3
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    scaled.scaler.scale(nn.Parameter(torch.ones(1)))  # the scale exists from the first use on
    scaled.scaler.load_state_dict({**scaled.scaler.state_dict(), "_growth_tracker": 3})
    save(setup, scaled)
    found = find(setup)
    assert (found.scale, found.scale_steps) == (512.0, 3)
    again = fresh_state(setup)
    again.scaler = torch.amp.GradScaler("cpu")
    checkpoint.restore(setup.folder, found, again)
    assert again.scaler.get_scale() == 512.0
    assert again.scaler.state_dict()["_growth_tracker"] == 3
