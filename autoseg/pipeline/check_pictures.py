"""Pictures of the cases that a check finds suspicious."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autoseg.core.check_report import CheckReport, Finding
from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.fingerprint import CaseMeasurement
from autoseg.execution.progress import Progress
from autoseg.io import files
from autoseg.io.cases import read_case
from autoseg.pipeline.stage import run_stage
from autoseg.reporting.overlay import draw_overlay
from autoseg.reporting.planes import Overlay
from autoseg.reporting.wording import count
from preprocessing.footprint import reading_bytes

MOST_PICTURES: Final = 50
"""Cases that pictures are drawn of, the gravest findings first."""
FEW_PICTURES: Final = 4
"""Pictures that are drawn sooner than worker processes start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureTask:
    """One picture to draw."""

    case: Case
    """The case."""
    folder: Path
    """Folder that its paths start from."""
    description: DatasetDescription
    """What the cases have in common."""
    measured: CaseMeasurement
    """What was measured of it."""
    findings: tuple[Finding, ...]
    """What stands out, the gravest first; at least one."""
    path: Path
    """Where to write it."""


def picture_tasks(
    report: CheckReport,
    dataset: Dataset,
    measured: Sequence[CaseMeasurement],
    place: Path,
) -> list[PictureTask]:
    """Return what to draw of a report's suspicious cases, at most `MOST_PICTURES`.

    Parameters
    ----------
    report : CheckReport
        What was found.
    dataset : Dataset
        The cases.
    measured : sequence of CaseMeasurement
        What was measured of them.
    place : Path
        Folder for the pictures.
    """
    cases = {case.name: case for case in dataset.cases}
    by_name = {each.name: each for each in measured}
    shown = list(dict.fromkeys(f.case for f in report.suspicious if f.case))[:MOST_PICTURES]
    return [
        PictureTask(
            case=cases[name],
            folder=Path(dataset.folder),
            description=dataset.description,
            measured=by_name[name],
            findings=tuple(f for f in report.suspicious if f.case == name),
            path=place / f"{name}.png",
        )
        for name in shown
    ]


def draw_pictures(
    report: CheckReport, tasks: list[PictureTask], *, workers: int | None, progress: Progress
) -> CheckReport:
    """Draw the pictures and return the report that names them."""
    if not tasks:
        return report
    outcomes = run_stage(
        "drawing",
        draw_case,
        tasks,
        name=lambda task: f"case {task.case.name!r}",
        workers=0 if workers is None and len(tasks) <= FEW_PICTURES else workers,
        guessed_bytes=lambda task: reading_bytes(task.case, task.folder),
        progress=progress,
    )
    drawn = {each.item.case.name: each.value for each in outcomes if each.value is not None}
    notes = [
        f"{each.item.case.name}: no picture: "
        + str(each.error.args[0]).removeprefix(f"{each.item.case.name}: ")
        for each in outcomes
        if each.error is not None
    ]
    if more := len({f.case for f in report.suspicious if f.case}) - len(tasks):
        verb = "is" if more == 1 else "are"
        notes.append(
            f"pictures are drawn of {count(len(tasks), 'case')}; {more} more {verb} suspicious"
        )
    findings = tuple(replace(f, picture=drawn.get(f.case, "")) for f in report.suspicious)
    return replace(report, suspicious=findings, notes=(*report.notes, *notes))


def draw_case(task: PictureTask) -> str:
    """Draw the picture of a case and return its file name.

    Raises
    ------
    InputError
        If its files can no longer be read.
    """
    case, description, first = task.case, task.description, task.findings[0]
    image, segmentation = read_case(case, description, task.folder)
    is_beside_body = first.kind == "side" and len(first.labels) == 1
    others = [f"also: {finding.what}" for finding in task.findings[1:4]]
    overlay = Overlay(
        image=image.voxels[first.channel],
        label_map=segmentation.voxels,
        spacing=image.geometry.spacing,
        names=description.labels.names,
        focus=first.labels,
        is_anatomical=bool(task.measured.orientation),
        body_center=task.measured.body_center if is_beside_body else (),
        title=f"{case.name}: {first.what}",
        lines=(f"measured: {first.measured}", f"usual: {first.usual}", *others),
    )
    files.write_atomically(task.path, draw_overlay(overlay), durable=False)
    return task.path.name


def named_once(case: str, text: str) -> str:
    """Return a text behind the name of its case, unless it begins with that, as a folder's may.

    Examples
    --------
    >>> named_once("p0", "p0: slices are missing"), named_once("p0", "p0.nii: no units")
    ('p0: slices are missing', 'p0: p0.nii: no units')
    """
    return text if text.startswith(f"{case}: ") else f"{case}: {text}"


def remove_pictures(earlier: CheckReport | None, place: Path) -> None:
    """Remove the pictures of an earlier report from its folder."""
    for finding in earlier.suspicious if earlier else ():
        name = finding.picture
        if name and Path(name).name == name:  # a report may have been edited
            (place / name).unlink(missing_ok=True)
