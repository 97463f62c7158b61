import pytest

from autoseg.core.errors import UsageError
from autoseg.training.augmentation.policy import (
    FULL,
    LIGHT,
    STRONG,
    Policy,
    policy_named,
)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("blur", 1.2, "blur 1.2 must be from 0 to 1"),
        ("mirror", -0.5, "mirror -0.5 must be from 0 to 1"),
        ("scaling_range", (1.4, 0.7), r"scaling_range \(1.4, 0.7\) must rise"),
        ("noise_std_range", (-0.1, 0.1), r"noise_std_range \(-0.1, 0.1\) must rise"),
        ("scaling_range", (0.0, 1.4), r"scaling_range \(0.0, 1.4\) must be above 0"),
        ("gamma_range", (1.1, 1.5), r"gamma_range \(1.1, 1.5\) must contain 1"),
        ("median_fraction", 2.0, "median_fraction 2.0 must be from 0 to 1"),
        ("median_size_range", (0, 3), r"median_size_range \(0, 3\) must be above 0"),
        ("local_gamma_low_range", (0.0, 0.8), r"local_gamma_low_range \(0.0, 0.8\) must be above"),
    ],
)
def test_impossible_policy_is_refused(field, value, message):
    with pytest.raises(UsageError, match=message):
        Policy(**{field: value})


def test_policies_are_found_by_name():
    assert policy_named("light") is LIGHT
    assert policy_named("strong") is STRONG
    with pytest.raises(
        UsageError, match="'fierce' is unknown; known are full, light, none, strong"
    ):
        policy_named("fierce")


@pytest.mark.parametrize("policy", [FULL, LIGHT])
def test_only_the_strong_policy_has_the_changes_of_da5(policy):
    added = ("shift", "median_fraction", "quarter_turns", "exchange", "rectangles", "gradient")
    for name in (*added, "local_gamma", "sharpening"):
        assert getattr(policy, name) == 0.0
        assert getattr(STRONG, name) > 0.0
