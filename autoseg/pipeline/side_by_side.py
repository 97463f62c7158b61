"""Folds trained side by side, each by a command of its own on a device of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from autoseg.core.errors import AutosegError, InterruptedRun, PartialError, TrainingError
from autoseg.execution.progress import Progress

LOOK_EVERY_S: Final = 0.2
"""How often commands are looked at, seconds."""
FORWARDED: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)
"""Signals that are passed on: each command saves its state and ends."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Running:
    """A fold at work."""

    fold: int
    device: str
    process: subprocess.Popen[str]
    listening: threading.Thread
    told: list[str]


def train_side_by_side(
    command: Sequence[str], folds: Sequence[int], devices: Sequence[str], *, progress: Progress
) -> dict[str, Any]:
    """Train folds, one on each device at a time.

    Parameters
    ----------
    command : sequence of str
        ``autoseg train CONFIGURATION`` with its options, as they would be typed, but without folds,
        device and ``--json``.
    folds : sequence of int
        Folds to train.
    devices : sequence of str
        Devices; as many folds are trained at a time.
    progress : Progress
        Told what the commands say.

    Returns
    -------
    dict
        What the commands gave as JSON; the summaries of all folds together.

    Raises
    ------
    InterruptedRun
        If a stop was asked for, or a fold's device was lost; the same command carries on.
    PartialError
        If some folds failed otherwise; names them. The others are finished and kept.
    """
    waiting, free = list(folds), list(devices)
    running: list[_Running] = []
    given: dict[int, dict[str, Any]] = {}
    failed: dict[int, AutosegError] = {}
    with _forwarding(running) as is_stopped:
        while running or (waiting and not is_stopped()):
            while waiting and free and not is_stopped():
                running.append(_start(command, waiting.pop(0), free.pop(0), progress))
            time.sleep(LOOK_EVERY_S)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                free.append(one.device)
                outcome = _outcome(one)
                if isinstance(outcome, AutosegError):
                    failed[one.fold] = outcome
                else:
                    given[one.fold] = outcome
    _refuse(failed, is_stopped())
    together = {fold: each["folds"][str(fold)] for fold, each in sorted(given.items())}
    return {**next(iter(given.values())), "folds": {str(k): v for k, v in together.items()}}


def _refuse(failed: Mapping[int, AutosegError], is_stopped: bool) -> None:
    """Raise one error for all folds that were not finished, if there are any."""
    if is_stopped or any(isinstance(error, InterruptedRun) for error in failed.values()):
        listed = f"; fold {', '.join(map(str, failed))}: the state is saved" if failed else ""
        raise InterruptedRun(f"stopped{listed}", hint="run the same command again: it carries on")
    if failed:
        raise PartialError(
            f"fold {', '.join(map(str, failed))} failed; the others are finished and kept",
            tuple(failed.values()),
            hint="mend what is named, then run the same command again",
        )


def _start(command: Sequence[str], fold: int, device: str, progress: Progress) -> _Running:
    line = [*command, str(fold), "--device", device, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "autoseg", *line],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C reaches it once, from here
    )
    told: list[str] = []

    def listen() -> None:
        assert process.stderr is not None
        for text in process.stderr:
            told.append(text.rstrip("\n"))
            progress.note(f"[fold {fold} on {device}] {told[-1]}")

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    return _Running(fold=fold, device=device, process=process, listening=listening, told=told)


def _outcome(one: _Running) -> dict[str, Any] | AutosegError:
    """Return what a command that has ended gave, or why it gave nothing."""
    assert one.process.stdout is not None
    output = one.process.stdout.read()
    one.listening.join()
    code = one.process.returncode
    if code == 0:
        given: dict[str, Any] = json.loads(output)
        return given
    said = [line.removeprefix("error: ") for line in one.told if line.startswith("error: ")]
    reason = f"fold {one.fold} on {one.device}: {said[-1] if said else f'ended with code {code}'}"
    return InterruptedRun(reason) if code == InterruptedRun.exit_code else TrainingError(reason)


@contextmanager
def _forwarding(running: Sequence[_Running]) -> "Iterator[Any]":
    """Pass signals on to the commands; none outlives this block."""
    asked = False

    def forward(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        for one in running:
            if one.process.poll() is None:
                os.kill(one.process.pid, number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in running:
            one.process.kill()
            one.process.wait()
