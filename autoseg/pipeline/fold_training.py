"""One fold of a training: from preprocessed cases to weights and their validation."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autoseg.core.folds import Splits
from autoseg.core.model import RECORD_FILE, WEIGHTS_FILE, FoldRecord, ModelDescription
from autoseg.core.version import __version__
from autoseg.evaluation.summary import Summary
from autoseg.execution.allocator import keep_freed_memory
from autoseg.execution.progress import Progress
from autoseg.io import documents, files
from autoseg.io.journal import Journal
from autoseg.pipeline.fold import Training
from autoseg.pipeline.fold_cases import gather_together, prepare_cascade
from autoseg.pipeline.initial_model import find_initial
from autoseg.pipeline.initial_model_text import tell_initial
from autoseg.pipeline.training_progress import JOURNAL_FILE, make_listener, tell_start

if TYPE_CHECKING:
    from autoseg.networks.device import Device
    from autoseg.training.compute import Compute
    from autoseg.training.place import Place
    from autoseg.training.setup import FoldSetup
    from autoseg.training.state import TrainState


COMPUTE_FILE: Final = "compute.json"
"""File of how a fold's training computes, in the fold's folder."""


def bring_fold(
    training: Training,
    description: ModelDescription,
    number: int,
    splits: Splits,
    *,
    progress: Progress,
    started: float,
    place: "Place",
) -> Summary | None:
    """Bring a fold, whose folder is held, to its validation; train it unless its weights are there.

    Parameters
    ----------
    training : Training
        What to train.
    description : ModelDescription
        The same, with everything that was decided.
    number : int
        Number of the fold.
    splits : Splits
        Cases of all folds.
    progress : Progress
        Told about every step.
    started : float
        `time.monotonic` from which a time budget counts.
    place : Place
        The device, and the processes that train together.

    Returns
    -------
    Summary or None
        Of the final validation, which the first of the processes makes.
    """
    from autoseg.training.trouble import device_failures

    ranks = place.ranks
    if ranks.is_first:
        prepare_cascade(training, description, splits, progress)
    setup = gather_together(training, description, number, splits, place, progress)
    journal = Journal(path=setup.folder / JOURNAL_FILE)
    with device_failures(number, str(setup.device)):
        if not (setup.folder / RECORD_FILE).exists():
            if training.init is not None:
                setup = _start_from_model(training.init, training, setup, place, journal, progress)
            state = _train(training, setup, place, journal, progress, started)
            if ranks.is_first:
                record = _keep_weights(training, setup, state)
                journal.record("trained", steps=record.steps, minutes=round(record.minutes, 3))
                progress.note(
                    f"trained {record.steps} steps in {record.minutes:.1f} minutes; the model is "
                    f"{record.weights}"
                )
        if not ranks.is_first:
            return None
        summary = _validate(training, setup, place.device, progress)
    journal.record("validated", mean_dice=summary.mean_dice)
    return summary


def _start_from_model(
    init: Path,
    training: Training,
    setup: "FoldSetup",
    place: "Place",
    journal: Journal,
    progress: Progress,
) -> "FoldSetup":
    """Let a fold start from a trained model; the first of several processes tells of it."""
    from autoseg.training.checkpoint import begun_origin

    begun = begun_origin(setup.folder)
    initial = find_initial(
        init,
        setup.number,
        training.workspace,
        besides=training.model_folder,
        settled=begun.initial.fold if begun is not None and begun.initial is not None else None,
    )
    if place.ranks.is_first:
        tell_initial(
            initial,
            setup.description,
            setup.number,
            setup.fold,
            journal=journal,
            progress=progress,
        )
    return replace(setup, initial=initial.weights)


def _train(
    training: Training,
    setup: "FoldSetup",
    place: "Place",
    journal: Journal,
    progress: Progress,
    started: float,
) -> "TrainState":
    """Train a fold; the first of several processes tells how it goes."""
    from autoseg.training.feeding import chosen_workers
    from autoseg.training.fit import check_fits
    from autoseg.training.loop import train_fold

    keep_freed_memory()
    check_fits(setup.description, setup.device, processes=place.ranks.count)
    setup = replace(setup, device=_settle_device(training, setup, place, progress))
    if not place.ranks.is_first:
        return train_fold(
            setup,
            started=started,
            listener=lambda report: None,
            ranks=place.ranks,
            workers=training.workers,
        )
    tell_start(setup, progress)
    journal.record(
        "start",
        device=str(setup.device),
        fold=setup.number,
        version=__version__,
        label=setup.description.training.title,
        processes=place.ranks.count,
    )
    workers = chosen_workers(training.workers, setup.device.torch_device)
    listener = make_listener(
        setup,
        journal,
        progress,
        workers=workers.count,
        tensorboard=training.tensorboard,
    )
    with closing(listener):
        return train_fold(
            setup,
            listener=listener,
            tell=listener.tell,
            started=started,
            save_every_s=60 * training.save_minutes,
            ranks=place.ranks,
            workers=training.workers,
        )


def _settle_device(
    training: Training, setup: "FoldSetup", place: "Place", progress: Progress
) -> "Device":
    """Return the device with the way of computing that this fold has, or is given now.

    A precision that is asked for is taken as it is, so that nothing depends on a measurement.
    """
    from autoseg.training.compute import Compute

    file = setup.folder / COMPUTE_FILE
    if "/" in training.device:
        return setup.device
    if place.ranks.is_first and not file.exists():
        documents.write(file, _choose(setup))
    place.ranks.barrier()
    compute = documents.read_stored(file, Compute, rule="E-MODEL-76")
    computed = compute.applied_to(setup.device)
    has_precision = computed.autocast in (None, setup.device.autocast)
    if compute.kind != setup.device.torch_device.type or not has_precision:  # begun elsewhere
        return setup.device
    progress.note(f"computing on {compute.title}")
    return computed


def _choose(setup: "FoldSetup") -> "Compute":
    """Return how the model's other folds compute, if it is known of such a machine."""
    from autoseg.training.compute import choose_compute, find_compute, machine_name

    machine = machine_name(setup.device)
    others = sorted(setup.folder.parent.glob(f"fold_*/{COMPUTE_FILE}"))
    found = find_compute(others, machine)
    return found or replace(choose_compute(setup.description, setup.device), machine=machine)


