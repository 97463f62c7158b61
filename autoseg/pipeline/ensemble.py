"""``autoseg ensemble``: average probabilities that several predictions wrote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import (
    AutosegError,
    GeometryError,
    UsageError,
)
from autoseg.core.labels import LabelMap, Labels
from autoseg.core.version import __version__
from autoseg.execution.progress import Progress
from autoseg.io import documents, files
from autoseg.io.probabilities import ProbabilityRecord, open_probabilities, probability_cases
from autoseg.pipeline.prediction import (
    MANIFEST,
    PredictedCase,
    PredictionManifest,
    manifests,
    report_problems,
)
from autoseg.pipeline.segmentation_files import PROBABILITIES, encode_label_map

BLOCK_BYTES: Final = 2**27
"""Memory of the probabilities that are averaged at a time."""


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
        Folder for the segmentations.
    overwrite : bool
        Whether files that lie there may be replaced.
    progress : Progress
        Told about every case.

    Returns
    -------
    PredictionManifest
        What was made; also written to the output folder.

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
    with files.lock(output, "ensemble"):
        if not overwrite and files.visible(output):
            raise UsageError(
                f"{output}: holds files already",
                hint="choose another -o FOLDER, or --overwrite to replace them",
            )
        done, problems = [], []
        progress.start("averaging", len(cases))
        for case in cases:
            try:
                done.append(_average(folders, case, output))
            except AutosegError as error:
                problems.append(error)
                progress.note(f"refused: {error.text}")
            progress.advance(case)
        progress.finish()
        manifest = PredictionManifest(
            autoseg_version=__version__,
            dataset=folders[0].manifest.dataset,
            configuration="+".join(folder.manifest.configuration for folder in folders),
            plan="+".join(folder.manifest.plan for folder in folders),
            plan_digest="+".join(folder.manifest.plan_digest for folder in folders),
            cases=tuple(done),
        )
        if done:
            documents.write(output / MANIFEST, manifest)
    report_problems(
        problems, len(cases), output, manifest, hint="predict them again with --probabilities"
    )
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


def _average(folders: Sequence[Folder], case: str, output: Path) -> PredictedCase:
    """Average one case, write its segmentation and return its record."""
    opened = [open_probabilities(folder.probabilities, case) for folder in folders]
    record = opened[0][0]
    for (other, _), folder in zip(opened[1:], folders[1:], strict=True):
        _check_grid(record, other, folder)
    label_map = _label_map([array for _, array in opened], record.labels)
    geometry = record.geometry
    path = output / f"{case}{record.output_ending}"
    label_map = geometry.to_array(label_map)
    data, sidecar = encode_label_map(path, label_map, record.labels, geometry)
    if sidecar:
        files.write_atomically(*sidecar)
    files.write_atomically(path, data)
    return PredictedCase(
        case=case,
        input_digests=tuple(each.digest for each, _ in opened),
        output_digest=files.digest(data + (sidecar[1] if sidecar else b"")),
        weights_digests=tuple(d for folder in folders for d in folder.digests(case)),
        mirror=False,
    )


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
    """Return the label map (*file) of the mean of probabilities (K, *file)."""
    import torch

    from autoseg.inference.planes import labels_of_probabilities

    shape = arrays[0].shape[1:]
    found: LabelMap = np.zeros(shape, labels.dtype)
    for part in _blocks(arrays[0].shape):
        mean: npt.NDArray[np.float32] = np.mean([array[:, part] for array in arrays], 0, np.float32)
        found[part] = labels_of_probabilities(torch.from_numpy(mean), labels)
    return found


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield parts of the first axis behind the channels that fit into memory."""
    plane = 4 * int(np.prod(shape)) // shape[1]
    step = max(1, BLOCK_BYTES // plane)
    for start in range(0, shape[1], step):
        yield slice(start, min(start + step, shape[1]))
