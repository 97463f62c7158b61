"""How benchmarks run autoseg and the peer, nnU-Net: whole commands, timed, with peak memory."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished command."""

    seconds: float
    """Wall-clock time."""
    peak_mib: float
    """Peak memory of its largest process, MiB."""
    output: str
    """What it printed on stdout."""


def run_command(arguments: list[str]) -> Finished:
    """Run a command, its messages going to stderr, and fail with it."""
    began = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # it is a pipe
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)  # of this command alone, its workers included
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments, output)
    return Finished(
        seconds=time.monotonic() - began, peak_mib=usage.ru_maxrss / 1024, output=output
    )


def run_autoseg(*arguments: str | Path) -> Finished:
    """Run a verb of the autoseg that this interpreter has."""
    code = "from autoseg.cli.main import console; console()"
    return run_command([sys.executable, "-c", code, *map(str, arguments)])


def run_peer(python: Path, script: Path, *arguments: str | Path) -> dict[str, object]:
    """Run a step of nnU-Net in its own environment and return what it reports."""
    done = run_command([str(python), str(script), *map(str, arguments)])
    report: dict[str, object] = json.loads(done.output.strip().splitlines()[-1])
    return report


def empty_folder(folder: Path) -> Path:
    """Return a folder after removing what was in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
