"""Folders held by one process at a time."""

import contextlib
import errno
import os
import socket
import subprocess
import sys

import pytest

from autoseg.core.errors import LockedError, ResourceError
from autoseg.io import locks

HOLD = """
import sys, time
from pathlib import Path
from autoseg.io.locks import hold
with hold(Path(sys.argv[1]), "training of fold 3"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_held_folder_names_its_holder_until_it_is_free(tmp_path, dead_process, leave_part):
    left = leave_part(tmp_path / "fold_3", host=socket.gethostname(), process=dead_process)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    assert not left.exists()
    said = rf'"training of fold 3".*"pid": {holder.pid}\b'
    with pytest.raises(LockedError, match=said) as caught, locks.hold(tmp_path, "second"):
        pass
    assert (caught.value.rule, caught.value.exit_code) == ("E-RUN-73", 7)
    assert caught.value.hint == "wait until it ends"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with locks.hold(tmp_path, "second"):
        pass


def test_a_lock_is_free_after_its_block_and_after_an_error(tmp_path):
    with pytest.raises(KeyError), locks.hold(tmp_path, "first"):
        raise KeyError("bug")
    with locks.hold(tmp_path, "second"), pytest.raises(LockedError, match="second"):
        locks.hold(tmp_path, "third").__enter__()
    with (
        locks.hold(tmp_path, "second"),
        pytest.raises(LockedError) as caught,
        locks.hold(tmp_path, "third", instead="choose another --run"),
    ):
        pass
    assert caught.value.hint == "wait until it ends or choose another --run"
    with locks.hold(tmp_path, "fourth"):
        pass


@pytest.mark.parametrize("error", [None, KeyError("bug"), KeyboardInterrupt()])
def test_what_a_worker_was_writing_when_it_was_ended_is_removed(
    tmp_path, dead_process, leave_part, error
):
    def work():
        with locks.hold(tmp_path, "a command"):
            left.append(leave_part(tmp_path / "deep", host=host, process=dead_process))
            left.append(leave_part(tmp_path, host=host, process=os.getpid()))
            if error is not None:
                raise error

    host, left = socket.gethostname(), []
    with pytest.raises(type(error)) if error else contextlib.nullcontext():
        work()
    assert [path.exists() for path in left] == [False, True]


def test_locks_of_different_folders_are_apart(tmp_path):
    with locks.hold(tmp_path / "fold_0", "a"), locks.hold(tmp_path / "fold_1", "b"):
        assert len(list(tmp_path.rglob(".lock"))) == 2


def test_a_lock_that_cannot_be_opened_is_a_refusal(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(ResourceError, match=r"\.lock: writing failed \(Is a directory\)"):
        locks.hold(tmp_path, "a").__enter__()


def test_a_path_below_a_regular_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"file/sub.*: cannot be written") as caught:
        locks.hold(tmp_path / "file" / "sub", "a").__enter__()
    assert caught.value.rule == "E-RES-62"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fcntl")
def test_a_file_system_without_locks_is_told_of_and_used_all_the_same(
    tmp_path, monkeypatch, caplog
):
    import fcntl

    def refuse(code):
        def flock(descriptor, operation):
            raise OSError(code, os.strerror(code))

        return flock

    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOSYS))  # as Lustre without flock does
    with locks.hold(tmp_path, "first"), locks.hold(tmp_path, "second"):
        assert (tmp_path / ".lock").exists()
    said = "the file system has no locks (Function not implemented); run one command at a time"
    assert [said in record.getMessage() for record in caplog.records] == [True, True]
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
    with (
        pytest.raises(ResourceError, match=r"\.lock: .*\(Input/output error\)"),
        locks.hold(tmp_path, "third"),
    ):
        pass
