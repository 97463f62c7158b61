"""Folds trained side by side, each by a command of its own on a device of its own."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any, Final

from autoseg.core.errors import AutosegError, InterruptedRun, PartialError, TrainingError
from autoseg.execution.progress import Progress
from autoseg.training.ending import REQUESTS

LOOK_EVERY_S: Final = 0.2
"""How often commands are looked at, seconds."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Running:
    """A fold at work."""

    fold: int
    device: str
    process: subprocess.Popen[str]
    output: IO[str]
    listening: threading.Thread
    told: list[str]
    was_asked: bool = False


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
    with _forwarding(running) as stop:
        while running or (waiting and free and not stop):
            while waiting and free and not stop:
                running.append(_start(command, waiting.pop(0), free.pop(0), progress))
            if stop:
                _pass_on(stop[-1], running[-1:])  # it may have come while the last one started
            time.sleep(LOOK_EVERY_S)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                outcome = _outcome(one)
                if isinstance(outcome, AutosegError):
                    failed[one.fold] = outcome  # and its device, for all that is known
                else:
                    given[one.fold] = outcome
                    free.append(one.device)
    _refuse(failed, waiting, is_stopped=bool(stop))
    together = {fold: each["folds"][str(fold)] for fold, each in sorted(given.items())}
    return {**next(iter(given.values())), "folds": {str(k): v for k, v in together.items()}}


def _refuse(
    failed: Mapping[int, AutosegError], waiting: Sequence[int], *, is_stopped: bool
) -> None:
    """Raise one error for all folds that were not finished, if there are any."""
    saved = [fold for fold, error in failed.items() if isinstance(error, InterruptedRun)]
    broken = {fold: error for fold, error in failed.items() if fold not in saved}
    unmade = "".join(
        f"; fold {', '.join(map(str, folds))}: {what}"
        for folds, what in (
            (saved, "the state is saved"),
            (list(broken), "failed"),
            (waiting, "not begun"),
        )
        if folds
    )
    if saved or (is_stopped and waiting):
        reasons = "".join(f" ({error.args[0]})" for error in broken.values())
        raise InterruptedRun(
            f"stopped{unmade}{reasons}", hint="run the same command again: it carries on"
        )
    if failed:
        raise PartialError(
            f"some folds are not trained{unmade}; the others are finished and kept",
            tuple(failed.values()),
            hint="mend what is named, then run the same command again",
        )


def _start(command: Sequence[str], fold: int, device: str, progress: Progress) -> _Running:
    line = [*command, str(fold), "--device", device, "--json"]
    output = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - a pipe might fill up
    process = subprocess.Popen(
        [sys.executable, "-m", "autoseg", *line],
        stdout=output,
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
    return _Running(
        fold=fold, device=device, process=process, output=output, listening=listening, told=told
    )


def _outcome(one: _Running) -> dict[str, Any] | AutosegError:
    """Return what a command that has ended gave, or why it gave nothing."""
    one.listening.join()
    with one.output as output:
        output.seek(0)
        printed = output.read()
    code = one.process.returncode
    if code == 0:
        given: dict[str, Any] = json.loads(printed)
        return given
    errors = _said(one, "error: ")
    reason = f"fold {one.fold} on {one.device}: {errors[-1] if errors else f'ended with {code}'}"
    if code == InterruptedRun.exit_code:
        return InterruptedRun(reason)
    return TrainingError(reason, hint="".join(_said(one, "hint: ")[-1:]))


def _said(one: _Running, start: str) -> list[str]:
    return [line.removeprefix(start) for line in one.told if line.startswith(start)]


@contextmanager
def _forwarding(running: Sequence[_Running]) -> Iterator[list[int]]:
    """Pass signals on to the commands, and list them; no command outlives this block.

    What is ignored stays ignored, such as the terminal's end under ``nohup``.
    """
    asked: list[int] = []

    def forward(number: int, frame: object) -> None:
        again = signal.SIGINT in asked and number == signal.SIGINT
        asked.append(number)
        _pass_on(number, running, again=again)

    handlers = {number: signal.getsignal(number) for number in REQUESTS}
    before = {number: each for number, each in handlers.items() if each != signal.SIG_IGN}
    for number in before:
        signal.signal(number, forward)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in running:
            one.process.kill()
            one.process.wait()
            one.listening.join()


def _pass_on(number: int, running: Sequence[_Running], *, again: bool = False) -> None:
    """Send a signal to commands that were not sent one yet; each saves its state and ends.

    A second Ctrl-C is sent again, and ends them at once.
    """
    for one in running:
        if one.process.poll() is None and (again or not one.was_asked):
            one.was_asked = True
            one.process.send_signal(number)
