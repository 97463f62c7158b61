"""Cases with equal image files: refused, noted for one patient, or grouped where accepted."""

from dataclasses import replace

from autoseg.core.acceptance import parse_accepted
from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.labels import Labels
from autoseg.pipeline.copies import settle_copies

GROUPS = (("a", "c"), ("d", "b"))


def dataset_of(patients: dict[str, str | None], *accept: str) -> Dataset:
    description = DatasetDescription(
        name="T",
        channels=("CT",),
        labels=Labels(names=("background", "organ")),
        file_ending=".nii.gz",
        accepted=parse_accepted(accept),
    )
    cases = (Case(name=name, images=("x",), patient=who) for name, who in patients.items())
    return Dataset(description=description, folder="raw", cases=tuple(cases))


def test_copies_are_refused_and_the_dataset_stays():
    dataset = dataset_of(dict.fromkeys("abcd"))
    copies = settle_copies(dataset, GROUPS)
    assert copies.refused == ("c", "b")
    assert [problem.rule for problem in copies.problems] == ["E-SET-44"] * 2
    assert copies.dataset == dataset
    assert copies.notes == ()


def test_copies_of_one_patient_are_noted():
    dataset = dataset_of({"a": "x", "b": "y", "c": "x", "d": "z"})
    copies = settle_copies(dataset, GROUPS)
    assert copies.refused == ("b",)
    assert copies.notes[0].endswith("both are of patient 'x', so of one fold")


def test_accepted_copies_become_one_patient_and_so_do_their_patients():
    # b and d share an image, so y and z are one; e is of y and follows.
    named = {"a": "x", "b": "y", "c": "x", "d": "z", "e": "z", "f": "w"}
    copies = settle_copies(dataset_of(named, "E-SET-44"), GROUPS)
    assert copies.problems == ()
    merged = {"a": "x", "b": "y", "c": "x", "d": "y", "e": "y", "f": "w"}
    assert copies.dataset.patients == merged
    assert copies.notes[1].endswith("(accepted: E-SET-44=group)")


def test_cases_without_a_patient_get_their_own_name():
    copies = settle_copies(dataset_of(dict.fromkeys("abcde"), "E-SET-44"), GROUPS)
    assert copies.dataset.patients == {"a": "a", "b": "b", "c": "a", "d": "b", "e": "e"}


def test_without_copies_nobody_is_named():
    dataset = dataset_of(dict.fromkeys("ab"), "E-SET-44")
    assert settle_copies(dataset, ()).dataset == dataset


def test_patients_that_were_named_on_purpose_are_not_merged():
    dataset = dataset_of({"a": "x", "b": "y", "c": "z", "d": "y"}, "E-SET-44")
    copies = settle_copies(dataset, GROUPS, may_group=False)
    assert copies.refused == ("c",)
    assert "--accept" not in copies.problems[0].hint
    assert copies.dataset == replace(dataset)
