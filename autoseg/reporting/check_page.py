"""The page that a check prints: what is refused, what is suspicious, notes, and what to do."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from autoseg.core.check_report import CheckReport, Finding, Refusal
from autoseg.io.guard import file_ending
from autoseg.reporting.wording import count

LISTED: Final = 100
"""Refusals and findings that are printed before the rest is only counted."""
LISTED_NOTES: Final = 10
"""The same of notes, of which equal ones count once."""


def check_page(report: CheckReport, place: Path) -> str:
    """Write what a check found, the gravest first, with what to do about each.

    Parameters
    ----------
    report : CheckReport
        What was found.
    place : Path
        Folder of ``check.json`` and of the pictures.
    """
    refused, suspicious = len(report.refused), len(report.suspicious)
    notes = _grouped(report.notes)
    page = [
        f"{report.dataset}: {count(report.cases, 'case')} in {report.origin}, {report.read} read",
        *_section(f"REFUSED: {refused}", map(_refusal, report.refused)),
        *_section(f"SUSPICIOUS: {suspicious}", (_finding(f, place) for f in report.suspicious)),
        *_section(f"NOTES: {len(report.notes)}", notes, most=LISTED_NOTES),
        "",
        f"{refused} refused, {suspicious} suspicious, {count(len(report.notes), 'note')}; all of "
        f"it is in {place / 'check.json'}",
        f"next: {_next_step(report)}",
    ]
    return "\n".join(page)


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
    """Return notes, those that say the same of several files as one with the number of files."""
    groups: dict[str, list[str]] = {}
    for note in notes:
        _, *file, text = note.split(": ", 2)
        is_of_file = bool(file) and bool(file_ending(Path(file[0])))
        groups.setdefault(text if is_of_file else note, []).append(note)
    return [
        held[0] if len(held) == 1 else f"{text} ({len(held)} files, first {held[0].split(':')[0]})"
        for text, held in groups.items()
    ]


def _next_step(report: CheckReport) -> str:
    name = report.origin
    if report.refused:
        return (
            "mend or remove what is refused and check again; "
            f"autoseg check -d {name} --repair FOLDER writes a copy with what can be mended"
        )
    plan = f"autoseg plan_and_preprocess -d {name}"
    if report.suspicious:
        return f"look at the pictures, mend or --exclude what is wrong, then {plan}"
    return plan
