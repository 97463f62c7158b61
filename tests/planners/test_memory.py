import pytest

from autoseg.core.network_presets import preset
from planners.memory import convolution_outputs
from planners.topology import plan_topology


@pytest.mark.parametrize(
    ("network", "labels", "elements"),
    [
        pytest.param("plain", 2, 450_699_264, id="plain"),
        pytest.param("resenc", 3, 557_420_544, id="resenc"),
    ],
)
def test_the_estimate_of_a_cube_is_that_of_the_reference_networks(network, labels, elements):
    topology, patch = plan_topology((1.0, 1.0, 1.0), (128, 128, 128))

    assert convolution_outputs(preset(network), topology, patch, labels) == elements


@pytest.mark.parametrize(
    ("network", "elements"),
    [
        # Two stages: 8 x 8 voxels of 32 channels, 4 x 4 voxels of 64 channels; 3 labels.
        # Encoder 2 and 2 convolutions, decoder 2 and 1 transposed, head.
        pytest.param("plain", (2 + 2 + 1) * 32 * 64 + 2 * 64 * 16 + 3 * 64, id="plain"),
        # Encoder: stem and 1 block of 2; 3 blocks of 2 and 1 projection. Decoder 1 and 1, head.
        pytest.param("resenc", (1 + 2 + 1 + 1) * 32 * 64 + 7 * 64 * 16 + 3 * 64, id="resenc"),
    ],
)
def test_the_estimate_of_two_stages_is_the_sum_over_their_convolutions(network, elements):
    topology, patch = plan_topology((1.0, 1.0), (8, 8))

    assert convolution_outputs(preset(network), topology, patch, labels=3) == elements


def test_each_label_adds_the_voxels_of_the_patch():
    topology, patch = plan_topology((3.0, 1.0, 1.0), (12, 48, 64))

    few, many = (
        convolution_outputs(preset("plain"), topology, patch, labels) for labels in (2, 118)
    )

    assert many - few == (118 - 2) * 12 * 48 * 64
