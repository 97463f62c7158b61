"""Random fingerprints, planned by ``--rules nnunet`` and by nnU-Net, compared field by field.

    PYTHONPATH=. python benchmarks/planner_parity.py --peer PYTHON

Each fingerprint is planned as nnU-Net's default planner and its residual presets M, L and XL plan
it. Counted apart are fingerprints on which nnU-Net has no plan to compare with: where it fails,
mostly since a thin axis is resampled to no voxel (autoseg must have a plan), and where it takes the
first axis that it invents for 2D images to be real. Exits with 1 if any other plan differs, or any
network's cost.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from planner_parity_peer import nnunet_fields
from random_fingerprints import Draw, draw_fingerprint

from autoseg.core.errors import AutosegError
from autoseg.core.plan import Configuration, Plan
from planners.budget import PlannerBudget
from planners.planner import plan_dataset

BUDGETS: Final = {
    "ExperimentPlanner": PlannerBudget(rules="nnunet", network="plain"),
    "nnUNetPlannerResEncM": PlannerBudget(rules="nnunet", network="resenc", gpu_memory_gib=8.0),
    "nnUNetPlannerResEncL": PlannerBudget(rules="nnunet", network="resenc", gpu_memory_gib=24.0),
    "nnUNetPlannerResEncXL": PlannerBudget(rules="nnunet", network="resenc", gpu_memory_gib=40.0),
}
"""Each planner of nnU-Net, and what stands for it here."""
OUTCOMES: Final = ("agree", "disagree", "thin axis", "fake axis", "failed")
"""Columns of the table."""
LISTED: Final = 20
"""Disagreements that are printed."""
MISSING: Final = "nothing"
"""Value of a field that a side lacks."""

Json = dict[str, Any]
Fields = dict[str, object]
"""Values of a plan by their paths, in a form that both sides can be put into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one fingerprint with one planner."""

    draw: Draw
    """The fingerprint."""
    planner: str
    """Name of nnU-Net's planner."""
    kind: str
    """One of `OUTCOMES`."""
    notes: tuple[str, ...] = ()
    """What differs, or how nnU-Net failed."""


def main() -> None:
    """Draw, plan on both sides, and print what agrees and what does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fingerprints", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=20, help="Networks that nnU-Net builds.")
    parser.add_argument("--peer", type=Path, required=True, help="Python that has nnunetv2.")
    parser.add_argument("--first", type=int, default=0, help="Number of the first fingerprint.")
    parser.add_argument("--listed", type=int, default=LISTED, help="Disagreements to print.")
    options = parser.parse_args()
    began = time.monotonic()
    numbers = range(options.first, options.first + options.fingerprints)
    draws = [draw_fingerprint(options.seed, index) for index in numbers]
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = plan_both(draws, options, Path(scratch))
    outcomes = [
        outcome(draw, planner, our[planner], their[planner])
        for draw, our, their in zip(draws, ours, theirs["plans"], strict=True)
        for planner in BUDGETS
    ]
    print_table(outcomes)
    print_notes(outcomes, options.listed)
    print(f"seed {options.seed}, ", end="")
    print_draws(draws, theirs["plans"])
    built = theirs["networks"]
    same = sum(network["closed"] == network["built"] for network in built)
    print(f"networks built: {len(built)}, cost equal to the closed form: {same}")
    print(
        f"seconds: {time.monotonic() - began:.0f} in all, "
        f"{theirs['planning_seconds']:.0f} in nnU-Net's planners"
    )
    disagree = any(one.kind == "disagree" for one in outcomes)
    sys.exit(1 if disagree or same < len(built) else 0)


def plan_both(
    draws: Sequence[Draw], options: argparse.Namespace, scratch: Path
) -> tuple[list[dict[str, Plan | AutosegError]], Json]:
    """Return autoseg's plans and nnU-Net's results, made at the same time."""
    written, results = scratch / "draws.jsonl", scratch / "results.json"
    with written.open("w") as lines:
        for draw in draws:
            documents = {
                "dataset": draw.dataset_json(),
                "dataset_fingerprint": draw.dataset_fingerprint(),
            }
            lines.write(json.dumps(documents) + "\n")
    script = Path(__file__).with_name("planner_parity_peer.py")
    command = [str(options.peer), str(script), str(written), str(results), str(scratch)]
    numbers = ["--networks", str(options.networks), "--seed", str(options.seed)]
    with subprocess.Popen([*command, *numbers], stdout=subprocess.DEVNULL) as peer:
        ours = [planned(draw) for draw in draws]
    if peer.returncode:
        sys.exit(f"{' '.join(command)} failed with {peer.returncode}")
    return ours, json.loads(results.read_text())


def planned(draw: Draw) -> dict[str, Plan | AutosegError]:
    """Return autoseg's plan for each planner, or why there is none."""
    fingerprint, description = draw.fingerprint(), draw.description()
    plans: dict[str, Plan | AutosegError] = {}
    for planner, budget in BUDGETS.items():
        try:
            plans[planner] = plan_dataset(fingerprint, description, budget=budget)
        except AutosegError as error:
            plans[planner] = error
    return plans


