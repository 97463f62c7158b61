import pytest

from autoseg.core.network_spec import Block
from autoseg.reporting.wording import count, operations, per_axis


def test_numbers_are_rounded_but_never_in_powers_of_ten():
    assert per_axis((5.0, 0.78125, 0.5)) == "5 x 0.7812 x 0.5"
    assert per_axis((123456, 12800.5)) == "123456 x 12800.5"


def test_one_thing_is_singular():
    assert [count(n, "patch", "patches") for n in (0, 1, 2)] == [
        "0 patches",
        "1 patch",
        "2 patches",
    ]
    assert count(6, "stage") == "6 stages"


@pytest.mark.parametrize(
    ("block", "stage", "words"),
    [
        pytest.param(Block(), 3, "2 convolutions", id="plain"),
        pytest.param(Block(n=(1,)), 0, "1 convolution", id="one"),
        pytest.param(Block(n=(2,), repeat=(1, 3)), 4, "6 convolutions", id="3-blocks-of-2"),
        pytest.param(Block(shortcut="residual", repeat=(1, 3)), 1, "3 residual blocks", id="res"),
    ],
)
def test_operations_count_blocks_times_convolutions(block, stage, words):
    assert operations(block, stage) == words
