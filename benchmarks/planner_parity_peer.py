"""nnU-Net's four planners over drawn fingerprints; runs in nnU-Net's Python for `planner_parity`.

    PEER_PYTHON planner_parity_peer.py DRAWS RESULTS SCRATCH --networks 20 --seed 0

The planners run as installed, but for one function: the cost of a network is not found by building
it (some seconds each, thousands of them) but in closed form. In the end that form is compared with
nnU-Net's own function on some of the networks asked for. Nothing else is bypassed: ``dataset.json``
names the reader and lists the cases, two things that nnU-Net reads from there instead of files.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from copy import deepcopy
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

Json = dict[str, Any]
Fields = dict[str, object]
"""Values of a plan by their paths, in a form that both sides can be put into."""

DATASET: Final = "Dataset001_Parity"
"""Name that every drawn dataset has."""
LONGEST_S: Final = 120
"""Seconds after which a planner that has not ended counts as endless."""
SCHEMES: Final = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "RescaleTo01Normalization": "rescale_to_0_1",
    "RGBTo01Normalization": "rgb_to_0_1",
    "NoNormalization": "none",
}
"""nnU-Net's normalizations by their names here."""
NETWORKS: Final = {"PlainConvUNet": "plain", "ResidualEncoderUNet": "resenc"}
"""nnU-Net's networks by their names here."""
KEPT_PER_GROUP: Final = 6
"""Networks kept for comparison of each planner and number of axes."""


def main() -> None:
    """Plan every draw with every planner, compare costs, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("draws", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ |= {"nnUNet_n_proc_DA": "1"}
    planners = installed_planners()
    default = planners["ExperimentPlanner"]
    real = default.static_estimate_VRAM_usage
    costs = Costs(options.seed)
    default.static_estimate_VRAM_usage = costs
    signal.signal(signal.SIGALRM, _endless)
    began = time.monotonic()
    plans = []
    with options.draws.open() as lines:
        for number, line in enumerate(lines):
            place_documents(options.scratch / str(number), json.loads(line))
            plans.append({name: planned(costs, name, planners[name]) for name in planners})
    planned_s = time.monotonic() - began
    networks = costs.compared(real, options.networks)
    options.results.write_text(
        json.dumps({"plans": plans, "networks": networks, "planning_seconds": planned_s})
    )


def installed_planners() -> dict[str, type]:
    """Return the default planner of nnU-Net and its three residual presets, by name."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
        ExperimentPlanner,
    )
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import (
        residual_encoder_unet_planners as residual,
    )

    presets = (
        residual.nnUNetPlannerResEncM,
        residual.nnUNetPlannerResEncL,
        residual.nnUNetPlannerResEncXL,
    )
    return {planner.__name__: planner for planner in (ExperimentPlanner, *presets)}


def place_documents(scratch: Path, draw: Json) -> None:
    """Write what the planners read into folders of their own, and tell nnU-Net of them."""
    for name in ("raw", "preprocessed", "results"):
        folder = scratch / name / DATASET
        folder.mkdir(parents=True)
        os.environ[f"nnUNet_{name}"] = str(folder.parent)
        for document, content in draw.items():
            (folder / f"{document}.json").write_text(json.dumps(content))


def planned(costs: "Costs", name: str, planner: type) -> Json:
    """Return the plans that a planner writes, or how it fails."""
    costs.planner = name
    signal.alarm(LONGEST_S)
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            return {"plans": json.loads(json.dumps(planner(DATASET).plan_experiment()))}
    except Exception as error:
        return {"failure": described(error)}
    finally:
        signal.alarm(0)


def described(error: Exception) -> Json:
    """Describe a failure: where, and whether an axis of less than a voxel led to it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    values = _values_at_failure(error.__traceback__)
    return {
        "error": f"{type(error).__name__}: {error}",
        "where": f"{Path(last.filename).name}:{last.lineno}",
        "values": values,
        "is_thin": any(size < 1 for sizes in values.values() for size in sizes),
    }


def _values_at_failure(trace: TracebackType | None) -> dict[str, list[float]]:
    """Return the median shape and patch that nnU-Net was planning with when it failed."""
    found = {}
    while trace is not None:
        local = trace.tb_frame.f_locals
        for name in ("new_median_shape_transposed", "median_shape", "patch_size"):
            if isinstance(local.get(name), np.ndarray | tuple | list):
                found[name] = [float(size) for size in local[name]]
        trace = trace.tb_next
    return found


def _endless(number: int, frame: object) -> None:
    raise TimeoutError(f"not done after {LONGEST_S} s")


class Costs:
    """What stands in for nnU-Net's cost of a network, and remembers what it was asked."""

    def __init__(self, seed: int) -> None:
        self.planner = ""
        self._rng = np.random.default_rng(seed)
        self._asked: dict[tuple[str, int], int] = {}
        self._kept: dict[tuple[str, int], list[tuple[Any, ...]]] = {}

    def __call__(
        self,
        patch_size: tuple[int, ...],
        channels: int,
        labels: int,
        network: str,
        kwargs: Json,
        imported: tuple[str, ...],
    ) -> np.int64:
        """Return the cost of a network, taking the arguments that nnU-Net's function takes."""
        group = (self.planner, len(patch_size))
        self._asked[group] = self._asked.get(group, 0) + 1
        kept = self._kept.setdefault(group, [])
        # Reservoir: each question of a group is as likely to be kept as any other.
        place = int(self._rng.integers(self._asked[group]))
        if len(kept) < KEPT_PER_GROUP:
            place = len(kept)
            kept.append(())
        if place < KEPT_PER_GROUP:
            kept[place] = (patch_size, channels, labels, network, deepcopy(kwargs), imported)
        return closed_form(patch_size, labels, kwargs)

    def compared(self, real: Callable[..., np.int64], number: int) -> list[Json]:
        """Compare the closed form with nnU-Net's own function, groups in turn."""
        groups = sorted(self._kept)
        turns = [
            (group, self._kept[group][turn])
            for turn in range(KEPT_PER_GROUP)
            for group in groups
            if turn < len(self._kept[group])
        ]
        return [
            {
                "planner": group[0],
                "patch": [int(size) for size in asked[0]],
                "labels": asked[2],
                "closed": int(closed_form(asked[0], asked[2], asked[4])),
                "built": int(real(*asked)),
            }
            for group, asked in turns[:number]
        ]


