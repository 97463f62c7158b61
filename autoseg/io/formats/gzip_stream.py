"""Gzip and zlib in bounded memory, read to the end: every member, its checksum and its length."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from autoseg.core.errors import ImageFileError

PIECE_BYTES: Final = 2**20
"""Largest piece that is decompressed at once."""

Coding = Literal["gzip", "zlib"]
_WINDOW_BITS: Final = {"gzip": 31, "zlib": 15}


def inflated(chunks: Iterable[bytes], where: str, *, coding: Coding = "gzip") -> Iterator[bytes]:
    """Decompress a stream piece by piece; zlib compares checksum and length of each member.

    Parameters
    ----------
    chunks : iterable of bytes
        The stream.
    where : str
        Names the file in errors.
    coding : Coding
        How it is compressed.

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
    inflater = zlib.decompressobj(wbits=_WINDOW_BITS[coding])
    members = 0
    try:
        for chunk in chunks:
            rest = chunk
            # Zeros behind a member are padding; anything else must be another member.
            while rest := (rest.lstrip(b"\0") if inflater.eof else rest):
                if inflater.eof:
                    members += 1
                    inflater = zlib.decompressobj(wbits=_WINDOW_BITS[coding])
                yield inflater.decompress(rest, PIECE_BYTES)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    except zlib.error as error:
        raise _damaged(error, members, where, coding) from error
    if not inflater.eof:
        raise ImageFileError(
            f"{where}: {coding} ends early, before its checksum",
            rule="E-FILE-03",
            hint="the file is truncated; copy or export it again",
        )


def _damaged(error: zlib.error, members: int, where: str, coding: Coding) -> ImageFileError:
    if members and "header" in str(error):
        return ImageFileError(
            f"{where}: holds other data behind the {coding} stream, allowed is nothing",
            rule="E-FILE-05",
            hint="export the image again",
        )
    return ImageFileError(
        f"{where}: damaged {coding} stream: its checksum or coding is wrong ({error})",
        rule="E-FILE-04",
        hint="bytes of the file changed; copy or export it again",
    )
