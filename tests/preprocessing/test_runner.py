from dataclasses import replace

import nibabel
import numpy as np
import pytest

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.labels import Labels
from autoseg.io import images, store
from preprocessing.case import crop_image, resample_case
from preprocessing.runner import STAGE_VERSION, PreprocessingTask, grid_key, preprocess_case

SPACING = (3.0, 1.25, 2.0)


@pytest.fixture
def plain(configuration_of):
    return configuration_of(SPACING, (4, 8, 4))


@pytest.fixture
def smoothing(plain):
    return replace(plain, anti_aliasing=True)


def test_plans_that_differ_in_anti_aliasing_only_share_no_arrays(plan_of, plain, smoothing):
    assert grid_key(plan_of(plain), plain) != grid_key(plan_of(smoothing), smoothing)


def test_key_of_a_plan_without_anti_aliasing_is_the_one_from_before_there_was_any(plan_of, plain):
    normalization = [("none", False, "")]
    before = store.content_key(STAGE_VERSION, "canonical", (0, 1, 2), normalization, SPACING, 3, 1)
    assert grid_key(plan_of(plain), plain) == before[:16]


def test_key_leaves_out_what_arrays_do_not_depend_on(plan_of, smoothing):
    wider = replace(smoothing, patch_size=(8, 8, 8), batch_size=5)
    plans = plan_of(smoothing), plan_of(wider, mirror_axes=(0, 2))
    keys = [grid_key(plan, plan.configurations[0]) for plan in plans]
    assert keys[0] == keys[1]


def test_stored_image_is_smoothed_as_its_configuration_says(tmp_path, plan_of, plain, smoothing):
    noise = np.random.default_rng(6).normal(100, 9, (20, 30, 22)).astype(np.float32)
    affine = np.diag([0.5, 0.5, 1.0, 1.0])  # x, y and z; the axes shrink by 4, 2.5 and 3
    nibabel.save(nibabel.Nifti1Image(noise, affine), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image((noise > 99).astype(np.uint8), affine), tmp_path / "b.nii.gz")
    case = Case(name="a", images=("a.nii.gz",), segmentation="b.nii.gz")
    description = DatasetDescription(
        name="Task99_Test",
        channels=("CT",),
        labels=Labels(names=("background", "organ")),
        file_ending=".nii.gz",
    )
    stored = []
    for configuration in (plain, smoothing):
        plan = plan_of(configuration)
        folder = tmp_path / grid_key(plan, configuration)
        task = PreprocessingTask(
            case=case,
            folder=tmp_path,
            description=description,
            plan=plan,
            stores=(("3d_fullres", folder),),
        )
        assert preprocess_case(task)
        assert not preprocess_case(task)
        stored.append(store.open_case(folder, store.read_record(folder, "a")).image[...])
        image = images.read_image(tmp_path / "a.nii.gz")
        cropped = crop_image(image.voxels, image.geometry.spacing, plan)
        np.testing.assert_array_equal(stored[-1], resample_case(cropped, configuration)[0])
        assert store.read_record(folder, "a").encoding.dtype == "float32"  # noise has tiny steps
    assert [array.shape for array in stored] == [(1, 7, 12, 5)] * 2  # 22, 15 and 10 mm
    assert stored[1].std() < 0.5 * stored[0].std()