def closed_form(patch_size: tuple[int, ...], labels: int, kwargs: Json) -> np.int64:
    """Count what the convolutions of nnU-Net's network put out for a patch.

    Written from nnU-Net's arguments, apart from `planners.memory`: two ways to the same number.
    """
    size = [int(n) for n in patch_size]
    stages = list(zip(kwargs["features_per_stage"], kwargs["strides"], strict=True))
    # nnU-Net counts the head with the last stage of the decoder, and so not where it has none.
    total = labels * prod(size) if len(stages) > 1 else 0
    for stage, (features, stride) in enumerate(stages):
        before = size
        size = [n // by for n, by in zip(before, stride, strict=True)]
        if "n_blocks_per_stage" in kwargs:
            entering = features if stage == 0 else stages[stage - 1][0]
            count = 2 * kwargs["n_blocks_per_stage"][stage]
            # The stem comes before the first stage; a changed shape needs a projection.
            count += 1 if stage == 0 else int(entering != features or before != size)
        else:
            count = kwargs["n_conv_per_stage"][stage]
        if stage < len(stages) - 1:
            # Stages of the decoder are listed from the deepest; each has a transposed convolution.
            count += kwargs["n_conv_per_stage_decoder"][-1 - stage] + 1
        total += count * features * prod(size)
    return np.int64(total)


def nnunet_fields(plans: Json, ndim: int) -> Fields:
    """Return the same values of nnU-Net's plans, without the first axis that it adds in 2D."""
    order = tuple(plans["transpose_forward"])
    if ndim == 2:
        order = tuple(axis - 1 for axis in order[1:])
    fields: Fields = {"axis_order": order}
    for name, written in plans["configurations"].items():
        parent = plans["configurations"].get(written.get("inherits_from"), {})
        one = {**parent, **written}
        fields |= {f"{name}.{field}": value for field, value in _read(one).items()}
    return fields


def _read(one: Json) -> Fields:
    built = one["architecture"]["arch_kwargs"]
    network = one["architecture"]["network_class_name"].rpartition(".")[2]
    return {
        "spacing": tuple(one["spacing"]),
        "median_shape": tuple(one["median_image_size_in_voxels"]),
        "patch_size": tuple(one["patch_size"]),
        "batch_size": one["batch_size"],
        "batch_dice": one["batch_dice"],
        "network": (NETWORKS[network], *_style(built)),
        "stages": built["n_stages"],
        "strides": _tuples(built["strides"]),
        "kernels": _tuples(built["kernel_sizes"]),
        "features": tuple(built["features_per_stage"]),
        "encoder": tuple(built.get("n_conv_per_stage") or built["n_blocks_per_stage"]),
        "decoder": tuple(built["n_conv_per_stage_decoder"]),
        "orders": _orders(one),
        "anti_aliasing": False,
        "previous_stage": one.get("previous_stage"),
        "next_stage": one.get("next_stage"),
        "normalization": tuple(SCHEMES[name] for name in one["normalization_schemes"]),
        "inside_nonzero_only": tuple(one["use_mask_for_norm"]),
    }


def _style(built: Json) -> tuple[str, str]:
    """Return normalization and activation, by their names here only if all their values agree."""
    norm = (built["norm_op"].rpartition(".")[2][:-2], built["norm_op_kwargs"], built["conv_bias"])
    activation = (built["nonlin"], built["nonlin_kwargs"], built["dropout_op"])
    usual_norm = ("InstanceNorm", {"eps": 1e-5, "affine": True}, True)
    usual_activation = ("torch.nn.LeakyReLU", {"inplace": True}, None)
    return (
        "instance" if norm == usual_norm else str(norm),
        "leaky_relu" if activation == usual_activation else str(activation),
    )


def _orders(one: Json) -> tuple[object, ...]:
    """Return the orders of images, segmentations and logits, and the one across slices."""
    orders = []
    for what, is_label in (("data", False), ("seg", True), ("probabilities", False)):
        given = one[f"resampling_fn_{what}_kwargs"]
        expected = {"is_seg": is_label, "order_z": 0, "force_separate_z": None}
        usual = one[f"resampling_fn_{what}"] == "resample_data_or_seg_to_shape"
        usual = usual and {**given, **expected} == given
        orders.append(given["order"] if usual else str(given))
    return (*orders, 0)


def _tuples(rows: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in rows)


if __name__ == "__main__":
    main()
