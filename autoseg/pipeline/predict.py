"""``autoseg predict``: segment images with a trained model, case by case.

While the networks are at one case, the next is prepared by worker processes and the one before is
written by a thread.
"""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.core.dataset import Case
from autoseg.core.errors import AutosegError, InterruptedRun
from autoseg.execution.executor import Outcome
from autoseg.execution.machine import inspect_machine, memory_errors
from autoseg.execution.progress import Progress
from autoseg.io import files
from autoseg.io.datasets import images_for_prediction
from autoseg.pipeline.prediction import (
    Prediction,
    PredictionManifest,
    check_output,
    check_uncertainty,
    report_problems,
)
from autoseg.pipeline.prediction_lock import held
from autoseg.pipeline.prediction_run import PREPARED, Run, started_run
from autoseg.pipeline.prepared_cases import (
    PreparationTask,
    PreparedCase,
    preparation_workers,
    prepared_cases,
)
from autoseg.pipeline.segmentation_files import segment_case
from autoseg.pipeline.stage import FULL_DISK
from autoseg.pipeline.unlike_training import spacing_notes

if TYPE_CHECKING:
    from autoseg.core.model import ModelDescription
    from autoseg.inference.ensemble import Segmented
    from autoseg.inference.model import Model


def predict(request: Prediction, *, progress: Progress) -> PredictionManifest:
    """Segment every case; a case that is refused does not stop the others.

    Parameters
    ----------
    request : Prediction
        What to do. Cases that the same model has segmented there already, from the same files, are
        kept.
    progress : Progress
        Told about every case.

    Returns
    -------
    PredictionManifest
        What lies in the output folder; also written there.

    Raises
    ------
    PartialError
        If some cases were refused; the others are written.
    RefusedCasesError
        If every case was refused.
    UsageError
        If there is no model, nothing to predict, or a file in the way.
    """
    models = _read_models(request)
    description = models[0].description
    found = images_for_prediction(request.source, description.dataset)
    check_output(request, found)
    check_uncertainty(request, description.dataset, len(description.plan.axis_order))
    cases = request.part.share(found)
    files.ensure_writable(request.output)
    purpose = f"prediction of {request.source}"
    with held(request.output, purpose, request.part, progress=progress):
        run = started_run(request, models, cases)
        progress.note(_announce(len(cases), run))
        _tell_accepted(request, description, progress)
        progress.start("predicting", len(cases))
        with _emptied(request.folder / PREPARED):
            _predict_cases(run, cases, progress)
        progress.finish()
        if not cases:
            progress.note(f"part {request.part.number} of {request.part.of} has no case")
        manifest = run.output.write_manifest() if run.output.recorded or not cases else None
        if manifest is not None and not request.part.name:
            run.output.remove_other_manifests()
    hint = "mend these files, then run the same command again"
    report_problems(run.problems, len(cases), request.output, manifest, hint=hint)
    assert manifest is not None  # some case was finished
    return manifest


def _read_models(request: Prediction) -> "tuple[Model, ...]":
    from autoseg.inference.ensemble import check_members
    from autoseg.inference.stored import read_model
    from autoseg.networks.device import choose_device

    device = choose_device(request.device)
    with memory_errors("the model"):
        models = tuple(
            read_model(choice.folder, device, folds=choice.folds, mirror=request.mirror)
            for choice in request.models
        )
    check_members(models)
    return models


def _announce(cases: int, run: "Run") -> str:
    """Say what is done with what."""
    names = " and ".join(
        f"{model.description.configuration_name}, fold(s) {', '.join(map(str, model.folds))}"
        for model in run.models
    )
    after = "".join(f"; {rule.text}" for rule in run.request.rules)
    return f"predicting {cases} case(s) with {names}, on {run.models[0].place.device}{after}"


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """Remove a folder before and after the block, with what a killed run may have left there."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tell_accepted(
    request: Prediction, description: "ModelDescription", progress: Progress
) -> None:
    """Say what the model's training accepted and this prediction does not."""
    trained = description.dataset.accepted
    if missing := [each.text for each in trained if each not in request.accepted]:
        progress.note(
            f"note: the model was trained on cases with --accept {' --accept '.join(missing)}; "
            "images to predict are refused there unless it is given here too"
        )


def _predict_cases(run: Run, cases: Sequence[Case], progress: Progress) -> None:
    """Segment the cases that are not done, in their order."""
    todo = []
    for case in cases:
        try:
            is_done = run.is_done(case)
        except AutosegError as error:
            _refuse(run, case.name, error, progress)
            continue
        if is_done:
            progress.advance(case.name)
        else:
            todo.append(case)
    on_cpu = run.models[0].place.device.torch_device.type == "cpu"
    workers = preparation_workers(run.request.workers, cases=len(todo), on_cpu=on_cpu)
    threads = max(1, inspect_machine().cores // max(1, workers))
    tasks = [run.task(case, threads) for case in todo]
    with prepared_cases(tasks, workers) as outcomes, _writer(run, progress) as write:
        for outcome in outcomes:
            try:
                write(*_segment(run, outcome, progress))
            except AutosegError as error:
                _refuse(run, outcome.item.case.name, error, progress)


def _segment(
    run: Run, outcome: Outcome[PreparationTask, PreparedCase], progress: Progress
) -> "tuple[PreparedCase, Segmented]":
    """Segment a prepared case, or raise why it could not be prepared."""
    if outcome.error is not None:
        raise outcome.error
    prepared = outcome.value
    assert prepared is not None  # where there is no error
    from autoseg.networks.device_loss import device_losses

    name = prepared.case.name
    for note in spacing_notes(prepared, run.description):
        progress.note(f"note: case {name!r}: {note}")

    def tell(done: int, total: int) -> None:
        progress.status(f"{name}: tile {done}/{total}")

    device = run.models[0].place.device.torch_device
    with memory_errors(name), device_losses(name, device, kept="finished cases are kept"):
        segmented = segment_case(run.request, run.models, prepared, tell)
    for place in (place for model in run.models for place in model.places):
        while place.notes:
            progress.note(f"note: {place.notes.pop(0)}")
    return prepared, segmented


@contextmanager
def _writer(run: Run, progress: Progress) -> "Iterator[_Writer]":
    """Give a writer of segmentations, and wait in the end until all are written."""
    with ThreadPoolExecutor(1) as pool:
        writer = _Writer(run, progress, pool)
        yield writer
        writer.settle()


class _Writer:
    """Writes one segmentation in a thread while the next is made."""

    def __init__(self, run: Run, progress: Progress, pool: ThreadPoolExecutor) -> None:
        self._run, self._progress, self._pool = run, progress, pool
        self._pending: tuple[str, Future[None]] | None = None

    def __call__(self, prepared: PreparedCase, segmented: "Segmented") -> None:
        """Begin to write a case once the one before is written."""
        self.settle()
        future = self._pool.submit(self._run.write, prepared, segmented)
        self._pending = prepared.case.name, future

    def settle(self) -> None:
        """Wait for the case that is being written."""
        if self._pending is None:
            return
        (name, future), self._pending = self._pending, None
        try:
            future.result()
        except AutosegError as error:
            _refuse(self._run, name, error, self._progress)
        else:
            self._progress.advance(name)


def _refuse(run: Run, name: str, error: AutosegError, progress: Progress) -> None:
    """Note a case that could not be segmented; of a full disk or a lost device all would die."""
    if error.rule == FULL_DISK or isinstance(error, InterruptedRun):
        raise error
    run.problems.append(error)
    progress.note(f"refused: {error.text}")
    progress.advance(name)
