"""In which order a run trains."""

from dataclasses import replace

import pytest

from autoseg.pipeline.run import order_work


@pytest.fixture
def plan(plan_of, configuration_of):
    """Four configurations, the cascade before the stage that it needs."""
    base = configuration_of((2.0, 1.0, 1.0), (8, 12, 8))
    return plan_of(
        replace(base, name="3d_cascade_fullres", previous_stage="3d_lowres"),
        replace(base, name="3d_lowres"),
        base,
        configuration_of((1.0, 1.0), (12, 8)),
    )


def test_all_configurations_with_all_folds_of_the_first_stage_before_the_second(plan):
    assert order_work(plan, (), (0, 1), 5) == [
        ("3d_lowres", (0, 1, 2, 3, 4)),
        ("3d_fullres", (0, 1)),
        ("2d", (0, 1)),
        ("3d_cascade_fullres", (0, 1)),
    ]


def test_a_cascade_brings_its_first_stage_with_it(plan):
    work = order_work(plan, ("3d_cascade_fullres",), (2,), 3)
    assert work == [("3d_lowres", (0, 1, 2)), ("3d_cascade_fullres", (2,))]


def test_a_first_stage_alone_trains_the_folds_that_were_asked_for(plan):
    assert order_work(plan, ("3d_lowres", "2d"), (4,), 5) == [("3d_lowres", (4,)), ("2d", (4,))]