def outcome(draw: Draw, planner: str, ours: Plan | AutosegError, theirs: Json) -> Outcome:
    """Compare the plans of one fingerprint."""
    notes: tuple[str, ...]
    if isinstance(ours, AutosegError):
        kind, notes = "disagree", (f"autoseg has no plan: {ours.text}",)
    elif "failure" in theirs:
        failure = theirs["failure"]
        kind = "thin axis" if failure["is_thin"] else "failed"
        notes = (f"{failure['where']} {failure['error']}, with {failure['values']}",)
    elif draw.ndim == 2 and "3d_fullres" in theirs["plans"]["configurations"]:
        kind, notes = "fake axis", ()
    else:
        our, their = autoseg_fields(ours), nnunet_fields(theirs["plans"], draw.ndim)
        notes = tuple(differences(our, their))
        kind = "disagree" if notes else "agree"
    return Outcome(draw=draw, planner=planner, kind=kind, notes=notes)


def differences(ours: Fields, theirs: Fields) -> Iterator[str]:
    """Yield every field that differs; those of a configuration only if both sides have it."""
    our_parts, their_parts = ({path.partition(".")[0] for path in side} for side in (ours, theirs))
    for part in sorted(our_parts ^ their_parts):
        yield f"{part}: only {'autoseg' if part in our_parts else 'nnU-Net'} has it"
    for path in sorted(ours.keys() | theirs.keys()):
        our, their = ours.get(path, MISSING), theirs.get(path, MISSING)
        if path.partition(".")[0] in our_parts & their_parts and our != their:
            yield f"{path}: autoseg {our}, nnU-Net {their}"


def autoseg_fields(plan: Plan) -> Fields:
    """Return the values of autoseg's plan that nnU-Net decides as well."""
    fields: Fields = {"axis_order": plan.axis_order}
    following = {one.previous_stage: one.name for one in plan.configurations}
    for one in plan.configurations:
        values = {
            **_configured(one),
            "next_stage": following.get(one.name),
            "normalization": tuple(channel.scheme for channel in plan.normalization),
            "inside_nonzero_only": tuple(each.inside_nonzero_only for each in plan.normalization),
        }
        fields |= {f"{one.name}.{field}": value for field, value in values.items()}
    return fields


def _configured(one: Configuration) -> Fields:
    encoder, decoder = one.arch.encoder, one.arch.decoder
    stages = range(len(one.topology.strides))
    # nnU-Net counts the convolutions of a plain stage, but the blocks of a residual one.
    count = encoder.convolutions if encoder.shortcut == "none" else encoder.blocks
    return {
        "spacing": one.spacing,
        "median_shape": one.median_shape,
        "patch_size": one.patch_size,
        "batch_size": one.batch_size,
        "batch_dice": one.batch_dice,
        "network": (one.network, one.style.norm, one.style.activation),
        "stages": len(stages),
        "strides": one.topology.strides,
        "kernels": one.topology.kernels,
        "features": one.topology.features,
        "encoder": tuple(count(stage) for stage in stages),
        "decoder": tuple(decoder.convolutions(k) * decoder.blocks(k) for k in stages[:-1]),
        # Across slices the order is always 0; see `preprocessing.resampling`.
        "orders": (one.image_order, one.segmentation_order, one.logits_order, 0),
        "anti_aliasing": one.anti_aliasing,
        "previous_stage": one.previous_stage,
    }


def print_table(outcomes: Sequence[Outcome]) -> None:
    """Print how many fingerprints came to which end, by planner."""
    print(f"{'planner':24}{'planned':>10}" + "".join(f"{kind:>10}" for kind in OUTCOMES))
    for planner in (*BUDGETS, "all"):
        kinds = Counter(one.kind for one in outcomes if planner in (one.planner, "all"))
        print(
            f"{planner:24}{kinds.total():>10}" + "".join(f"{kinds[kind]:>10}" for kind in OUTCOMES)
        )


def print_notes(outcomes: Sequence[Outcome], listed: int) -> None:
    """Print which fields differ how often, and the first differences and failures."""
    fields = Counter(
        note.partition(":")[0] for one in outcomes if one.kind == "disagree" for note in one.notes
    )
    for field, number in fields.most_common():
        print(f"differs in {number:5} plans: {field}")
    for kind in ("disagree", "failed", "thin axis"):
        found = [one for one in outcomes if one.kind == kind]
        for one in found[:listed]:
            print(f"{kind}: fingerprint {one.draw.index}, {one.planner}")
            for note in one.notes:
                print(f"    {note}")


def print_draws(draws: Sequence[Draw], theirs: Sequence[Json]) -> None:
    """Print what the fingerprints cover."""
    made = Counter(
        name
        for each in theirs
        for name in each["ExperimentPlanner"].get("plans", {}).get("configurations", ())
    )
    print(
        f"fingerprints: {len(draws)}, of which 2D {sum(draw.ndim == 2 for draw in draws)}; "
        f"nnU-Net's default planner makes "
        + ", ".join(f"{name} {number}" for name, number in made.items())
    )


if __name__ == "__main__":
    main()
