"""The page that a check prints: what is refused, what is suspicious, notes, and what to do."""

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from autoseg.core.check_report import CheckReport, Finding, Refusal
from autoseg.core.repair_report import RepairReport
from autoseg.io.guard import file_ending
from autoseg.reporting.wording import count
from preprocessing.outliers import LEAST_CASES

LISTED: Final = 100
"""Refusals and findings that are printed before the rest is only counted."""
LISTED_NOTES: Final = 10
"""The same of notes, of which equal ones count once."""


def check_page(
    report: CheckReport, place: Path, *, workspace: Path | None = None, repair: Path | None = None
) -> str:
    """Write what a check found, the gravest first, with what to do about each.

    Parameters
    ----------
    report : CheckReport
        What was found.
    place : Path
        Folder of ``check.json`` and of the pictures.
    workspace : Path, optional
        The workspace that was asked for; the next command names it too.
    repair : Path, optional
        Where a mended copy goes now, if any case was read: then `repair_lines` say what is next.
    """
    refused, suspicious = len(report.refused), len(report.suspicious)
    notes = _grouped(report.notes)
    compared = f" (too few cases to compare: {report.read} of {LEAST_CASES})"
    few = compared if not suspicious and report.read < LEAST_CASES else ""
    page = [
        f"{report.dataset}: {count(report.cases, 'case')} in {report.origin}, {report.read} read",
        *_section(f"REFUSED: {refused}", map(_refusal, report.refused)),
        *_section(f"SUSPICIOUS: {suspicious}", (_finding(f, place) for f in report.suspicious)),
        *_section(f"NOTES: {len(report.notes)}", notes, most=LISTED_NOTES),
        "",
        f"{refused} refused, {suspicious} suspicious{few}, {count(len(report.notes), 'note')}; all "
        f"of it is in {place / 'check.json'}",
    ]
    if repair is not None and not report.read:
        page.append(f"not repaired: no case can be read, so {repair} was not written")
    if repair is None or not report.read:
        page.append(f"next: {_next_step(report, workspace)}")
    return "\n".join(page)


def repair_lines(report: RepairReport, output: Path, workspace: Path | None) -> str:
    """Write what became of a mended copy, and what to do next.

    Parameters
    ----------
    report : RepairReport
        What the copy holds.
    output : Path
        Its folder, with the report.
    workspace : Path, optional
        The workspace that was asked for.
    """
    cases = {each.case for each in report.left_out if each.case}
    others = sum(not each.case for each in report.left_out)
    of_layout = f" with {count(others, 'fault')} of the layout" if others else ""
    return (
        f"\nrepaired: {count(len(report.cases), 'case')} in {output}, {count(len(cases), 'case')} "
        f"left out{of_layout}, see {output / 'autoseg_repair.json'}\n"
        f"next: {_command('check', str(output), workspace=workspace)}"
    )


def _section(title: str, entries: Iterable[str], *, most: int = LISTED) -> Iterator[str]:
    held = list(entries)
    if not held:
        return
    yield from ("", title)
    yield from (f"{number}. {entry}" for number, entry in enumerate(held[:most], start=1))
    if len(held) > most:
        yield f"... and {len(held) - most} more in check.json"


def _refusal(refusal: Refusal) -> str:
    head = f"{refusal.rule} {refusal.problem}".strip()
    # The message nearly always names case and file itself.
    more = [
        f"   {kind}: {value}"
        for kind, value in (("case", refusal.case), ("file", refusal.file))
        if value and value not in refusal.problem
    ]
    return "\n".join([head, *more, f"   fix: {refusal.fix}"])


def _finding(finding: Finding, place: Path) -> str:
    head = f"case {finding.case}: {finding.what}" if finding.case else finding.what
    lines = [
        head,
        f"   measured: {finding.measured}",
        f"   usual: {finding.usual}",
        f"   why it matters: {finding.why}",
        f"   fix: {finding.fix}",
    ]
    if finding.picture:
        lines.append(f"   picture: {place / finding.picture}")
    return "\n".join(lines)


def _grouped(notes: Iterable[str]) -> list[str]:
    """Return notes, those that say the same of several files or cases as one."""
    groups: dict[str, list[str]] = {}
    for note in notes:
        groups.setdefault(_said(note), []).append(note)
    return [
        held[0] if len(held) == 1 else f"{text} ({len(held)} times, first {held[0].split(':')[0]})"
        for text, held in groups.items()
    ]


def _said(note: str) -> str:
    """Return what a note says, without the case and the file that it says it of."""
    case, _, of_case = note.partition(": ")
    file, _, of_file = of_case.partition(": ")
    if of_file and file_ending(Path(file)):
        return of_file
    return note if " " in case or not of_case else of_case


def _next_step(report: CheckReport, workspace: Path | None) -> str:
    options = [option for case in report.excluded for option in ("--exclude", case)]
    options += [option for text in report.accepted for option in ("--accept", text)]
    if report.refused:
        advice = "mend or remove what is refused and check again"
        if not report.mendable:
            return f"{advice}: {_command('check', report.origin, *options, workspace=workspace)}"
        repair = ("--repair", "FOLDER")
        command = _command("check", report.origin, *options, *repair, workspace=workspace)
        cases = count(report.mendable, "case")
        return f"{advice}; {command} writes a mended copy of the {cases} that can be read"
    plan = _command("plan_and_preprocess", report.origin, *options, workspace=workspace)
    if report.suspicious:
        return f"look at the pictures, mend or --exclude what is wrong, then {plan}"
    return plan


def _command(verb: str, dataset: str, *options: str, workspace: Path | None) -> str:
    """Return a command that can be pasted into a shell."""
    place = () if workspace is None else ("--workspace", str(workspace))
    return shlex.join(("autoseg", verb, "-d", dataset, *options, *place))
