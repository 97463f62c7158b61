"""The training of one fold: from its checkpoint, if there is one, to its end."""

from autoseg.core.errors import DamagedError, InterruptedRun
from autoseg.training import checkpoint
from autoseg.training.ending import Clock, stop_on_request
from autoseg.training.origin import check_origin, environment_notes
from autoseg.training.ranks import SINGLE, Ranks
from autoseg.training.report import EventName, Listener, Tell
from autoseg.training.saving import SAVE_EVERY_S, Saver
from autoseg.training.setup import FoldSetup
from autoseg.training.sitting import Sitting
from autoseg.training.state import TrainState, make_state


def train_fold(
    setup: FoldSetup,
    *,
    started: float,
    listener: Listener,
    tell: Tell | None = None,
    save_every_s: float = SAVE_EVERY_S,
    ranks: Ranks = SINGLE,
    workers: int | None = None,
) -> TrainState:
    """Train a fold to its end, from its checkpoint if there is one.

    Parameters
    ----------
    setup : FoldSetup
        What to train.
    started : float
        `time.monotonic` at the start of the command; time budgets count from there.
    listener : callable
        Told about progress after every step.
    tell : callable, optional
        Told what a person should read: warnings, a return to a checkpoint, an early end.
    save_every_s : float
        Time between checkpoints, seconds.
    ranks : Ranks
        The processes that train it together; the first one saves.
    workers : int, optional
        Who makes batches: see `autoseg.training.feeding.chosen_workers`.

    Returns
    -------
    TrainState
        The trained network and its history; a checkpoint of it is saved.

    Raises
    ------
    InterruptedRun
        If a signal asked for a stop, the state being saved, or if what came before the training
        used its time up; the same call carries on.
    TrainingError
        If the loss is no number for many steps, again after a return to a checkpoint.
    DamagedError
        If all checkpoints are damaged.
    UsageError
        If the checkpoint belongs to another training.
    """
    config = setup.description.training
    with (
        stop_on_request() as stopped,
        setup.open_feed(ranks, workers=workers) as feed,
        Saver(setup.folder, setup.origin, setup.device, every_s=save_every_s) as saver,
    ):
        state = make_state(setup.fresh_network(), config, setup.device)
        resume(setup, state, tell or _ignore)
        ranks.copy_first(state.network.state_dict().values())
        clock = Clock(started=started, before_s=state.elapsed_s)
        sitting = Sitting(
            setup=setup,
            state=state,
            clock=clock,
            feed=feed,
            saver=saver,
            stopped=stopped,
            listener=listener,
            tell=tell or _ignore,
            ranks=ranks,
        )
        if state.step == 0 and sitting.fraction() >= 1.0:
            raise InterruptedRun(
                f"fold {setup.number}: {clock.elapsed_s() / 60:.1f} minutes had passed before the "
                f"first step; the training may take {config.max_minutes:g}",
                hint="run the same command again: preparations are kept; or raise --max-minutes",
            )
        while sitting.fraction() < 1.0 or state.losses:
            sitting.train_epoch()
            state = sitting.state
        sitting.save()
    return state


def _ignore(name: EventName, text: str) -> None: ...


def resume(setup: FoldSetup, state: TrainState, tell: Tell) -> None:
    """Restore the fold's latest whole checkpoint into a fresh state, if there is one."""
    for step in checkpoint.steps(setup.folder)[:1]:
        try:
            begun = checkpoint.read_record(setup.folder, step)
        except DamagedError:
            break
        check_origin(setup.folder, begun.origin, setup.origin)
    found, damaged = checkpoint.restore_latest(setup.folder, state)
    if found is not None:
        check_origin(setup.folder, found.origin, setup.origin)
        now = checkpoint.environment(setup.device)
        for note in (*damaged, *environment_notes(found.environment, now)):
            tell("warning", note)
