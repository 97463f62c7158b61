import numpy as np
import pytest

from autoseg.core.errors import UsageError
from autoseg.postprocessing.decision import Trial
from autoseg.postprocessing.rules import Rule
from autoseg.selection import Contender, Member, Selection, choose, rank

NAN = float("nan")


def member(name, run="default"):
    return Member(configuration=name, run=run, folds=(0,), weights_digests=("ab",))


def contender(*names, dice, networks=None):
    table = np.array([[each] if np.isscalar(each) else each for each in dice])
    members = tuple(member(name) for name in names)
    return Contender(members=members, networks=networks or len(names), table=table)


def steady(mean, spread=0.05, count=30):
    """Dice of cases that are hard or easy for every contender alike."""
    return mean + spread * np.sin(np.arange(count))


def chosen(*contenders):
    candidates = rank(contenders)
    number, reason = choose(candidates, len(contenders[0].table))
    return candidates[number].title, reason


def test_candidates_are_ranked_by_their_mean_and_compared_with_the_best():
    first, second, third = rank(
        [
            contender("2d", dice=steady(0.80)),
            contender("3d_fullres", dice=steady(0.90)),
            contender("3d_lowres", dice=steady(0.85)),
        ]
    )
    assert [each.title for each in (first, second, third)] == ["3d_fullres", "3d_lowres", "2d"]
    assert first.mean_dice == pytest.approx(steady(0.9).mean())
    assert (first.difference, first.probability) == (0, 1)
    assert second.difference == pytest.approx(-0.05)
    assert third.difference == pytest.approx(-0.10)
    assert second.probability < 0.001
    assert not second.is_within_noise
    assert first.interval.low < first.mean_dice < first.interval.high


def test_a_clearly_better_model_is_taken():
    title, reason = chosen(
        contender("2d", dice=steady(0.80)), contender("3d_fullres", dice=steady(0.81))
    )
    assert title == "3d_fullres"
    assert reason == "3d_fullres is the best of 2 candidates"


def test_a_pair_that_is_better_by_chance_is_not_taken():
    noise = np.random.default_rng(0).normal(0, 0.02, 30)
    title, reason = chosen(
        contender("2d", dice=steady(0.80)),
        contender("3d_fullres", dice=steady(0.90)),
        contender("2d", "3d_fullres", dice=steady(0.9005) + noise - noise.mean()),
    )
    assert title == "3d_fullres"
    assert "3d_fullres is simpler than 2d + 3d_fullres, the best, whose Dice is 0.0005" in reason
    assert "within noise (p = " in reason


def test_a_pair_that_is_surely_better_is_taken():
    title, _ = chosen(
        contender("2d", dice=steady(0.80)),
        contender("3d_fullres", dice=steady(0.90)),
        contender("2d", "3d_fullres", dice=steady(0.91)),
    )
    assert title == "2d + 3d_fullres"


def test_of_equally_simple_ones_within_noise_the_better_is_taken():
    noise = np.random.default_rng(0).normal(0, 0.02, 30)
    title, _ = chosen(
        contender("2d", dice=steady(0.8)),
        contender("3d_fullres", dice=steady(0.801) + noise - noise.mean()),
    )
    assert title == "3d_fullres"


def test_a_cascade_counts_as_two_networks():
    title, _ = chosen(
        contender("3d_cascade_fullres", dice=[0.9, 0.8, 0.7] * 2, networks=2),
        contender("3d_fullres", dice=[0.89, 0.81, 0.69] * 2),
    )
    assert title == "3d_fullres"


def test_few_patients_tell_no_noise_so_the_best_is_taken():
    title, reason = chosen(
        contender("3d_cascade_fullres", dice=[0.95] * 5, networks=2),
        contender("2d", dice=[0.1] * 5),
    )
    assert title == "3d_cascade_fullres"
    assert reason.endswith("the best on 5 patients, too few to tell it from chance")


def test_spurious_structures_are_no_noise():
    tidy = [[0.9, NAN]] * 10 + [[0.9, 0.8]] * 10
    messy = [[0.9, 0.0]] * 10 + [[0.9, 0.8]] * 10
    title, _ = chosen(contender("2d", dice=messy), contender("2d", "3d_fullres", dice=tidy))
    assert title == "2d + 3d_fullres"


def test_what_the_paired_test_favors_is_within_noise():
    # The best by the means; case by case the other one is a little better nearly everywhere.
    best = [[0.80, 0.9], *[[0.80, NAN]] * 19]
    other = [[0.80, 0.5], *[[0.84, NAN]] * 19]
    first, second = rank([contender("2d", dice=other), contender("3d_fullres", dice=best)])
    assert (first.title, second.title) == ("3d_fullres", "2d")
    assert second.difference < 0
    assert second.is_within_noise == (second.probability >= 0.05)


def test_one_candidate_is_taken():
    assert chosen(contender("2d", dice=[0.5])) == ("2d", "2d is the only candidate")


def test_structures_weigh_the_same_however_many_cases_have_them():
    (only,) = rank([contender("2d", dice=[[0.8, NAN], [0.6, NAN], [0.7, 0.1]])])
    assert only.mean_dice == pytest.approx((0.7 + 0.1) / 2)


def test_without_any_dice_nothing_can_be_chosen():
    with pytest.raises(UsageError, match="no validated case holds a label"):
        rank([contender("2d", dice=[[NAN, NAN]])])


def test_titles_name_the_run_where_it_is_not_the_usual_one():
    assert member("2d").title == "2d"
    assert member("2d", "five").title == "2d/five"


def test_only_rules_that_were_kept_are_applied():
    rules = [
        Rule(kind="largest_component", structure=name, labels=(1,)) for name in ("liver", "spleen")
    ]
    trials = tuple(
        Trial(rule=rule, gain=0.1, probability=0.01, harmed=(), kept=kept)
        for rule, kept in zip(rules, (False, True), strict=True)
    )
    selection = Selection(
        autoseg_version="0",
        dataset="Task01",
        plan="default",
        cases=("a",),
        candidates=rank([contender("2d", dice=[0.5])]),
        chosen=0,
        reason="it is the only one",
        trials=trials,
    )
    assert selection.rules == (rules[1],)
    assert selection.candidate.title == "2d"
