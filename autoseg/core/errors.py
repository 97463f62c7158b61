"""Every error that autoseg raises on purpose, with the exit code that the command line gives it.

Imports nothing, so that any module may import it.
"""


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
        What to do next.
    """

    exit_code = 3

    def __init__(self, message: str, *, rule: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.hint = hint

    @property
    def text(self) -> str:
        """The message behind its rule, on one line."""
        message = " ".join(str(self).split())
        return f"{self.rule} {message}" if self.rule else message


class UsageError(AutosegError, ValueError):
    """The command or the call was put wrongly."""

    exit_code = 2


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


class PartialError(RefusedCasesError):
    """The work is done but for the cases named; the others are finished and kept."""

    exit_code = 4


class TrainingError(AutosegError, ArithmeticError):
    """A training cannot go on with the numbers that it has."""


class DamagedError(AutosegError, ValueError):
    """Something that autoseg stored no longer is what it wrote."""

    exit_code = 5


class ResourceError(AutosegError, OSError):
    """Disk, memory or permissions do not suffice."""

    exit_code = 6


class LockedError(AutosegError, OSError):
    """Another run is at work in the same place."""

    exit_code = 7


class InterruptedRun(AutosegError):  # noqa: N818 - not a failure: the same command carries on
    """The work was stopped on request after saving; the same command carries on."""

    exit_code = 75
