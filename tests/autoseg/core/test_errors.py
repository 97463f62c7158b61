"""What an error carries, to the command line and between processes."""

import pickle

import pytest

from autoseg.core import errors
from autoseg.core.errors import AutosegError

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, AutosegError)
]
EXIT_CODES = {
    "Bug": 1,
    "UsageError": 2,
    "PartialError": 4,
    "DamagedError": 5,
    "ResourceError": 6,
    "LockedError": 7,
    "InterruptedRun": 75,
}
"""What docs/reference/errors.md promises; every other error is 3, input refused."""


@pytest.mark.parametrize("kind", KINDS)
def test_exit_code_is_the_documented_one(kind):
    assert kind.exit_code == EXIT_CODES.get(kind.__name__, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_sends_the_whole_error_home(kind):
    sent = kind("case 'a': 7 mm; at most 5 mm", rule="E-GEO-13", hint="crop it")
    sent.about("a", "b", file="x/a.nii")
    got = pickle.loads(pickle.dumps(sent))
    assert type(got) is kind
    assert (str(got), got.rule, got.hint) == (str(sent), "E-GEO-13", "crop it")
    assert (got.cases, got.file) == (("a", "b"), "x/a.nii")


def test_an_error_says_which_cases_and_which_file_it_is_about():
    error = errors.DatasetError("numTraining is 3")
    assert (error.cases, error.case, error.file) == ((), "", "")
    assert error.about("", file="dataset.json") is error
    assert (error.cases, error.file) == ((), "dataset.json")
    assert error.about("b", "", "a", "b").cases == ("b", "a")
    assert (error.case, error.file) == ("", "dataset.json")  # two cases are no single one
    assert error.about("c").about(file="c.nii").case == "c"


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.UsageError, ValueError),
        (errors.InputError, ValueError),
        (errors.TrainingError, ArithmeticError),
        (errors.DamagedError, ValueError),
        (errors.ResourceError, OSError),
        (errors.LockedError, OSError),
    ],
)
def test_errors_are_also_the_matching_builtin(kind, builtin):
    assert issubclass(kind, builtin)


def test_text_is_one_line_behind_its_rule():
    error = errors.GeometryError("case 'a':\n  7 mm\t here", rule="E-GEO-13")
    assert error.text == "E-GEO-13 case 'a': 7 mm here"
    assert errors.GeometryError("plain").text == "plain"


def test_refused_cases_keep_their_problems_across_processes():
    problems = [errors.VoxelError("case 'b': NaN", rule="E-VAL-28"), errors.GeometryError("c")]
    error = errors.RefusedCasesError("2 of 5 cases are refused", problems, hint="mend them")
    got = pickle.loads(pickle.dumps(error))
    assert [(type(p), p.text) for p in got.problems] == [(type(p), p.text) for p in problems]
    assert isinstance(error.problems, tuple)
