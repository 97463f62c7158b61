"""Along which axes a trained model mirrors; axis 2 of an image runs from left to right."""

from dataclasses import replace

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.labels import Labels
from autoseg.core.model import ModelDescription
from autoseg.core.training_config import PRESETS


@pytest.fixture
def described(plan_of, configuration_of):
    """Describe a model whose plan puts axis 2 of the image first, at the coarsest spacing."""

    def build(mirroring, *, mirror_axes=(0, 1, 2), patch=(4, 8, 12), orientation="canonical"):
        spacing = (4.0, 1.0, 1.5)[-len(patch) :]
        plan = plan_of(configuration_of(spacing, patch), axis_order=(2, 0, 1))
        plan = replace(plan, mirror_axes=mirror_axes, orientation=orientation)
        return ModelDescription(
            autoseg_version="0",
            dataset=DatasetDescription(
                name="Task99_Test",
                channels=("CT",),
                labels=Labels(names=("background", "organ")),
                file_ending=".nii.gz",
            ),
            plan=plan,
            configuration_name=plan.names[0],
            training=replace(PRESETS["full"], mirrored=mirroring),
            decisions=(),
        )

    return build


@pytest.mark.parametrize(
    ("mirroring", "options", "expected"),
    [
        ("plan", {}, (0, 1, 2)),
        ("plan", {"mirror_axes": (1,)}, (1,)),
        ("none", {}, ()),
        ("left_right", {}, (0,)),
        # Labels that carry a side: the plan spares that axis, and nothing is left.
        ("left_right", {"mirror_axes": (1, 2)}, ()),
        # Slices across left and right hold neither.
        ("left_right", {"patch": (8, 12)}, ()),
        ("plan", {"patch": (8, 12)}, (0, 1)),
        ("none", {"patch": (8, 12)}, ()),
        # Axes as they lie in the file have no names.
        ("left_right", {"orientation": "stored"}, (0, 1, 2)),
    ],
)
def test_a_training_mirrors_what_the_plan_allows_or_less(mirroring, options, expected, described):
    assert described(mirroring, **options).mirror_axes == expected


def test_titles_say_that_less_is_mirrored():
    config = PRESETS["full"]
    assert "mirrored" not in config.title
    assert "mirrored left-right" in replace(config, mirrored="left_right").title
