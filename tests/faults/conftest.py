"""Gives the tests the module that builds every faulty file, and models that took no training."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.folds import Fold
from autoseg.core.labels import Labels
from autoseg.core.model import FoldRecord, ModelDescription
from autoseg.core.plan import Configuration, Plan
from autoseg.core.training_config import TrainingConfig
from autoseg.io import documents, files


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """The module that makes files."""
    return _load("make")


@pytest.fixture(scope="session")
def dicom() -> ModuleType:
    """The module that makes DICOM series; skipped where pydicom is missing."""
    pytest.importorskip("pydicom")
    return _load("make_dicom")


def _load(name: str) -> ModuleType:
    """Load a module beside this file by its path: the test folders are no packages."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"faults_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def write_model(
    tmp_path: Path,
    plan_of: Callable[..., Plan],
    configuration_of: Callable[..., Configuration],
) -> Callable[..., Path]:
    """Write the folder of a model with random weights, for volumes or pictures of one channel."""

    def build(
        spacing: tuple[float, ...] = (2.5, 0.9, 0.8),
        patch_size: tuple[int, ...] = (4, 8, 12),
        *,
        ending: str = ".nii.gz",
        scheme: str = "zscore",
        inside_nonzero_only: bool = False,
    ) -> Path:
        import torch
        from safetensors.torch import save

        from autoseg.networks.assembler import build_network

        configuration = configuration_of(spacing, patch_size)
        description = ModelDescription(
            autoseg_version="0",
            dataset=DatasetDescription(
                name="Task99_Test",
                channels=("T1",),
                labels=Labels(names=("background", "left", "right")),
                file_ending=ending,
            ),
            plan=plan_of(
                configuration,
                axis_order=tuple(range(len(spacing))),
                schemes=(scheme,),
                inside_nonzero_only=inside_nonzero_only,
            ),
            configuration_name=configuration.name,
            training=TrainingConfig(preset="test", epochs=1, mirror_prediction=False),
            decisions=(),
        )
        torch.manual_seed(4)
        network = build_network(
            configuration.arch, description.topology, channels_in=1, channels_out=3
        )
        folder = tmp_path / "model"
        weights = save(network.state_dict())
        record = FoldRecord(
            fold=Fold(training=("a",), validation=("b",)),
            weights_digest=files.digest(weights),
            steps=1,
            minutes=0.0,
            device="cpu",
        )
        documents.write(folder / "model.json", description)
        documents.write(folder / "fold_0" / "fold.json", record)
        files.write_atomically(folder / "fold_0" / "weights.safetensors", weights)
        return folder

    return build
