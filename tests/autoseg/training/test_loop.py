import os
import signal
import threading
from dataclasses import replace
from time import monotonic

import numpy as np
import pytest
import torch

from autoseg.core.errors import DamagedError, InterruptedRun, TrainingError, UsageError
from autoseg.core.labels import Labels, Region
from autoseg.core.training_config import PRESETS, TrainingConfig
from autoseg.networks.device import Device
from autoseg.training import checkpoint
from autoseg.training.batches import stream
from autoseg.training.loop import fraction_done, learning_rate, patch_scores, train_fold
from autoseg.training.state import make_state

HALF = Device(torch_device=torch.device("cpu"), autocast=torch.bfloat16)
WHOLE = Device(torch_device=torch.device("cpu"), autocast=None)
REGIONS = Labels(
    names=("background", "organ", "tumor"),
    regions=(
        Region(name="whole", labels=(1, 2), written=1),
        Region(name="tumor", labels=(2,), written=2),
    ),
    ignore=7,
)


def nothing(report):
    """Listen to nothing."""


def train(setup, listener=nothing, *, started=None):
    return train_fold(setup, started=monotonic() if started is None else started, listener=listener)


def after(steps, act):
    """Return a listener that acts once, after so many steps."""
    told = []

    def listen(report):
        if not report.epoch_is_complete:
            told.append(report)
            if len(told) == steps:
                act()

    return listen


def send(number):
    return lambda: os.kill(os.getpid(), number)


def kill():
    """Stop at once, as a kill would: nothing is saved any more."""
    raise KeyboardInterrupt


def elsewhere(setup, folder):
    """Return the same training in another folder."""
    return replace(setup, folder=folder)


def assert_same_weights(first, second):
    for (name, one), (_, other) in zip(
        first.network.state_dict().items(), second.network.state_dict().items(), strict=True
    ):
        assert torch.equal(one, other), name


def losses(state):
    return [row["train_loss"] for row in state.history]


@pytest.mark.parametrize(
    ("stop", "error", "steps_kept"),
    [
        pytest.param(send(signal.SIGINT), InterruptedRun, 5, id="sigint"),
        pytest.param(send(signal.SIGTERM), InterruptedRun, 5, id="sigterm"),
        pytest.param(kill, KeyboardInterrupt, 3, id="killed"),
    ],
)
@pytest.mark.parametrize(
    ("device", "optimizer"),
    [
        pytest.param(WHOLE, "sgd", id="float32-sgd"),
        pytest.param(HALF, "adamw", id="bfloat16-adamw"),
    ],
)
def test_interrupted_training_ends_in_the_same_weights(
    setup_of, tmp_path, device, optimizer, stop, error, steps_kept
):
    setup = setup_of(device=device, optimizer=optimizer, epochs=3)
    undisturbed = train(elsewhere(setup, tmp_path / "undisturbed"))
    with pytest.raises(error):
        train(setup, after(5, stop))  # in the middle of the second epoch of 3 steps
    assert checkpoint.find(setup.folder).step == steps_kept
    resumed = train(setup)
    assert resumed.step == undisturbed.step == 9
    assert_same_weights(resumed, undisturbed)
    assert losses(resumed)[-1] == losses(undisturbed)[-1]


def test_training_stopped_after_every_step_ends_in_the_same_weights(setup_of, tmp_path):
    setup = setup_of(schedule="cosine", warmup_fraction=0.3)
    undisturbed = train(elsewhere(setup, tmp_path / "undisturbed"))
    for step in range(1, 7):
        with pytest.raises(InterruptedRun, match=f"stopped after step {step}; the state is saved"):
            train(setup, after(1, send(signal.SIGINT)))
    assert_same_weights(train(setup), undisturbed)


def test_training_learns_what_is_easy(setup_of):
    setup = setup_of(epochs=5, steps_per_epoch=10, optimizer="adamw", learning_rate=0.02)
    state = train(setup)
    assert losses(state)[-1] < 0.5 * losses(state)[0]
    assert state.history[-1]["validation_loss"] < 0.7 * state.history[0]["validation_loss"]
    assert state.history[-1]["dice_organ"] > 0.75


def test_finished_training_is_not_trained_again(setup_of):
    setup = setup_of()
    state = train(setup)
    reports = []
    again = train(setup, reports.append)
    assert reports == []
    assert_same_weights(again, state)
    assert again.history == state.history


def test_every_epoch_has_a_row(setup_of):
    state = train(setup_of(epochs=2, steps_per_epoch=3))
    assert [(row["epoch"], row["step"]) for row in state.history] == [(0, 3), (1, 6)]
    for row in state.history:
        assert {"train_loss", "validation_loss", "pseudo_dice", "dice_organ", "dice_tumor"} <= set(
            row
        )
        assert row["pseudo_dice"] == pytest.approx((row["dice_organ"] + row["dice_tumor"]) / 2)
        assert 0 <= row["wait_fraction"] <= 1


