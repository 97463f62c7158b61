from autoseg.pipeline.cpu_schedule import ConfigurationSchedule, CpuSchedule, Proposal, Recipe
from autoseg.pipeline.cpu_schedule_text import schedule_lines

RECIPES = (
    Recipe(preset="full", step_s=21.6, steps=250_000, channels=32),  # 1500 h = 62.5 days
    Recipe(preset="standard", step_s=21.6, steps=62_500, channels=32),  # 375 h = 15.6 days
    Recipe(preset="fast", step_s=2.25, steps=3000, channels=16),  # 1.875 h
)


def schedule(proposal=None, *, max_hours=None, folds=5, left_out=(), is_disturbed=False):
    return CpuSchedule(
        machine="Some CPU, 2 cores",
        is_disturbed=is_disturbed,
        folds=folds,
        max_hours=max_hours,
        configurations=(
            ConfigurationSchedule(configuration="3d_fullres", recipes=RECIPES, proposal=proposal),
        ),
        left_out=left_out,
    )


def proposal(*, steps, is_enough):
    return Proposal(
        command="autoseg train 3d_fullres 0 --preset fast --max-hours 2",
        preset="fast",
        channels=16,
        steps=steps,
        is_enough=is_enough,
        needed_hours=0.4375,
    )


def test_presets_are_told_per_fold_and_for_all():
    assert schedule_lines(schedule(left_out=("3d_cascade_fullres",))) == (
        "training on this CPU (Some CPU, 2 cores), without the validation of whole cases that "
        "follows it:",
        "3d_fullres: the whole schedule of a preset would take, per fold, full 62 days (310 days "
        "for all 5), standard 16 days (78 days for all 5), fast 1.9 h (9.4 h for all 5); a step "
        "takes about 22 s with full, 22 s with standard, 2.2 s with fast",
        "3d_cascade_fullres: not measured; it can only follow all folds of its first stage",
    )


def test_a_proposal_is_a_command_and_what_it_makes():
    found = schedule_lines(schedule(proposal(steps=3249, is_enough=True), max_hours=2.0))
    assert found[2] == (
        "3d_fullres in 2 h per fold (10 h for all 5): autoseg train 3d_fullres 0 --preset fast "
        "--max-hours 2   (about 3200 steps at 16 channels)"
    )


def test_too_few_steps_are_called_too_few():
    found = schedule_lines(schedule(proposal(steps=127, is_enough=False), max_hours=0.125))
    assert found[2] == (
        "3d_fullres in 0.125 h per fold (38 min for all 5): this CPU makes only about 127 steps, "
        "even at 16 channels; no useful model can be expected of fewer than 700, which take about "
        "26 min: autoseg train 3d_fullres 0 --preset fast --max-hours 2"
    )


def test_a_single_fold_is_not_multiplied():
    assert "fast 1.9 h; a step takes" in schedule_lines(schedule(folds=1))[1]
    assert "fast 1.9 h (3.8 h for all 2); a step" in schedule_lines(schedule(folds=2))[1]


def test_a_disturbed_measurement_is_said_to_be_one():
    assert "other processes were at work" in schedule_lines(schedule(is_disturbed=True))[1]
    assert "other processes" not in "".join(schedule_lines(schedule()))
