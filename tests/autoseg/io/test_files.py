"""Old or new, never half: injected failures, and SIGKILL at random moments."""

import errno
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from autoseg.core.errors import DamagedError, ResourceError
from autoseg.io import files

OLD, NEW = b"old content", b"new content, which is longer"
STEPS = ["write", "fsync", "replace"]
"""System calls of a save until the file has its name."""


def _fail(monkeypatch, step, code):
    """Let one system call of a save fail with an error of the kernel."""

    def broken(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    if step == "write":
        monkeypatch.setattr(Path, "open", lambda *_args, **_kwargs: _full_device(code))
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", broken)
    else:
        monkeypatch.setattr(Path, "replace", broken)


def _full_device(code):
    """Open a file whose device fails, with the real error of a full disk where that is asked."""
    if code == errno.ENOSPC:
        return open("/dev/full", "wb")  # noqa: PTH123 - Path.open is what fails
    raise OSError(code, os.strerror(code))


def _names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def _python(code, *arguments, **options):
    """Start a Python that has this one's import paths."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("before", [None, OLD], ids=["new", "replaced"])
def test_a_file_holds_what_was_written_and_nothing_lies_beside_it(tmp_path, durable, before):
    path = tmp_path / "deep" / "er" / "plan.json"
    if before is not None:
        files.write_atomically(path, before)
    files.write_atomically(path, NEW, durable=durable)
    assert path.read_bytes() == NEW
    assert _names(tmp_path) == ["plan.json"]


def test_a_reader_keeps_what_it_opened(tmp_path):
    path = tmp_path / "case.b2nd"
    files.write_atomically(path, OLD)
    with path.open("rb") as reader:
        files.write_atomically(path, NEW)
        assert reader.read() == OLD


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("before", [None, OLD], ids=["new", "replaced"])
@pytest.mark.parametrize(
    ("code", "said", "rule"),
    [
        (errno.ENOSPC, "the disk is full", "E-RES-63"),
        (errno.EDQUOT, "the disk is full", "E-RES-63"),
        (errno.EIO, "writing failed", "E-RES-63"),
        (errno.EROFS, "cannot be written", "E-RES-62"),
        (errno.EACCES, "cannot be written", "E-RES-62"),
    ],
    ids=["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"],
)
def test_a_failing_step_leaves_the_old_file(tmp_path, monkeypatch, step, before, code, said, rule):
    path = tmp_path / "weights.safetensors"
    if before is not None:
        path.write_bytes(before)
    with monkeypatch.context() as patch:
        _fail(patch, step, code)
        with pytest.raises(ResourceError, match=rf"weights\.safetensors: {said} \(.*\)") as caught:
            files.write_atomically(path, NEW)
    assert (caught.value.rule, caught.value.exit_code) == (rule, 6)
    assert isinstance(caught.value.__cause__, OSError)
    assert (path.read_bytes() if path.exists() else None) == before
    assert _names(tmp_path) == (["weights.safetensors"] if before is not None else [])
    files.write_atomically(path, NEW)
    assert path.read_bytes() == NEW


def test_a_folder_that_cannot_be_synced_leaves_the_new_file_and_says_so(tmp_path, monkeypatch):
    def broken(_folder):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "_sync_folder", broken)
    with pytest.raises(ResourceError, match=r"plan\.json: writing failed"):
        files.write_atomically(tmp_path / "plan.json", NEW)
    assert (tmp_path / "plan.json").read_bytes() == NEW


@pytest.mark.parametrize("returned", [NEW[:-1], NEW[:-1] + b"?"], ids=["shorter", "changed"])
def test_bytes_that_the_disk_returns_changed_are_not_renamed(tmp_path, monkeypatch, returned):
    path = tmp_path / "plan.json"
    path.write_bytes(OLD)

    def rot(descriptor):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, returned, 0)

    monkeypatch.setattr(os, "fsync", rot)
    with pytest.raises(DamagedError, match=r"plan\.json: the disk returned other bytes") as caught:
        files.write_atomically(path, NEW)
    assert caught.value.exit_code == 5
    assert path.read_bytes() == OLD
    assert _names(tmp_path) == ["plan.json"]


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda path: files.write_atomically(path, NEW), id="write"),
        pytest.param(lambda path: files.append_line(path, "x"), id="append"),
        pytest.param(lambda path: files.ensure_writable(path), id="probe"),
        pytest.param(lambda path: files.remove(path), id="remove"),
    ],
)
def test_a_path_below_a_regular_file_is_refused(tmp_path, act):
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(ResourceError, match=r"file/sub.*: cannot be written") as caught:
        act(tmp_path / "file" / "sub")
    assert caught.value.rule == "E-RES-62"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match="cannot be written") as caught:
        files.ensure_writable(tmp_path)
    assert caught.value.rule == "E-RES-62"


def test_a_probe_leaves_nothing(tmp_path):
    files.ensure_writable(tmp_path / "output")
    assert list((tmp_path / "output").iterdir()) == []


def test_removing_what_is_gone_is_no_error(tmp_path):
    files.remove(tmp_path / "gone")
    (tmp_path / "there").write_bytes(OLD)
    files.remove(tmp_path / "there")
    assert list(tmp_path.iterdir()) == []


_SAVE_IN_A_LOOP = """
import itertools, sys
from pathlib import Path
from autoseg.io.files import write_atomically
print("ready", flush=True)
for turn in itertools.count():
    data = bytes([turn % 251]) * 200_000
    write_atomically(Path(sys.argv[1]), data, durable=turn % 2 == 0)
"""


def test_a_killed_save_leaves_a_whole_file_and_its_part_is_swept(tmp_path):
    path, parts, rng = tmp_path / "state.bin", 0, random.Random(7)
    for _ in range(10):
        saver = _python(_SAVE_IN_A_LOOP, path)
        assert saver.stdout.readline() == "ready\n"
        while not path.exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.05))
        saver.kill()
        assert saver.wait() == -signal.SIGKILL
        saver.stdout.close()
        data = path.read_bytes()
        assert (len(data), len(set(data))) == (200_000, 1)
        parts += len(_names(tmp_path)) - 1
        files.sweep(tmp_path)
        assert _names(tmp_path) == ["state.bin"]
    assert parts > 0, "no kill hit a save: the test proves nothing"


def test_sweep_removes_the_parts_of_dead_processes_only(tmp_path, dead_process, leave_part):
    here = socket.gethostname()
    dead = leave_part(tmp_path / "fold_0", host=here, process=dead_process)
    alive = leave_part(tmp_path / "fold_1", host=here, process=os.getppid())
    plan = tmp_path / "plan.json"
    plan.write_bytes(OLD)
    files.sweep(tmp_path)
    assert (dead.exists(), alive.exists(), plan.exists()) == (False, True, True)


def test_sweep_leaves_the_fresh_parts_of_other_hosts(tmp_path, dead_process, leave_part):
    fresh = leave_part(tmp_path / "a", host="another host", process=dead_process)
    old = leave_part(tmp_path / "b", host="another host", process=dead_process)
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    files.sweep(tmp_path)
    assert (fresh.exists(), old.exists()) == (True, False)


def test_lines_are_appended_in_order(tmp_path):
    path = tmp_path / "fold_0" / "run.jsonl"
    for line in ("first", "zweite, größer", "third"):
        files.append_line(path, line)
    assert path.read_text(encoding="utf-8") == "first\nzweite, größer\nthird\n"


def test_a_line_behind_a_torn_one_stays_whole(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"epoch": 1}\n{"epo')
    files.append_line(path, '{"epoch": 2}')
    assert path.read_bytes() == b'{"epoch": 1}\n{"epo\n{"epoch": 2}\n'


def test_lines_of_several_writers_never_interleave(tmp_path):
    path = tmp_path / "run.jsonl"

    def write(letter):
        for _ in range(50):
            files.append_line(path, letter * 500)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [line for line in path.read_text().splitlines() if line]
    assert len(lines) == 4 * 50
    assert {(len(line), len(set(line))) for line in lines} == {(500, 1)}


def test_a_full_disk_refuses_a_line(tmp_path):
    path = tmp_path / "run.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(ResourceError, match=r"run\.jsonl: the disk is full"):
        files.append_line(path, "x")


def test_a_line_that_is_written_in_part_is_an_error(tmp_path, monkeypatch):
    class Short:
        """A file of a disk that has room for three more bytes."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def seek(self, *_):
            return 0

        def write(self, data):
            return min(3, len(data))

    monkeypatch.setattr(Path, "open", lambda *_args, **_kwargs: Short())
    with pytest.raises(ResourceError, match=r"run\.jsonl: the disk is full"):
        files.append_line(tmp_path / "run.jsonl", "event")


def test_digests_are_sha256(tmp_path):
    # The first test vector of FIPS 180-2.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.digest(b"abc") == files.digest_file(tmp_path / "abc") == abc
    assert files.digest(memoryview(b"abc")) == abc


def test_parts_never_share_a_name(tmp_path, monkeypatch):
    seen = []
    rename = Path.replace

    def spy(part, path):
        seen.append(part.name)
        return rename(part, path)

    monkeypatch.setattr(Path, "replace", spy)
    for _ in itertools.repeat(None, 5):
        files.write_atomically(tmp_path / "a", NEW, durable=False)
    assert len(set(seen)) == 5
    assert all(name.endswith(f".{os.getpid()}{files.TEMPORARY_SUFFIX}") for name in seen)
