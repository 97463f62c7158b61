"""Where the time of preprocessing one case goes, by cProfile, in this process.

    PYTHONPATH=. python benchmarks/preprocessing_profile.py WORKSPACE DATASET CONFIGURATION ...

DATASET is planned in WORKSPACE; its first case is preprocessed into a folder that is removed again.
"""

import cProfile
import pstats
import sys
import tempfile
from pathlib import Path
from typing import Final

import blosc2  # noqa: F401 - loaded here, lest it count
import nibabel  # noqa: F401
import scipy.ndimage  # noqa: F401

from autoseg.io.workspace import Workspace
from preprocessing.runner import PreprocessingTask, preprocess_case

STEPS: Final = {
    "preprocess_case": "in all",
    "read_case": "reading and unpacking",
    "crop_image": "cropping and normalization",
    "choose_encoding": "choice of the stored type",
    "resample_image": "resampling of images",
    "resample_segmentation": "resampling of label maps",
    "sample_foreground": "samples of the foreground",
    "write_case": "compressing and writing",
}
"""Functions whose time is told, with all that they call."""


def main() -> None:
    """Print one line per step: seconds and what it is."""
    workspace, name, *configurations = sys.argv[1:]
    folder = Workspace(path=Path(workspace)).dataset(name)
    dataset = folder.read_dataset()
    with tempfile.TemporaryDirectory() as scratch:
        task = PreprocessingTask(
            case=dataset.cases[0],
            folder=Path(dataset.folder),
            description=dataset.description,
            plan=folder.read_plan("default"),
            stores=tuple((each, Path(scratch) / each) for each in configurations),
        )
        profile = cProfile.Profile()
        profile.runcall(preprocess_case, task)
    spent = {
        function: cumulative
        for (_, _, function), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items()
    }
    for function, what in STEPS.items():
        print(f"{spent.get(function, 0.0):6.2f} s  {what}")


if __name__ == "__main__":
    main()
