"""Builds stored cases and folds small enough to train in a second."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoseg.core.dataset import DatasetDescription
from autoseg.core.folds import Fold
from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import Labels
from autoseg.core.model import ModelDescription
from autoseg.core.training_config import TrainingConfig
from autoseg.io import store
from autoseg.networks.device import Device
from autoseg.training.sampling import OpenCase, open_cases
from autoseg.training.setup import FoldSetup, gather_fold
from preprocessing.foreground import sample_foreground

LABELS = Labels(names=("background", "organ", "tumor"))
CPU = Device(torch_device=torch.device("cpu"), autocast=None)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: results are bit-identical for the same number only."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def case_of(tmp_path: Path) -> Callable[..., OpenCase]:
    """Store a case under a name and open it; the image is the label map unless given."""

    def build(
        name: str,
        segmentation: np.ndarray[Any, Any],
        *,
        image: np.ndarray[Any, Any] | None = None,
        nonzero: np.ndarray[Any, Any] | None = None,
        labels: Labels = LABELS,
    ) -> OpenCase:
        shape, axes = segmentation.shape, segmentation.ndim
        indices, offsets = sample_foreground(segmentation.astype(np.uint8), labels)
        record = store.StoredCase(
            name=name,
            key=f"key of {name}",
            geometry=Geometry(
                file_shape=shape,
                file_affine=tuple(map(tuple, np.eye(axes + 1).tolist())),
                file_axes=tuple(range(axes)),
                reversed_axes=(False,) * axes,
            ),
            crop=Box(start=(0,) * axes, stop=shape),
            shape=shape,
            foreground_offsets=offsets,
            digests={},
        )
        arrays = store.CaseArrays(
            image=(segmentation[None] if image is None else image).astype(np.float32),
            segmentation=segmentation.astype(np.uint8),
            nonzero=np.ones(shape, bool) if nonzero is None else nonzero,
            foreground=indices,
        )
        store.write_case(tmp_path / "cases", record, arrays)
        return open_cases(tmp_path / "cases", [name])[0]

    return build


@pytest.fixture
def setup_of(tmp_path: Path, case_of: Any, plan_of: Any, configuration_of: Any) -> Any:
    """Gather a fold of two training cases and a validation case whose labels are bright."""
    rng = np.random.default_rng(11)
    for number, name in enumerate(("one", "two", "three")):
        segmentation = np.zeros((10, 17, 14), np.uint8)
        segmentation[2 + number : 7, 3:12, 4:10] = 1
        segmentation[3 + number : 6, 4:8, 5:9] = 2
        noise = rng.normal(scale=0.2, size=segmentation.shape)
        case_of(name, segmentation, image=(segmentation + noise)[None])

    def build(
        *,
        device: Device = CPU,
        number: int = 0,
        features: tuple[int, ...] = (4, 8),
        patch_size: tuple[int, ...] = (8, 12, 8),
        labels: Labels = LABELS,
        **options: Any,
    ) -> FoldSetup:
        spacing = (2.0, 1.0, 1.0)[-len(patch_size) :]
        configuration = configuration_of(spacing, patch_size, features=features)
        config = TrainingConfig(
            preset="test",
            epochs=2,
            steps_per_epoch=3,
            validation_steps=2,
            augmentation="light",
        )
        description = ModelDescription(
            autoseg_version="0",
            dataset=DatasetDescription(
                name="Task99_Test", channels=("CT",), labels=labels, file_ending=".nii.gz"
            ),
            plan=plan_of(configuration, mirror_axes=(1, 2)),
            configuration_name=configuration.name,
            training=replace(config, **options),
            decisions=(),
        )
        return gather_fold(
            tmp_path / "model",
            number,
            Fold(training=("one", "two"), validation=("three",)),
            description,
            cases=tmp_path / "cases",
            device=device,
        )

    return build
