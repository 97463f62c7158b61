"""What label values mean, and how channels become a label map."""

import numpy as np
import pytest

from autoseg.core.errors import DatasetError
from autoseg.core.labels import Labels

LABELS = Labels(names=("background", "liver", "tumor"))


def _of(count):
    return Labels(names=("background", *(f"organ {n}" for n in range(1, count))))


def test_background_counts_as_a_channel_but_not_as_foreground():
    assert LABELS.count == 3
    assert LABELS.foreground == (1, 2)


@pytest.mark.parametrize(("count", "dtype"), [(2, "uint8"), (256, "uint8"), (257, "uint16")])
def test_dtype_is_the_smallest_that_holds_the_largest_value(count, dtype):
    labels = _of(count)
    assert labels.dtype == np.dtype(dtype)
    assert np.iinfo(labels.dtype).max >= max(labels.foreground)


def test_label_map_takes_the_largest_channel_and_ties_go_to_the_smaller_value():
    logits = np.zeros((3, 1, 2, 3))
    logits[:, 0, 0] = [[5, 1, 0], [4, 1, 3], [3, 0, 3]]  # columns: 0; a tie of 0 and 1; of 1 and 2
    logits[:, 0, 1] = [[-9, -1, 0], [-8, -2, 0], [-7, -3, 0]]
    labels = LABELS.label_map(logits)
    np.testing.assert_array_equal(labels, [[[0, 0, 1], [2, 0, 0]]])
    assert labels.dtype == np.uint8


def test_label_map_does_not_wrap_above_255():
    logits = np.zeros((300, 1, 2))
    logits[299, 0, 1] = 1.0
    np.testing.assert_array_equal(_of(300).label_map(logits), [[0, 299]])


def test_labels_need_a_name():
    with pytest.raises(DatasetError, match="labels are empty; a dataset needs the background"):
        Labels(names=())


def test_label_names_occur_once():
    with pytest.raises(DatasetError, match=r"label names \['liver'\] occur more") as caught:
        Labels(names=("background", "liver", "tumor", "liver"))
    assert caught.value.rule == "E-VAL-40"
