"""The folds that nnU-Net makes, from its measured vectors, and where ours differ from them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.errors import DatasetError, UsageError
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


def _numbers(decision):
    return dict(decision.numbers)


def test_the_rule_of_nnunet_is_recorded():
    (decision,) = split_cases(_names(10)).decisions
    assert (decision.subject, decision.value) == ("splits.folds", "5 folds")
    assert "shuffled and cut into 5 runs, as nnU-Net" in decision.rule
    assert _numbers(decision) == {
        "cases": "10",
        "patients": "not named: every case counts as one",
        "seed": "12345",
    }


def test_leave_one_out_is_recorded():
    (decision,) = split_cases(_names(3)).decisions
    assert decision.rule == "fewer cases than 5 folds: each case is left out once"
    assert decision.value == "3 folds"


def test_a_single_fold_is_refused():
    with pytest.raises(UsageError, match="of 1 folds: at least 2"):
        split_cases(_names(3), folds=1)


def test_patients_are_shuffled_and_cut_as_nnunet_does_with_cases():
    # Patients P0 to P9 have 1 or 2 cases; their order, not that of the cases, is shuffled.
    names = [f"{9 - n}_{scan}" for n in range(10) for scan in range(1 + n % 2)]
    patients = {name: f"P{name[0]}" for name in names}
    splits = split_cases(names, patients=patients)
    found = [sorted({int(name[0]) for name in fold.validation}) for fold in splits.folds]
    assert found == [[0, 7], [3, 9], [4, 6], [1, 8], [2, 5]]
    assert _numbers(splits.decisions[0])["patients"] == "10, of at most 2 cases"
    assert "all cases of a patient stay together" in splits.decisions[0].rule


def test_fewer_patients_than_folds_are_left_out_one_by_one():
    patients = dict(zip(_names(7), "AABBBBC", strict=True))
    splits = split_cases(_names(7), patients=patients)
    sides = sorted("".join(patients[n] for n in fold.validation) for fold in splits.folds)
    assert sides == ["AA", "BBBB", "C"]
    assert splits.decisions[0].rule.startswith("fewer patients than 5 folds: each patient is left")


def test_a_single_patient_is_refused():
    with pytest.raises(DatasetError, match="at least 2 patients, found 1") as caught:
        split_cases(["a", "b"], patients={"a": "P", "b": "P"})
    assert caught.value.rule == "E-SET-47"


def test_a_case_without_a_patient_is_refused():
    with pytest.raises(DatasetError, match=r"^1 cases have no patient: 'b1' \(meant") as caught:
        split_cases(["a", "b1"], patients={"a": "P", "b1 ": "P"})
    assert caught.value.rule == "E-SET-48"


@given(st.data(), st.integers(2, 7))
def test_no_patient_is_on_both_sides_and_every_case_validates_once(data, folds):
    names = _names(data.draw(st.integers(2, 40)))
    owners = data.draw(st.lists(st.integers(0, 12), min_size=len(names), max_size=len(names)))
    patients = {name: f"P{owner}" for name, owner in zip(names, owners, strict=True)}
    count = len(set(owners))
    if count < 2:
        return
    splits = split_cases(names, folds=folds, patients=patients)
    assert len(splits.folds) == min(folds, count)
    assert sorted(name for fold in splits.folds for name in fold.validation) == names
    for fold in splits.folds:
        assert sorted(fold.training + fold.validation) == names
        sides = ({patients[name] for name in side} for side in (fold.training, fold.validation))
        assert set.isdisjoint(*sides)


def _lacking(folds, classes):
    """Return the shared labels that some training part lacks, by counting cases one by one."""
    labels = sorted({label for held in classes.values() for label in held})
    return [
        label
        for label in labels
        if sum(label in held for held in classes.values()) > 1
        and any(not any(label in classes[name] for name in fold.training) for fold in folds)
    ]


def test_the_seed_is_raised_until_every_training_part_holds_every_shared_label():
    names = _names(10)
    # With nnU-Net's shuffle, fold 0 validates both cases of label 2, fold 4 those of label 5.
    rare = {2: (0, 7), 5: (2, 5), 3: (0, 1, 2, 3)}
    classes = {
        name: frozenset({1, *(label for label, who in rare.items() if n in who)})
        for n, name in enumerate(names)
    }
    assert _lacking(split_cases(names).folds, classes) == [2, 5]
    splits = split_cases(names, classes=classes)
    seed = next(
        seed
        for seed in range(12345, 13000)
        if not _lacking(split_cases(names, seed=seed).folds, classes)
    )
    assert splits.folds == split_cases(names, seed=seed).folds
    rule, raised = splits.decisions
    assert _numbers(rule)["seed"] == raised.value == str(seed)
    assert raised.rule.startswith("raised until every training part holds each label that at least")
    assert _numbers(raised) == {
        "first seed": "12345",
        "labels that a training part lacked with it": "2, 5",
        "labels that a training part lacks now": "none",
    }


def test_common_labels_leave_the_folds_of_nnunet_alone():
    names = _names(13)
    splits = split_cases(names, classes=dict.fromkeys(names, frozenset({1, 2})))
    assert splits == split_cases(names)


def test_where_no_seed_will_do_the_closest_is_taken_and_noted():
    # Each pair of 4 cases shares a label of its own: any 2 + 2 parts both pairs from the rest.
    names = _names(4)
    pairs = dict(enumerate(combinations(names, 2), start=1))
    classes = {name: frozenset(k for k, pair in pairs.items() if name in pair) for name in names}
    splits = split_cases(names, folds=2, classes=classes)
    assert splits.folds == split_cases(names, folds=2).folds
    taken = splits.decisions[1]
    assert taken.rule.startswith("no seed of 1000 lets every training part hold each label")
    together = [k for k, pair in pairs.items() if pair in [f.validation for f in splits.folds]]
    assert len(together) == 2
    assert _numbers(taken)["labels that a training part lacks now"] == ", ".join(map(str, together))


def test_a_label_in_a_single_case_is_noted_and_changes_nothing():
    names = _names(6)
    classes = {name: frozenset({1}) for name in names} | {"case_004": frozenset({1, 7})}
    splits = split_cases(names, classes=classes)
    assert splits.folds == split_cases(names).folds
    note = splits.decisions[1]
    assert (note.subject, note.value) == ("splits.single_labels", "7")
    assert note.numbers == (("label 7", "only case_004"),)


def test_a_label_of_two_cases_of_one_patient_is_single():
    names = _names(6)
    patients = dict(zip(names, "AABBCC", strict=True))
    classes = {name: frozenset({1}) for name in names}
    classes |= dict.fromkeys(names[2:4], frozenset({1, 7}))
    splits = split_cases(names, classes=classes, patients=patients)
    assert splits.folds == split_cases(names, patients=patients).folds
    assert splits.decisions[-1].numbers == (("label 7", "only case_002, case_003"),)


@given(st.integers(0, 1000))
def test_shared_labels_train_in_every_fold_whatever_the_data(seed):
    rng = np.random.default_rng(seed)
    names = _names(int(rng.integers(6, 30)))
    classes = {n: frozenset(np.flatnonzero(rng.random(6) < 0.2).tolist()) for n in names}
    splits = split_cases(names, classes=classes)
    last = {d.subject: d for d in splits.decisions}.get("splits.seed")
    named = "none" if last is None else _numbers(last)["labels that a training part lacks now"]
    assert named == (", ".join(map(str, _lacking(splits.folds, classes))) or "none")
    if len(names) > 10:
        assert named == "none"
