"""``autoseg check --repair``: a mended copy of a raw dataset; the dataset itself is never touched.

What the reader repairs or the user accepts is written down for good: one matrix in mm, whole label
values, finite intensities, one grid per case. What cannot be mended is left out and listed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autoseg.core.acceptance import Accepted, key_parts
from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.errors import AutosegError, DatasetError, RefusedCasesError, UsageError
from autoseg.core.repair_report import LeftOut, MendedCase, RepairReport
from autoseg.core.version import __version__
from autoseg.execution.executor import Outcome
from autoseg.execution.progress import Progress
from autoseg.io import documents, files, images, locks
from autoseg.io.cases import read_case
from autoseg.io.datasets import find_dataset
from autoseg.io.formats.image_digest import stored_digest
from autoseg.io.nnunet_description import nnunet_description
from autoseg.io.raw.channel_files import PICTURE_ENDINGS
from autoseg.io.store import content_key
from autoseg.pipeline.check import check_target
from autoseg.pipeline.copies import settle_copies
from autoseg.pipeline.fingerprint import accept
from autoseg.pipeline.stage import run_stage
from preprocessing.footprint import reading_bytes

REPORT: Final = "autoseg_repair.json"
"""Name of the report beside the copy; a folder with it may be carried on with."""
ENDING: Final = ".nii.gz"
"""Ending of all files of a copy."""
STAGE_VERSION: Final = 1
"""Raised when the code below writes something else, so that cases are mended again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairTask:
    """One case to mend."""

    case: Case
    """The case."""
    folder: Path
    """Folder that its paths start from."""
    description: DatasetDescription
    """What the cases have in common, and what is accepted of them."""
    output: Path
    """Folder of the copy."""
    known: MendedCase | None
    """Its record of an earlier run."""


def repair_dataset(
    raw: Path,
    output: Path,
    *,
    accepted: Accepted = (),
    exclude: Sequence[str] = (),
    workers: int | None,
    progress: Progress,
) -> RepairReport:
    """Write a mended copy of a raw dataset in the layout of nnU-Net; finished cases are kept.

    Parameters
    ----------
    raw : Path
        Folder or manifest of the raw dataset; only read.
    output : Path
        Folder for the copy: new, empty, or of an earlier repair of the same dataset.
    accepted : tuple of Acceptance
        What is accepted although a rule refuses it, and so becomes part of the copy.
    exclude : sequence of str
        Cases to leave out.
    workers : int or None
        Worker processes; None lets the machine decide.
    progress : Progress
        Told about every case.

    Returns
    -------
    RepairReport
        Also written to `REPORT`. The copy is read and measured without accepting anything.

    Raises
    ------
    UsageError, ResourceError
        As `check_output`; `RefusedCasesError` if no case can be mended.

    Notes
    -----
    Each channel gets a file of its own, ``.nii.gz``, on axes and matrix of the file it came from;
    the segmentation lies on the grid of the first channel. Folds beside it are not copied.
    """
    found = find_dataset(raw, exclude=exclude)
    left_out = [_left_out(name, each) for each in found.problems for name in each.cases or ("",)]
    if found.dataset is None:
        raise _nothing_left(raw, left_out)
    dataset = accept(found.dataset, accepted)
    check_target(output, raw, dataset, use="copied")
    report = _begun(dataset, output, accepted)
    with locks.hold(output, f"repair of {raw}"):
        files.remove(output / "dataset.json")  # until the copy is whole
        report, failed = _mend_cases(dataset, output, report, workers=workers, progress=progress)
        dataset, copies = _without_copies(dataset, report)
        kept = {case.name for case in dataset.cases}
        known = {case.name for case in found.dataset.cases}.union(m.case for m in report.cases)
        _remove_cases(output, known - kept, len(dataset.description.channels))
        report = replace(
            report,
            cases=tuple(mended for mended in report.cases if mended.case in kept),
            left_out=(*left_out, *failed, *copies),
        )
        documents.write(output / REPORT, report)
        if not kept:
            raise _nothing_left(raw, report.left_out)
        files.write_atomically(output / "dataset.json", nnunet_description(dataset, ENDING))
    return report


def check_output(
    raw: Path, output: Path, *, exclude: Sequence[str] = (), others: Sequence[Path] = ()
) -> None:
    """Refuse an output that `repair_dataset` would refuse, before any image is read.

    Raises
    ------
    UsageError
        If it is a file, holds something else, will hold one of the ``others``, which are written
        to before it is, or lies in the dataset, or if that consists of pictures.
    ResourceError
        If it cannot be written to.
    """
    dataset = find_dataset(raw, exclude=exclude).dataset
    check_target(output, raw, dataset, use="copied")
    if dataset is not None:
        _begun(dataset, output, ())
    for other in others if not (output / REPORT).is_file() else ():
        if other.resolve().is_relative_to(output.resolve()):
            raise UsageError(f"{output}: would hold {other} too", hint="choose a folder beside it")


