"""What a user may accept although a rule refuses it: one table, and each choice as a value.

Nothing is accepted by itself. Whoever acts on a choice leaves a note that names it.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

from autoseg.core.errors import UsageError
from autoseg.core.geometry import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class OptIn:
    """What can be accepted of one rule."""

    rule: str
    """The rule, such as ``E-GEO-13``."""
    choices: tuple[str, ...] = ()
    """What may be chosen; empty where it is a text of the user's own, which may be given more than
    once."""
    placeholder: str = ""
    """Stands for the user's own text in messages; empty where there are choices."""
    says: str
    """What becomes of a case, in one sentence."""
    changes_voxels: bool = True
    """Whether a case that is read with it may hold other voxels, or lie elsewhere."""

    @property
    def form(self) -> str:
        """How it is written, such as ``E-GEO-13=sform or E-GEO-13=qform``."""
        return " or ".join(f"{self.rule}={c}" for c in self.choices or (self.placeholder,))


OPT_INS: Final = {
    opt_in.rule: opt_in
    for opt_in in (
        OptIn(
            rule="E-GEO-13",
            choices=("sform", "qform"),
            says="Where the two matrices of a NIfTI disagree, the named one is taken.",
        ),
        OptIn(
            rule="E-GEO-14",
            choices=("ras",),
            says="An image that does not say where it lies has axes towards right, front and head, "
            "the spacing of its header and its first voxel at the origin.",
        ),
        OptIn(
            rule="E-GEO-18",
            choices=("convert", "mm"),
            says="Lengths in another unit are converted to mm, or are mm after all.",
        ),
        OptIn(
            rule="E-GEO-20",
            choices=("resample",),
            says="A segmentation of another shape than its image is put onto the image's grid: "
            "each voxel takes the nearest label by its position in space.",
        ),
        OptIn(
            rule="E-GEO-21",
            choices=("resample",),
            says="A segmentation of the image's shape that lies elsewhere is put onto the image's "
            "grid: each voxel takes the nearest label by its position in space.",
        ),
        OptIn(
            rule="E-GEO-23",
            choices=("resample",),
            says="Channels on other grids are put onto that of the first one by linear "
            "interpolation; nothing is registered.",
        ),
        OptIn(
            rule="E-VAL-28",
            choices=("fill",),
            says="NaN and infinity in an image become the smallest finite value of their channel.",
        ),
        OptIn(
            rule="E-SET-44",
            choices=("group",),
            says="Cases with the same image files count as one patient, so they share a fold.",
            changes_voxels=False,
        ),
        OptIn(
            rule="E-DCM-52",
            choices=("untilt",),
            says="The slices of a tilted gantry are shifted in their planes onto a straight grid.",
        ),
        OptIn(
            rule="E-DCM-53",
            placeholder="SERIES_UID",
            says="Of several series in a folder, the one of this UID is the image; may be repeated "
            "for other folders.",
        ),
    )
}
"""Every rule that something can be accepted of. All others refuse whatever is asked for."""

