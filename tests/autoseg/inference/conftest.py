"""Models that took no training, phantoms, and one thread each."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from autoseg.core.dataset import DatasetDescription
from autoseg.core.labels import Labels
from autoseg.core.model import ModelDescription
from autoseg.core.training_config import TrainingConfig
from autoseg.inference.model import Model
from autoseg.inference.workplace import workplace
from autoseg.networks.device import Device

CPU = Device(torch_device=torch.device("cpu"), autocast=None)
AXIS_ORDER = (2, 0, 1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: on a busy machine several take many times longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def naive() -> ModuleType:
    """The module of the slow ways."""
    path = Path(__file__).with_name("naive.py")
    spec = importlib.util.spec_from_file_location("inference_naive", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def description_of(plan_of, configuration_of) -> Callable[..., ModelDescription]:
    """Describe a model of sagittal images, the mirrored axes those of the plan."""

    def build(channels=1, **options):
        configuration = configuration_of((4.0, 1.0, 1.5), (4, 8, 12))
        plan = plan_of(configuration, axis_order=AXIS_ORDER, schemes=("none",) * channels)
        return ModelDescription(
            autoseg_version="0",
            dataset=DatasetDescription(
                name="Task99_Test",
                channels=("CT", "PET")[:channels],
                labels=Labels(names=("background", "organ")),
                file_ending=".nii.gz",
            ),
            plan=plan,
            configuration_name="3d_fullres",
            training=TrainingConfig(preset="test", epochs=1, **options),
            decisions=(),
        )

    return build


@pytest.fixture
def model_of(description_of) -> Callable[..., Model]:
    """Make a model of networks."""

    def build(*networks, channels=1):
        return Model(
            description=description_of(channels),
            folds=tuple(range(len(networks))),
            digests=("",) * len(networks),
            place=workplace(networks, CPU, axes=3),
            mirror=False,
        )

    return build


@pytest.fixture
def cascade_description() -> Callable[[ModelDescription], ModelDescription]:
    """Describe the second stage of a cascade whose first is a model's own configuration."""

    def build(description):
        first = description.configuration
        second = replace(first, name="3d_cascade_fullres", previous_stage="3d_fullres")
        return replace(
            description,
            plan=replace(description.plan, configurations=(first, second)),
            configuration_name="3d_cascade_fullres",
        )

    return build


@pytest.fixture
def phantom() -> Callable[..., np.ndarray]:
    """Make an image."""

    def phantom(*, channels=1):
        """Intensities from 1 to 9 inside a box, air around it."""
        smooth = gaussian_filter(
            np.random.default_rng(8).normal(size=(channels, 19, 15, 8)), (0, 2, 2, 1)
        )
        image = np.zeros((channels, 25, 20, 10), np.float32)
        image[:, 3:22, 4:19, 1:9] = 1 + 8 * (smooth - smooth.min()) / np.ptp(smooth)
        return image

    return phantom