def test_listener_hears_of_every_step_and_every_epoch(setup_of):
    reports = []
    train(setup_of(epochs=2, steps_per_epoch=3), reports.append)
    assert [(r.epoch, r.epoch_is_complete) for r in reports] == [
        *[(0, False)] * 3,
        (0, True),
        *[(1, False)] * 3,
        (1, True),
    ]
    steps = [r.fraction for r in reports if not r.epoch_is_complete]
    np.testing.assert_allclose(steps, np.arange(1, 7) / 6)
    assert reports[-1].remaining_s == 0
    assert reports[0].remaining_s > 0
    assert {r.epochs for r in reports} == {2}


def test_rate_falls_with_every_step(setup_of):
    reports = []
    train(setup_of(epochs=1, steps_per_epoch=4, learning_rate=0.5), reports.append)
    rates = [r.values["learning_rate"] for r in reports if not r.epoch_is_complete]
    np.testing.assert_allclose(rates, [0.5 * (1 - (k + 0.5) / 4) ** 0.9 for k in range(4)])


@pytest.mark.parametrize(
    ("name", "fraction", "rate"),
    [
        # nnU-Net's rate after 0, 1, 500 and 999 of 1000 epochs.
        pytest.param("full", 0.0, 0.01, id="full-start"),
        pytest.param("full", 0.001, 0.009991, id="full-after-1-epoch"),
        pytest.param("full", 0.5, 0.00535887, id="full-half"),
        pytest.param("full", 0.999, 1.99526e-5, id="full-last-epoch"),
        pytest.param("full", 1.0, 0.0, id="full-end"),
        # Rises over the first 2 %, then falls as half a cosine wave.
        pytest.param("fast", 0.0, 0.0, id="fast-start"),
        pytest.param("fast", 0.01, 1.5e-3, id="fast-half-risen"),
        pytest.param("fast", 0.02, 3e-3, id="fast-peak"),
        pytest.param("fast", 0.51, 1.5e-3, id="fast-half-fallen"),
        pytest.param("fast", 1.0, 0.0, id="fast-end"),
    ],
)
def test_learning_rate_of_the_presets(name, fraction, rate):
    assert learning_rate(PRESETS[name], fraction) == pytest.approx(rate, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("epochs", "max_minutes", "step", "elapsed_s", "fraction"),
    [
        pytest.param(4, None, 0, 1e9, 0.0, id="steps-only-start"),
        pytest.param(4, None, 10, 0.0, 0.25, id="steps-only"),
        pytest.param(4, None, 41, 0.0, 1.0, id="never-above-1"),
        pytest.param(None, 2.0, 999, 30.0, 0.25, id="time-only"),
        pytest.param(None, 2.0, 0, 121.0, 1.0, id="time-is-over"),
        pytest.param(4, 2.0, 10, 60.0, 0.5, id="time-is-further"),
        pytest.param(4, 2.0, 30, 60.0, 0.75, id="steps-are-further"),
    ],
)
def test_fraction_done(epochs, max_minutes, step, elapsed_s, fraction):
    config = TrainingConfig(
        preset="test", epochs=epochs, steps_per_epoch=10, max_minutes=max_minutes
    )
    assert fraction_done(config, step, elapsed_s) == fraction


def test_time_budget_ends_the_training(setup_of):
    setup = setup_of(epochs=None, max_minutes=0.4 / 60, steps_per_epoch=2)
    reports = []
    began = monotonic()
    state = train(setup, reports.append)
    assert 0.4 <= monotonic() - began < 10
    assert state.step == sum(not r.epoch_is_complete for r in reports) > 0
    rates = [r.values["learning_rate"] for r in reports if not r.epoch_is_complete]
    assert rates == sorted(rates, reverse=True)


def test_time_budget_counts_from_the_start_of_the_command(setup_of):
    setup = setup_of(epochs=None, max_minutes=10.0, steps_per_epoch=50)
    state = train(setup, started=monotonic() - 599.7)
    assert state.elapsed_s > 599.7
    assert state.step > 0


def test_time_of_earlier_sittings_counts(setup_of):
    setup = setup_of(epochs=None, max_minutes=10.0)
    with pytest.raises(InterruptedRun):
        train(setup, after(2, send(signal.SIGINT)), started=monotonic() - 400)
    state = train(setup, started=monotonic() - 300)  # 700 of 600 s
    assert state.step == 2


def test_training_without_time_for_a_step_is_refused(setup_of):
    setup = setup_of(epochs=None, max_minutes=10.0)
    with pytest.raises(InterruptedRun, match=r"fold 0: 11\.0 minutes had passed.*take 10") as error:
        train(setup, started=monotonic() - 660)
    assert "--max-minutes" in error.value.hint
    assert checkpoint.find(setup.folder) is None


def test_second_signal_stops_at_once_and_the_saved_epoch_stays(setup_of):
    setup = setup_of()

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(setup, after(4, twice))
    assert checkpoint.find(setup.folder).step == 3


