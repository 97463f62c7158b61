"""The folds that nnU-Net makes, from its measured vectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.errors import DatasetError
from autoseg.core.folds import split_cases


def _names(count):
    return [f"case_{index:03d}" for index in range(count)]


def _validation(count):
    return [
        [int(name.removeprefix("case_")) for name in fold.validation]
        for fold in split_cases(_names(count)).folds
    ]


def test_ten_cases_split_as_nnunet_splits_them():
    assert _validation(10) == [[0, 7], [3, 9], [4, 6], [1, 8], [2, 5]]


def test_the_first_folds_are_longer_where_cases_do_not_divide():
    # 13 = 3 + 3 + 3 + 2 + 2
    assert _validation(13) == [[0, 7, 9], [3, 6, 10], [8, 11, 12], [1, 4], [2, 5]]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_cases_validate_one_by_one(count):
    folds = split_cases(_names(count)).folds
    assert len(folds) == count
    assert sorted(fold.validation for fold in folds) == [(name,) for name in _names(count)]
    assert {len(fold.training) for fold in folds} == {count - 1}


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_cases_are_refused(count):
    with pytest.raises(DatasetError, match=f"at least 2 cases, found {count}") as caught:
        split_cases(_names(count))
    assert caught.value.rule == "E-SET-47"


@given(st.integers(2, 60), st.integers(2, 12), st.integers(0, 2**32 - 1), st.randoms())
def test_every_case_validates_once_and_trains_in_all_other_folds(count, folds, seed, order):
    names = _names(count)
    given_names = order.sample(names, count)
    splits = split_cases(given_names, folds=folds, seed=seed)
    assert len(splits.folds) == min(folds, count)
    assert sorted(name for fold in splits.folds for name in fold.validation) == names
    for fold in splits.folds:
        assert sorted(fold.training + fold.validation) == names
        assert list(fold.training) == sorted(fold.training)
        assert list(fold.validation) == sorted(fold.validation)
    assert splits == split_cases(names, folds=folds, seed=seed)
    sizes = [len(fold.validation) for fold in splits.folds]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1
