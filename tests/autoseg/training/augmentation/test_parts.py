import numpy as np
import pytest
import torch

from autoseg.training.augmentation.parts import change_channels, change_places, places_of


def in_place(part):
    return part.mul_(10)


def anew(part):
    return part * 10


@pytest.mark.parametrize("change", [in_place, anew])
@pytest.mark.parametrize("places", [[], [0], [1, 2], [0, 3], [0, 1, 2, 3]])
def test_only_the_chosen_entries_change(change, places):
    array = torch.arange(1.0, 13.0).reshape(4, 3)
    expected = array.clone()
    for place in places:
        expected[place] *= 10
    change_places(array, places, change)
    assert torch.equal(array, expected)


def test_channels_of_several_samples_change_together_each_by_its_own_number():
    images = torch.ones(2, 3, 4, 5)
    seen = []

    def change(rows, numbers):
        seen.append((tuple(rows.shape), numbers))
        return rows * torch.tensor(numbers)[:, None, None]

    changed = change_channels(images, [(2.0, None, 0.0), (None, None, 4.0)], change)
    assert seen == [((3, 4, 5), [2.0, 0.0, 4.0])]
    np.testing.assert_array_equal(changed[:, :, 0, 0], [[2, 1, 0], [1, 1, 4]])
    assert changed is images


def test_equal_values_are_found_at_all_their_places():
    assert places_of(["b", None, "a", "b", None]) == {"b": [0, 3], "a": [2]}
