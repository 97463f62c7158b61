"""What every test may use."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from autoseg.core.fingerprint import ChannelStatistics
from autoseg.core.network_spec import Arch, Style
from autoseg.core.plan import Configuration, Normalization, Plan, Topology

# The tests' networks are too small to share: two threads would only wait for each other. Set before
# torch is loaded, here and in the commands that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples in every run, however slow the machine; new ones are sought on purpose with
# pytest --hypothesis-profile=default.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _keep_away_from_workspaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in an empty folder, so that none finds or leaves a workspace."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOSEG_WORKSPACE", raising=False)


@pytest.fixture
def autoseg_command() -> list[str]:
    """The program as a command of its own, for tests that kill it."""
    return [sys.executable, "-c", "from autoseg.cli.main import console; console()"]


@pytest.fixture
def configuration_of() -> Callable[..., Configuration]:
    """Build a configuration of two stages, the second at half the resolution."""

    def build(
        spacing: tuple[float, ...],
        patch_size: tuple[int, ...],
        *,
        features: tuple[int, ...] = (4, 8),
        batch_size: int = 2,
    ) -> Configuration:
        axes, stages = len(patch_size), len(features)
        return Configuration(
            name="2d" if axes == 2 else "3d_fullres",
            spacing=spacing,
            median_shape=tuple(float(size) for size in patch_size),
            patch_size=patch_size,
            batch_size=batch_size,
            batch_dice=False,
            network="plain",
            arch=Arch(),
            style=Style(),
            topology=Topology(
                strides=((1,) * axes, *((2,) * axes for _ in range(stages - 1))),
                kernels=((3,) * axes,) * stages,
                features=features,
            ),
        )

    return build


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """Build a plan around configurations; one channel of raw intensities unless told otherwise."""

    def build(
        *configurations: Configuration,
        axis_order: tuple[int, ...] = (0, 1, 2),
        schemes: tuple[str, ...] = ("none",),
        inside_nonzero_only: bool = False,
        mirror_axes: tuple[int, ...] = (),
    ) -> Plan:
        statistics = ChannelStatistics(
            mean=10.0,
            median=9.0,
            std=4.0,
            minimum=-50.0,
            maximum=80.0,
            percentile_00_5=-6.0,
            percentile_99_5=30.0,
        )
        return Plan(
            name="default",
            dataset="Task99_Test",
            autoseg_version="0",
            gpu_memory_gib=8.0,
            orientation="canonical",
            axis_order=axis_order,
            mirror_axes=mirror_axes,
            normalization=tuple(
                Normalization(
                    scheme=scheme,  # type: ignore[arg-type]
                    inside_nonzero_only=inside_nonzero_only,
                    statistics=statistics,
                )
                for scheme in schemes
            ),
            configurations=configurations,
            decisions=(),
        )

    return build
