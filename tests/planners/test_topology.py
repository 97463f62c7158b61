import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planners.topology import plan_topology

ISOTROPIC, IN_PLANE, NONE = (2, 2, 2), (1, 2, 2), (1, 1, 1)


@pytest.mark.parametrize(
    ("spacing", "size", "padded", "divisor", "strides"),
    [
        pytest.param(
            (1, 1, 1), (128, 128, 128), (128, 128, 128), (32, 32, 32), (NONE, *[ISOTROPIC] * 5),
            id="cube",
        ),
        pytest.param(
            (5, 1, 1), (20, 256, 256), (20, 256, 256), (4, 64, 64),
            (NONE, *[IN_PLANE] * 2, *[ISOTROPIC] * 2, *[IN_PLANE] * 2),
            id="thick-slices",
        ),
        pytest.param(
            (2, 1, 1), (40, 200, 120), (40, 224, 128), (8, 32, 32),
            (NONE, IN_PLANE, *[ISOTROPIC] * 3, IN_PLANE),
            id="twice-as-coarse-is-not-alike",
        ),
        pytest.param(
            (1, 1, 1), (33, 47, 90), (40, 48, 96), (8, 8, 16),
            (NONE, *[ISOTROPIC] * 3, (1, 1, 2)),
            id="one-long-axis",
        ),
        pytest.param(
            (0.5, 1, 1), (96, 96, 96), (96, 96, 96), (16, 16, 16),
            (NONE, (2, 1, 1), *[ISOTROPIC] * 3, IN_PLANE),
            id="one-fine-axis",
        ),
        pytest.param(
            (3, 1, 1), (32, 256, 256), (32, 256, 256), (8, 64, 64),
            (NONE, IN_PLANE, *[ISOTROPIC] * 3, *[IN_PLANE] * 2),
            id="alike-after-one-halving",
        ),
        pytest.param(
            (1, 1), (321, 250), (384, 256), (64, 64), ((1, 1), *[(2, 2)] * 6), id="plane"
        ),
    ],
)  # fmt: skip
def test_strides_and_padding_are_those_of_the_reference(spacing, size, padded, divisor, strides):
    topology, actual = plan_topology(spacing, size)

    assert actual == padded
    assert topology.divisor == divisor
    assert topology.strides == strides


@pytest.mark.parametrize(
    ("spacing", "size", "first"),
    [
        pytest.param((1, 1, 1), (128, 128, 128), [], id="cube"),
        pytest.param((5, 1, 1), (20, 256, 256), [(1, 3, 3)] * 2, id="thick-slices"),
        pytest.param((2, 1, 1), (40, 200, 120), [(1, 3, 3)], id="twice-as-coarse"),
        pytest.param((0.5, 1, 1), (96, 96, 96), [(3, 1, 1)], id="one-fine-axis"),
        pytest.param((3.6, 0.62, 0.62), (20, 320, 256), [(1, 3, 3)] * 2, id="prostate"),
        pytest.param((1, 1, 1), (1, 200, 200), [], id="one-slice-of-isotropic-voxels"),
    ],
)
def test_an_axis_is_convolved_once_it_is_level_with_the_finest(spacing, size, first):
    kernels = plan_topology(spacing, size)[0].kernels

    assert kernels == (*first, *[(3, 3, 3)] * (len(kernels) - len(first)))


def test_prostate_strides_are_those_of_the_reference():
    topology, _ = plan_topology((3.6, 0.62, 0.62), (20, 320, 256))

    assert topology.strides == (NONE, *[IN_PLANE] * 2, *[ISOTROPIC] * 2, *[IN_PLANE] * 2)


@pytest.mark.parametrize(
    ("size", "features"),
    [
        pytest.param((128, 128, 128), (32, 64, 128, 256, 320, 320), id="volume"),
        pytest.param((512, 512), (32, 64, 128, 256, 512, 512, 512, 512), id="plane"),
    ],
)
def test_features_double_up_to_the_cap_of_the_dimension(size, features):
    assert plan_topology((1.0,) * len(size), size)[0].features == features


def test_a_patch_too_small_to_halve_gets_one_stage_that_convolves_every_axis():
    topology, padded = plan_topology((4.0, 1.0, 1.0), (3, 7, 5))

    assert topology.strides == (NONE,)
    assert topology.kernels == ((3, 3, 3),)
    assert padded == (3, 7, 5)


def test_half_a_voxel_counts_as_a_voxel_only_when_the_patch_is_padded():
    # 7.5 < 8 is not halved, though padding makes 8 of it.
    topology, padded = plan_topology((1.0, 1.0, 1.0), (7.5, 24.0, 36.5))

    assert topology.divisor == (1, 4, 4)
    assert padded == (8, 24, 40)


spacings = st.lists(st.floats(0.05, 20), min_size=2, max_size=3)


@given(spacing=spacings, data=st.data())
def test_the_padded_patch_is_the_smallest_multiple_of_the_divisor(spacing, data):
    d = len(spacing)
    size = data.draw(st.lists(st.integers(1, 700), min_size=d, max_size=d))

    topology, padded = plan_topology(spacing, size)

    for n, by, rounded in zip(size, topology.divisor, padded, strict=True):
        assert rounded % by == 0
        assert n <= rounded < n + by


@given(spacing=spacings, data=st.data())
def test_a_halved_axis_keeps_four_voxels(spacing, data):
    d = len(spacing)
    size = data.draw(st.lists(st.integers(1, 700), min_size=d, max_size=d))

    topology, padded = plan_topology(spacing, size)

    bottleneck = [n // by for n, by in zip(padded, topology.divisor, strict=True)]
    assert all(n >= 4 for n, by in zip(bottleneck, topology.divisor, strict=True) if by > 1)


@given(size=st.lists(st.integers(1, 700), min_size=2, max_size=3))
def test_alike_axes_are_halved_until_none_is_left_that_is_worth_it(size):
    topology, padded = plan_topology((1.0,) * len(size), size)

    bottleneck = [n // by for n, by in zip(padded, topology.divisor, strict=True)]
    # Several axes are halved from 8 voxels on, the last one alone from 12 on.
    assert sum(n >= 8 for n in bottleneck) <= 1
    assert max(bottleneck) <= 12


@given(factor=st.sampled_from([0.25, 0.5, 2.0, 8.0]), size=st.integers(1, 300))
def test_only_ratios_of_spacings_matter(factor, size):
    spacing = (3.0, 0.75, 1.25)
    scaled = tuple(edge * factor for edge in spacing)

    assert plan_topology(scaled, (size, 90, 160)) == plan_topology(spacing, (size, 90, 160))


def test_the_stages_of_a_long_axis_are_as_many_as_its_logarithm():
    topology, _ = plan_topology((1.0, 1.0), (4096, 4096))

    assert len(topology.strides) == 1 + math.log2(4096 / 4)
