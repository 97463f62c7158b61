"""What a training takes from the plan, and what it refuses."""

from dataclasses import fields, replace

import pytest

from autoseg.core.errors import UsageError
from autoseg.core.network_spec import Arch, Style
from autoseg.core.plan import Configuration, Topology
from autoseg.core.training_config import RECIPE, minutes_of, preset, training_decisions

CONFIGURATION = Configuration(
    name="3d_fullres",
    spacing=(3.0, 0.75, 0.5),
    median_shape=(20.0, 190.0, 240.0),
    patch_size=(16, 160, 192),
    batch_size=9,
    batch_dice=False,
    network="plain",
    arch=Arch(),
    style=Style(),
    topology=Topology(
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        features=(30, 60, 320),
    ),
)


def test_full_is_nnunets_recipe():
    full = preset("full")
    assert (full.epochs, full.steps_per_epoch, full.learning_rate) == (1000, 250, 0.01)
    assert (full.momentum, full.weight_decay, full.optimizer) == (0.99, 3e-5, "sgd")


@pytest.mark.parametrize(
    ("patches", "batch_size"),
    [(None, 9), (0.5, 1), (1, 1), (3.9, 3), (9, 9), (30, 9)],
)
def test_the_batch_is_cut_down_to_whole_patches_within_the_voxels_allowed(patches, batch_size):
    voxels = None if patches is None else int(patches * 16 * 160 * 192)
    config = replace(preset("full"), batch_voxels=voxels)
    assert config.batch_size(CONFIGURATION) == batch_size


def test_width_scales_channels_in_multiples_of_four():
    narrow = replace(preset("full"), width_fraction=0.25).topology(CONFIGURATION)
    # 7.5 / 4 = 1.875 -> 2 * 4; 15 / 4 = 3.75 -> 4 * 4; 80 = 20 * 4
    assert narrow.features == (8, 16, 80)
    assert narrow.strides == CONFIGURATION.topology.strides


def test_width_never_falls_below_four_channels():
    thin = replace(preset("full"), width_fraction=0.01).topology(CONFIGURATION)
    assert thin.features == (4, 4, 4)


def test_full_width_leaves_the_topology_alone():
    assert preset("full").topology(CONFIGURATION) is CONFIGURATION.topology


@pytest.mark.parametrize(
    "name", ["epochs", "steps_per_epoch", "max_minutes", "batch_voxels", "width_fraction"]
)
@pytest.mark.parametrize("value", [0, -3, float("nan"), float("inf")])
def test_lengths_and_width_must_be_positive_and_finite(name, value):
    option = name.replace("_", "-")
    with pytest.raises(UsageError, match=f"{option} is {value}; it must be more than 0 and fin"):
        replace(preset("full"), **{name: value})


def test_a_network_is_no_wider_than_the_plan_says():
    with pytest.raises(UsageError, match=r"width-fraction is 1\.25; it must be at most 1"):
        replace(preset("full"), width_fraction=1.25)
    assert replace(preset("fast"), width_fraction=1.0).width_fraction == 1.0


def test_hours_are_sixty_minutes_each():
    assert minutes_of(2.5) == 150.0


@pytest.mark.parametrize("hours", [0, -2.0, float("nan"), float("inf")])
def test_hours_must_be_positive_and_finite(hours):
    with pytest.raises(UsageError, match=f"--max-hours is {hours:g}; it must be more than 0 and"):
        minutes_of(hours)


def test_a_training_needs_an_end():
    with pytest.raises(UsageError, match="--epochs or --max-minutes; both are unset"):
        replace(preset("full"), epochs=None, max_minutes=None)
    assert replace(preset("full"), epochs=None, max_minutes=5.0).max_minutes == 5.0


def test_unknown_preset_lists_the_known():
    with pytest.raises(UsageError, match="preset 'slow' is unknown; known are full, standard"):
        preset("slow")


def test_nnunets_recipe_needs_no_decision():
    assert training_decisions(RECIPE, CONFIGURATION) == ()


def test_every_change_of_the_recipe_is_a_decision_with_both_values():
    config = replace(RECIPE, epochs=7, learning_rate=0.5)
    found = {d.subject: (d.value, d.numbers) for d in training_decisions(config, CONFIGURATION)}
    assert found == {
        "3d_fullres.training.epochs": ("7", (("nnU-Net's recipe", "1000"),)),
        "3d_fullres.training.learning_rate": ("0.5", (("nnU-Net's recipe", "0.01"),)),
    }


def test_every_value_that_a_preset_changes_has_its_decision():
    fast, full = preset("fast"), RECIPE
    changed = {
        field.name
        for field in fields(fast)
        if getattr(fast, field.name) != getattr(full, field.name)
    } - {"preset"}
    decisions = training_decisions(fast, CONFIGURATION)
    assert {d.subject.rpartition(".")[2] for d in decisions} == changed
    assert "asked for" not in "".join(
        d.rule for d in decisions if not d.subject.endswith(".epochs")
    )


def test_a_negative_seed_is_refused():
    with pytest.raises(UsageError, match="seed is -1; it must be 0 or more"):
        replace(preset("full"), seed=-1)


def test_the_title_says_what_it_is_trained_with():
    assert preset("full").title == (
        "preset full, 1000 epochs of 250 steps, sgd 0.01 polynomial, average 0.999, "
        "full augmentation"
    )
    config = replace(
        RECIPE, epochs=None, max_minutes=12.5, patience=30, seed=3, width_fraction=0.5,
        transforms=("mine",), optimizer="adamw", schedule="one_cycle", augmentation="strong",
    )  # fmt: skip
    assert config.title == (
        "preset full, 12.5 minutes, adamw 0.01 one_cycle, strong augmentation, mine, patience 30, "
        "width 0.5, seed 3"
    )


@pytest.mark.parametrize("name", ["average_decay", "warmup_fraction"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_a_share_outside_of_0_to_1_is_refused(name, value):
    message = f"{name.replace('_', '-')} is {value}; it must be from 0 to below 1"
    with pytest.raises(UsageError, match=message):
        replace(RECIPE, **{name: value})
