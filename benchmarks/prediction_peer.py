"""What ``prediction.py`` needs of nnU-Net; run by the Python of its environment.

    prediction_peer.py model ROOT ID CONFIGURATION      a model folder with random weights
    prediction_peer.py export LOGITS.npy Z Y X          time of resampling logits and argmax

The second prints one JSON line.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np


def write_model(root: Path, number: int, configuration: str) -> None:
    """Write fold 0 of a trainer that made no step."""
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str((root / name).resolve())
    os.environ.setdefault("nnUNet_compile", "f")
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.dataset_name_id_conversion import convert_id_to_dataset_name

    base = root / "preprocessed" / convert_id_to_dataset_name(number)
    plans = json.loads((base / "nnUNetPlans.json").read_text())
    plans["continue_training"] = False
    described = json.loads((base / "dataset.json").read_text())
    trainer = nnUNetTrainer(plans, configuration, 0, described, torch.device("cpu"))
    trainer.initialize()
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # notes the mirrored axes
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    for name, content in (("plans.json", plans), ("dataset.json", described)):
        (Path(trainer.output_folder_base) / name).write_text(json.dumps(content))


def time_export(path: Path, shape: list[int]) -> dict[str, float]:
    """Time what nnU-Net's export does with logits: linear resampling of each, and argmax."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    logits = np.load(path)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        resampled = resample_data_or_seg_to_shape(
            logits, shape, [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], is_seg=False, order=1, order_z=0
        )
        resampled.argmax(0)
        best = min(best, time.perf_counter() - began)
    return {"seconds": round(best, 3)}


def main() -> None:
    """Do one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["model", "export"])
    parser.add_argument("path", type=Path)
    parser.add_argument("rest", nargs="+")
    options = parser.parse_args()
    if options.verb == "model":
        write_model(options.path, int(options.rest[0]), options.rest[1])
    else:
        print(json.dumps(time_export(options.path, [int(n) for n in options.rest])))


if __name__ == "__main__":
    main()
