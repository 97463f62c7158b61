import pytest

from autoseg.core.errors import PlanError
from planners.budget import PLAIN, RESENC_L, RESENC_M, PlannerBudget
from planners.network import RESENC_FROM_GIB, choose_network


@pytest.mark.parametrize(
    ("network", "gpu_memory_gib", "reference", "rule"),
    [
        pytest.param("auto", None, PLAIN, "no memory of a GPU was given", id="auto-unknown"),
        pytest.param("auto", 8.49, PLAIN, "is less than the 8.5 GiB", id="auto-just-below"),
        pytest.param("auto", 8.5, RESENC_M, "reaches the 8.5 GiB", id="auto-exactly"),
        pytest.param("auto", 30.0, RESENC_L, "reaches the 8.5 GiB", id="auto-takes-the-largest"),
        pytest.param("plain", 30.0, PLAIN, "was given with --network", id="plain-as-asked"),
        pytest.param("resenc", 2.0, RESENC_M, "was given with --network", id="resenc-as-asked"),
    ],
)
def test_the_network_follows_the_budget_unless_it_is_named(
    network, gpu_memory_gib, reference, rule
):
    chosen = choose_network(PlannerBudget(network=network, gpu_memory_gib=gpu_memory_gib))

    assert chosen.reference is reference
    assert rule in chosen.rule


def test_a_residual_network_that_must_be_cut_down_is_left():
    asked = []

    def holds(reference):
        asked.append(reference)
        return False

    chosen = choose_network(PlannerBudget(gpu_memory_gib=30.0), holds)

    assert asked == [RESENC_L]
    assert chosen.reference is PLAIN
    assert "only with fewer channels, or with a patch smaller" in chosen.rule


def test_nnunet_takes_the_plain_network_whatever_the_memory():
    chosen = choose_network(PlannerBudget(gpu_memory_gib=30.0, rules="nnunet"))

    assert chosen.reference is PLAIN
    assert "nnU-Net's default planner" in chosen.rule


def test_the_residual_network_is_taken_on_published_figures():
    chosen = choose_network(PlannerBudget(gpu_memory_gib=RESENC_FROM_GIB))

    assert "arXiv:2404.09556" in chosen.rule
    # Of BTCV, ACDC, LiTS, BraTS, KiTS and AMOS.
    plain = (83.08 + 91.54 + 80.09 + 91.24 + 86.04 + 88.64) / 6
    medium = (83.31 + 91.99 + 80.75 + 91.26 + 86.79 + 88.77) / 6
    assert chosen.numbers[0][1] == f"{medium:.1f} and {plain:.1f}"


def test_an_unknown_network_is_refused():
    with pytest.raises(PlanError, match=r"network 'vit' is unknown"):
        choose_network(PlannerBudget(network="vit"))
