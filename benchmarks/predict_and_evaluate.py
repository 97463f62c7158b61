"""Segment 20 validation images with a trained fold, score them, and check the scores independently.

    python benchmarks/predict_and_evaluate.py DATASET MODEL SCRATCH

DATASET is in the Decathlon layout, MODEL a model folder that has fold 0. The independent Dice reads
both files with nibabel alone and counts voxels with numpy.
"""

import argparse
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
from commands import empty_folder, run_autoseg

CASES = 20


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("scratch", type=Path)
    options = parser.parse_args()
    images = empty_folder(options.scratch / "imgs")
    masks = empty_folder(options.scratch / "masks")
    record = json.loads((options.model / "fold_0" / "fold.json").read_text())
    for case in record["fold"]["validation"][:CASES]:
        shutil.copy(options.dataset / "imagesTr" / f"{case}.nii.gz", images)
    predicted = run_autoseg("predict", "-i", images, "-o", masks, "-m", options.model, "--quiet")
    references = options.dataset / "labelsTr"
    evaluated = run_autoseg("evaluate", "-i", masks, "-r", references, "--json")
    summary = json.loads(evaluated.output)
    differences = [
        abs(overlap["dice"] - independent_dice(references, masks, case["case"], overlap["values"]))
        for case in summary["cases"]
        for overlap in case["overlaps"]
    ]
    print(
        json.dumps(
            {
                "predict_seconds": round(predicted.seconds, 2),
                "evaluate_seconds": round(evaluated.seconds, 2),
                "cases": len(summary["cases"]),
                "mean_dice": summary["mean_dice"],
                "dice": {label["label"]: label["mean_dice"] for label in summary["labels"]},
                "largest_difference_to_independent_dice": max(differences),
            }
        )
    )


def independent_dice(references: Path, masks: Path, case: str, values: list[int]) -> float:
    """Return 2 |A and B| / (|A| + |B|) of one label or region, read with nibabel."""
    reference = np.isin(nib.load(references / f"{case}.nii.gz").dataobj, values)
    mask = np.isin(nib.load(masks / f"{case}.nii.gz").dataobj, values)
    return float(2 * np.sum(reference & mask) / (np.sum(reference) + np.sum(mask)))


if __name__ == "__main__":
    main()
