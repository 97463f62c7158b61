"""Sum up what nnU-Net's augmentation makes of a picture; runs in nnU-Net's Python.

    PEER_PYTHON peer_augmentation.py RESULT.npz PATCH DRAWS SEED

nnU-Net builds the transforms itself, from its defaults, and chooses angles, mirrored axes and the
region that it reads. Here each is seen alone as well: probabilities are set to 0 or 1.
``RESULT.npz`` holds the numbers of `distributions` as ``SET/NUMBER``, the probabilities as
``probability/TRANSFORM``, and the shape of the region as ``source``.
"""

import sys
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from distributions import PATCHES, SETS, Array, collect, picture
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

_NAMES: Final = {
    "GaussianNoiseTransform": "noise",
    "GaussianBlurTransform": "blur",
    "MultiplicativeBrightnessTransform": "brightness",
    "ContrastTransform": "contrast",
    "SimulateLowResolutionTransform": "low_resolution",
}
"""nnU-Net's transforms by their names in a policy."""


def main() -> None:
    """Draw with nnU-Net and write the numbers."""
    patch, draws, seed = PATCHES[sys.argv[2]], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    source, transforms = _nnunet_for(patch, "nearest")
    _, by_default = _nnunet_for(patch, "bilinear")
    image, labels = picture(source, patch)
    found: dict[str, Array] = {"source": np.array(source)}
    for name, probability in _probabilities(transforms).items():
        found[f"probability/{name}"] = np.array(probability)
    sets = {name: _only(transforms, kept) if kept else transforms for name, kept in SETS.items()}
    sets["interpolated labels"] = _only(by_default, ("rotation",))
    for place, (name, changes) in enumerate(sets.items()):
        torch.manual_seed(seed + place)
        np.random.seed(seed + place)  # noqa: NPY002 - nnU-Net draws from both
        drawn = collect(partial(_apply, changes, image, labels), image, labels, draws)
        found |= {f"{name}/{number}": values for number, values in drawn.items()}
    np.savez(Path(sys.argv[1]), **found)


def _nnunet_for(patch: Sequence[int], labels_from: str) -> tuple[tuple[int, ...], Any]:
    """Return the region that nnU-Net reads for a patch, and its transforms for training.

    Labels are taken from the nearest voxel, or interpolated one by one (bilinear), its default.
    """
    asked = SimpleNamespace(
        configuration_manager=SimpleNamespace(patch_size=patch),
        print_to_log_file=lambda *_: None,
    )
    angles, in_plane, wide, mirrored = (
        nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size(asked)
    )
    transforms = nnUNetTrainer.get_training_transforms(patch, angles, None, mirrored, in_plane)
    for transform in transforms.transforms:
        inner = getattr(transform, "transform", None)
        if type(inner).__name__ == "GaussianBlurTransform":
            inner.benchmark = False  # chooses by the clock between two ways to the same result
        if type(transform).__name__ == "SpatialTransform":
            transform.mode_seg = labels_from
    # One voxel less where the margins would differ: else a crop of it has no center to agree on.
    source = (int(w) - (int(w) - size) % 2 for w, size in zip(wide, patch, strict=True))
    return tuple(source), transforms


def _probabilities(transforms: Any) -> dict[str, float]:
    found = {}
    for transform in transforms.transforms:
        kind = type(transform).__name__
        if kind == "SpatialTransform":
            found |= {"rotation": transform.p_rotation, "scaling": transform.p_scaling}
        elif kind == "RandomTransform":
            found[_name(transform.transform)] = transform.apply_probability
    return found


def _only(transforms: Any, kept: Sequence[str]) -> Any:
    """Return transforms of which every sample gets those that are named, and no others."""
    changed = deepcopy(transforms)
    for transform in changed.transforms:
        kind = type(transform).__name__
        if kind == "SpatialTransform":
            transform.p_rotation = float("rotation" in kept)
            transform.p_scaling = float("scaling" in kept)
        elif kind == "RandomTransform":
            transform.apply_probability = float(_name(transform.transform) in kept)
        elif kind == "MirrorTransform" and "mirror" not in kept:
            transform.allowed_axes = ()
    return changed


def _name(transform: Any) -> str:
    if type(transform).__name__ == "GammaTransform":
        return "inverted_gamma" if transform.p_invert_image == 1 else "gamma"
    return _NAMES[type(transform).__name__]


def _apply(transforms: Any, image: Array, labels: Array, count: int) -> tuple[Array, Array]:
    images, maps = [], []
    for _ in range(count):
        done = transforms(
            image=torch.tensor(image), segmentation=torch.tensor(labels[None].astype(np.int16))
        )
        images.append(done["image"].numpy())
        maps.append(done["segmentation"][0].numpy())
    return np.stack(images), np.stack(maps)


if __name__ == "__main__":
    main()
