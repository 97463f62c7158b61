import pickle
from dataclasses import replace

import numpy as np
import pytest

from autoseg.core.errors import DamagedError
from autoseg.io import store
from autoseg.training.augmentation.policy import NONE
from autoseg.training.batches import BatchSource, read_samples
from autoseg.training.sampling import open_cases
from autoseg.training.stored_cases import travelling


@pytest.fixture
def source(case_of, tmp_path):
    """Draw from two cases of a cascade."""
    rng = np.random.default_rng(3)
    for name, shape in {"a": (9, 17, 14), "b": (12, 10, 30)}.items():
        case_of(name, rng.integers(0, 3, shape))
        previous = rng.integers(0, 2, shape).astype(np.uint8)
        store.write_prediction(tmp_path / "previous", name, f"key of {name}", previous)
    return BatchSource(
        cases=open_cases(tmp_path / "cases", "ab", previous=tmp_path / "previous"),
        purpose="training",
        seed=5,
        fold=0,
        batch_size=4,
        patch_size=(6, 10, 8),
        foreground_fraction=0.33,
        policy=NONE,
        mirror_axes=(0, 1),
        inside_only=(False,),
        previous_labels=1,
        folder=tmp_path / "cases",
        previous_folder=tmp_path / "previous",
    )


def test_source_that_has_travelled_reads_the_same(source):
    sent = pickle.loads(pickle.dumps(travelling(source)))
    pairs = zip(read_samples(source, 0, 0), read_samples(sent, 0, 0), strict=True)
    for before, after in pairs:
        assert before.case == after.case
        for what in ("image", "segmentation", "nonzero", "previous"):
            np.testing.assert_array_equal(getattr(before.patch, what), getattr(after.patch, what))


def test_case_is_opened_once_and_only_when_needed(source, tmp_path):
    cases = travelling(source).cases
    (tmp_path / "cases" / "b.segmentation.b2nd").unlink()
    assert cases[0] is cases[0]
    assert [case.record.name for case in cases[:1]] == ["a"]
    assert len(cases) == 2
    with pytest.raises(DamagedError, match=r"case 'b': .*cannot be read") as raised:
        cases[1]
    assert raised.value.cases == ("b",)


def test_prediction_that_was_made_anew_is_refused(source, tmp_path):
    sent = travelling(source)
    store.write_prediction(tmp_path / "previous", "a", "new key", np.zeros((9, 17, 14), np.uint8))
    with pytest.raises(DamagedError, match="case 'a': changed while it was trained with") as raised:
        sent.cases[0]
    assert raised.value.cases == ("a",)


@pytest.mark.parametrize("missing", ["folder", "previous_folder"])
def test_source_without_its_folders_cannot_travel(source, missing):
    with pytest.raises(ValueError, match="worker processes needs the folders of its cases"):
        travelling(replace(source, **{missing: None}))


def test_source_without_a_previous_stage_needs_one_folder(source, tmp_path):
    plain = replace(
        source, cases=open_cases(tmp_path / "cases", "ab"), previous_folder=None, previous_labels=0
    )
    assert travelling(plain).cases[1].previous is None
