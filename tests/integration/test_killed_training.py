"""A training that is killed time and again ends in the very weights of one that is left alone."""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

FOLD = "autoseg_workspace/Task07_Shapes/models/default/3d_fullres/default/fold_0"
LONGEST_S = 1.5
"""Time that a sitting trains before it is killed, at most: some steps, or the first not whole."""


def events(folder: Path, name: str) -> list[dict]:
    journal = folder / FOLD / "run.jsonl"
    lines = journal.read_text().splitlines() if journal.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:  # torn by the kill
            continue
    return [event for event in found if event["event"] == name]


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / FOLD / "weights.safetensors").read_bytes()).hexdigest()


def kill_in_training(line: list[str], folder: Path, delay_s: float) -> None:
    """Start the training, wait until it trains, then for a delay, and kill it."""
    before = len(events(folder, "start"))
    process = subprocess.Popen(
        line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(events(folder, "start")) == before and process.poll() is None:
        assert time.monotonic() < deadline, "the training does not start"
        time.sleep(0.02)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL, "it ended before it was killed"


def kill_and_compare(line: list[str], killed: Path, quiet: Path, kills: int) -> None:
    """Kill a training at random moments, let it end, and compare it with one left alone."""
    moments = random.Random(kills)
    for _ in range(kills):
        kill_in_training(line, killed, moments.uniform(0.0, LONGEST_S))
    subprocess.run(line, cwd=killed, check=True, capture_output=True, timeout=600)
    assert len(events(killed, "start")) == kills + 1
    assert weights(killed) == weights(quiet)
    assert not list(killed.rglob("*.autoseg-part"))
    assert not list((killed / FOLD).glob("state_*"))
    losses = {row["epoch"]: row["train_loss"] for row in events(killed, "epoch")}
    assert losses == {row["epoch"]: row["train_loss"] for row in events(quiet, "epoch")}


def test_a_killed_training_ends_in_the_same_weights(prepared, quiet, lines, autoseg_command):
    line = [*autoseg_command, *lines["train"], "--save-minutes", "0"]
    kill_and_compare(line, prepared, quiet, kills=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_so_does_one_that_is_killed_20_times(tmp_path, planned, lines, autoseg_command):
    quiet, killed = (shutil.copytree(planned, tmp_path / name) for name in ("quiet", "killed"))
    line = [*autoseg_command, *lines["train"], "--save-minutes", "0", "--epochs", "150"]
    subprocess.run(line, cwd=quiet, check=True, capture_output=True, timeout=600)
    kill_and_compare(line, killed, quiet, kills=20)
