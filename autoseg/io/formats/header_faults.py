"""The errors that the headers of every format share: impossible, truncated, damaged."""

from autoseg.core.errors import ImageFileError


def impossible(where: str, problem: str, kind: str = "") -> ImageFileError:
    """Return the error for a header that contradicts itself or its format.

    Parameters
    ----------
    where : str
        Names the file.
    problem : str
        What is wrong, and what is allowed.
    kind : str
        The format, where the file's name does not say it.
    """
    return ImageFileError(
        f"{where}: has an impossible {f'{kind} ' if kind else ''}header: {problem}",
        rule="E-FILE-09",
        hint="the header is damaged; export the image again",
    )


def truncated(where: str, problem: str, kind: str = "") -> ImageFileError:
    """Return the error for a file that is shorter than its header says."""
    return ImageFileError(
        f"{where}: truncated{f' {kind}' if kind else ''}: {problem}",
        rule="E-FILE-02",
        hint="copy or export it again",
    )


def cut_header(where: str, found: int) -> ImageFileError:
    """Return the error for a file that ends within its header, after ``found`` bytes."""
    return ImageFileError(
        f"{where}: ends after {found} bytes, within its header",
        rule="E-FILE-02",
        hint="the file is truncated; copy or export it again",
    )


def damaged(where: str, problem: str, kind: str) -> ImageFileError:
    """Return the error for content whose checksum or coding is wrong."""
    return ImageFileError(
        f"{where}: damaged {kind}: {problem}",
        rule="E-FILE-04",
        hint="bytes of the file changed; copy or export it again",
    )


def overfull(where: str, problem: str) -> ImageFileError:
    """Return the error for a file that holds more than its header says."""
    return ImageFileError(
        f"{where}: {problem}",
        rule="E-FILE-05",
        hint="the header is wrong or the file hides other data; export the image again",
    )