def mend_case(task: RepairTask) -> MendedCase:
    """Write the files of a case, unless they are there already; return its record.

    Raises
    ------
    InputError
        If a file of the case is refused, and that was not accepted.
    """
    case, description = task.case, task.description
    labels, accepted = case.labels_in_file(description.labels), description.accepted
    sources = [task.folder / path for path in (*case.images, str(case.segmentation))]
    key = content_key(
        STAGE_VERSION,
        *(files.digest(documents.encode(each)) for each in (description.labels, labels)),
        *key_parts(accepted),
        *(stored_digest(path, accepted) for path in sources if path.exists()),
    )
    paths = case_paths(task.output, case.name, len(description.channels))
    if task.known is not None and task.known.key == key and _are_intact(paths, task.known):
        return task.known
    image, segmentation = read_case(case, description, task.folder)
    # On the image's grid to the last bit, not within the reader's tolerance.
    values = description.labels.to_file(segmentation.voxels)
    contents = [
        *(
            images.encode_image(path, channel, image.geometry)
            for path, channel in zip(paths, image.voxels, strict=False)
        ),
        images.encode_segmentation(paths[-1], values, image.geometry),
    ]
    for path, content in zip(paths, contents, strict=True):
        files.write_atomically(path, content)
    return MendedCase(
        case=case.name,
        key=key,
        outputs=tuple(files.digest(content) for content in contents),
        notes=(*image.notes, *segmentation.notes),
    )


def case_paths(output: Path, case: str, channels: int) -> tuple[Path, ...]:
    """Return the files of a case in a copy: one per channel, then the segmentation's."""
    images_of = [output / "imagesTr" / f"{case}_{k:04d}{ENDING}" for k in range(channels)]
    return (*images_of, output / "labelsTr" / f"{case}{ENDING}")


def _begun(dataset: Dataset, output: Path, accepted: Accepted) -> RepairReport:
    """Return the report to go on with; refuse a folder that is used for something else."""
    if dataset.description.file_ending in PICTURE_ENDINGS:
        raise UsageError(
            f"{dataset.origin}: consists of pictures ({dataset.description.file_ending}); volumes "
            "can be repaired",
            hint="correct the files that autoseg check lists",
        )
    path = output / REPORT
    fresh = RepairReport(autoseg_version=__version__, source=dataset.origin, accepted=accepted)
    if path.is_file():
        earlier = documents.read_stored(path, RepairReport)
        if earlier.source == dataset.origin:
            return replace(fresh, cases=earlier.cases)
    elif not (output.exists() and files.visible(output)):
        return fresh
    raise UsageError(
        f"{output}: is not empty, and holds no repair of {dataset.origin}",
        hint="choose a new folder",
    )


def _mend_cases(
    dataset: Dataset,
    output: Path,
    report: RepairReport,
    *,
    workers: int | None,
    progress: Progress,
) -> tuple[RepairReport, list[LeftOut]]:
    """Mend every case; the report is written after each, so that a killed repair carries on."""
    earlier = {mended.case: mended for mended in report.cases}
    tasks = [
        RepairTask(
            case=case,
            folder=Path(dataset.folder),
            description=dataset.description,
            output=output,
            known=earlier.get(case.name),
        )
        for case in dataset.cases
    ]
    documents.write(output / REPORT, report)

    def keep(outcome: Outcome[RepairTask, MendedCase]) -> None:
        earlier.pop(outcome.item.case.name, None)
        if outcome.value is not None:
            earlier[outcome.value.case] = outcome.value
        documents.write(output / REPORT, _with_cases(report, earlier), durable=False)

    outcomes = run_stage(
        "repairing",
        mend_case,
        tasks,
        name=lambda task: f"case {task.case.name!r}",
        workers=workers,
        guessed_bytes=lambda task: reading_bytes(task.case, task.folder),
        progress=progress,
        when_done=keep,
    )
    left_out = [_left_out(each.item.case.name, each.error) for each in outcomes if each.error]
    return _with_cases(report, earlier), left_out


def _with_cases(report: RepairReport, mended: Mapping[str, MendedCase]) -> RepairReport:
    return replace(report, cases=tuple(mended[name] for name in sorted(mended)))


def _without_copies(dataset: Dataset, report: RepairReport) -> tuple[Dataset, list[LeftOut]]:
    """Return the mended cases but for copies of each other; of accepted ones with patients."""
    mended = {each.case: each for each in report.cases}
    cases = tuple(case for case in dataset.cases if case.name in mended)
    groups = defaultdict(list)
    for case in cases:
        groups[mended[case.name].outputs[:-1]].append(case.name)
    equal = [tuple(names) for names in groups.values() if len(names) > 1]
    copies = settle_copies(replace(dataset, cases=cases), equal)
    left_out = [_left_out(problem.case, problem) for problem in copies.problems]
    left = tuple(case for case in copies.dataset.cases if case.name not in copies.refused)
    return replace(copies.dataset, cases=left), left_out


def _remove_cases(output: Path, names: Iterable[str], channels: int) -> None:
    """Remove what earlier or interrupted runs wrote of cases that the copy does not have."""
    for name in names:
        for path in case_paths(output, name, channels):
            files.remove(path)


def _are_intact(paths: Sequence[Path], known: MendedCase) -> bool:
    return len(paths) == len(known.outputs) and all(
        path.is_file() and files.digest_file(path) == output
        for path, output in zip(paths, known.outputs, strict=True)
    )


def _left_out(case: str, error: AutosegError) -> LeftOut:
    return LeftOut(case=case, rule=error.rule, problem=str(error.args[0]), fix=error.hint)


def _nothing_left(raw: Path, left_out: Sequence[LeftOut]) -> RefusedCasesError:
    return RefusedCasesError(
        f"{raw}: none of its cases can be mended",
        tuple(DatasetError(each.problem, rule=each.rule, hint=each.fix) for each in left_out),
        hint="autoseg check tells what is wrong with each",
    )
