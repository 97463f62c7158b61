"""Every error that autoseg raises on purpose, with the exit code that the command line gives it.

Imports nothing of autoseg, so that any module may import it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self


class AutosegError(Exception):
    """An error whose text is meant for the user.

    Parameters
    ----------
    message : str
        Where, what is wrong with the measured value, and what is allowed.
    rule : str, optional
        Identifier of the broken rule, such as ``"E-GEO-13"``; ``docs/reference/errors.md`` lists
        them.
    hint : str, optional
        What to do next; the usual hint of the kind of error if left out.

    Attributes
    ----------
    cases : tuple of str
        Names of the cases that it is about; empty if it is about none, or they are not known.
    file : str
        Path of the file that it is about; empty if there are several or none, or it is not known.
    """

    exit_code = 3
    usual_hint = "correct what the error names, then run the same command again"

    def __init__(self, message: str, *, rule: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.hint = hint or self.usual_hint
        self.cases: tuple[str, ...] = ()
        self.file = ""

    def about(self, *cases: str, file: str = "") -> Self:
        """Say what the error is about, for those who leave these cases out; return it.

        Parameters
        ----------
        *cases : str
            Names of cases; an empty one is none.
        file : str
            Path of the file.

        Notes
        -----
        What is left out stays as it was said before.
        """
        self.cases = tuple(dict.fromkeys(name for name in cases if name)) or self.cases
        self.file = file or self.file
        return self

    @property
    def case(self) -> str:
        """The only case that it is about; empty if there are several or none."""
        return self.cases[0] if len(self.cases) == 1 else ""

    @property
    def text(self) -> str:
        """The message behind its rule, on one line."""
        message = " ".join(str(self.args[0]).split())
        return f"{self.rule} {message}" if self.rule else message


@contextmanager
def about_file(path: object) -> Iterator[None]:
    """Let the errors of a block say which file they are about."""
    try:
        yield
    except AutosegError as error:
        error.about(file=str(path))
        raise


class Bug(AutosegError):  # noqa: N818 - it is one
    """Something that autoseg did not foresee."""

    exit_code = 1


class UsageError(AutosegError, ValueError):
    """The command or the call was put wrongly."""

    exit_code = 2
    usual_hint = "autoseg VERB --help lists what is allowed"


class InputError(AutosegError, ValueError):
    """Input was refused; nothing was made from it."""


class ImageFileError(InputError):
    """A file is not the intact image that its name promises."""


class GeometryError(InputError):
    """Shapes, spacings or positions are impossible or do not belong together."""


class VoxelError(InputError):
    """Voxel values or labels lie outside what is allowed."""


class DatasetError(InputError):
    """A dataset's folder or description breaks its layout."""


class DocumentError(InputError):
    """A JSON document cannot be read as what it should be."""


class PlanError(InputError):
    """A plan is contradictory or cannot be made."""


class RefusedCasesError(InputError):
    """Several problems, found in one pass over the cases.

    Parameters
    ----------
    message : str
        How many problems there are, and of what.
    problems : sequence of AutosegError
        One error for each problem, in the order of the cases.
    rule, hint : str
        As in `AutosegError`.
    """

    def __init__(
        self,
        message: str,
        problems: "tuple[AutosegError, ...]" = (),
        *,
        rule: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, rule=rule, hint=hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """Return the message and the first problems, for those who see nothing else."""
        listed = "; ".join(problem.text for problem in self.problems[:10])
        more = len(self.problems) - 10
        rest = f" and {more} more" if more > 0 else ""
        return f"{self.args[0]}: {listed}{rest}" if listed else str(self.args[0])


class PartialError(RefusedCasesError):
    """The work is done but for the cases named; the others are finished and kept.

    Parameters
    ----------
    message, problems, rule, hint
        As in `RefusedCasesError`.
    result : dict
        What was made, as plain JSON values.
    """

    exit_code = 4

    def __init__(
        self,
        message: str,
        problems: "tuple[AutosegError, ...]" = (),
        *,
        rule: str = "",
        hint: str = "",
        result: "dict[str, object] | None" = None,
    ) -> None:
        super().__init__(message, problems, rule=rule, hint=hint)
        self.result = result or {}


class TrainingError(AutosegError, ArithmeticError):
    """A training cannot go on with the numbers that it has."""


class DamagedError(AutosegError, ValueError):
    """Something that autoseg stored no longer is what it wrote."""

    exit_code = 5
    usual_hint = "run the command that made it again"


class ResourceError(AutosegError, OSError):
    """Disk, memory or permissions do not suffice."""

    exit_code = 6


class LockedError(AutosegError, OSError):
    """Another run is at work in the same place."""

    exit_code = 7


class InterruptedRun(AutosegError):  # noqa: N818 - not a failure: the same command carries on
    """The work was stopped on request after saving; the same command carries on."""

    exit_code = 75
