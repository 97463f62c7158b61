"""Gzip in bounded memory, read to the end: every member, its checksum and its length."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from autoseg.core.errors import ImageFileError

PIECE_BYTES: Final = 2**20
"""Largest piece that is decompressed at once."""


def inflated(chunks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Decompress a gzip file piece by piece; zlib compares checksum and length of each member.

    Parameters
    ----------
    chunks : iterable of bytes
        The file.
    where : str
        Names the file in errors.

    Yields
    ------
    bytes
        At most `PIECE_BYTES` each.

    Raises
    ------
    ImageFileError
        E-FILE-03 if the file ends before its checksum, E-FILE-04 if checksum or coding are wrong,
        E-FILE-05 if other data follow.
    """
    inflater = zlib.decompressobj(wbits=31)
    members = 0
    try:
        for chunk in chunks:
            rest = chunk
            # Zeros behind a member are padding; anything else must be another member.
            while rest := (rest.lstrip(b"\0") if inflater.eof else rest):
                if inflater.eof:
                    members += 1
                    inflater = zlib.decompressobj(wbits=31)
                yield inflater.decompress(rest, PIECE_BYTES)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    except zlib.error as error:
        raise _damaged_gzip(error, members, where) from error
    if not inflater.eof:
        raise ImageFileError(
            f"{where}: gzip ends early, before its checksum",
            rule="E-FILE-03",
            hint="the file is truncated; copy or export it again",
        )


def _damaged_gzip(error: zlib.error, members: int, where: str) -> ImageFileError:
    if members and "header" in str(error):
        return ImageFileError(
            f"{where}: holds other data behind the gzip stream, allowed is nothing",
            rule="E-FILE-05",
            hint="decompress the file and compress it again",
        )
    return ImageFileError(
        f"{where}: damaged gzip stream: its checksum or coding is wrong ({error})",
        rule="E-FILE-04",
        hint="bytes of the file changed; copy or export it again",
    )
