from dataclasses import replace

from autoseg.core.differences import differences
from autoseg.core.training_config import RECIPE


def test_equal_values_differ_in_nothing():
    assert differences(RECIPE, replace(RECIPE)) == ()


def test_fields_are_named_with_both_values():
    other = replace(RECIPE, learning_rate=0.003, patience=5)
    assert differences(RECIPE, other) == (
        "patience (None, now 5)",
        "learning_rate (0.01, now 0.003)",
    )


def test_values_within_values_are_named_by_their_path(plan_of, configuration_of):
    plan = plan_of(configuration_of((3.0, 1.0, 1.0), (8, 12, 16)))
    scheme = replace(plan.configurations[0], batch_size=9)
    other = replace(plan, configurations=(scheme,), name="other")
    first, second = differences(plan, other)
    assert first == f"name ({plan.name!r}, now 'other')"
    assert second.startswith("configurations (")
    assert second.count("...") == 2  # both values are long


def test_many_differences_are_counted():
    other = replace(
        RECIPE, epochs=1, steps_per_epoch=2, seed=3, momentum=0.5, patience=4, preset="x"
    )
    found = differences(RECIPE, other)
    assert len(found) == 5
    assert found[-1] == "2 more"
