import os
import signal
import threading
from dataclasses import replace
from time import monotonic

import numpy as np
import pytest
import torch

from autoseg.core.errors import InterruptedRun, TrainingError, UsageError
from autoseg.core.labels import Labels, Region
from autoseg.core.training_config import PRESETS
from autoseg.networks.device import Device
from autoseg.training import checkpoint, ending
from autoseg.training.batches import Batch, augment_patches, read_patches
from autoseg.training.ending import STOP_FILE
from autoseg.training.loop import train_fold
from autoseg.training.scores import better_weights, patch_scores
from autoseg.training.sitting import learning_rate
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


def train(setup, listener=nothing, *, started=None, told=None):
    return train_fold(
        setup,
        started=monotonic() if started is None else started,
        listener=listener,
        save_every_s=0.0,  # after every step
        tell=None if told is None else lambda name, text: told.append((name, text)),
    )


def batch_of(source, epoch, step):
    images, targets = augment_patches(source, read_patches(source, epoch, step))
    return Batch(images=images, targets=targets, waited_s=0.0)


def patch_scores_of(setup, state, epoch):
    with setup.open_feed() as feed:
        return patch_scores(setup, state, feed, epoch)


def latest(setup):
    """Return the step of the latest checkpoint; None where there is none."""
    return next(iter(checkpoint.steps(setup.folder)), None)


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
        pytest.param(kill, KeyboardInterrupt, 4, id="killed"),
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
    assert latest(setup) == steps_kept
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
    resumed = train(setup)
    assert_same_weights(resumed, undisturbed)
    assert losses(resumed) == losses(undisturbed)
    scores = [[row["pseudo_dice"] for row in state.history] for state in (resumed, undisturbed)]
    assert scores[0] == scores[1]


def test_a_stop_while_patches_are_scored_is_heard_and_the_row_is_made_later(setup_of, tmp_path):
    setup = setup_of(epochs=2, validation_steps=40)
    undisturbed = train(elsewhere(setup, tmp_path / "undisturbed"))
    network, scored = type(undisturbed.network), []
    forward = network.forward

    def stopping(self, *inputs):
        if not self.training:
            scored.append(0)
            if len(scored) == 5:
                os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, *inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "forward", stopping)
        with pytest.raises(InterruptedRun, match=r"after step 3;"):
            train(setup)
    assert len(scored) == 5
    resumed = train(setup)
    assert [row["epoch"] for row in resumed.history] == [0, 1]
    assert losses(resumed) == losses(undisturbed)
    assert_same_weights(resumed, undisturbed)


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


@pytest.fixture
def ticking(monkeypatch):
    """A listener by which the clock, which begins at 1,000 s, goes on by 1 s per step."""
    now = [1000.0]
    monkeypatch.setattr(ending, "monotonic", lambda: now[0])

    def listen(report):
        if not report.epoch_is_complete:
            now.append(now.pop() + 1)

    return listen


def test_time_budget_ends_the_training(setup_of, ticking):
    setup = setup_of(epochs=None, max_minutes=5 / 60, steps_per_epoch=2)
    reports = []
    state = train(setup, lambda each: (reports.append(each), ticking(each)), started=1000.0)
    assert (state.step, state.elapsed_s) == (5, 5.0)
    rates = [r.values["learning_rate"] for r in reports if not r.epoch_is_complete]
    assert rates == pytest.approx(
        [learning_rate(setup.description.training, n / 5) for n in range(5)]
    )


def test_time_budget_counts_from_the_start_of_the_command(setup_of, ticking):
    setup = setup_of(epochs=None, max_minutes=10.0, steps_per_epoch=50)
    state = train(setup, ticking, started=1000.0 - 597.0)
    assert (state.step, state.elapsed_s) == (3, 600.0)


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
    assert latest(setup) is None


def test_second_ctrl_c_stops_at_once_and_the_saved_epoch_stays(setup_of):
    setup = setup_of()

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(setup, after(4, twice))
    assert latest(setup) == 3


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


