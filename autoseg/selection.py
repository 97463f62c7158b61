"""Which trained model, or which pair of them, segments new images.

The best by cross-validation is only as sure as the cases are many: of all that it is not clearly
better than, the simplest is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from autoseg.core.errors import DocumentError, UsageError
from autoseg.core.geometry import STRICT
from autoseg.evaluation.comparison import (
    LEAST_PATIENTS,
    SIGNIFICANT,
    Floats,
    Interval,
    bootstrap_interval,
    case_contributions,
    mean_dice,
    paired_test,
)
from autoseg.postprocessing.decision import Trial
from autoseg.postprocessing.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A trained model that takes part."""

    __pydantic_config__: ClassVar = STRICT

    configuration: str
    """Name of the configuration."""
    run: str
    """Name of its run."""
    folds: tuple[int, ...]
    """Folds that were validated."""
    weights_digests: tuple[str, ...]
    """SHA-256 of their weights."""

    @property
    def title(self) -> str:
        """What it is called in tables; the usual run is not named."""
        return self.configuration if self.run == "default" else f"{self.configuration}/{self.run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """What could be chosen, with how it did."""

    members: tuple[Member, ...]
    """One model, or several that are averaged."""
    networks: int
    """Networks per fold that an image passes through, the first stage of a cascade included."""
    table: Floats
    """(cases, structures) Dice of the cases that all contenders have; NaN where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What could have been chosen, as it is remembered."""

    __pydantic_config__: ClassVar = STRICT

    members: tuple[Member, ...]
    """One model, or several that are averaged."""
    networks: int
    """Networks per fold that an image passes through."""
    mean_dice: float
    """Mean over labels of their means over cases, 0 to 1."""
    interval: Interval
    """Where that lies in 95 of 100 draws of as many patients."""
    difference: float
    """Mean difference of its Dice from the best candidate's; 0 of the best. A structure that one
    of both rightly leaves empty counts as 1, so it may differ from that of the means."""
    probability: float
    """How often chance alone gives so large a difference, 0 to 1; 1 of the best."""

    @property
    def title(self) -> str:
        """The names of its members."""
        return " + ".join(member.title for member in self.members)

    @property
    def is_within_noise(self) -> bool:
        """Whether the best may be better by chance alone."""
        return self.difference >= 0 or self.probability >= SIGNIFICANT


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was chosen for a dataset, and why."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    autoseg_version: str
    """Version that chose."""
    dataset: str
    """Name of the dataset."""
    plan: str
    """Name of the plan."""
    cases: tuple[str, ...]
    """Cases that the candidates were compared on."""
    candidates: tuple[Candidate, ...]
    """All of them, the best first."""
    chosen: int
    """Which of them, counted from 0."""
    reason: str
    """Why that one, for a person."""
    trials: tuple[Trial, ...]
    """Post-processing that was tried on what was chosen."""

    def __post_init__(self) -> None:
        if not 0 <= self.chosen < len(self.candidates):
            raise DocumentError(
                f"selection: candidate {self.chosen} is chosen of {len(self.candidates)}"
            )

    @property
    def candidate(self) -> Candidate:
        """The chosen one."""
        return self.candidates[self.chosen]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Post-processing that is applied, in its order."""
        return tuple(trial.rule for trial in self.trials if trial.kept)


def rank(contenders: Sequence[Contender], patients: Sequence[str] = ()) -> tuple[Candidate, ...]:
    """Compare contenders on the same cases and return them, the best first.

    Parameters
    ----------
    contenders : sequence of Contender
        What could be chosen.
    patients : sequence of str
        The patient of each case: what is drawn and compared are patients. Empty where every case is
        one.

    Raises
    ------
    UsageError
        If there is none, or none has a Dice on these cases.
    """
    scored = [(mean_dice(each.table), each) for each in contenders]
    known = [(value, each) for value, each in scored if value is not None]
    if not known:
        raise UsageError(
            "selection: no validated case holds a label, in its reference or in a prediction",
            hint="validate other folds: autoseg train 3d_fullres 1",
        )
    ordered = sorted(known, key=lambda pair: -pair[0])
    best = ordered[0][1]
    return tuple(_candidate(value, each, best, patients) for value, each in ordered)


def _candidate(
    value: float, contender: Contender, best: Contender, patients: Sequence[str]
) -> Candidate:
    contributions = case_contributions(best.table, contender.table)
    interval = bootstrap_interval(contender.table, patients)
    assert interval is not None  # there is a mean
    return Candidate(
        members=contender.members,
        networks=contender.networks,
        mean_dice=value,
        interval=interval,
        difference=float(contributions.sum()),
        probability=paired_test(contributions, patients),
    )


def choose(candidates: Sequence[Candidate], patients: int) -> tuple[int, str]:
    """Return which of the ranked candidates to take, and why.

    The simplest of those within noise of the best, that with the fewest networks; of equally
    simple ones the better. Of fewer than `LEAST_PATIENTS` patients, who tell no noise, the best.
    """
    best = candidates[0]
    if len(candidates) == 1:
        return 0, f"{best.title} is the only candidate"
    if patients < LEAST_PATIENTS:
        return 0, f"{best.title} is the best on {patients} patients, too few to tell it from chance"
    close = [number for number, each in enumerate(candidates) if each.is_within_noise]
    chosen = min(close, key=lambda number: (candidates[number].networks, number))
    taken = candidates[chosen]
    if chosen == 0:
        return chosen, f"{taken.title} is the best of {len(candidates)} candidates"
    return chosen, (
        f"{taken.title} is simpler than {best.title}, the best, whose Dice is "
        f"{best.mean_dice - taken.mean_dice:.4f} higher, within noise (p = {taken.probability:.2f})"
    )
