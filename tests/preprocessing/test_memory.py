"""The memory that preprocessing announces, against what the process takes."""

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoseg.core.fingerprint import CaseGrid
from autoseg.io import documents
from preprocessing.footprint import PROCESS_BYTES, footprint

SHAPE = (190, 200, 210)  # z, y, x
CHILD = """
import sys
from pathlib import Path
from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.labels import Labels
from autoseg.core.plan import Plan
from autoseg.io import documents
from preprocessing.runner import PreprocessingTask, preprocess_case

folder = Path(sys.argv[1])
task = PreprocessingTask(
    case=Case(name="a", images=("image.nii",), segmentation=sys.argv[2]),
    folder=folder,
    description=DatasetDescription(
        name="T", channels=("CT",), labels=Labels(names=("background", "a"), values=(0, 200)),
        file_ending=".nii",
    ),
    plan=documents.read(folder / "plan.json", Plan),
    stores=(("3d_fullres", folder / "store"),),
)
preprocess_case(task)
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak")
@pytest.mark.parametrize("labels", [np.uint8, np.float32], ids=["uint8", "float32"])
@pytest.mark.parametrize("edge", [0.8, 1.5], ids=["finer", "coarser"])
def test_the_process_takes_no_more_than_announced(
    tmp_path, plan_of, configuration_of, labels, edge
):
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, SHAPE[::-1]).astype(np.int16)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "image.nii")
    segmentation = np.zeros(SHAPE[::-1], labels)
    segmentation[50:150, 60:120, 40:160] = 200  # a gap in the values
    nibabel.save(nibabel.Nifti1Image(segmentation, affine), tmp_path / "labels.nii")
    plan = plan_of(configuration_of((edge, edge, edge), (8, 8, 8)))
    documents.write(tmp_path / "plan.json", plan)
    run = [sys.executable, "-c", CHILD, str(tmp_path), "labels.nii"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    peak = int(done.stdout) * 1024
    case = CaseGrid(
        name="a",
        shape=SHAPE,
        shape_after_crop=SHAPE,
        spacing=(1.0, 1.0, 1.0),
        class_voxels=(1, 1),
    )
    announced = footprint(case, plan, ["3d_fullres"], 1).memory_bytes
    assert PROCESS_BYTES < peak < 1.25 * announced