def test_signals_are_handled_as_before_when_the_training_is_over(setup_of):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    setup = setup_of(epochs=1)
    for act in (send(signal.SIGTERM), kill):
        with pytest.raises((InterruptedRun, KeyboardInterrupt)):
            train(setup, after(1, act))
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    train(setup)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_training_runs_in_a_thread_that_gets_no_signals(setup_of):
    states = []
    thread = threading.Thread(target=lambda: states.append(train(setup_of(epochs=1))))
    thread.start()
    thread.join()
    assert states[0].step == 3


def test_checkpoint_of_another_training_is_refused(setup_of):
    train(setup_of(epochs=1))
    with pytest.raises(UsageError, match="fold_0: holds a training with another plan") as error:
        train(setup_of(epochs=2))
    assert error.value.rule == "E-RUN-78"


def test_damaged_checkpoint_is_refused_by_name(setup_of):
    setup = setup_of(epochs=1)
    train(setup)
    path = setup.folder / "state_00000003.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"fold_0/state_00000003\.safetensors: its digest"):
        train(setup)


def test_loss_that_is_no_number_ends_the_training_and_keeps_the_last_checkpoint(setup_of, case_of):
    setup = setup_of(epochs=1)
    segmentation = np.ones((10, 17, 14), np.uint8)
    broken = case_of("broken", segmentation, image=np.full((1, 10, 17, 14), np.nan))
    with pytest.raises(TrainingError, match="fold 0, epoch 0: the loss is nan") as error:
        train(replace(setup, cases=(broken,)))
    assert error.value.rule == "E-RUN-70"
    assert checkpoint.find(setup.folder) is None


def test_patch_scores_are_dice_over_all_validation_patches(setup_of):
    setup = setup_of(validation_steps=3)
    state = make_state(setup.fresh_network(), setup.description.training, setup.device)
    scores = patch_scores(setup, state, 4)
    predicted, targets = [], []
    for batch in stream(
        setup.source("validation"), [(4, k) for k in range(3)], torch.device("cpu")
    ):
        with torch.no_grad():
            predicted.append(state.network(batch.images)[0].argmax(1).numpy())
        targets.append(batch.targets.numpy())
    p, t = np.concatenate(predicted), np.concatenate(targets)
    for label, name in ((1, "organ"), (2, "tumor")):
        both = ((p == label) & (t == label)).sum()
        expected = 2 * both / ((p == label).sum() + (t == label).sum())
        assert scores[f"dice_{name}"] == pytest.approx(expected)


def test_patch_scores_of_regions_leave_out_ignored_voxels(setup_of, case_of):
    segmentation = np.zeros((10, 17, 14), np.uint8)
    segmentation[2:7, 3:12, 4:10] = 1
    segmentation[3:6, 4:8, 5:9] = 2
    segmentation[:, :6] = 3  # ignored
    case_of("three", segmentation, labels=REGIONS)
    setup = setup_of(labels=REGIONS, validation_steps=3)
    state = make_state(setup.fresh_network(), setup.description.training, setup.device)
    scores = patch_scores(setup, state, 4)
    shared, sizes = np.zeros(2), np.zeros(2)
    for batch in stream(
        setup.source("validation"), [(4, k) for k in range(3)], torch.device("cpu")
    ):
        with torch.no_grad():
            p = state.network(batch.images)[0].sigmoid().numpy() > 0.5
        t = batch.targets.numpy()
        assert (t == 3).any()
        for k, region in enumerate(REGIONS.regions):
            said, true = p[:, k][t != 3], np.isin(t, region.labels)[t != 3]
            shared[k] += (said & true).sum()
            sizes[k] += said.sum() + true.sum()
    assert [scores[f"dice_{region.name}"] for region in REGIONS.regions] == pytest.approx(
        (2 * shared / sizes).tolist()
    )
    assert sum(key.startswith("dice_") for key in scores) == 2


def test_training_on_regions_and_few_annotated_slices_learns(setup_of, case_of):
    rng = np.random.default_rng(5)
    for name in ("one", "two", "three"):
        segmentation = np.zeros((10, 17, 14), np.uint8)
        segmentation[2:7, 3:12, 4:10] = 1
        segmentation[3:6, 4:8, 5:9] = 2
        image = (segmentation + rng.normal(scale=0.2, size=segmentation.shape))[None]
        segmentation[::2] = 3  # ignored
        case_of(name, segmentation, image=image, labels=REGIONS)
    setup = setup_of(
        labels=REGIONS, epochs=4, steps_per_epoch=10, optimizer="adamw", learning_rate=0.02
    )
    state = train(setup)
    assert losses(state)[-1] < 0.7 * losses(state)[0]
    assert state.history[-1][f"dice_{REGIONS.regions[0].name}"] > 0.6


def test_scores_are_left_out_where_no_validation_is_asked_for(setup_of):
    setup = setup_of(validation_steps=0, epochs=1)
    assert set(train(setup).history[0]) == {
        "epoch",
        "step",
        "learning_rate",
        "wait_fraction",
        "train_loss",
        "epoch_s",
    }