_RULE: Final = re.compile(r"E-[A-Z]+-[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One rule, and what the user chose to do where it would refuse."""

    __pydantic_config__: ClassVar = STRICT

    rule: str
    """One of `OPT_INS`."""
    choice: str
    """One of its choices, or the user's own text."""

    def __post_init__(self) -> None:
        opt_in = OPT_INS.get(self.rule)
        if opt_in is None:
            raise _no_opt_in(self.rule)
        if opt_in.choices and self.choice not in opt_in.choices:
            near = difflib.get_close_matches(self.choice, opt_in.choices, n=1)
            meant = f" (meant {near[0]!r}?)" if near else ""
            found = f"the choice {self.choice!r}{meant} is not known" if self.choice else ""
            raise UsageError(
                f"--accept {self.rule}: {found or 'a choice is missing'}; allowed is {opt_in.form}",
                hint=f"--accept {self.rule}={near[0] if near else opt_in.choices[0]}",
            )
        if not self.choice.strip():
            raise UsageError(
                f"--accept {self.rule}: a choice is missing; allowed is {opt_in.form}",
                hint=f"--accept {opt_in.form}",
            )

    @property
    def text(self) -> str:
        """How the command line and notes write it, such as ``E-GEO-13=sform``."""
        return f"{self.rule}={self.choice}"


Accepted = tuple[Acceptance, ...]
"""All that a user accepts, sorted; one choice of a rule, or texts of the user's own."""


def parse_accepted(texts: Iterable[str]) -> Accepted:
    """Read what the command line says, ``RULE=CHOICE`` or, where there is one choice, ``RULE``.

    Parameters
    ----------
    texts : iterable of str
        In any order; the same may be said twice.

    Raises
    ------
    UsageError
        If a rule or choice is unknown, with the one that may be meant; if two choices of a rule
        exclude each other.

    Examples
    --------
    >>> [each.text for each in parse_accepted(["E-VAL-28", "E-GEO-13=qform"])]
    ['E-GEO-13=qform', 'E-VAL-28=fill']
    """
    found = {_parse(text) for text in texts}
    accepted = tuple(sorted(found, key=lambda each: (each.rule, each.choice)))
    for first, second in pairwise(accepted):
        if first.rule == second.rule and OPT_INS[first.rule].choices:
            raise UsageError(
                f"--accept {first.text} and --accept {second.text} exclude each other; allowed is "
                f"{OPT_INS[first.rule].form}",
                hint="leave one of them out",
            )
    return accepted


def choice_of(accepted: Accepted, rule: str) -> str | None:
    """Return what was chosen for a rule; None where it refuses as always."""
    return next(iter(choices_of(accepted, rule)), None)


def choices_of(accepted: Accepted, rule: str) -> tuple[str, ...]:
    """Return all that was chosen for a rule, of which a text of the user's own may be several."""
    return tuple(each.choice for each in accepted if each.rule == rule)


def key_parts(accepted: Accepted) -> tuple[str, ...]:
    """Return what arrays made from files depend on, for a content key; nothing where none do."""
    return tuple(each.text for each in accepted if OPT_INS[each.rule].changes_voxels)


def offer(rule: str, *, but: str = "") -> str:
    """Return the end of a hint, such as ``, or --accept E-GEO-13=sform (or =qform)``.

    Parameters
    ----------
    rule : str
        One of `OPT_INS`.
    but : str
        A choice that would not help here.
    """
    opt_in = OPT_INS[rule]
    first, *others = [c for c in opt_in.choices or (opt_in.placeholder,) if c != but]
    rest = f" (or ={', ='.join(others)})" if others else ""
    return f", or --accept {rule}={first}{rest}"


def accepted_note(what: str, rule: str, choice: str) -> str:
    """Return the note on an opt-in that was made use of."""
    return f"{what} (accepted: {rule}={choice})"


def _parse(text: str) -> Acceptance:
    rule, _, choice = (part.strip() for part in text.partition("="))
    opt_in = OPT_INS.get(rule.upper())
    if opt_in is None:
        raise _no_opt_in(rule)
    if not choice and len(opt_in.choices) == 1:
        choice = opt_in.choices[0]
    return Acceptance(rule=opt_in.rule, choice=choice)


def _no_opt_in(rule: str) -> UsageError:
    """Return the error for a rule of which nothing can be accepted, or that is none."""
    known = ", ".join(OPT_INS)
    near = difflib.get_close_matches(rule.upper(), OPT_INS, n=1, cutoff=0.7)
    meant = f" (meant {near[0]!r}?)" if near else ""
    if _RULE.fullmatch(rule.upper()):
        what = f"nothing can be accepted of this rule{meant}"
    else:
        what = f"is the name of no rule{meant}"
    return UsageError(
        f"--accept {rule!r}: {what}; something can be accepted of {known}",
        hint="mend what the rule refuses; docs/how-to/accept-and-repair.md says how",
    )
