"""Four forms of one dataset (plain, regions, ignore label, both), each trained for some minutes.

    python benchmarks/integration_sets.py ../shared/datasets/Task04_Hippocampus SCRATCH --minutes 8

The forms are those of nnU-Net's integration tests: the regions are the whole hippocampus and its
anterior part; with the ignore label, a third of each training case's slices is not annotated.
Validation leaves ignored voxels out; so the label of a form that has them is scored a second time
on references that are annotated in full.
"""

import argparse
import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from commands import empty_folder, run_autoseg

PLAIN = {"background": 0, "Anterior": 1, "Posterior": 2}
REGIONS = {"background": 0, "hippocampus": [1, 2], "Anterior": [1]}
ORDER = [2, 1]
IGNORE = 3
FORMS = {
    "plain": ("Dataset999_Plain", False, False),
    "regions": ("Dataset997_Regions", True, False),
    "ignore": ("Dataset998_Ignore", False, True),
    "both": ("Dataset996_RegionsIgnore", True, True),
}
"""Name of each form's dataset, whether it has regions, and whether a third is ignored."""


def main() -> None:
    """Measure and print one JSON line per form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    options = parser.parse_args()
    scratch = empty_folder(options.scratch)
    for form in options.forms:
        name, regions, ignored = FORMS[form]
        raw = write_form(options.dataset, scratch / name, regions=regions, ignored=ignored)
        print(json.dumps({"form": form, **train(raw, scratch / "workspace", options)}), flush=True)


def write_form(source: Path, target: Path, *, regions: bool, ignored: bool) -> Path:
    """Write one form of the dataset in nnU-Net's layout."""
    for folder in ("imagesTr", "labelsTr", "full"):
        (target / folder).mkdir(parents=True)
    described = json.loads((source / "dataset.json").read_text())
    for index, entry in enumerate(described["training"]):
        case = Path(entry["image"]).name.removesuffix(".nii.gz")
        (target / "imagesTr" / f"{case}_0000.nii.gz").write_bytes(
            (source / entry["image"]).read_bytes()
        )
        reference = (source / entry["label"]).read_bytes()
        (target / "full" / f"{case}.nii.gz").write_bytes(reference)
        if ignored:
            image = nib.Nifti1Image.from_bytes(gzip.decompress(reference))
            labels = np.asarray(image.dataobj).astype(np.uint8)
            labels[:, index % 3 :: 3] = IGNORE
            nib.save(
                nib.Nifti1Image(labels, image.affine, image.header),
                target / "labelsTr" / f"{case}.nii.gz",
            )
        else:
            (target / "labelsTr" / f"{case}.nii.gz").write_bytes(reference)
    meaning = dict(REGIONS if regions else PLAIN)
    description = {
        "channel_names": {"0": "MRI"},
        "labels": meaning | ({"ignore": IGNORE} if ignored else {}),
        "numTraining": len(described["training"]),
        "file_ending": ".nii.gz",
    }
    if regions:
        description["regions_class_order"] = ORDER
    (target / "dataset.json").write_text(json.dumps(description))
    return target


def train(raw: Path, workspace: Path, options: argparse.Namespace) -> dict[str, object]:
    """Train and validate fold 0, and score its validation predictions on full references."""
    run_autoseg("plan_and_preprocess", "-d", raw, "--workspace", workspace, "-c", "3d_fullres")
    done = run_autoseg(
        "train", "3d_fullres", "0", "--preset", "fast", "--max-minutes", str(options.minutes),
        "-d", raw.name, "--workspace", workspace, "--json",
    )  # fmt: skip
    result = json.loads(done.output)
    validation = Path(result["model"]) / "fold_0" / "validation"
    record = json.loads((validation.parent / "fold.json").read_text())
    again = run_autoseg(
        "evaluate", "-i", validation, "-r", raw / "full", "-o", raw / "scores", "-d", raw.name,
        "--workspace", workspace, "--json",
    )  # fmt: skip
    summary, full = result["folds"]["0"], json.loads(again.output)
    return {
        "mean_dice": round(summary["mean_dice"], 4),
        "dice": {label["label"]: round(label["mean_dice"], 4) for label in summary["labels"]},
        "mean_dice_on_full_references": round(full["mean_dice"], 4),
        "cases": len(summary["cases"]),
        "steps": record["steps"],
        "training_minutes": round(record["minutes"], 2),
        "device": record["device"],
    }


if __name__ == "__main__":
    main()
