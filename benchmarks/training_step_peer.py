"""Make the training steps of `training_step.py` as nnU-Net does; runs in nnU-Net's environment.

    python training_step_peer.py FOLDER

``FOLDER/work.json`` says what to do. For every line that comes in, the number of a step, it is made
on ``FOLDER/NUMBER.npz``, and one JSON object says how long it took, and its loss.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss


def main() -> None:
    """Make steps and print their times."""
    folder = Path(sys.argv[1])
    work = json.loads((folder / "work.json").read_text())
    torch.set_num_threads(work["threads"])
    torch.backends.cudnn.benchmark = True
    step, levels = prepare(work), len(work["features"]) - 1
    for line in sys.stdin:
        with np.load(folder / f"{int(line)}.npz") as voxels:
            images, target = (torch.from_numpy(voxels[key]) for key in ("images", "targets"))
        # Its workers do this, beside the training.
        whole = target[:, None].float()
        targets = [
            torch.nn.functional.interpolate(whole, scale_factor=0.5**level, mode="nearest-exact")
            for level in range(levels)
        ]
        began, busy = time.perf_counter(), time.process_time()
        loss = step(images, targets)
        row = {
            "clock_s": time.perf_counter() - began,
            "processor_s": time.process_time() - busy,
            "loss": loss,
        }
        print(json.dumps(row), flush=True)


def prepare(work: dict[str, Any]) -> Callable[[torch.Tensor, list[torch.Tensor]], float]:
    """Return a function that makes a step as ``nnUNetTrainer.train_step`` of 2.8.1 does."""
    device = torch.device(work["device"])
    on_gpu = device.type == "cuda"
    torch.manual_seed(0)
    stages = len(work["features"])
    network = PlainConvUNet(
        input_channels=1,
        n_stages=stages,
        features_per_stage=work["features"],
        conv_op=torch.nn.Conv3d,
        kernel_sizes=[[3, 3, 3]] * stages,
        strides=[[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
        n_conv_per_stage=[2] * stages,
        num_classes=3,
        n_conv_per_stage_decoder=[2] * (stages - 1),
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )
    network.apply(InitWeights_He(1e-2))
    network.to(device)
    loss = DC_and_CE_loss(
        {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        weight_ce=1,
        weight_dice=1,
        ignore_label=None,
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    model: Any = network
    if on_gpu:  # as it does there unless told otherwise
        loss.dc, model = torch.compile(loss.dc), torch.compile(network)
    weights = np.array([0.5**level for level in range(stages - 1)])
    weights[-1] = 0
    supervised = DeepSupervisionWrapper(loss, weights / weights.sum())
    optimizer = torch.optim.SGD(
        network.parameters(), 1e-2, weight_decay=3e-5, momentum=0.99, nesterov=True
    )
    scaler = torch.amp.GradScaler("cuda", enabled=on_gpu)

    def step(images: torch.Tensor, targets: list[torch.Tensor]) -> float:
        images, targets = images.to(device), [target.to(device) for target in targets]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda") if on_gpu else contextlib.nullcontext():
            found = supervised(model(images), targets)
        scaler.scale(found).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        scaler.step(optimizer)
        scaler.update()
        if on_gpu:
            torch.cuda.synchronize()
        return float(found.detach().cpu()) + 1

    return step


if __name__ == "__main__":
    main()
