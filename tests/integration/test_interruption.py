"""Killed at any moment, a command leaves nothing half-written and carries on when run again."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

RESULTS = ("fingerprint.json", "default.json", "splits.json", "weights.safetensors", "summary.json")


def results(folder: Path) -> dict[str, str]:
    """Digests of everything that must come out the same; logs and times are left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and (path.name in RESULTS or path.suffix == ".b2nd" or path.name.endswith(".nii.gz"))
    }


def run(command: list[str], arguments: list[str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def stop_after(
    command: list[str], arguments: list[str], folder: Path, delay_s: float, number: int
) -> int:
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(delay_s)
    process.send_signal(number)
    return process.wait(timeout=60)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_commands_carry_on_to_the_results_of_a_quiet_run(
    quiet, lines, tmp_path, autoseg_command, write_msd_dataset, seed
):
    write_msd_dataset(tmp_path / "raw" / "Task07_Shapes")
    # Imports take about 0.3 s without torch and 2.5 s with it; the work a second or two more.
    moments = {"plan_and_preprocess": 0.9, "train": 3.2, "predict": 2.8, "evaluate": 0.35}
    for verb, arguments in lines.items():
        delay_s = moments[verb] + 0.35 * seed
        stop_after(autoseg_command, arguments, tmp_path, delay_s, signal.SIGKILL)
        finished = run(autoseg_command, arguments, tmp_path)
        already = verb == "train" and "trained and validated already" in finished.stderr
        assert finished.returncode == 0 or already, finished.stderr
    assert results(tmp_path) == results(quiet)
    assert not list(tmp_path.rglob("*.autoseg-part"))


@pytest.mark.parametrize("verb", ["plan_and_preprocess", "predict", "evaluate"])
def test_ctrl_c_stops_a_command_without_a_trace_and_it_carries_on(
    quiet, lines, tmp_path, autoseg_command, verb
):
    parts = {"plan_and_preprocess": "raw", "predict": "raw autoseg_workspace"}
    for part in parts.get(verb, "raw autoseg_workspace masks").split():
        shutil.copytree(quiet / part, tmp_path / part)
    process = subprocess.Popen(
        [*autoseg_command, *lines[verb]],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()  # it is at work
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    messages = first + process.communicate(timeout=60)[1]
    assert process.returncode in (75, 0), messages  # 0: it was done before
    assert "Traceback" not in messages
    finished = run(autoseg_command, lines[verb], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert results(tmp_path).items() <= results(quiet).items()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_saves_its_state_and_says_75(prepared, lines, autoseg_command, number):
    long = [*lines["train"], "--epochs", "500"]
    process = subprocess.Popen(
        [*autoseg_command, *long], cwd=prepared, stderr=subprocess.PIPE, text=True
    )
    journal = prepared / (
        "autoseg_workspace/Task07_Shapes/models/default/3d_fullres/default/fold_0/run.jsonl"
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        journal.exists() and '"epoch"' in journal.read_text()
    ):
        time.sleep(0.1)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 75, messages
    assert "the state is saved" in messages
    assert list(journal.parent.glob("state_*.json"))
