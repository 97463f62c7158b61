"""Which series of a DICOM folder is read: the only one, or the one that the user named."""

from collections.abc import Callable
from typing import TypeVar

from autoseg.core.acceptance import Accepted, choices_of
from autoseg.core.errors import InputError

Value = TypeVar("Value")


def with_named_series(read: Callable[[str | None], Value], accepted: Accepted) -> Value:
    """Read a folder; where it holds several series, the one that the user named.

    Parameters
    ----------
    read : callable
        Reads the series of a name; of None, the only one there is.
    accepted : tuple of Acceptance
        ``E-DCM-53=UID`` names a series, of this folder or of another one.

    Raises
    ------
    InputError
        E-DCM-53 if there are several and none, or more than one of them, was named; whatever else
        ``read`` raises.
    """
    try:
        return read(None)
    except InputError as error:
        if error.rule != "E-DCM-53":
            raise
        ambiguous = error
    found = []
    for series in choices_of(accepted, "E-DCM-53"):
        try:
            found.append(read(series))
        except InputError as error:
            if error.rule != "E-DCM-53":  # which says that it is a series of another folder
                raise
    if len(found) != 1:
        raise ambiguous
    return found[0]
