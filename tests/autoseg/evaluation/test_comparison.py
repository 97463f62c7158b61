from itertools import product

import numpy as np
import pytest

from autoseg.evaluation.comparison import (
    bootstrap_interval,
    case_contributions,
    count_patients,
    dice_table,
    mean_dice,
    paired_test,
)
from autoseg.evaluation.overlap import Overlap
from autoseg.evaluation.scoring import CaseScores

NAN = float("nan")


def scores(*dice):
    overlaps = tuple(
        Overlap(
            label=str(number),
            values=(number,),
            true_positive=0,
            false_positive=0,
            false_negative=0,
            dice=value,
            iou=value,
        )
        for number, value in enumerate(dice)
    )
    return CaseScores(case="a", overlaps=overlaps, voxel_mm3=1.0)


def test_a_table_has_a_row_per_case():
    table = dice_table([scores(0.5, None), scores(0.25, 1.0)])
    np.testing.assert_array_equal(table, [[0.5, NAN], [0.25, 1.0]])


def test_the_mean_is_over_structures_of_their_means():
    assert mean_dice(np.array([[0.5, NAN], [0.25, 1.0]])) == pytest.approx((0.375 + 1) / 2)
    assert mean_dice(np.array([[NAN, 0.5]])) == 0.5
    assert mean_dice(np.array([[NAN]])) is None


def test_the_interval_is_that_of_the_normal_distribution_for_many_cases():
    table = np.random.default_rng(1).normal(0.8, 0.1, size=(400, 1))
    interval = bootstrap_interval(table)
    half = 1.96 * table.std() / np.sqrt(400)
    assert interval.low == pytest.approx(table.mean() - half, abs=0.15 * half)
    assert interval.high == pytest.approx(table.mean() + half, abs=0.15 * half)


def test_cases_are_drawn_with_all_their_structures():
    # Two structures that always fail together vary as one does.
    one = np.random.default_rng(1).normal(0.8, 0.1, size=(50, 1))
    single, double = bootstrap_interval(one), bootstrap_interval(np.hstack((one, one)))
    assert (single.low, single.high) == (pytest.approx(double.low), pytest.approx(double.high))


def test_no_cases_have_no_interval():
    assert bootstrap_interval(np.zeros((0, 2))) is None
    assert bootstrap_interval(np.zeros((0, 2)), []) is None
    assert bootstrap_interval(np.full((3, 2), NAN)) is None


def test_contributions_add_up_to_the_difference_of_the_means():
    rng = np.random.default_rng(4)
    first, second = rng.random((9, 3)), rng.random((9, 3))
    for table in (first, second):
        table[:4, 1] = NAN  # a structure that five cases have
    contributions = case_contributions(first, second)
    assert contributions.shape == (9,)
    assert contributions.sum() == pytest.approx(mean_dice(second) - mean_dice(first))


def test_what_one_way_sees_wrongly_counts_against_it():
    # The second structure is in no reference; the second way sees it in two cases of four.
    first = np.array([[0.8, NAN]] * 4)
    second = np.array([[0.8, NAN], [0.8, 0.0], [0.8, 0.0], [0.8, NAN]])
    np.testing.assert_allclose(case_contributions(first, second), [0, -0.25, -0.25, 0])
    np.testing.assert_allclose(case_contributions(second, first), [0, 0.25, 0.25, 0])


def test_a_rare_structure_weighs_as_much_as_a_common_one():
    first, second = np.full((10, 2), NAN), np.full((10, 2), NAN)
    first[:, 0], second[:, 0] = 0.5, 0.6
    first[3, 1], second[3, 1] = 0.5, 0.1
    contributions = case_contributions(first, second)
    assert contributions[3] == pytest.approx(0.1 / 20 - 0.4 / 2)
    assert contributions.sum() == pytest.approx((0.1 - 0.4) / 2)


@pytest.mark.parametrize("seed", range(4))
def test_few_differences_are_tested_exactly(seed):
    differences = np.random.default_rng(seed).normal(0.3, 1, size=7)
    means = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=7)]
    expected = np.mean([mean >= abs(differences.sum()) - 1e-12 for mean in means])
    assert paired_test(differences) == pytest.approx(expected)


def test_many_differences_are_tested_by_some_of_the_signs():
    from scipy.stats import ttest_1samp

    differences = np.random.default_rng(3).normal(0.2, 1, size=100)
    assert paired_test(differences) == pytest.approx(ttest_1samp(differences, 0).pvalue, abs=0.012)
    assert paired_test(np.full(40, 0.1)) == pytest.approx(1 / 10001)


def test_equal_ways_do_not_differ():
    assert paired_test(np.zeros(9)) == 1
    assert paired_test(np.array([])) == 1
    assert paired_test(np.array([0.1, -0.1])) == 1
    assert paired_test(np.array([0.2])) == 1


def test_the_interval_of_repeated_cases_is_that_of_their_patients():
    rng = np.random.default_rng(3)
    once = rng.uniform(0.5, 1, size=(12, 2))
    thrice = np.repeat(once, 3, axis=0)
    names = [f"patient {number // 3:02}" for number in range(36)]
    apart, together = bootstrap_interval(once), bootstrap_interval(thrice, names)
    assert (together.low, together.high) == pytest.approx((apart.low, apart.high))
    unknown = bootstrap_interval(thrice)
    assert unknown.high - unknown.low < 0.75 * (apart.high - apart.low)


def test_what_the_cases_of_a_patient_contribute_is_one_difference():
    differences = np.array([0.3, -0.1, 0.2, 0.1, 0.05, 0.05])
    patients = ["a", "b", "a", "b", "c", "d"]
    assert paired_test(differences, patients) == paired_test(np.array([0.5, 0.05, 0.05]))
    assert paired_test(differences, patients) == 2 / 2**3
    assert count_patients(patients, 6) == 4
    assert count_patients([], 6) == 6
