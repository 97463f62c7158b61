"""Folds side by side, each on a device of its own; here both are the CPU."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

MODEL = "autoseg_workspace/Task07_Shapes/models/default/3d_fullres/default"
ONE, BOTH = "cpu/float32", "cpu/float32,cpu/float32"
OPTIONS = ["--preset", "fast", "--epochs", "4", "--steps-per-epoch", "4", "--workers", "0"]


def train(command: list[str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [*command, "train", "3d_fullres", *words]
    return subprocess.run(
        line, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def test_two_folds_train_at_the_same_time_and_end_as_by_themselves(prepared, autoseg_command):
    done = train(
        autoseg_command,
        prepared,
        "0",
        "1",
        "--device",
        "cpu/float32,cpu/float32",
        *OPTIONS,
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["folds"]) == {"0", "1"}
    assert "[fold 0 on cpu/float32] " in done.stderr
    assert "[fold 1 on cpu/float32] " in done.stderr
    starts = {}
    for fold in (0, 1):
        journal = (prepared / MODEL / f"fold_{fold}" / "run.jsonl").read_text().splitlines()
        events = {event["event"]: event["time"] for event in map(json.loads, journal)}
        starts[fold] = (events["start"], events["validated"])
    assert max(start for start, _ in starts.values()) < min(end for _, end in starts.values())
    alone = train(autoseg_command, prepared, "1", "--run", "alone", "--device", ONE, *OPTIONS)
    assert alone.returncode == 0, alone.stderr
    both, one = (
        json.loads((prepared / folder / "fold_1" / "fold.json").read_text())["weights_digest"]
        for folder in (MODEL, f"{MODEL[: -len('default')]}alone")
    )
    assert both == one


def test_a_fold_that_does_not_exist_is_refused_before_any_starts(prepared, autoseg_command):
    done = train(autoseg_command, prepared, "0", "7", "--device", BOTH, *OPTIONS)
    assert done.returncode == 2
    assert "error: fold 7" in done.stderr
    assert not (prepared / MODEL / "fold_0").exists()


def test_one_fold_on_two_devices_names_torchrun(prepared, autoseg_command):
    done = train(autoseg_command, prepared, "0", "--device", BOTH, *OPTIONS)
    assert done.returncode == 2
    assert "error: --device cpu/float32,cpu/float32: one fold takes one device" in done.stderr
    assert "torchrun" in done.stderr


def test_a_device_that_is_not_there_fails_its_fold_and_the_other_is_done(prepared, autoseg_command):
    done = train(autoseg_command, prepared, "0", "1", "--device", "cpu/float32,cuda:9", *OPTIONS)
    assert done.returncode == 4, done.stderr
    assert "fold 1 on cuda:9: device 'cuda:9': this machine has 0 of kind cuda" in done.stderr
    assert (prepared / MODEL / "fold_0" / "fold.json").exists()


def test_a_stop_reaches_all_and_the_same_command_carries_on(prepared, autoseg_command):
    words = ["0", "1", "--device", BOTH, *OPTIONS, "--epochs", "10"]
    process = subprocess.Popen(
        [*autoseg_command, "train", "3d_fullres", *words],
        cwd=prepared,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    journals = [prepared / MODEL / f"fold_{fold}" / "run.jsonl" for fold in (0, 1)]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not all(
        journal.exists() and '"epoch"' in journal.read_text() for journal in journals
    ):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 75, messages
    assert "Traceback" not in messages
    for journal in journals:
        assert list(journal.parent.glob("state_*.json"))
    done = train(autoseg_command, prepared, *words)
    assert done.returncode == 0, done.stderr
