"""What is said of a training, from rows whose symptoms are plain to see; and what is not said."""

from math import exp
from random import Random

import pytest

from autoseg.core.training_history import gather_history
from autoseg.training.symptoms import bottleneck, find_symptoms, tell_new


def dice_history(values, *, steps=250, **others):
    """Return a history in which `tumor` has these Dice; None where no patch held it."""
    return gather_history(
        {
            "epoch": epoch,
            "step": steps * (epoch + 1),
            **({} if value is None else {"dice_tumor": value}),
            **others,
        }
        for epoch, value in enumerate(values)
    )


def loss_history(training, validation=None, *, dice=0.8):
    return gather_history(
        {
            "epoch": epoch,
            "train_loss": loss,
            "pseudo_dice": dice,
            **({"validation_loss": validation[epoch]} if validation else {}),
        }
        for epoch, loss in enumerate(training)
    )


def kinds(history, *, fraction=0.5):
    return [symptom.kind for symptom in find_symptoms(history, fraction=fraction)]


# Before it is lost the tumor is found in 20 of 20 epochs, or in every other.
ALWAYS, EVERY_OTHER = [0.0] * 3 + [0.6] * 20, [0.6, 0.0] * 10


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([*ALWAYS, *[0.0] * 5], ["collapsed"], id="gone"),
        pytest.param([*ALWAYS, *[0.0] * 4], [], id="gone-for-a-moment"),
        pytest.param([*ALWAYS, *[0.0] * 5, 0.3], [], id="back"),
        pytest.param([*ALWAYS, *[0.0, None] * 5], ["collapsed"], id="rare-in-patches"),
        pytest.param([*ALWAYS, *[None] * 9], [], id="in-no-patch"),
        # Of 19 epochs since the first find 9 missed it: (9 + 1) / (19 + 2) = 0.476, and
        # 0.476^9 = 0.0013, 0.476^10 = 0.0006: ten in a row are rarer than one in a thousand.
        pytest.param([*EVERY_OTHER[:-1], *[0.0] * 9], [], id="often-missed"),
        pytest.param([*EVERY_OTHER[:-1], *[0.0] * 10], ["collapsed"], id="often-missed-now-gone"),
    ],
)
def test_a_structure_has_collapsed_when_it_is_missed_more_often_than_by_chance(values, expected):
    assert kinds(dice_history(values)) == expected


@pytest.mark.parametrize(
    ("values", "fraction", "steps", "expected"),
    [
        pytest.param([0.0] * 8, 0.25, 250, ["never-found"], id="a-quarter-done"),
        pytest.param([0.0] * 8, 0.24, 250, [], id="too-early"),
        pytest.param([0.0] * 8, 0.01, 3125, ["never-found"], id="25000-steps"),
        pytest.param([0.0] * 4, 0.5, 250, [], id="too-few-epochs"),
        pytest.param([0.0, 0.05, *[0.0] * 5], 0.5, 250, ["never-found"], id="stray-voxels"),
        pytest.param([0.0] * 5 + [0.05], 0.5, 250, [], id="coming"),
    ],
)
def test_a_structure_should_be_found_once_in_time(values, fraction, steps, expected):
    assert kinds(dice_history(values, steps=steps), fraction=fraction) == expected


def test_a_symptom_names_the_structure_and_its_figures():
    (symptom,) = find_symptoms(dice_history([*ALWAYS, *[0.0] * 5]), fraction=0.5)

    assert symptom.structure == "tumor"
    assert symptom.text == (
        "tumor is no longer found: Dice below 0.01 for 5 epochs, after up to 0.600"
    )
    assert "--seed" in symptom.hint


def noisy(values, *, seed):
    rng = Random(seed)
    return [value + rng.gauss(0, 0.02) for value in values]


FALLING = [-0.6 - 0.005 * epoch for epoch in range(60)]


def test_a_validation_loss_that_rises_while_the_training_loss_falls_is_overfitting():
    rising = [-0.5 + 0.004 * epoch for epoch in range(60)]
    history = loss_history(noisy(FALLING, seed=1), noisy(rising, seed=2))
    (symptom,) = find_symptoms(history, fraction=0.5)

    assert symptom.kind == "overfitting"
    # A quarter of 60 epochs each: means 15 epochs apart, 0.004 and 0.005 per epoch.
    assert symptom.text.startswith("overfitting: from epochs 31-45 to 46-60 the validation loss")
    rise, fall = (float(part.split()[0]) for part in symptom.text.split(" by ")[1:])
    assert rise == pytest.approx(0.06, abs=0.02)
    assert fall == pytest.approx(0.075, abs=0.02)


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        pytest.param(FALLING, [-0.5] * 60, id="level"),
        pytest.param(FALLING, [-0.5 + 0.001 * k for k in range(60)], id="by-less-than-0.03"),
        pytest.param([-0.6] * 60, [-0.5 + 0.004 * k for k in range(60)], id="training-level"),
        pytest.param(FALLING[:29], [-0.5 + 0.004 * k for k in range(29)], id="too-short"),
    ],
)
def test_no_clear_rise_or_no_clear_fall_is_no_overfitting(training, validation):
    history = loss_history(noisy(training, seed=1), noisy(validation, seed=2))

    assert kinds(history) == []


