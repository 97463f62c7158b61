"""Where the choice of a dataset's models lies, and how it is told: a table and a picture."""

from pathlib import Path
from typing import Final

from autoseg.io import files
from autoseg.io.workspace import DatasetFolder
from autoseg.reporting.interval_figure import Row, interval_figure
from autoseg.reporting.wording import count
from autoseg.selection import Candidate, Selection

SELECTION_FILE: Final = "selection.json"
LISTED: Final = 12
"""Trials of post-processing that are told; of many labels there are many."""


def selection_file(folder: DatasetFolder, plan: str) -> Path:
    """Return where the selection of a plan lies."""
    name = SELECTION_FILE if plan == "default" else f"selection_{plan}.json"
    return folder.path / name


def write_figure(folder: DatasetFolder, selection: Selection) -> Path:
    """Draw what was compared, and return where the picture lies."""
    path = selection_file(folder, selection.plan).with_suffix(".svg")
    rows = [
        Row(
            title=each.title,
            mean=each.mean_dice,
            low=each.interval.low,
            high=each.interval.high,
            remark=_remark(selection, number),
            is_chosen=number == selection.chosen,
        )
        for number, each in enumerate(selection.candidates)
    ]
    lines = (
        f"mean Dice of {count(len(selection.cases), 'case')} of cross-validation, and where it "
        "lies in 95 of 100 draws of as many patients",
        f"Chosen: {selection.reason}.",
        *(f"After it: {rule.text}." for rule in selection.rules),
    )
    title = f"{selection.dataset}: which model segments new images"
    files.write_atomically(path, interval_figure(rows, title=title, lines=lines).encode())
    return path


def selection_text(selection: Selection) -> str:
    """Write what was compared and chosen as a page for a terminal."""
    width = max(len(each.title) for each in selection.candidates)
    lines = [
        f"{selection.dataset}, plan {selection.plan}: mean Dice of "
        f"{count(len(selection.cases), 'case')} of cross-validation",
        "",
        *(
            f"{'>' if number == selection.chosen else ' '} {each.title:{width}}  "
            f"{each.mean_dice:.4f}  ({each.interval.low:.4f} to {each.interval.high:.4f})  "
            f"{_remark(selection, number)}"
            for number, each in enumerate(selection.candidates)
        ),
        "",
        f"chosen: {selection.reason}",
    ]
    return "\n".join([*lines, *_post_processing(selection)])


def _post_processing(selection: Selection) -> list[str]:
    """Return what was tried after the prediction, what is kept first."""
    if not selection.trials:
        return ["post-processing: not tried"]
    tried = sorted(selection.trials, key=lambda trial: (not trial.kept, -trial.gain))
    lines = [
        f"  {'kept' if trial.kept else 'left'}  {trial.rule.text}: Dice {trial.gain:+.4f} "
        f"(p = {trial.probability:.2f})"
        + (f", lowers {', '.join(trial.harmed)}" if trial.harmed else "")
        for trial in tried[:LISTED]
    ]
    if len(tried) > LISTED:
        lines.append(f"  ... and {len(tried) - LISTED} more in the selection's document")
    return ["post-processing, judged out of fold:", *lines]


def _remark(selection: Selection, number: int) -> str:
    """Return how a candidate compares with the best."""
    each: Candidate = selection.candidates[number]
    if number == 0:
        return "the best"
    how = "within noise" if each.is_within_noise else "worse"
    return f"{each.difference:+.4f}, {how} (p = {each.probability:.2f})"
