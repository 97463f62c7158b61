"""The networks a plan can name."""

import pytest

from autoseg.core.errors import PlanError
from autoseg.core.network_presets import preset
from autoseg.core.network_spec import Arch, Block


def test_plain_has_two_convolutions_per_stage():
    arch = preset("plain")
    assert [arch.encoder.blocks(s) * arch.encoder.convolutions(s) for s in range(7)] == [2] * 7
    assert (arch.encoder.shortcut, arch.stem) == ("none", False)


def test_resenc_has_residual_blocks_of_two_in_a_deepening_encoder():
    arch = preset("resenc")
    assert [arch.encoder.blocks(s) for s in range(8)] == [1, 3, 4, 6, 6, 6, 6, 6]
    assert [arch.encoder.convolutions(s) for s in range(8)] == [2] * 8
    assert [arch.decoder.blocks(s) * arch.decoder.convolutions(s) for s in range(7)] == [1] * 7
    assert (arch.encoder.shortcut, arch.decoder.shortcut, arch.stem) == ("residual", "none", True)


def test_unknown_preset_lists_the_known():
    with pytest.raises(PlanError, match="network 'resnet' is unknown; known are plain, resenc"):
        preset("resnet")


@pytest.mark.parametrize("name", ["n", "repeat"])
@pytest.mark.parametrize("value", [(), (2, 0), (-1,)])
def test_blocks_have_at_least_one_of_each(name, value):
    with pytest.raises(PlanError, match=rf"network: {name} \(.*\) must name at least one stage"):
        Block(**{name: value})


def test_the_last_entry_holds_for_deeper_stages():
    block = Block(n=(1, 3), repeat=(2, 4, 5))
    assert [block.convolutions(s) for s in range(4)] == [1, 3, 3, 3]
    assert [block.blocks(s) for s in range(5)] == [2, 4, 5, 5, 5]


def test_the_default_network_is_plain():
    assert Arch() == preset("plain")
