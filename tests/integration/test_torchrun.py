"""One fold trained by two processes, as torchrun starts them, is that of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

MODELS = "autoseg_workspace/Task07_Shapes/models/default/3d_fullres"
OPTIONS = [
    *("--preset", "fast", "--epochs", "2", "--steps-per-epoch", "3"),
    *("--device", "cpu/float32", "--schedule", "polynomial", "--optimizer", "sgd"),
]


def train(folder: Path, run: str, processes: int) -> subprocess.CompletedProcess[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    program = [sys.executable, *([*torchrun, "-m", "--"] if processes > 1 else ["-m"]), "autoseg"]
    return subprocess.run(
        [*program, "train", "3d_fullres", "0", "--run", run, *OPTIONS],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def rows(folder: Path, run: str) -> list[dict]:
    journal = folder / MODELS / run / "fold_0" / "run.jsonl"
    return [json.loads(line) for line in journal.read_text().splitlines()]


@pytest.mark.timeout(600)
def test_two_processes_train_the_model_of_one(prepared):
    for run, processes in (("one", 1), ("two", 2)):
        done = train(prepared, run, processes)
        assert done.returncode == 0, done.stderr
    one, two = (
        load_file(prepared / MODELS / run / "fold_0/weights.safetensors") for run in ("one", "two")
    )
    assert one.keys() == two.keys()
    largest = max(abs(one[name] - two[name]).max() for name in one)
    assert largest < 1e-4
    losses = {
        run: [event["train_loss"] for event in rows(prepared, run) if event["event"] == "epoch"]
        for run in ("one", "two")
    }
    assert losses["two"] == pytest.approx(losses["one"], abs=1e-4)
    starts = [event for event in rows(prepared, "two") if event["event"] == "start"]
    assert [event["processes"] for event in starts] == [2]  # told once


@pytest.mark.slow
def test_more_processes_than_patches_are_refused(prepared):
    done = train(prepared, "three", 3)
    assert done.returncode != 0
    assert "a batch of 2 cannot be shared by 3 processes" in done.stderr
