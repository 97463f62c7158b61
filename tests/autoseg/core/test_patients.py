"""Patients told from case names by a pattern."""

import pytest

from autoseg.core.errors import DatasetError, UsageError
from autoseg.core.patients import LONGEST_NAME, patients_by_pattern


def test_the_group_of_the_pattern_is_the_patient():
    names = ["P07_scan1", "P07_scan2", "P7_scan1", "old_P12"]
    found = patients_by_pattern(names, r"(P\d+)")
    assert found == {"P07_scan1": "P07", "P07_scan2": "P07", "P7_scan1": "P7", "old_P12": "P12"}


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        pytest.param("x_scan1", "^(P[0-9]+)_", id="no-match"),
        pytest.param("scan1", "(P)?scan", id="group-left-out"),
        pytest.param("_scan1", r"^(P*)\d*_", id="empty-group"),
        pytest.param("P1_" + LONGEST_NAME * "a", "^(P1)_", id="too-long"),
    ],
)
def test_a_case_without_a_match_is_refused(name: str, pattern: str):
    with pytest.raises(DatasetError, match=f"names of 1 cases: '{name}'.*{LONGEST_NAME}") as caught:
        patients_by_pattern(["P1_Pscan", name], pattern)
    assert caught.value.rule == "E-SET-48"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        pytest.param("P[0-9]+", "has 0 groups, allowed is 1", id="no-group"),
        pytest.param("(P)(1)", "has 2 groups", id="two-groups"),
        pytest.param("(P", "is no regular expression", id="unbalanced"),
    ],
)
def test_a_pattern_has_one_group(pattern: str, says: str):
    with pytest.raises(UsageError, match=says) as caught:
        patients_by_pattern(["P1"], pattern)
    assert "one group" in caught.value.hint
