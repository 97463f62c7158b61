"""The only writer of files: old or new, never half.

What is written atomically goes beside its destination under a temporary name, is flushed, synced to
the disk, read back, and renamed. Logs are append-only. Locks are the kernel's, so a killed process
leaves none behind.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Final, NoReturn

from autoseg.core.errors import DamagedError, LockedError, ResourceError

TEMPORARY_SUFFIX: Final = ".autoseg-part"
"""Ending of files that are being written; `lock` removes those of dead processes."""

FOREIGN_PART_S: Final = 24 * 3600
"""Age from which a temporary file of another host counts as left over, seconds."""

LOCK_POLL_S: Final = 0.5
"""How often a lock that is waited for is tried, seconds."""

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
        _refuse(path, error)
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
        _refuse(path, error)
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
        _refuse(path, error)
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
        _refuse(path, error)


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
        _refuse(path, error)


@contextmanager
def lock(folder: Path, command: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for one command; the kernel releases it when the process ends.

    Parameters
    ----------
    folder : Path
        Folder to hold; it is created. Left-overs of killed runs in it are removed.
    command : str
        What holds it, for the message that others get.
    wait : bool
        Whether to wait until another process lets go of it.

    Raises
    ------
    LockedError
        If another process holds the folder, and it is not waited for.
    """
    ensure_writable(folder)
    with _open_lock(folder / ".lock") as file:
        while not (held := _try_lock(file.fileno())) and wait:
            time.sleep(LOCK_POLL_S)
        if not held:
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another process"
            raise LockedError(
                f"{folder}: is in use by {holder}",
                rule="E-RUN-73",
                hint="wait until it ends, or choose another --run",
            )
        with suppress(OSError):  # the kernel holds the lock, whatever the disk has room to say
            _name_holder(file, command)
        sweep(folder)
        yield


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
    for part in folder.glob(f"{'**/' if is_deep else ''}.*{TEMPORARY_SUFFIX}"):
        host, _, process = part.name.removesuffix(TEMPORARY_SUFFIX).rpartition(".")
        with suppress(OSError):
            if host.endswith(f".{_host()}") and process.isdecimal():
                in_use = _alive(int(process))
            else:
                in_use = time.time() - part.stat().st_mtime < FOREIGN_PART_S
            if not in_use:
                part.unlink(missing_ok=True)


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


def _open_lock(path: Path) -> IO[bytes]:
    try:
        return path.open("a+b", buffering=0)  # nothing is left to be written when it is closed
    except OSError as error:
        _refuse(path, error)


def _name_holder(file: IO[bytes], command: str) -> None:
    """Say in a lock's file who holds it, for the message that others get."""
    file.truncate(0)
    facts = {"command": command, "host": socket.gethostname(), "pid": os.getpid()}
    file.write(json.dumps({**facts, "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode())


def _try_lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be synced there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse(path: Path, error: OSError) -> NoReturn:
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
