from dataclasses import replace

import pytest
import torch

from autoseg.core.errors import DamagedError
from autoseg.core.folds import Fold
from autoseg.networks.device import Device
from autoseg.training.augmentation.policy import LIGHT, NONE
from autoseg.training.batches import augment_patches, read_patches
from autoseg.training.losses.deep_supervision import supervised_loss
from autoseg.training.setup import gather_fold

HALF = Device(torch_device=torch.device("cpu"), autocast=torch.bfloat16)


def weights(setup):
    return torch.cat([value.detach().flatten() for value in setup.fresh_network().parameters()])


def test_training_and_validation_draw_from_their_own_cases(setup_of):
    setup = setup_of(seed=9, number=2)
    training, validation = setup.source("training"), setup.source("validation")
    assert [case.record.name for case in training.cases] == ["one", "two"]
    assert [case.record.name for case in validation.cases] == ["three"]
    assert (training.policy, validation.policy) == (LIGHT, NONE)
    for source, purpose in ((training, "training"), (validation, "validation")):
        assert (source.purpose, source.seed, source.fold) == (purpose, 9, 2)
        assert (source.patch_size, source.batch_size) == ((8, 12, 8), 2)
        assert (source.mirror_axes, source.inside_only) == ((1, 2), (False,))


def test_batch_is_no_larger_than_its_limit(setup_of):
    assert setup_of(batch_voxels=2 * 8 * 12 * 8 - 1).source("training").batch_size == 1
    assert setup_of(batch_voxels=7 * 8 * 12 * 8).source("training").batch_size == 2


def test_network_follows_seed_and_fold(setup_of):
    first = weights(setup_of())
    assert torch.equal(first, weights(setup_of()))
    assert not torch.equal(first, weights(setup_of(seed=1)))
    assert not torch.equal(first, weights(setup_of(number=1)))


def test_network_has_the_channels_labels_and_width_of_its_description(setup_of):
    network = setup_of(features=(8, 16), width_fraction=0.5).fresh_network()
    assert network.encoder[0][0].conv.in_channels == 1
    assert network.heads[0].out_channels == 3
    assert [stage[0].conv.out_channels for stage in network.encoder] == [4, 8]


def test_origin_stays_for_the_same_and_changes_with_whatever_counts(setup_of):
    setup = setup_of()
    assert setup.origin == setup_of().origin
    renewed = replace(setup.cases[0], record=replace(setup.cases[0].record, key="made from others"))
    others = [
        setup_of(number=1),
        setup_of(epochs=3),
        setup_of(learning_rate=0.02),
        setup_of(features=(4, 12)),
        replace(setup, cases=(renewed, setup.cases[1])),
        replace(setup, cases=setup.cases[:1]),
    ]
    assert len({setup.origin, *(other.origin for other in others)}) == 7


def test_case_that_is_missing_is_named(setup_of, tmp_path):
    setup = setup_of()
    with pytest.raises(DamagedError, match="preprocessed case 'four'") as error:
        gather_fold(
            tmp_path / "model",
            0,
            Fold(training=("one",), validation=("four",)),
            setup.description,
            cases=tmp_path / "cases",
            device=setup.device,
        )
    assert error.value.hint == "build it again: autoseg preprocess"


@pytest.mark.parametrize(
    ("patch_size", "features", "autocast"),
    [
        pytest.param((8, 12, 8), (4, 8), torch.bfloat16, id="depth-8-4"),
        pytest.param((8, 12, 8), (4, 8, 8), None, id="depth-8-4-2"),
        pytest.param((12, 12, 8), (4, 8, 8), torch.bfloat16, id="depth-12-6-3"),
        pytest.param((2, 12, 8), (4, 8), None, id="depth-2-1"),
        pytest.param((2, 12), (4, 8), torch.bfloat16, id="2d"),
    ],
)
def test_half_precision_is_left_alone_where_its_gradients_are_wrong(
    setup_of, patch_size, features, autocast
):
    setup = setup_of(device=HALF, patch_size=patch_size, features=features)
    assert setup.device == replace(HALF, autocast=autocast)


@pytest.mark.parametrize(
    ("patch_size", "features"),
    [
        pytest.param((8, 12, 8), (8, 16), id="depth-8-4"),
        pytest.param((8, 12, 8), (8, 16, 16), id="depth-8-4-2"),
        pytest.param((16, 8, 12), (8, 16, 16), id="others-end-at-2-and-3"),
    ],
)
def test_gradients_in_half_precision_are_those_of_float32(setup_of, patch_size, features):
    gradients = []
    for device in (HALF, replace(HALF, autocast=None)):
        setup = setup_of(device=device, patch_size=patch_size, features=features)
        labels = setup.description.dataset.labels
        network, source = setup.fresh_network(), setup.source("training")
        # Of one batch, the gradients of 16 norm weights may cancel: of 12 batches, two were off by
        # more than 0.3 there. Those of several batches are added up.
        for step in range(6):
            images, target = augment_patches(source, read_patches(source, 0, step))
            with setup.device.precision():
                outputs = network(images, network.supervised_levels)
            supervised_loss(outputs, target, labels, batch_dice=False).backward()
        gradients.append(
            {
                name: weights.grad.clone()
                for name, weights in network.named_parameters()
                if weights.grad is not None and name.endswith("weight")
            }
        )
    for name, exact in gradients[1].items():
        error = (gradients[0][name] - exact).norm() / exact.norm()
        assert error < 0.3, name  # rounding to 8 bits, several layers deep; garbage is 1 or more
