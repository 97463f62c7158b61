from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from autoseg.core.errors import UsageError
from autoseg.inference import first_stages
from autoseg.inference.ensemble import check_members, segment, stages
from autoseg.inference.workplace import workplace
from autoseg.networks.device import Device
from preprocessing.case import prepare_image

CPU = Device(torch_device=torch.device("cpu"), autocast=None)
SPACING = (1.0, 1.5, 4.0)


class Linear(nn.Module):
    """Two logits that are linear in the intensity: organ where it is above the threshold."""

    def __init__(self, threshold, slope=1.0):
        super().__init__()
        self.threshold, self.slope = threshold, slope

    def forward(self, x, levels=1):
        above = self.slope * (x - self.threshold)
        return [torch.cat((-above, above), 1)]


def prepared_for(model, image):
    return prepare_image(image, SPACING, model.description.plan, stages([model]))


def test_one_model_is_segmented_as_it_does_by_itself(model_of, phantom):
    model = model_of(Linear(5), Linear(7))
    prepared = prepared_for(model, phantom())
    alone = segment([model], prepared)
    np.testing.assert_array_equal(alone.label_map, model.segment_prepared(prepared))
    assert (alone.entropy, alone.disagreement) == (None, None)
    told = segment([model], prepared, uncertainty=True)
    np.testing.assert_array_equal(told.label_map, alone.label_map)


def test_models_are_averaged_by_their_probabilities(model_of, phantom):
    # The steeper one decides: by logits the threshold would be (5 + 5 * 4) / 6 = 4.17 too, but
    # probabilities saturate.
    image = phantom()
    models = [model_of(Linear(5, 1.0)), model_of(Linear(4, 5.0))]
    found = segment(models, prepared_for(models[0], image))
    logits = [np.stack((-s * (image[0] - t), s * (image[0] - t))) for t, s in ((5, 1), (4, 5))]
    expected = np.mean([softmax(each, axis=0) for each in logits], axis=0).argmax(0)
    expected[image[0] == 0] = 0
    assert 0.1 < expected.mean() < 0.6
    assert (found.label_map != expected).mean() < 1e-3


def test_uncertainty_lies_where_folds_and_models_differ(model_of, phantom):
    image = phantom()
    model = model_of(Linear(4), Linear(5), Linear(8))
    found = segment([model], prepared_for(model, image), uncertainty=True)
    mean = np.mean([4, 5, 8])
    votes = np.mean([(image[0] > t) != (image[0] > mean) for t in (4, 5, 8)], axis=0)
    np.testing.assert_allclose(found.disagreement, votes, atol=1e-6)
    assert set(np.round(found.disagreement[image[0] > 0], 3).ravel()) > {0.0}
    probability = softmax([mean - image[0], image[0] - mean], axis=0)
    expected = -(probability * np.log2(np.maximum(probability, 1e-30))).sum(0)
    expected[image[0] == 0] = 0  # outside of the crop
    inside = (slice(3, 22), slice(4, 19), slice(1, 9))
    np.testing.assert_allclose(found.entropy[inside], expected[inside], atol=1e-4)
    assert found.entropy[0].max() == 0


def test_every_plane_of_the_whole_image_is_given_once(model_of, phantom):
    model = model_of(Linear(5))
    planes = []
    segment([model], prepared_for(model, phantom()), on_plane=planes.append)
    # Axis 2 of the image comes first in the plan.
    volume = np.stack(planes, 1)
    assert volume.shape == (2, 10, 25, 20)
    np.testing.assert_allclose(volume.sum(0), 1, atol=1e-5)
    assert (volume[0, 0] == 1).all()
    assert (volume[0, 9] == 1).all()
    expected = softmax(np.stack([5 - phantom()[0], phantom()[0] - 5]), axis=0)[1]
    inside = (slice(3, 22), slice(4, 19), slice(1, 9))
    np.testing.assert_allclose(volume[1].transpose(1, 2, 0)[inside], expected[inside], atol=1e-4)


class Counted(nn.Module):
    """A network that counts the tiles that it is given."""

    def __init__(self, network):
        super().__init__()
        self.network, self.tiles = network, 0

    def forward(self, x, levels=1):
        self.tiles += len(x)
        return self.network(x, levels)


class Guided(nn.Module):
    """Organ where the intensity is above 4, and above 6 where the first stage saw none."""

    def forward(self, x, levels=1):
        above = x[:, :1] - 6 + 2 * x[:, 1:2]
        return [torch.cat((-above, above), 1)]


@pytest.fixture
def cascade(model_of, cascade_description):
    """Both stages of a cascade, the first with two folds; and what counts their tiles."""
    networks = [Counted(Linear(3)), Counted(Linear(6))], [Counted(Guided())]
    first = replace(model_of(*networks[0]), digests=("a", "b"))
    description = cascade_description(first.description)
    first = replace(first, description=replace(description, configuration_name="3d_fullres"))
    second = replace(
        model_of(*networks[1]), description=description, digests=("c",), previous=first
    )
    return (first, second), [network for each in networks for network in each]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_first_stage_that_is_averaged_with_its_second_runs_once(
    cascade, order, phantom, monkeypatch
):
    both, networks = cascade
    models, image = [both[n] for n in order], phantom()
    prepared = prepare_image(image, SPACING, both[0].description.plan, stages(models))
    found, planes, tiles = [], [], []
    for room in (0, first_stages.KEPT_BYTES):
        monkeypatch.setattr(first_stages, "KEPT_BYTES", room)
        given = []
        found.append(segment(models, prepared, on_plane=given.append).label_map)
        planes.append(np.stack(given))
        tiles.append(np.array([network.tiles for network in networks]))
    np.testing.assert_array_equal(*planes)
    np.testing.assert_array_equal(*found)
    once = tiles[0][2]  # both stages have the same grid
    assert once > 0
    assert tiles[0].tolist() == [2 * once, 2 * once, once]
    assert (tiles[1] - tiles[0]).tolist() == [once, once, once]
    values, organ = image[0], image[0] > 4.5  # the mean of 3 and 6
    guided = values - 6 + 2 * organ
    mean = (softmax([4.5 - values, values - 4.5], 0) + softmax([-guided, guided], 0)) / 2
    expected = np.where(values == 0, 0, mean.argmax(0))
    assert 0.1 < expected.mean() < 0.6
    assert (found[0] != expected).mean() < 1e-3


def test_a_first_stage_of_other_weights_is_not_taken_for_a_model(cascade, phantom):
    (first, second), networks = cascade
    other = Counted(Linear(3))
    alone = replace(first, digests=("d", "b"), place=workplace([other, networks[1]], CPU, axes=3))
    prepared = prepare_image(phantom(), SPACING, first.description.plan, stages([first, second]))
    segment([alone, second], prepared)
    assert other.tiles == networks[0].tiles == networks[2].tiles > 0
    segment([replace(first, mirror=True), second], prepared)
    assert 2 * networks[0].tiles == 3 * networks[2].tiles  # as a model and as a first stage


def test_models_of_different_plans_are_not_averaged(model_of):
    first, second = model_of(Linear(5)), model_of(Linear(5), channels=2)
    with pytest.raises(UsageError, match="trained with different plans, or on other channels"):
        check_members([first, second])
    check_members([first, replace(first, place=workplace([Linear(2)], CPU, axes=3))])
