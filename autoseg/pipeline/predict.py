"""``autoseg predict``: segment images with a trained model, case by case.

While the networks are at one case, the next is prepared by worker processes and the one before is
written by a thread.
"""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autoseg.core.dataset import Case
from autoseg.core.errors import AutosegError, PartialError, RefusedCasesError
from autoseg.core.labels import LabelMap
from autoseg.core.version import __version__
from autoseg.execution.executor import Outcome
from autoseg.execution.machine import inspect_machine, memory_errors
from autoseg.execution.progress import Progress
from autoseg.io import documents, files, images
from autoseg.io.datasets import images_for_prediction
from autoseg.io.formats.image_digest import stored_digest
from autoseg.io.formats.table import sidecar_of
from autoseg.pipeline.prediction import (
    PredictedCase,
    Prediction,
    PredictionManifest,
    check_output,
    recorded_cases,
)
from autoseg.pipeline.prepared_cases import (
    PreparationTask,
    PreparedCase,
    preparation_workers,
    prepared_cases,
)
from autoseg.pipeline.unlike_training import spacing_notes

if TYPE_CHECKING:
    from autoseg.inference.model import Model

PREPARED: Final = ".prepared"
"""Folder of prepared images, which live until they are predicted."""


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
    from autoseg.inference.stored import read_model
    from autoseg.networks.device import choose_device

    device = choose_device(request.device)
    model = read_model(request.model, device, folds=request.folds, mirror=request.mirror)
    found = images_for_prediction(request.source, model.description.dataset)
    check_output(request, found)
    cases = request.part.share(found)
    files.ensure_writable(request.output)
    with files.lock(request.folder, f"prediction of {request.source}"):
        run = _Run(request=request, model=model, recorded=recorded_cases(request, cases))
        progress.note(
            f"predicting {len(cases)} case(s) with {model.description.configuration_name}, "
            f"fold(s) {', '.join(map(str, model.folds))}, on {device}"
        )
        _tell_accepted(request, model, progress)
        progress.start("predicting", len(cases))
        with _emptied(request.folder / PREPARED):
            _predict_cases(run, cases, progress)
        progress.finish()
        manifest = run.write_manifest() if run.recorded else None
    _report_problems(run.problems, len(cases), request.output, manifest)
    assert manifest is not None  # some case was finished
    return manifest


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """Remove a folder before and after the block, with what a killed run may have left there."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class _Run:
    """A prediction under way."""

    request: Prediction
    model: "Model"
    recorded: dict[str, PredictedCase]
    problems: list[AutosegError] = field(default_factory=list)

    def is_done(self, case: Case) -> bool:
        """Tell whether a recorded segmentation was made by this model from these files."""
        record, accepted = self.recorded.get(case.name), self.request.accepted
        return (
            record is not None
            and (record.weights_digests, record.mirror)
            == (self.model.all_digests, self.model.mirror)
            and record.accepted == accepted
            and record.input_digests
            == tuple(stored_digest(Path(image), accepted) for image in case.images)
        )

    def task(self, case: Case, threads: int) -> PreparationTask:
        """Return what is to be prepared of a case."""
        return PreparationTask(
            case=case,
            channels=len(self.model.description.dataset.channels),
            plan=self.model.description.plan,
            names=self.model.stages,
            accepted=self.request.accepted,
            folder=self.request.folder / PREPARED,
            threads=threads,
        )

    def write(self, prepared: PreparedCase, label_map: LabelMap) -> None:
        """Write a segmentation: its record goes to the manifest first, then the file to its place.

        Killed in between, the next run finds a record without its file and does the case again.
        """
        case, geometry = prepared.case, prepared.geometry
        labels, output = self.model.description.dataset.labels, self.request.output_file(case)
        data = images.encode_segmentation(output, labels.to_file(label_map), geometry)
        sidecar = sidecar_of(output, geometry)
        files.remove(output)
        self.recorded[case.name] = PredictedCase(
            case=case.name,
            input_digests=prepared.input_digests,
            output_digest=files.digest(data + (sidecar[1] if sidecar else b"")),
            weights_digests=self.model.all_digests,
            mirror=self.model.mirror,
            accepted=self.request.accepted,
            notes=(*prepared.notes, *spacing_notes(prepared, self.model.description)),
        )
        self.write_manifest()
        if sidecar:
            files.write_atomically(*sidecar)
        files.write_atomically(output, data)

    def write_manifest(self) -> PredictionManifest:
        """Write down what lies in the output folder."""
        description = self.model.description
        manifest = PredictionManifest(
            autoseg_version=__version__,
            dataset=description.dataset,
            configuration=description.configuration_name,
            plan=description.plan.name,
            plan_digest=files.digest(documents.encode(description.plan)),
            cases=tuple(self.recorded[name] for name in sorted(self.recorded)),
        )
        documents.write(self.request.manifest, manifest)
        return manifest


def _tell_accepted(request: Prediction, model: "Model", progress: Progress) -> None:
    """Say what the model's training accepted and this prediction does not."""
    trained = model.description.dataset.accepted
    if missing := [each.text for each in trained if each not in request.accepted]:
        progress.note(
            f"note: the model was trained on cases with --accept {' --accept '.join(missing)}; "
            "images to predict are refused there unless it is given here too"
        )