def test_checkpoint_of_other_settings_is_refused(setup_of):
    train(setup_of(epochs=1))
    with pytest.raises(UsageError, match="fold_0: holds a training with another plan") as error:
        train(setup_of(epochs=2))
    assert error.value.rule == "E-RUN-78"


def test_checkpoint_of_changed_data_is_refused_by_case(setup_of, case_of):
    setup = setup_of(epochs=1)
    train(setup)
    changed = replace(setup.cases[1], previous_key="another first stage")
    with pytest.raises(UsageError, match=r"another preprocessed data: changed two$"):
        train(replace(setup, cases=(setup.cases[0], changed)))
    more = case_of("four", np.ones((10, 17, 14), np.uint8))
    with pytest.raises(
        UsageError, match=r"another set of cases: new four; set of cases: gone two$"
    ):
        train(replace(setup, cases=(setup.cases[0], more)))


def test_other_threads_are_noted_and_the_training_goes_on(setup_of):
    setup = setup_of(epochs=2)
    with pytest.raises(InterruptedRun):
        train(setup, after(2, send(signal.SIGTERM)))
    torch.set_num_threads(2)
    told = []
    assert train(setup, told=told).step == 6
    ((name, text),) = told
    assert name == "warning"
    assert text.startswith("threads was 1 and is 2 now: the training goes on, but not bit for bit")


def test_damaged_checkpoint_falls_back_and_ends_in_the_same_weights(setup_of, tmp_path):
    setup = setup_of(epochs=2)
    undisturbed = train(elsewhere(setup, tmp_path / "undisturbed"))
    with pytest.raises(KeyboardInterrupt):
        train(setup, after(5, kill))
    path = setup.folder / "state_00000004.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    told = []
    resumed = train(setup, told=told)
    assert_same_weights(resumed, undisturbed)
    assert losses(resumed) == losses(undisturbed)
    ((_, text),) = told
    assert "fold_0/state_00000004.safetensors: its digest differs" in text
    assert text.endswith("going on from step 3")


def test_losses_that_are_no_number_end_the_training_by_name_after_one_return(setup_of, case_of):
    setup = setup_of(epochs=2)
    good = train(replace(setup, folder=setup.folder / "good"))
    segmentation = np.ones((10, 17, 14), np.uint8)
    broken = case_of("broken", segmentation, image=np.full((1, 10, 17, 14), np.nan))
    told = []
    with pytest.raises(
        TrainingError, match=r"fold 0, epoch 0, step 2 \(broken\): loss nan"
    ) as error:
        train(replace(setup, cases=(broken,)), told=told)
    assert error.value.rule == "E-RUN-70"
    assert "extreme intensities in broken" in error.value.hint
    assert [name for name, _ in told] == [*["warning"] * 3, "rollback", *["warning"] * 3]
    assert "going back to step 0 with 0.5 of the learning rate" in told[3][1]
    assert good.step == 6


def test_a_step_of_a_broken_case_is_skipped_and_the_others_are_made(setup_of, case_of):
    setup = setup_of(epochs=2, steps_per_epoch=8, learning_rate=0.02, optimizer="adamw")
    segmentation = np.ones((10, 17, 14), np.uint8)
    broken = case_of("broken", segmentation, image=np.full((1, 10, 17, 14), np.nan))
    told = []
    state = train(replace(setup, cases=(*setup.cases, broken)), told=told)
    assert state.step == 16
    assert all(torch.isfinite(value).all() for value in state.network.state_dict().values())
    names = {name for name, _ in told}
    assert names == {"warning"}
    assert all("broken" in text for _, text in told)
    assert sum(row.get("skipped_steps", 0) for row in state.history) >= len(told) > 0
    assert losses(state)[-1] < losses(state)[0]