def test_a_level_validation_loss_is_not_called_overfitting_however_often_one_looks():
    rng, found = Random(4), []
    for _ in range(5):
        wander, validation = 0.0, []
        for epoch in range(120):
            wander = 0.5 * wander + rng.gauss(0, 0.03)  # neighbors vary together
            validation.append(exp(-epoch / 8) - 0.5 + wander)
        training = [exp(-epoch / 8) - 0.6 - 0.002 * epoch for epoch in range(120)]
        found += [kinds(loss_history(training[:k], validation[:k])) for k in range(30, 121)]

    assert found == [[]] * 5 * 91


@pytest.mark.parametrize(
    ("losses", "dice", "expected"),
    [
        pytest.param([1.0] * 11, 0.1, ["stuck"], id="level"),
        pytest.param([1.0, *[0.2] * 10, *[1.1] * 5], 0.0, ["stuck"], id="came-back-up"),
        pytest.param([1.0] * 10, 0.1, [], id="too-early"),
        pytest.param([1.0, *[0.98] * 10], 0.1, [], id="falls-a-little"),
        pytest.param([-0.8] * 11, 0.85, [], id="goes-on-from-a-trained-model"),
    ],
)
def test_a_training_loss_that_does_not_fall_is_stuck(losses, dice, expected):
    assert kinds(loss_history(losses, dice=dice)) == expected


def test_skipped_steps_are_counted_with_their_epoch():
    history = gather_history([{"epoch": 0}, {"epoch": 1, "skipped_steps": 3}])
    (symptom,) = find_symptoms(history, fraction=0.1)

    assert symptom.text == "3 steps of epoch 2 were skipped: their loss is not a number"
    assert kinds(gather_history([{"epoch": 0, "skipped_steps": 0}])) == []


def test_nothing_is_said_of_nothing():
    assert find_symptoms(gather_history([]), fraction=1.0) == ()


def test_a_symptom_is_told_once_and_again_when_it_comes_back():
    # Told in the fifth epoch of being lost; then it was missed in 18 of 52 epochs, (18 + 1) /
    # (52 + 2) = 0.352, of which seven in a row are rarer than one in a thousand.
    values = [*ALWAYS, *[0.0] * 18, *[0.6] * 14, *[0.0] * 9]
    seen, told = {}, []
    for epoch in range(len(values)):
        symptoms = find_symptoms(dice_history(values[: epoch + 1]), fraction=0.5)
        fresh, seen = tell_new(symptoms, seen, epoch=epoch)
        told += [epoch] * len(fresh)

    assert told == [len(ALWAYS) + 4, len(ALWAYS) + 18 + 14 + 6]


def test_symptoms_of_two_structures_are_told_apart():
    rows = [{"epoch": e, "dice_a": 0.0, "dice_b": 0.5 if e < 4 else 0.0} for e in range(9)]
    one, other = find_symptoms(gather_history(rows), fraction=0.5)
    fresh, _ = tell_new([one, other], {("never-found", "a"): 7}, epoch=8)

    assert (one.kind, other.kind) == ("never-found", "collapsed")
    assert fresh == (other,)


@pytest.mark.parametrize(
    ("row", "machine", "expected"),
    [
        pytest.param(
            {"step_s": 0.1234, "wait_fraction": 0.6},
            {"device": "cuda:0 in bfloat16", "workers": 2, "cores": 16},
            # Two workers keep it busy for 0.4 of the time: 2 / 0.4 = 5 would for all of it.
            "0.123 s per step on cuda:0 in bfloat16, 60.0 % of the time waiting for data: "
            "try --workers 5 (now 2, of 16 cores)",
            id="more-workers",
        ),
        pytest.param(
            {"step_s": 1.0, "wait_fraction": 0.999},
            {"device": "cuda:0", "workers": 0, "cores": 4},
            "1 s per step on cuda:0, 99.9 % of the time waiting for data: "
            "try --workers 1 (now 0, of 4 cores)",
            id="none",
        ),
        pytest.param(
            {"step_s": 1.0, "wait_fraction": 0.5},
            {"device": "cuda:0", "workers": 4, "cores": 4},
            "1 s per step on cuda:0, 50.0 % of the time waiting for data: all 4 cores prepare "
            "patches already; move the workspace to a faster disk, or give this process more cores",
            id="no-core-left",
        ),
        pytest.param(
            {"step_s": 0.2, "wait_fraction": 0.004},
            {"device": "cuda:0", "workers": 2, "cores": 4},
            "0.2 s per step on cuda:0, 0.4 % of the time waiting for data: the device never "
            "waits, nothing to change",
            id="never-waits",
        ),
        pytest.param(
            {"step_s": 2.0, "wait_fraction": 0.0},
            {"device": "cpu in float32", "threads": 1, "cores": 2},
            "2 s per step on cpu in float32, 0.0 % of the time waiting for data: the device never "
            "waits; a narrower network has shorter steps: a smaller --width-fraction",
            id="cpu",
        ),
        pytest.param(
            {"step_s": 2.0, "wait_fraction": 0.0},
            {"device": "cpu in float32", "cores": 8},
            "2 s per step on cpu in float32, 0.0 % of the time waiting for data: the device never "
            "waits; torch computes with 1 of 8 cores: try OMP_NUM_THREADS=8",
            id="cpu-with-idle-cores",
        ),
        pytest.param(
            {"epoch": 0.0},
            {"device": "mps"},
            "on mps; how long it waited for data was not measured",
            id="unmeasured",
        ),
    ],
)
def test_the_bottleneck_names_one_setting(row, machine, expected):
    assert bottleneck(row, **{"threads": 1, "workers": 1, "cores": 2, **machine}) == expected
