"""The only writer of files: old or new, never half.

What is written atomically goes beside its destination under a temporary name, is flushed, synced to
the disk, read back, and renamed. Logs are append-only.
"""

import errno
import hashlib
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final, NoReturn

from autoseg.core.errors import DamagedError, ResourceError

TEMPORARY_SUFFIX: Final = ".autoseg-part"
"""Ending of files that are being written; `sweep` removes those of dead processes."""

FOREIGN_PART_S: Final = 24 * 3600
"""Age from which a temporary file of another host counts as left over, seconds."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN: Final = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}


def digest(data: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; `ResourceError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot be read ({error.strerror})",
            rule="E-RES-62",
            hint="check that the file is there and that you may read it",
        ) from error


def write_atomically(path: Path, data: bytes | memoryview, *, durable: bool = True) -> None:
    """Replace or create a file so that a reader sees the old content or the new, whatever happens.

    Parameters
    ----------
    path : Path
        Destination; its folder is created.
    data : bytes or memoryview of bytes
        The whole content.
    durable : bool
        Whether to wait until the disk holds it. False is for what can be recomputed and is
        verified by a digest when it is read.

    Raises
    ------
    ResourceError
        If the disk is full or the folder cannot be written; the destination is unchanged.
    DamagedError
        If the disk gives back other bytes than were written; the destination is unchanged.
    """
    part = path.parent / _part_name()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if part.stat().st_size != len(data) or (durable and digest_file(part) != digest(data)):
            raise DamagedError(
                f"{path}: the disk returned other bytes than were written",
                rule="E-RES-63",
                hint="check the disk, then run the same command again",
            )
        part.replace(path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        refuse(path, error)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def built(path: Path) -> Iterator[Path]:
    """Give a temporary name to a block that builds a large file; the file then takes its place.

    If the block raises, nothing is left and an older file is unchanged.

    Raises
    ------
    ResourceError
        If the disk is full or the folder cannot be written.
    """
    part = path.parent / _part_name()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        refuse(path, error)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def link(source: Path, path: Path) -> None:
    """Give a file a second name, replacing what had it; a copy where the file system has no links.

    For files that are replaced and never rewritten: what replaces one leaves the other alone.
    """
    part = path.parent / _part_name()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
        part.replace(path)
    except OSError as error:
        refuse(path, error)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def ensure_writable(folder: Path) -> None:
    """Create a folder and prove by a probe that files can be written there.

    Raises
    ------
    ResourceError
        If they cannot.
    """
    write_atomically(folder / ".probe", b"", durable=False)
    (folder / ".probe").unlink(missing_ok=True)


def visible(folder: Path) -> bool:
    """Tell whether a folder holds anything but locks and files that were being written."""
    return any(not path.name.startswith(".") for path in folder.iterdir())


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        refuse(path, error)


def append_line(path: Path, line: str) -> None:
    """Append one line to a log in a single write, so that lines never interleave.

    A line that a crash or a full disk tore stays as it is; the new one starts behind it. Where
    several processes append at once, an empty line may lie between theirs.

    Raises
    ------
    ResourceError
        If the disk is full or the file cannot be written.
    """
    data = f"{line}\n".encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                data = data if file.read(1) == b"\n" else b"\n" + data
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
    except OSError as error:
        refuse(path, error)


def sweep(folder: Path, *, is_deep: bool = True) -> None:
    """Remove the temporary files of processes that no longer live, in a folder.

    Parameters
    ----------
    folder : Path
        The folder.
    is_deep : bool
        Whether to look into the folders in it too.

    Notes
    -----
    Those of another host, which may share the disk, are removed when they are a day old.
    """
    found = folder.glob(f"{'**/' if is_deep else ''}.*{TEMPORARY_SUFFIX}")
    # A folder that another process removes meanwhile ends the search; the next one goes on.
    while (part := _next(found)) is not None:
        host, _, process = part.name.removesuffix(TEMPORARY_SUFFIX).rpartition(".")
        with suppress(OSError):
            if host.endswith(f".{_host()}") and process.isdecimal():
                in_use = _alive(int(process))
            else:
                in_use = time.time() - part.stat().st_mtime < FOREIGN_PART_S
            if not in_use:
                part.unlink(missing_ok=True)


def _next(paths: Iterator[Path]) -> Path | None:
    with suppress(OSError):
        return next(paths, None)
    return None


def _part_name() -> str:
    """Name of a file that this process is writing."""
    return f".{secrets.token_hex(8)}.{_host()}.{os.getpid()}{TEMPORARY_SUFFIX}"


@cache
def _host() -> str:
    """Short name of this host, safe in a file name."""
    return digest(socket.gethostname().encode())[:8]


def _alive(process: int) -> bool:
    if os.name == "nt":  # os.kill would end the process there; its files stay until it is gone
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # One that has ended stays in the table until its parent, or in many a container nobody, asks.
    with suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0]
        return state not in (b"Z", b"X")
    return True


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be synced there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse(path: Path, error: OSError) -> NoReturn:
    """Raise the error of the kernel as one that says what to do."""
    if error.errno in _FULL:
        raise ResourceError(
            f"{path}: the disk is full ({error.strerror})",
            rule="E-RES-63",
            hint="free some space, then run the same command again: it carries on",
        ) from error
    if error.errno in _FORBIDDEN or isinstance(error, FileExistsError):
        raise ResourceError(
            f"{path}: cannot be written ({error.strerror})",
            rule="E-RES-62",
            hint="choose a folder that you may write to",
        ) from error
    raise ResourceError(
        f"{path}: writing failed ({error.strerror or error})",
        rule="E-RES-63",
        hint="check the disk, then run the same command again",
    ) from error
