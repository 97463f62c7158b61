"""The errors that a file of a series can cause, and the shield around the DICOM library."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from autoseg.core.errors import AutosegError, ImageFileError, UsageError


def unreadable(where: str, problem: str, hint: str = "") -> ImageFileError:
    """Return the error E-DCM-54 for a DICOM file whose pixels or header cannot be taken.

    Parameters
    ----------
    where : str
        Names the file.
    problem : str
        What is wrong with it, and what is allowed; no value of a tag that names a person.
    hint : str
        What to do next; default: export it again.
    """
    return ImageFileError(
        f"{where}: {problem}",
        rule="E-DCM-54",
        hint=hint or "copy the file again, or export the series again",
    )


@contextmanager
def shielded(where: str, part: str) -> Iterator[None]:
    """Turn whatever the DICOM library and its decoders raise into E-DCM-54; silence their warnings.

    Their words are dropped, since they may repeat what a tag holds.

    Parameters
    ----------
    where : str
        Names the file.
    part : str
        What of it is being read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (AutosegError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the decoder: Pillow's errors of this type have no number
        raise unreadable(
            where, f"has {part} that cannot be decoded ({type(error).__name__})"
        ) from error


def check_library() -> None:
    """Refuse DICOM where the optional library is missing.

    Raises
    ------
    UsageError
        If pydicom is not installed.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "DICOM is read by the package pydicom, which is not installed",
            hint='pip install "autoseg[dicom]"',
        ) from error
