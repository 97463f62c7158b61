"""A prediction that is killed, or finds the disk full, at any operation on its output folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FAULTS = Path(__file__).with_name("faulty_machine")


@pytest.fixture
def prediction(make, write_model, tmp_path):
    """A command that segments two TIFF stacks, whose masks have a sidecar each."""
    model = write_model(ending=".tif")
    for seed, name in enumerate(("a", "b")):
        voxels = np.random.default_rng(seed).integers(0, 200, (6, 9, 13)).astype("uint8")
        make.write(Path(f"imgs/{name}.tif"), make.tiff(*voxels))
        Path(f"imgs/{name}.json").write_text('{"spacing": [2.5, 0.9, 0.8]}')

    def run(kind="", at=""):
        faults = {
            "PYTHONPATH": os.pathsep.join((str(FAULTS), os.environ.get("PYTHONPATH", ""))),
            "FAULT_FOLDER": str(tmp_path / "masks"),
            "FAULT_COUNTER": str(tmp_path / "counter"),
            "FAULT_KIND": kind,
            "FAULT_AT": at,
        }
        Path("counter").unlink(missing_ok=True)
        command = [sys.executable, "-m", "autoseg", "predict", "-i", "imgs", "-o", "masks"]
        return subprocess.run(
            [*command, "-m", str(model), "--device", "cpu", "--workers", "0", "--probabilities"],
            env=os.environ | (faults if kind else {}),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    return run


def masks():
    """The masks and their sidecars."""
    paths = [path for path in Path("masks").iterdir() if path.suffix in (".tif", ".json")]
    return {path.name: path.read_bytes() for path in sorted(paths) if "prediction" not in path.name}


def test_the_same_command_carries_on_after_an_operation_that_failed(prediction):
    assert prediction("count").returncode == 0
    expected, operations = masks(), Path("counter").stat().st_size
    assert sorted(expected) == ["a.json", "a.tif", "b.json", "b.tif"]
    kills = [("kill", part) for part in (0.25, 0.6, 0.92, 0.97)]
    for kind, part in [*kills, ("full", 0.1), ("full", 0.6)]:
        shutil.rmtree("masks")
        found = prediction(kind, str(round(part * operations)))
        assert found.returncode == {"kill": -9, "full": 6}[kind], (kind, part, found.stderr)
        if kind == "full":
            (line,) = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
            assert re.match(r"error: E-RES-63 .*masks.*: the disk is full \(No space left", line)
        assert masks().items() <= expected.items(), (kind, part)
        again = prediction()
        assert again.returncode == 0, (kind, part, again.stderr)
        assert masks() == expected, (kind, part)
        assert not list(Path("masks").rglob("*.autoseg-part")), (kind, part)