def _predict_cases(run: _Run, cases: Sequence[Case], progress: Progress) -> None:
    """Segment the cases that are not done, in their order."""
    todo = []
    for case in cases:
        if run.is_done(case):
            progress.advance(case.name)
        else:
            todo.append(case)
    on_cpu = run.model.place.device.torch_device.type == "cpu"
    workers = preparation_workers(run.request.workers, cases=len(todo), on_cpu=on_cpu)
    threads = max(1, inspect_machine().cores // max(1, workers))
    tasks = [run.task(case, threads) for case in todo]
    with prepared_cases(tasks, workers) as outcomes, _writer(run, progress) as write:
        for outcome in outcomes:
            try:
                write(*_segment(run.model, outcome, progress))
            except AutosegError as error:
                _refuse(run, outcome.item.case.name, error, progress)


def _segment(
    model: "Model", outcome: Outcome[PreparationTask, PreparedCase], progress: Progress
) -> tuple[PreparedCase, LabelMap]:
    """Segment a prepared case, or raise why it could not be prepared."""
    if outcome.error is not None:
        raise outcome.error
    prepared = outcome.value
    assert prepared is not None  # where there is no error
    name = prepared.case.name
    for note in spacing_notes(prepared, model.description):
        progress.note(f"note: case {name!r}: {note}")

    def tell(done: int, total: int) -> None:
        progress.status(f"{name}: tile {done}/{total}")

    with memory_errors(name), prepared.opened() as image:
        label_map = model.segment_prepared(image, on_tile=tell)
    while model.place.notes:
        progress.note(f"note: {model.place.notes.pop(0)}")
    return prepared, label_map


@contextmanager
def _writer(run: _Run, progress: Progress) -> "Iterator[_Writer]":
    """Give a writer of segmentations, and wait in the end until all are written."""
    with ThreadPoolExecutor(1) as pool:
        writer = _Writer(run, progress, pool)
        yield writer
        writer.settle()


class _Writer:
    """Writes one segmentation in a thread while the next is made."""

    def __init__(self, run: _Run, progress: Progress, pool: ThreadPoolExecutor) -> None:
        self._run, self._progress, self._pool = run, progress, pool
        self._pending: tuple[str, Future[None]] | None = None

    def __call__(self, prepared: PreparedCase, label_map: LabelMap) -> None:
        """Begin to write a case once the one before is written."""
        self.settle()
        future = self._pool.submit(self._run.write, prepared, label_map)
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


def _refuse(run: _Run, name: str, error: AutosegError, progress: Progress) -> None:
    run.problems.append(error)
    progress.note(f"refused: {error.text}")
    progress.advance(name)


def _report_problems(
    problems: Sequence[AutosegError], cases: int, output: Path, manifest: PredictionManifest | None
) -> None:
    if not problems:
        return
    if len(problems) == cases or manifest is None:
        raise RefusedCasesError(
            f"all {cases} cases are refused; nothing was written",
            tuple(problems),
            hint="mend these files, then run the same command again",
        )
    raise PartialError(
        f"{len(problems)} of {cases} cases are refused; the others are in {output}",
        tuple(problems),
        hint="mend these files, then run the same command again: finished cases are kept",
        result=documents.to_json(manifest),
    )
