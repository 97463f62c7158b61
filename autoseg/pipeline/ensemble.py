"""``autoseg ensemble``: average probabilities that several predictions wrote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from autoseg.core.errors import AutosegError, GeometryError, UsageError
from autoseg.core.labels import LabelMap, Labels
from autoseg.core.version import __version__
from autoseg.execution.progress import Progress
from autoseg.io import documents
from autoseg.io.probabilities import (
    ProbabilityRecord,
    open_probabilities,
    probability_cases,
    read_record,
)
from autoseg.pipeline.prediction import (
    MANIFEST,
    PredictedCase,
    PredictionManifest,
    manifests,
    report_problems,
)
from autoseg.pipeline.prediction_lock import held
from autoseg.pipeline.segmentation_files import PROBABILITIES, encode_label_map
from autoseg.pipeline.segmentation_folder import SegmentationFolder, recorded_cases
from autoseg.pipeline.stage import FULL_DISK

BLOCK_BYTES: Final = 2**27
"""Memory of the mean of a channel's planes that are averaged at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that ``predict --probabilities`` wrote."""

    path: Path
    """The folder."""
    manifest: PredictionManifest
    """What lies in it."""

    @property
    def probabilities(self) -> Path:
        """Where the probabilities are."""
        return self.path / PROBABILITIES

    def digests(self, case: str) -> tuple[str, ...]:
        """Return the weights that a case was predicted with."""
        return next((c.weights_digests for c in self.manifest.cases if c.case == case), ())


def ensemble(
    sources: Sequence[Path], output: Path, *, overwrite: bool = False, progress: Progress
) -> PredictionManifest:
    """Average probabilities and write the segmentations that they lead to.

    Parameters
    ----------
    sources : sequence of Path
        Two folders or more that ``predict --probabilities`` wrote, of models with the same labels.
    output : Path
        Folder for the segmentations. Those that were made there of the same probabilities are kept.
    overwrite : bool
        Whether files that lie there and were not made so may be replaced.
    progress : Progress
        Told about every case.

    Returns
    -------
    PredictionManifest
        What lies in the output folder; also written there.

    Raises
    ------
    UsageError
        If a folder holds no probabilities, the folders differ in labels or cases, or a file is in
        the way.
    PartialError
        If some cases cannot be averaged; the others are written.
    RefusedCasesError
        If none can.
    """
    folders = [_open(path) for path in sources]
    cases = _same_cases(folders)
    if output.resolve() in {folder.path.resolve() for folder in folders}:
        raise UsageError(
            f"{output}: holds what is to be averaged; the average needs a folder of its own",
            hint="choose another -o FOLDER",
        )
    with held(output, "ensemble", progress=progress):
        jobs, problems = _jobs(folders, cases, output)
        into = _started(folders, jobs, output, overwrite=overwrite)
        progress.start("averaging", len(jobs))
        for job in jobs:
            try:
                if not job.is_done(into):
                    job.average(into)
            except AutosegError as error:
                if error.rule == FULL_DISK:
                    raise
                problems.append(error)
                progress.note(f"refused: {error.text}")
            progress.advance(job.case)
        progress.finish()
        manifest = into.write_manifest() if into.recorded else None
        if manifest is not None:
            into.remove_other_manifests()
    report_problems(
        problems, len(cases), output, manifest, hint="predict them again with --probabilities"
    )
    assert manifest is not None  # some case was averaged
    return manifest


def _open(path: Path) -> Folder:
    found = manifests(path) if path.is_dir() else []
    if not found or not probability_cases(path / PROBABILITIES):
        raise UsageError(
            f"{path}: holds no probabilities",
            hint=f"write them: autoseg predict -i imgs -o {path} --probabilities",
        )
    parts = [documents.read_stored(each, PredictionManifest) for each in found]
    cases = {case.case: case for part in parts for case in part.cases}
    return Folder(path=path, manifest=replace(parts[0], cases=tuple(cases.values())))


