"""Folds that the user gives: which are taken, and what is wrong with the others."""

import pytest

from autoseg.core.errors import RefusedCasesError
from autoseg.core.folds import Fold
from autoseg.core.own_folds import check_folds

NAMES = ("a", "b", "c", "d")


def fold(training: str, validation: str) -> Fold:
    """Build a fold of cases with names of one letter."""
    return Fold(training=tuple(training), validation=tuple(validation))


def test_folds_are_taken_in_their_order_with_sorted_names():
    splits = check_folds([fold("dc", "ba"), fold("ab", "c")], NAMES, "x.json")
    assert splits.folds == (fold("cd", "ab"), fold("ab", "c"))
    (decision,) = splits.decisions
    assert (decision.value, decision.rule) == ("2 folds", "given by the user: x.json")
    assert decision.numbers == (("cases", "4"), ("cases that no fold validates", "1: 'd'"))


def test_cases_that_several_folds_validate_are_noted():
    splits = check_folds([fold("ab", "cd"), fold("d", "abc")], NAMES, "x.json")
    assert splits.decisions[0].numbers[1:] == (("cases that several folds validate", "1: 'c'"),)


def test_excluded_cases_are_taken_out():
    splits = check_folds([fold("axb", "cdy")], NAMES, "x.json", excluded=("x", "y"))
    assert splits.folds == (fold("ab", "cd"),)


@pytest.mark.parametrize(
    ("folds", "says"),
    [
        pytest.param([], "holds no folds", id="none"),
        pytest.param(
            [fold("ab", "cd"), fold("abc", "")], "fold 1: validation is empty", id="empty"
        ),
        pytest.param([fold("", "abcd")], "fold 0: training is empty", id="no-training"),
        pytest.param([fold("abz", "cd")], "fold 0: training names 'z': no cases", id="unknown"),
        pytest.param([fold("abc", "cd")], "fold 0: 'c' both train and validate", id="both"),
        pytest.param([fold("aab", "cd")], "fold 0: training names 'a' more than once", id="twice"),
    ],
)
def test_folds_that_do_not_fit_are_refused(folds: list[Fold], says: str):
    with pytest.raises(RefusedCasesError, match=f"E-SET-48 x.json: {says}") as caught:
        check_folds(folds, NAMES, "x.json")
    assert caught.value.rule == "E-SET-48"
    assert caught.value.hint


def test_a_misspelled_case_is_answered_with_the_one_that_is_meant():
    own = [Fold(training=("case_001", "case_O02"), validation=("case_003",))]
    with pytest.raises(RefusedCasesError, match=r"'case_O02' \(meant 'case_002'\?\)"):
        check_folds(own, ["case_001", "case_002", "case_003"], "x.json")


def test_a_patient_on_both_sides_is_refused():
    patients = {"a": "P1", "b": "P2", "c": "P1", "d": "P3"}
    with pytest.raises(RefusedCasesError, match="fold 1: the patients 'P1' have cases on both"):
        check_folds([fold("ac", "bd"), fold("ab", "cd")], NAMES, "x.json", patients=patients)


def test_all_faults_of_all_folds_are_listed_at_once():
    with pytest.raises(RefusedCasesError, match="the folds have 3 problems") as caught:
        check_folds([fold("", "a"), fold("ay", "ab")], NAMES, "x.json")
    assert {problem.rule for problem in caught.value.problems} == {"E-SET-48"}
