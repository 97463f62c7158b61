"""What goes wrong in a training, told from the figures of its epochs, and what to do about it.

Nothing here stops a training: it only says what a person who watched every curve would say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log, sqrt
from typing import Final, Literal

from autoseg.core.training_history import DICE, MEAN_DICE, Row, TrainingHistory

Kind = Literal["collapsed", "never-found", "overfitting", "stuck", "skipped-steps"]

LOST_DICE: Final = 0.01
"""Below this Dice a structure is not found: so much overlap a few stray voxels have."""
FOUND_DICE: Final = 0.1
"""From this Dice on a structure counts as found; far above `LOST_DICE`, so that noise between the
two makes no symptom come and go."""
LOST_EPOCHS: Final = 5
"""Epochs without a structure, at least, before that is said: one set of random patches may miss
it."""
LOST_BY_CHANCE: Final = 1e-3
"""Chance that a structure is missed that often in a row, judged by how often it was missed before;
rarer than that, it is a symptom. At one test per epoch that is one false alarm in 1000 epochs."""
NEVER_SHARE: Final = 0.25
"""Share of a training after which every structure should have been found once: small ones come
late, but what is missing at a quarter can still be stopped in time."""
NEVER_STEPS: Final = 25_000
"""Steps after which the same holds, however long the training is: 100 of nnU-Net's epochs."""
WINDOW_EPOCHS: Final = 15
"""Epochs, at least, of either window that tells whether a loss rises or falls; fewer give a
standard error that is itself too uncertain."""
WINDOW_SHARE: Final = 0.25
"""Share of all epochs so far in a window, where that is more: what matters is the trend."""
BLOCKS: Final = 5
"""Blocks of a window; the spread of their means is the noise. Neighboring epochs vary together, so
that the spread of single epochs would say too little."""
CLEAR_ERRORS: Final = 5.0
"""Standard errors by which a loss must have changed. Tried on simulated losses, noise of 0.03 with
a correlation of 0.5 between neighbors, tested after each epoch: a level validation loss was called
rising in 3 of 200 trainings of 250 epochs and none of 60 of 1000 (with 4: in 7 and none), one that
rose by 0.3 in 200 of 200."""
CLEAR_RISE: Final = 0.03
"""By how much the validation loss must have risen besides; losses lie between about 2 and -1, and
less than this is not worth a word, however certain."""
STUCK_EPOCHS: Final = 10
"""Epochs after which a training that works has a lower loss than in its first."""
STUCK_FALL: Final = 0.01
"""A fall of the training loss by less than this is none."""
STUCK_DICE: Final = 0.3
"""A mean Dice above this is learnt, in this training or in the one that it continues."""
QUIET_EPOCHS: Final = 10
"""A symptom that was away for at most so many epochs is the same one and is not told again."""
GOOD_WAIT: Final = 0.03
"""Share of the time that a device may wait for data; below it, faster data gain nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """Something that a person should know of a training."""

    kind: Kind
    """What it is."""
    structure: str = ""
    """Structure that it is about; empty if it is about none."""
    text: str
    """What is seen, with its figures."""
    hint: str
    """What to do about it."""


Seen = Mapping[tuple[str, str], float]
"""Epoch in which each symptom, by kind and structure, was last there."""


def find_symptoms(history: TrainingHistory, *, fraction: float) -> tuple[Symptom, ...]:
    """Return what is wrong after the last epoch of a history.

    Parameters
    ----------
    history : TrainingHistory
        What happened so far.
    fraction : float
        Share of the training that is done, 0 to 1.
    """
    if not history.rows:
        return ()
    found: list[Symptom] = []
    for structure in history.structures:
        found += _lost(history, structure, fraction)
    found += (*_overfitting(history), *_stuck(history), *_skipped(history.last))
    return tuple(found)


def tell_new(
    symptoms: Sequence[Symptom], seen: Seen, *, epoch: float
) -> tuple[tuple[Symptom, ...], Seen]:
    """Return the symptoms that were not there lately, and what is seen now.

    Parameters
    ----------
    symptoms : sequence of Symptom
        Those of the last epoch.
    seen : mapping
        What the call before returned; empty at first.
    epoch : float
        The last epoch.
    """
    never = -float("inf")
    fresh = tuple(
        symptom
        for symptom in symptoms
        if epoch - seen.get((symptom.kind, symptom.structure), never) > QUIET_EPOCHS
    )
    return fresh, {**seen, **{(s.kind, s.structure): epoch for s in symptoms}}


def bottleneck(row: Row, *, threads: int, workers: int, cores: int, device: str) -> str:
    """Say where the time of an epoch went, and the one setting that would change most.

    Parameters
    ----------
    row : mapping of str to float
        The epoch; ``step_s`` and ``wait_fraction`` count, where they are there.
    threads : int
        Threads that torch computes with on the CPU.
    workers : int
        Threads or processes that read and prepare patches.
    cores : int
        Cores that this process may use.
    device : str
        Where the network is trained, such as ``cpu in bfloat16``.

    Returns
    -------
    str
        One line.
    """
    pace = f"{row['step_s']:.3g} s per step on {device}" if "step_s" in row else f"on {device}"
    if "wait_fraction" not in row:
        return f"{pace}; how long it waited for data was not measured"
    wait = row["wait_fraction"]
    where = f"{pace}, {100 * wait:.1f} % of the time waiting for data"
    if wait < GOOD_WAIT:
        return f"{where}: {_faster_steps(device, threads=threads, cores=cores)}"
    if workers < cores:
        # What `workers` deliver keeps the device busy for 1 - wait of the time.
        needed = min(cores, max(workers + 1, ceil(workers / max(1 - wait, 1e-3))))
        return f"{where}: try --workers {needed} (now {workers}, of {cores} cores)"
    return (
        f"{where}: all {cores} cores prepare patches already; "
        "move the workspace to a faster disk, or give this process more cores"
    )


def _faster_steps(device: str, *, threads: int, cores: int) -> str:
    """Say what makes the steps of a device faster that never waits."""
    if not device.startswith("cpu"):
        return "the device never waits, nothing to change"
    if 2 * threads < cores:  # torch takes one thread per physical core, of two logical ones
        return (
            f"the device never waits; torch computes with {threads} of {cores} cores: "
            f"try OMP_NUM_THREADS={cores}"
        )
    return (
        "the device never waits; a narrower network has shorter steps: a smaller --width-fraction"
    )


def _lost(history: TrainingHistory, structure: str, fraction: float) -> Iterator[Symptom]:
    """Tell of a structure that is found no more, or was never found."""
    name = DICE + structure
    if next(row[name] for row in reversed(history.rows) if name in row) >= LOST_DICE:
        return
    values = history.series(name).values
    found = next((k for k, dice in enumerate(values) if dice >= FOUND_DICE), None)
    run = next((k for k, dice in enumerate(reversed(values)) if dice >= LOST_DICE), len(values))
    if found is None:
        late = fraction >= NEVER_SHARE or history.last.get("step", 0) >= NEVER_STEPS
        if late and run >= LOST_EPOCHS:
            yield Symptom(
                kind="never-found",
                structure=structure,
                text=f"{structure} was found in none of {len(values)} epochs; its best Dice is "
                f"{max(values):.3f}",
                hint=f"look at {structure} in a few cases; a small or rare structure may need "
                "more epochs",
            )
        return
    before = values[found : len(values) - run]
    if run >= _run_beyond_chance(before):
        yield Symptom(
            kind="collapsed",
            structure=structure,
            text=f"{structure} is no longer found: Dice below {LOST_DICE:g} for {run} epochs, "
            f"after up to {max(values):.3f}",
            hint="if it does not come back, train again with another --seed and --run",
        )


def _run_beyond_chance(before: Sequence[float]) -> int:
    """Return how many misses in a row are no chance, given the epochs since the first find."""
    missed = sum(dice < LOST_DICE for dice in before)
    share = (missed + 1) / (len(before) + 2)  # Laplace's rule: few epochs prove little
    return max(LOST_EPOCHS, ceil(log(LOST_BY_CHANCE) / log(share)))


def _overfitting(history: TrainingHistory) -> Iterator[Symptom]:
    """Tell of a validation loss that rises while the training loss falls."""
    size = max(WINDOW_EPOCHS, round(WINDOW_SHARE * len(history.rows)))
    rows = history.rows[-2 * size :]
    names = ("train_loss", "validation_loss")
    if len(rows) < 2 * size or any(name not in row for row in rows for name in names):
        return
    training, validation = ([row[name] for row in rows] for name in names)
    fall, rise = -_change(training), _change(validation)
    clear_fall, clear_rise = (CLEAR_ERRORS * _error(loss) for loss in (training, validation))
    if fall > clear_fall and rise > max(CLEAR_RISE, clear_rise):
        first, last = int(rows[0]["epoch"]) + 1, int(rows[-1]["epoch"]) + 1
        yield Symptom(
            kind="overfitting",
            text=f"overfitting: from epochs {first}-{last - size} to {last - size + 1}-{last} the "
            f"validation loss rose by {rise:.3f} to {_mean(validation[size:]):.3f} while the "
            f"training loss fell by {fall:.3f} to {_mean(training[size:]):.3f}",
            hint="more cases or a preset with full augmentation help; fewer epochs lose nothing",
        )


def _stuck(history: TrainingHistory) -> Iterator[Symptom]:
    """Tell of a training loss that is no lower than in the first epoch."""
    losses = history.series("train_loss").values
    if len(losses) <= STUCK_EPOCHS:
        return
    now = _mean(losses[-LOST_EPOCHS:])
    dice = history.series(MEAN_DICE).values[-LOST_EPOCHS:]
    if losses[0] - now < STUCK_FALL and not (dice and _mean(dice) > STUCK_DICE):
        yield Symptom(
            kind="stuck",
            text=f"the training loss is stuck: {now:.3f} over the last {LOST_EPOCHS} epochs, "
            f"{losses[0]:.3f} in the first",
            hint="look at images and segmentations (autoseg check); train with another preset",
        )


def _skipped(row: Row) -> Iterator[Symptom]:
    """Tell of steps whose loss was no number."""
    if row.get("skipped_steps", 0) > 0:
        yield Symptom(
            kind="skipped-steps",
            text=f"{row['skipped_steps']:.0f} steps of epoch {int(row['epoch']) + 1} were skipped: "
            "their loss is not a number",
            hint="look for extreme image intensities (autoseg check)",
        )


def _change(values: Sequence[float]) -> float:
    """Return by how much the mean of the second half exceeds that of the first."""
    half = len(values) // 2
    return _mean(values[half:]) - _mean(values[:half])


def _error(values: Sequence[float]) -> float:
    """Return the standard error of `_change`, from neighbors: a trend does not count as noise."""
    size = len(values) // (2 * BLOCKS)
    starts = range(len(values) - 2 * BLOCKS * size, len(values), size)
    blocks = [_mean(values[start : start + size]) for start in starts]
    variance = _mean([(b - a) ** 2 / 2 for a, b in pairwise(blocks)])
    return sqrt(2 * variance / BLOCKS)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
