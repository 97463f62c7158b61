"""How the axes of a turned array lie in the file, against what other readers make of the file."""

import itertools

import nibabel
import numpy as np
import pytest
import SimpleITK

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.labels import Labels
from autoseg.io import images
from preprocessing.fingerprint import MeasurementTask, measure_case


def write_volume(path, voxels, affine):
    """Write an array in the file's axes (i, j, k), with a library of its own."""
    if path.suffix == ".nii":
        file = nibabel.Nifti1Image(voxels, affine)
        file.header.set_xyzt_units("mm")
        nibabel.save(file, path)
        return
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    world = np.diag([-1.0, -1.0, 1.0])  # ITK's axes run to left and back
    image = SimpleITK.GetImageFromArray(voxels.transpose())
    image.SetSpacing(edges.tolist())
    image.SetOrigin((world @ affine[:3, 3]).tolist())
    image.SetDirection((world @ affine[:3, :3] / edges).ravel().tolist())
    SimpleITK.WriteImage(image, str(path))


def stored_case(folder, ending, affine):
    """Return the task of measuring a case of 5 x 7 x 3 voxels whose axes are stored this way."""
    voxels = np.arange(1, 106, dtype=np.int16).reshape(5, 7, 3)
    write_volume(folder / f"image{ending}", voxels, affine)
    write_volume(folder / f"labels{ending}", np.uint8(voxels > 100), affine)
    return MeasurementTask(
        case=Case(name="a", images=(f"image{ending}",), segmentation=f"labels{ending}"),
        folder=folder,
        description=DatasetDescription(
            name="Task",
            channels=("CT",),
            labels=Labels(names=("background", "one")),
            file_ending=ending,
        ),
        cache=folder / "cache",
    )


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)], ids=str)
def test_stored_axes_lead_from_the_turned_array_to_the_one_of_the_file(
    tmp_path, ending, order, signs
):
    affine = np.zeros((4, 4))
    affine[[*order, 3], range(4)] = [*np.multiply(signs, (0.5, 0.75, 2.5)), 1]
    affine[:3, 3] = (-12.5, 7.25, 31.0)
    task = stored_case(tmp_path, ending, affine)
    measured = measure_case(task)
    stored = images.read_case_image(task.case, 1, folder=tmp_path, orientation="stored")
    assert stored.geometry.shape == (3, 7, 5)  # as ITK has it: the file's first axis comes last
    assert tuple(measured.shape[axis] for axis in measured.stored_axes) == (3, 7, 5)
    spacing = tuple(measured.spacing[axis] for axis in measured.stored_axes)
    assert spacing == stored.geometry.spacing == (2.5, 0.75, 0.5)
    turned = images.read_case_image(task.case, 1, folder=tmp_path)
    permuted = turned.voxels[0].transpose(measured.stored_axes)
    flips = [flip for n in range(4) for flip in itertools.combinations(range(3), n)]
    assert sum(np.array_equal(np.flip(permuted, flip), stored.voxels[0]) for flip in flips) == 1


@pytest.mark.parametrize(("ending", "shape"), [(".tif", (3, 7, 5)), (".png", (7, 5))], ids=str)
def test_stacks_and_pictures_are_stored_as_they_are_read(tmp_path, ending, shape):
    voxels = np.arange(1, 1 + np.prod(shape), dtype=np.uint8).reshape(shape)
    for name, content in (("image", voxels), ("labels", np.uint8(voxels > 20))):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(content), str(tmp_path / (name + ending)))
    task = MeasurementTask(
        case=Case(name="a", images=(f"image{ending}",), segmentation=f"labels{ending}"),
        folder=tmp_path,
        description=DatasetDescription(
            name="Task",
            channels=("light",),
            labels=Labels(names=("background", "one")),
            file_ending=ending,
        ),
        cache=tmp_path / "cache",
    )
    measured = measure_case(task)
    assert measured.shape == shape
    assert measured.stored_axes == tuple(range(len(shape)))
