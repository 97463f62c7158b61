"""Row 24 for whole predictions: 48 orientations, straight and oblique, at three spacings.

The network is a threshold, so the mask must lie where the object is; all else is the real thing.
"""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from autoseg.core.dataset import DatasetDescription
from autoseg.core.labels import Labels
from autoseg.core.model import ModelDescription
from autoseg.core.training_config import TrainingConfig
from autoseg.execution.progress import Silence
from autoseg.inference import stored
from autoseg.inference.model import Model
from autoseg.inference.workplace import workplace
from autoseg.networks.device import Device
from autoseg.pipeline.predict import predict
from autoseg.pipeline.prediction import ModelChoice, Prediction

TILT = np.deg2rad(20)
TURNS = {
    "straight": np.eye(3),
    "oblique": np.array(
        [[np.cos(TILT), -np.sin(TILT), 0], [np.sin(TILT), np.cos(TILT), 0], [0, 0, 1]]
    )
    @ np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]]),
}
EDGES = {"as-trained": (0.8, 0.9, 2.5), "isotropic": (1.25, 1.25, 1.25), "fine": (0.4, 0.45, 1.25)}
"""Voxel edges along R, A and S, mm."""
LOW, HIGH = np.array([-11.0, -8.0, -15.0]), np.array([4.0, 9.0, 10.0])
"""Corners of the object along R, A and S, mm, none of them in the middle."""
EXTENT = np.array([40.0, 36.0, 50.0])
"""Of the image around 0, mm."""


class Threshold(nn.Module):
    """Label 1 where the intensity is above 5."""

    def forward(self, x, levels=1):
        return [torch.cat((5 - x, x - 5), 1)]


@pytest.fixture
def model(plan_of, configuration_of, monkeypatch):
    """Give a model of sagittal axis order in the place of one that is read."""
    configuration = configuration_of((0.8, 2.5, 0.9), (16, 8, 16))
    plan = plan_of(configuration, axis_order=(2, 0, 1), schemes=("none",))
    description = ModelDescription(
        autoseg_version="0",
        dataset=DatasetDescription(
            name="Task99_Test",
            channels=("CT",),
            labels=Labels(names=("background", "organ")),
            file_ending=".nii.gz",
        ),
        plan=plan,
        configuration_name="3d_fullres",
        training=TrainingConfig(preset="test", epochs=1),
        decisions=(),
    )
    device = Device(torch_device=torch.device("cpu"), autocast=None)
    made = Model(
        description=description,
        folds=(0,),
        digests=("",),
        place=workplace([Threshold()], device, axes=3),
        mirror=False,
    )
    monkeypatch.setattr(stored, "read_model", lambda *_, **__: made)
    return made


def stored_image(order, signs, turn, edges):
    """An image whose file axis n runs along world axis order[n], and where the object is in it."""
    steps = np.array([edges[world] for world in order])
    shape = np.rint(EXTENT[list(order)] / steps).astype(int)
    linear = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        linear[world, axis] = sign * steps[axis]
    center = linear @ (shape - 1) / 2
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ linear, turn @ -center
    grid = np.indices(shape).reshape(3, -1)
    along = (linear @ grid - center[:, None]).reshape(3, *shape)  # in the object's own axes, mm
    inside = ((along > LOW[:, None, None, None]) & (along < HIGH[:, None, None, None])).all(0)
    return np.where(inside, 9.0, 1.0).astype(np.float32), inside, affine


@pytest.mark.parametrize("spacing", EDGES)
@pytest.mark.parametrize("turn", TURNS)
def test_masks_of_48_orientations_lie_where_the_object_is(spacing, turn, model):
    expected = {}
    Path("imgs").mkdir()
    for number, (order, signs) in enumerate(
        itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3))
    ):
        image, inside, affine = stored_image(order, signs, TURNS[turn], EDGES[spacing])
        ending = ".nii.gz" if number % 2 else ".nii"
        name = f"{number:02}{ending}"
        nib.save(nib.Nifti1Image(image, affine), Path("imgs") / name)
        expected[name] = inside
    request = Prediction(
        source=Path("imgs"),
        output=Path("masks"),
        models=(ModelChoice(folder=Path()),),
        workers=0,
    )
    assert len(predict(request, progress=Silence()).cases) == 48
    for name, inside in expected.items():
        source, made = nib.load(Path("imgs") / name), nib.load(Path("masks") / name)
        assert made.shape == source.shape
        assert np.abs(made.affine - source.affine).max() < 1e-6
        found = np.asarray(made.dataobj) == 1
        if spacing == "as-trained":
            np.testing.assert_array_equal(found, inside)
        else:
            check_place(found, inside)


def check_place(found, inside):
    """Faces lie within a voxel of the network's grid; edges and corners are rounded a little."""
    overlap = 2 * np.sum(found & inside) / (found.sum() + inside.sum())
    assert overlap > 0.9
    centers = [np.argwhere(mask).mean(0) for mask in (found, inside)]
    steps = np.abs(centers[0] - centers[1])
    assert steps.max() < 1.0