def _keep_weights(training: Training, setup: "FoldSetup", state: "TrainState") -> FoldRecord:
    """Write the better of weights and averaged weights; the checkpoints are no longer needed."""
    from safetensors.torch import save as encode

    from autoseg.training import checkpoint
    from autoseg.training.ending import STOP_FILE
    from autoseg.training.scores import better_weights

    network, reason = better_weights(setup, state, workers=training.workers)
    weights = network.state_dict().items()
    data = encode({name: value.detach().cpu().contiguous() for name, value in weights})
    files.write_atomically(setup.folder / WEIGHTS_FILE, data)
    record = FoldRecord(
        fold=setup.fold,
        weights_digest=files.digest(data),
        steps=state.step,
        minutes=state.elapsed_s / 60,
        device=str(setup.device),
        label=setup.description.training.title,
        weights=reason,
        ended_early=state.cool_down is not None,
        initial=None if setup.initial is None else setup.initial.origin,
    )
    documents.write(setup.folder / RECORD_FILE, record)
    checkpoint.clear(setup.folder)
    files.remove(setup.folder / STOP_FILE)
    return record


def _validate(
    training: Training, setup: "FoldSetup", device: "Device", progress: Progress
) -> Summary:
    from autoseg.inference.stored import read_model
    from autoseg.training.validation import validate

    model = read_model(training.model_folder, device, folds=[setup.number], with_previous=False)
    progress.start("validating", len(setup.validation_cases))
    summary = validate(
        model,
        setup.validation_cases,
        training.folder.read_dataset(),
        setup.folder / "validation",
        on_case=progress.advance,
    )
    progress.finish()
    return summary
