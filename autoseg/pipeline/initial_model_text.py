"""What a training tells of the model that it starts from: what matched, and what to be wary of."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from autoseg.core.folds import Fold
from autoseg.core.model import ModelDescription
from autoseg.execution.progress import Progress
from autoseg.io.journal import Journal
from autoseg.pipeline.initial_model import InitialModel, match_initial, percent
from autoseg.reporting.wording import count, per_axis

if TYPE_CHECKING:
    from autoseg.training.initial_weights import Matched

LISTED: Final = 10
"""Cases that a warning lists."""


def tell_initial(
    initial: InitialModel,
    description: ModelDescription,
    number: int,
    fold: Fold,
    *,
    journal: Journal,
    progress: Progress,
) -> None:
    """Say what a fold starts from: a table of what matched, and what to be wary of.

    Parameters
    ----------
    initial : InitialModel
        What it starts from.
    description : ModelDescription
        What is trained.
    number : int
        Number of the fold.
    fold : Fold
        Its cases.
    journal : Journal
        Gets the share of parameters, the digest, and every warning.
    progress : Progress
        Gets every line.
    """
    matched = match_initial(initial, description)
    for line in (*_head(initial, number), *table_lines(matched)):
        progress.note(line)
    for line in _notes(initial, description):
        progress.note(f"note: {line}")
    journal.record(
        "initial",
        path=initial.path,
        fold=initial.fold,
        weights_digest=initial.weights.origin.weights_digest,
        parameters=matched.parameters,
        parameters_taken=matched.taken,
    )
    if warning := leak_warning(initial, description, number, fold):
        journal.record("warning", text=warning)
        progress.note(f"warning: {warning}")


def table_lines(matched: "Matched") -> tuple[str, ...]:
    """Return a table of what was taken over: a line per part of the network, then the share."""
    rows: list[tuple[str, ...]] = [
        ("part", "tensors", "copied", "adapted", "fresh", "parameters", "from the model")
    ]
    for part, tensors in matched.parts.items():
        counts = (sum(t.how == how for t in tensors) for how in ("copied", "adapted", "fresh"))
        parameters = sum(tensor.parameters for tensor in tensors)
        taken = sum(tensor.taken for tensor in tensors)
        numbers = (len(tensors), *counts, parameters)
        rows.append((part, *(f"{each:,}" for each in numbers), percent(taken / parameters)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    unused = f"; {count(len(matched.unused), 'tensor')} of the model unused"
    return (
        *("  ".join((r[0].ljust(widths[0]), *map(str.rjust, r[1:], widths[1:]))) for r in rows),
        f"{percent(matched.taken / matched.parameters)} of {matched.parameters:,} parameters are "
        f"the model's{unused if matched.unused else ''}",
    )


def leak_warning(
    initial: InitialModel, description: ModelDescription, number: int, fold: Fold
) -> str:
    """Return a warning if the model was trained on cases that the fold validates, else nothing."""
    if initial.description.dataset.name != description.dataset.name:
        return ""
    seen = sorted(set(initial.record.fold.training) & set(fold.validation))
    if not seen:
        return ""
    more = f" and {len(seen) - LISTED} more" if len(seen) > LISTED else ""
    return (
        f"fold {initial.fold} of {initial.path} was trained on {len(seen)} of the "
        f"{count(len(fold.validation), 'case')} that fold {number} validates: "
        f"{', '.join(seen[:LISTED])}{more}; its validation will look better than it is"
    )


def _head(initial: InitialModel, number: int) -> Iterator[str]:
    theirs = initial.description
    yield (
        f"starting from fold {initial.fold} of {initial.path}: {theirs.dataset.name}, "
        f"{theirs.configuration_name}"
    )
    if initial.fold != number and not initial.is_fold_named:
        yield f"its fold {number} was not trained"


def _notes(initial: InitialModel, description: ModelDescription) -> Iterator[str]:
    """Say what the model does not know, and what it was trained on otherwise."""
    from autoseg.training.fitted_tensors import channel_names, image_sources, namesakes

    theirs, ours = channel_names(initial.description), channel_names(description)
    sources = image_sources(ours.image, theirs.image)
    if sources != namesakes(ours.image, theirs.image):
        yield f"none of its channels is called {', '.join(ours.image)}; they are taken in order"
    for what, names, places, start in (
        ("channels", ours.image, sources, "the mean of its own"),
        ("labels", ours.logits, namesakes(ours.logits, theirs.logits), "chance"),
    ):
        if new := [name for name, place in zip(names, places, strict=True) if place is None]:
            yield f"{what} that the model does not know start from {start}: {', '.join(new)}"
    if differing := list(_differing_inputs(initial.description, description)):
        yield f"the model saw images otherwise: {'; '.join(differing)}; plan --like keeps that"


def _differing_inputs(theirs: ModelDescription, ours: ModelDescription) -> Iterator[str]:
    before, now = theirs.configuration.spacing, ours.configuration.spacing
    if before != now:
        yield f"spacing {per_axis(before)} mm, now {per_axis(now)} mm"
    plans = theirs.plan, ours.plan
    orders = [(plan.orientation, plan.axis_order) for plan in plans]
    if orders[0] != orders[1]:
        yield "another order of axes"
    normalizations = [
        [(n.scheme, n.inside_nonzero_only, n.scheme == "ct" and n.statistics) for n in each]
        for each in (plan.normalization for plan in plans)
    ]
    if normalizations[0] != normalizations[1]:
        yield "another normalization of intensities"
