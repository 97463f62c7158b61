"""Augment patches as nnU-Net does; runs in nnU-Net's environment.

    python augmentation_peer.py FOLDER POLICY EDGE DRAWS SEED

``FOLDER`` holds ``image.npy`` and ``labels.npy`` of one case. ``POLICY`` is full (the default) or
strong (the variant DA5). Prints one JSON object: CPU and wall time per patch, in seconds, and the
voxels that it reads for one, as a multiple of the patch's.
"""

import json
import sys
import time
from math import pi, prod
from pathlib import Path

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import (
    nnUNetTrainerDA5,
)

TRAINERS = {"full": (nnUNetTrainer, (0.85, 1.25)), "strong": (nnUNetTrainerDA5, (0.7, 1.43))}
"""Trainer of each policy, and the scaling that it enlarges its patches for."""


def main() -> None:
    """Augment and print the times."""
    folder, policy = Path(sys.argv[1]), sys.argv[2]
    edge, draws, seed = map(int, sys.argv[3:])
    torch.set_num_threads(1)
    np.random.seed(seed)  # noqa: NPY002 - what nnU-Net draws from
    torch.manual_seed(seed)
    image, labels = (np.load(folder / f"{name}.npy") for name in ("image", "labels"))
    trainer, scaling = TRAINERS[policy]
    turns, patch = (-pi / 6, pi / 6), (edge,) * 3
    wide = get_patch_size(patch, turns, turns, turns, scaling).tolist()
    transforms = trainer.get_training_transforms(patch, turns, None, (0, 1, 2), False)
    rng, cpu_s, wall_s = np.random.default_rng(seed), 0.0, 0.0
    for draw in range(draws + 2):
        if draw == 2:  # what is set up on first use is left out
            cpu_s, wall_s = -time.process_time(), -time.perf_counter()
        room = [max(1, n - w) for n, w in zip(image.shape, wide, strict=True)]
        starts = rng.integers(room).tolist()
        box = [[start, start + w] for start, w in zip(starts, wide, strict=True)]
        done = transforms(
            image=torch.from_numpy(crop_and_pad_nd(image[None], box, 0)).float(),
            segmentation=torch.from_numpy(crop_and_pad_nd(labels[None], box, -1)).to(torch.int16),
        )
        if tuple(done["image"].shape) != (1, *patch):
            raise ValueError(f"patch has shape {tuple(done['image'].shape)}")
    cpu_s, wall_s = cpu_s + time.process_time(), wall_s + time.perf_counter()
    figures = {"cpu_s": cpu_s / draws, "wall_s": wall_s / draws, "read": prod(wide) / edge**3}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
