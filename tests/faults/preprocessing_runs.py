"""Runs ``autoseg plan_and_preprocess`` on tiny datasets, with faults, and tells what came of it."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (12, 14, 10)
"""Voxels per axis (x, y, z) of the first case; the others are up to two voxels longer."""
AFFINE = np.diag([0.875, 0.75, 2.5, 1.0])
"""Anisotropic, in mm, exact in float32: what a header holds is what an option says."""
FAULTS = Path(__file__).with_name("faulty_machine")
PROGRAM = (sys.executable, "-c", "from autoseg.cli.main import console; console()")
PLANNING = ("--rules", "nnunet", "--patch-size", "8,8,8", "--configurations", "3d_fullres")
"""Plans without torch."""


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (x, y, z) without a zero, and its label map of a box (1) and a slab (2)."""
    rng = np.random.default_rng(seed)
    shape = tuple(n + int(rng.integers(0, 3)) for n in SHAPE)
    segmentation = np.zeros(shape, np.uint8)
    x, y, z = (int(start) for start in rng.integers(1, 4, 3))
    segmentation[x : x + 4, y : y + 5, z : z + 3] = 1
    segmentation[x : x + 3, y + 6 : y + 9, z : z + 4] = 2
    image = rng.normal(300, 20, shape) + 90 * segmentation
    return image.astype(np.int16), segmentation


def save(path: Path, array: np.ndarray) -> None:
    """Write a NIfTI file; equal arrays give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, AFFINE)
    image.header.set_xyzt_units("mm")
    image.set_qform(AFFINE, 1)
    path.write_bytes(image.to_bytes())


def load(path: Path) -> np.ndarray:
    """Return the stored voxels of a NIfTI file."""
    return np.asarray(nib.Nifti1Image.from_bytes(path.read_bytes()).dataobj)


def case_name(index: int) -> str:
    return f"case_{index:03d}"


@dataclass(frozen=True)
class Raw:
    """A raw dataset in nnU-Net's layout, of NIfTI files that are not compressed."""

    path: Path
    channel: str = "T2"
    labels: dict[str, int] = field(default_factory=lambda: {"background": 0, "box": 1, "slab": 2})

    def image(self, name: str) -> Path:
        return self.path / "imagesTr" / f"{name}_0000.nii"

    def segmentation(self, name: str) -> Path:
        return self.path / "labelsTr" / f"{name}.nii"

    def add(self, index: int) -> str:
        """Write a case and return its name."""
        name = case_name(index)
        image, segmentation = draw(index)
        save(self.image(name), image)
        save(self.segmentation(name), segmentation)
        return name

    def describe(self) -> None:
        """Write dataset.json for the cases that are there."""
        description = {
            "channel_names": {"0": self.channel},
            "labels": self.labels,
            "numTraining": len(list((self.path / "imagesTr").iterdir())),
            "file_ending": ".nii",
        }
        (self.path / "dataset.json").write_text(json.dumps(description))


def write_raw(path: Path, *, cases: int, channel: str = "T2") -> Raw:
    raw = Raw(path, channel)
    for index in range(cases):
        raw.add(index)
    raw.describe()
    return raw


@dataclass(frozen=True)
class Work:
    """A raw dataset and the workspace that it is preprocessed in."""

    raw: Raw
    workspace: Path

    @property
    def folder(self) -> Path:
        return self.workspace / self.raw.path.name

    def arguments(self, verb: str, *options: str, workers: int = 0) -> list[str]:
        planning = PLANNING if verb == "plan_and_preprocess" else ()
        dataset = str(self.raw.path) if planning else self.raw.path.name
        place = ("-d", dataset, "--workspace", str(self.workspace))
        return [*PROGRAM, verb, *place, "--workers", str(workers), *planning, *options]

    def start(
        self,
        verb: str = "plan_and_preprocess",
        *options: str,
        workers: int = 0,
        faults: dict[str, str] | None = None,
    ) -> "subprocess.Popen[str]":
        """Start the command, in a session of its own, on a machine with faults."""
        paths = (*([str(FAULTS)] if faults else []), os.environ.get("PYTHONPATH", ""))
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **(faults or {})}
        return subprocess.Popen(
            self.arguments(verb, *options, workers=workers),
            cwd=self.raw.path.parent,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self,
        verb: str = "plan_and_preprocess",
        *options: str,
        workers: int = 0,
        faults: dict[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        process = self.start(verb, *options, workers=workers, faults=faults)
        return finish(process)

    def results(self) -> dict[str, str]:
        """Return the digest of every file in the workspace; locks say who held them and when."""
        return {
            str(path.relative_to(self.workspace)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.workspace.rglob("*"))
            if path.is_file() and path.name != ".lock"
        }

    def parts(self) -> list[Path]:
        """Return the temporary files."""
        return list(self.workspace.rglob("*.autoseg-part"))

    def stamps(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return inode and time of each preprocessed image, by store and case."""
        return {
            (path.parent.name, path.name.split(".")[0]): (
                path.stat().st_ino,
                path.stat().st_mtime_ns,
            )
            for path in self.folder.glob("preprocessed/*/*.image.b2nd")
        }


def finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    """Wait for a command, which must not hang."""
    try:
        printed, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, printed, errors)


def fault(work: Work, kind: str, at: str, counter: Path) -> dict[str, str]:
    """Return the variables of a fault at an operation in a workspace."""
    counter.unlink(missing_ok=True)
    return {
        "FAULT_FOLDER": str(work.workspace),
        "FAULT_COUNTER": str(counter),
        "FAULT_KIND": kind,
        "FAULT_AT": at,
    }


def error_lines(found: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line for line in found.stderr.splitlines() if line.startswith("error: ")]


def workers_of(process: int) -> Sequence[int]:
    """Return the worker processes of a command."""
    found = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            with suppress(OSError):  # it has just ended
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found
