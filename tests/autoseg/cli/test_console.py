"""How views look: on a real terminal that is too narrow, in a log, and to nobody."""

import os
import re
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass

import pytest

from autoseg.cli import console
from autoseg.cli.console import LiveProgress, PlainProgress, make_progress
from autoseg.execution.progress import Silence

COMMAND = """
import sys, time
from dataclasses import dataclass
import click
from autoseg.cli import console

@dataclass(frozen=True)
class View:
    text: str
    line: str = ""
    is_milestone: bool = False

    def lines(self, width):
        return (self.text, "x" * 300, f"width {width}", "end of block")

@click.command()
def command():
    console.VIEW_HZ = 50.0
    progress = console.make_progress(quiet=False)
    progress.start("preparing", 3)
    for step in range(1000):
        progress.show(View(f"step {step}"))
        if step == 10:
            progress.note("a note that is longer than the terminal is wide")
        if step == 20:
            progress.note("READY")
        time.sleep(0.01)

command()
"""


class Screen:
    """What a terminal shows of the text and control sequences that it is sent."""

    def __init__(self, width):
        self.width, self.lines, self.row, self.column = width, [""], 0, 0
        self.has_cursor = True

    def feed(self, data):
        for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", data):
            self._obey(part)

    def _obey(self, part):
        if part == "\r":
            self.column = 0
        elif part == "\n":
            self.row, self.column = self.row + 1, 0
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif not part.startswith("\x1b"):
            self._write(part)
        elif part.endswith("A"):
            self.row -= int(part[2:-1] or 1)
        elif part.endswith("K"):
            self.lines[self.row] = ""
        elif part in ("\x1b[?25l", "\x1b[?25h"):
            self.has_cursor = part.endswith("h")
        else:
            assert part.endswith("m"), f"unknown sequence {part!r}"

    def _write(self, text):
        for letter in text:
            if self.column == self.width:
                self._obey("\n")
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1


def until_interrupted(width):
    """Run the command in a terminal, press Ctrl-C in its midst, and return the screen."""
    pty = pytest.importorskip("pty")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**known, "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    data, is_interrupted = b"", False
    with suppress(OSError):  # Linux's way to say that nobody has the other end open
        while read := os.read(ours, 65536):
            data += read
            if b"READY" in data and not is_interrupted:
                process.send_signal(signal.SIGINT)
                is_interrupted = True
    os.close(ours)
    assert process.wait(timeout=30) == 1  # click's Abort
    screen = Screen(width)
    screen.feed(data.decode())
    return screen


@pytest.mark.parametrize("width", [17, 80])
def test_a_view_stays_one_block_in_a_narrow_terminal_and_ctrl_c_gives_the_cursor_back(width):
    screen = until_interrupted(width)

    assert screen.has_cursor
    shown = [line.rstrip() for line in screen.lines]
    for once in ("x" * width, f"width {width}", "end of block"):
        assert shown.count(once) == 1, shown
    first = next(k for k, line in enumerate(shown) if re.fullmatch(r"step \d+", line))
    assert shown[first + 1 : first + 4] == ["x" * width, f"width {width}", "end of block"]
    # The finished bar and the note stand above it, whole.
    above = "".join(screen.lines[:first])
    assert "preparing" in above
    assert "a note that is longer than the terminal is wide" in above
    assert sum(line.startswith("step ") for line in shown) == 1


@dataclass(frozen=True)
class State:
    line: str
    is_milestone: bool = False

    def lines(self, width):
        return (self.line,)


@pytest.mark.parametrize(
    ("every_s", "expected"),
    [
        pytest.param(1e9, ["epoch 1 done"], id="soon-after-another"),
        pytest.param(0.0, ["step 1", "epoch 1 done", "step 2"], id="long-after"),
    ],
)
def test_a_log_gets_every_milestone_and_other_lines_now_and_then(
    capsys, monkeypatch, every_s, expected
):
    monkeypatch.setattr(console, "LINE_EVERY_S", every_s)
    progress = PlainProgress()
    for state in (State("step 1"), State("epoch 1 done", is_milestone=True), State("step 2")):
        progress.show(state)
    progress.finish()

    assert capsys.readouterr().err.splitlines() == expected


@pytest.mark.parametrize(
    ("is_terminal", "kind", "quiet", "expected"),
    [
        pytest.param(False, "xterm", False, PlainProgress, id="log"),
        pytest.param(True, "dumb", False, PlainProgress, id="terminal-without-cursor"),
        pytest.param(True, "xterm", True, Silence, id="quiet"),
    ],
)
def test_what_listens_fits_where_messages_go(monkeypatch, is_terminal, kind, quiet, expected):
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)

    assert isinstance(make_progress(quiet=quiet), expected)


def test_a_bar_takes_the_place_of_a_finished_view(capsys):
    progress = LiveProgress()
    progress.show(State("epoch 1"))
    progress.start("validating", 1)
    progress.advance("")
    progress.finish()
    progress.finish()
    progress.note("done")

    told = capsys.readouterr().err
    assert told.index("epoch 1") < told.index("validating") < told.index("done")


def test_silence_shows_nothing(capsys):
    Silence().show(State("epoch 1", is_milestone=True))

    assert capsys.readouterr() == ("", "")