def _same_cases(folders: Sequence[Folder]) -> tuple[str, ...]:
    """Return the cases of the folders; refuse folders that differ in them, or in labels."""
    first = folders[0]
    expected = probability_cases(first.probabilities)
    if len(folders) < 2:
        raise UsageError(
            "ensemble: one folder is given; there is nothing to average",
            hint="give -i FOLDER for every model",
        )
    for folder in folders[1:]:
        if folder.manifest.dataset.labels != first.manifest.dataset.labels:
            raise UsageError(
                f"{folder.path}: was predicted with other labels than {first.path}",
                rule="E-MODEL-60",
                hint="average models of one dataset",
            )
        found = probability_cases(folder.probabilities)
        if different := sorted(set(found) ^ set(expected)):
            raise UsageError(
                f"{folder.path}: {len(different)} cases are not in both it and {first.path}: "
                f"{', '.join(different[:10])}",
                rule="E-SET-42",
                hint="predict the same images with every model",
            )
    return expected


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A case to average."""

    case: str
    folders: Sequence[Folder]
    records: tuple[ProbabilityRecord, ...]
    output: Path

    def is_done(self, into: SegmentationFolder) -> bool:
        """Tell whether it was averaged before, from the same probabilities."""
        record = into.recorded.get(self.case)
        return record is not None and record.input_digests == self.digests

    @property
    def digests(self) -> tuple[str, ...]:
        """What the average is made of."""
        return tuple(record.digest for record in self.records)

    def average(self, into: SegmentationFolder) -> None:
        """Average the case and write its segmentation."""
        arrays = []
        for of_source, folder in zip(self.records, self.folders, strict=True):
            _check_grid(self.records[0], of_source, folder)
            arrays.append(open_probabilities(folder.probabilities, self.case)[1])
        labels, geometry = self.records[0].labels, self.records[0].geometry
        label_map = geometry.to_array(_label_map(arrays, labels))
        data, sidecar = encode_label_map(self.output, label_map, labels, geometry)
        record = PredictedCase(
            case=self.case,
            input_digests=self.digests,
            output_digest="",
            weights_digests=tuple(d for folder in self.folders for d in folder.digests(self.case)),
            mirror=False,
        )
        into.write(record, self.output, data, sidecar)


def _jobs(
    folders: Sequence[Folder], cases: Sequence[str], output: Path
) -> tuple[list[_Job], list[AutosegError]]:
    """Return what is to be done, and why some cases cannot be."""
    jobs, problems = [], []
    for case in cases:
        try:
            records = tuple(read_record(folder.probabilities, case) for folder in folders)
        except AutosegError as error:
            problems.append(error)
            continue
        path = output / f"{case}{records[0].output_ending}"
        jobs.append(_Job(case=case, folders=folders, records=records, output=path))
    return jobs, problems


def _started(
    folders: Sequence[Folder], jobs: Sequence[_Job], output: Path, *, overwrite: bool
) -> SegmentationFolder:
    """Return the output folder with what lies there."""
    made = [folder.manifest for folder in folders]
    made_by = PredictionManifest(
        autoseg_version=__version__,
        dataset=made[0].dataset,
        configuration="+".join(each.configuration for each in made),
        plan="+".join(each.plan for each in made),
        plan_digest="+".join(each.plan_digest for each in made),
        cases=(),
    )
    outputs = {job.case: job.output for job in jobs}
    recorded = recorded_cases(output, outputs, overwrite=overwrite, alone=False)
    return SegmentationFolder(file=output / MANIFEST, made_by=made_by, recorded=recorded)


def _check_grid(record: ProbabilityRecord, other: ProbabilityRecord, folder: Folder) -> None:
    """Refuse arrays that do not lie on each other, in the axes of their files."""
    first, second = record.geometry, other.geometry
    if other.labels != record.labels:
        raise GeometryError(
            f"case {record.case!r}: its probabilities in {folder.path} are of other labels",
            rule="E-MODEL-60",
            hint="predict it again with --probabilities",
        ).about(record.case)
    same_shape = first.file_shape == second.file_shape
    if not same_shape or not np.allclose(first.file_affine, second.file_affine, rtol=0, atol=1e-3):
        raise GeometryError(
            f"case {record.case!r}: its file in {folder.path} has another grid "
            f"({second.file_shape}, {second.spacing} mm) than {first.file_shape}, "
            f"{first.spacing} mm",
            rule="E-GEO-21",
            hint="predict the same image with every model",
        ).about(record.case)


def _label_map(arrays: Sequence[Any], labels: Labels) -> LabelMap:
    """Return the label map (*file) of the mean of probabilities (K, *file).

    The arrays are read chunk by chunk, each once: channel by channel of some planes.
    """
    import torch

    from autoseg.inference.planes import labels_of_probabilities

    found: LabelMap = np.zeros(arrays[0].shape[1:], labels.dtype)
    for box in _boxes(arrays[0]):
        channels = (
            torch.from_numpy(np.mean([array[number, *box] for array in arrays], 0, np.float32))
            for number in range(len(arrays[0]))
        )
        unlabelled = torch.zeros(found[box].shape, dtype=torch.int32)
        found[box] = labels_of_probabilities(channels, labels, unlabelled)
    return found


def _boxes(array: Any) -> Iterator[tuple[slice, ...]]:
    """Yield whole chunks of probabilities (K, *file): as many planes as fit into memory."""
    shape, chunks = array.shape[1:], array.chunks[1:]
    axis = min(range(len(shape)), key=lambda number: int(chunks[number]))
    plane_bytes = 4 * prod(shape) // shape[axis]
    step = chunks[axis] * max(1, BLOCK_BYTES // (plane_bytes * chunks[axis]))
    everything = [slice(None)] * len(shape)
    for start in range(0, shape[axis], step):
        box = everything.copy()
        box[axis] = slice(start, min(start + step, shape[axis]))
        yield tuple(box)