def test_a_stop_file_ends_the_training_with_the_rate_at_its_end(setup_of):
    setup = setup_of(epochs=100, steps_per_epoch=10, learning_rate=0.5)
    reports, told = [], []

    def listen(report):
        if not report.epoch_is_complete:
            reports.append(report)
            if len(reports) == 20:
                (setup.folder / STOP_FILE).touch()

    state = train(setup, listen, told=told)
    # 20 steps were made, a tenth of them is the cool-down: 2 more, in the middle of an epoch.
    assert state.step == 22
    assert told == [
        ("stop", "a file STOP is there: the learning rate falls to its end within 2 steps")
    ]
    rates = [report.values["learning_rate"] for report in reports[-3:]]
    # 0.02 of the training was done; in the middle of the 2 steps 1/4 and 3/4 of the rest are.
    shares = [1 - 19.5 / 1000, 0.75 * 0.98, 0.25 * 0.98]
    np.testing.assert_allclose(rates, [0.5 * share**0.9 for share in shares])
    assert state.history[-1]["step"] == 22


def test_a_cool_down_goes_on_when_it_was_interrupted(setup_of, tmp_path):
    setup = setup_of(epochs=100, steps_per_epoch=10)

    def run(setup, steps):
        (setup.folder / STOP_FILE).parent.mkdir(parents=True, exist_ok=True)
        return train(setup, after(steps, (setup.folder / STOP_FILE).touch))

    undisturbed = run(elsewhere(setup, tmp_path / "undisturbed"), 30)
    reports = []

    def listen(report):
        if not report.epoch_is_complete:
            reports.append(report)
            if len(reports) == 30:
                (setup.folder / STOP_FILE).touch()
            if len(reports) == 32:
                kill()

    with pytest.raises(KeyboardInterrupt):
        train(setup, listen)
    (setup.folder / STOP_FILE).unlink()  # it was heard
    resumed = train(setup)
    assert resumed.step == undisturbed.step == 33
    assert_same_weights(resumed, undisturbed)


def test_patience_ends_a_training_that_learns_no_more(setup_of):
    setup = setup_of(epochs=50, steps_per_epoch=4, patience=3, learning_rate=1e-9)
    told = []
    state = train(setup, told=told)
    ((name, text),) = told
    assert name == "stop"
    assert text.startswith("3 epochs brought no better Dice: the learning rate falls to its end")
    assert 4 <= len(state.history) < 20


def test_the_better_of_weights_and_average_is_the_model(setup_of):
    setup = setup_of(epochs=4, steps_per_epoch=10, optimizer="adamw", learning_rate=0.02)
    state = train(setup)
    assert better_weights(setup, state) == (state.network, "the last weights")
    averaging = setup_of(
        epochs=4, steps_per_epoch=10, optimizer="adamw", learning_rate=0.02, average_decay=0.9
    )
    state = train(elsewhere(averaging, setup.folder / "averaging"))
    row = state.history[-1]
    assert 0 < row["average_pseudo_dice"] <= 1
    assert not torch.equal(state.average.heads[0].weight, state.network.heads[0].weight)
    kept = {name: value.clone() for name, value in state.network.state_dict().items()}
    with torch.no_grad():
        for weight in state.network.parameters():
            weight.zero_()
    network, reason = better_weights(averaging, state)
    assert network is state.average
    assert reason.startswith("the averaged weights (Dice on 20 batches of validation patches: ave")
    state.network.load_state_dict(kept)
    with torch.no_grad():
        for weight in state.average.parameters():
            weight.zero_()
    network, reason = better_weights(averaging, state)
    assert network is state.network
    assert reason.startswith("the last weights (Dice on 20 batches")


def test_patch_scores_are_dice_over_all_validation_patches(setup_of):
    setup = setup_of(validation_steps=3)
    state = make_state(setup.fresh_network(), setup.description.training, setup.device)
    scores = patch_scores_of(setup, state, 4)
    predicted, targets = [], []
    for step in range(3):
        batch = batch_of(setup.source("validation"), 4, step)
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
    scores = patch_scores_of(setup, state, 4)
    shared, sizes = np.zeros(2), np.zeros(2)
    for step in range(3):
        batch = batch_of(setup.source("validation"), 4, step)
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
        "elapsed_s",
        "learning_rate",
        "wait_fraction",
        "step_s",
        "train_loss",
        "epoch_s",
    }
