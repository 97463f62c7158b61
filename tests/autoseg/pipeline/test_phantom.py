"""The generated dataset: deterministic, anisotropic, and as its description says."""

import gzip
import json

import nibabel
import numpy as np
import pytest
from scipy.ndimage import center_of_mass, gaussian_filter, label

from autoseg.pipeline.phantom import LABEL_NAMES, phantom_case, write_phantom_dataset

ORGAN, VESSEL, LESION = 1, 2, 3
SEEDS = range(24)


@pytest.fixture(scope="module")
def drawn():
    return [phantom_case(np.random.default_rng([2026, number])) for number in SEEDS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "Task01_Phantom"
    write_phantom_dataset(path, seed=7, cases=3, held_out=2)
    return path


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_generator_state_draws_the_same_case():
    first, second = (phantom_case(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert first[2] == second[2]


def test_shapes_stay_within_limits_and_vary(drawn):
    shapes = {image.shape for image, _, _ in drawn}
    assert len(shapes) > len(drawn) // 2
    for shape in shapes:
        assert 28 <= shape[0] <= 40
        assert all(80 <= n <= 96 for n in shape[1:])


def test_spacings_are_anisotropic_and_vary(drawn):
    spacings = {spacing for _, _, spacing in drawn}
    assert len(spacings) > len(drawn) // 2
    for z, y, x in spacings:
        assert 2.5 <= z <= 3.5
        assert 0.9 <= y == x <= 1.2


def test_types_are_those_of_ct_and_of_labels(drawn):
    for image, segmentation, _ in drawn:
        assert (image.dtype, segmentation.dtype) == (np.int16, np.uint8)
        assert image.shape == segmentation.shape
        assert image.min() >= -1024


def test_every_case_has_every_label_in_order_of_size(drawn):
    for _, segmentation, _ in drawn:
        background, organ, vessel, lesion = np.bincount(segmentation.ravel(), minlength=4)
        assert background > organ > 1.5 * vessel
        assert vessel > 1.5 * lesion
        assert lesion >= 150


def test_labels_differ_from_each_other_by_more_than_the_noise_of_their_mean(drawn):
    # Sigma 25 HU over at least 150 voxels leaves 2 HU; partial volume moves means by some 10 HU.
    for image, segmentation, _ in drawn:
        organ, vessel, lesion = (
            image[segmentation == value].mean() for value in (ORGAN, VESSEL, LESION)
        )
        assert organ - lesion > 35
        assert vessel - organ > 60


def test_intensity_alone_does_not_tell_the_vessel(drawn):
    # The best that a threshold on smoothed intensities can do, given the vessel's own range.
    image, segmentation, _ = drawn[0]
    smooth = gaussian_filter(image.astype(float), (0.5, 1, 1))
    low, high = np.percentile(smooth[segmentation == VESSEL], (5, 95))
    guess = (smooth >= low) & (smooth <= high)
    shared = (guess & (segmentation == VESSEL)).sum()
    assert 2 * shared / (guess.sum() + (segmentation == VESSEL).sum()) < 0.8


def test_organ_lies_right_of_the_vessel_and_lesions_in_the_organ(drawn):
    for _, segmentation, _ in drawn:
        organ = np.array(center_of_mass(segmentation == ORGAN))
        vessel = np.array(center_of_mass(segmentation == VESSEL))
        assert organ[2] - vessel[2] > 0.2 * segmentation.shape[2]  # x runs to the right
        assert label(segmentation == LESION)[1] in (1, 2)
        grown = np.pad(segmentation == LESION, 1)
        touching = np.zeros_like(grown)
        for axis in range(3):
            touching |= np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
        around = np.pad(segmentation, 1)[touching & ~grown]
        assert (around == ORGAN).mean() > 0.75  # some bulge out of the organ


def test_noise_has_the_standard_deviation_asked_for():
    noisy, _, _ = phantom_case(np.random.default_rng(3), noise_hu=40.0)
    clean, _, _ = phantom_case(np.random.default_rng(3), noise_hu=0.0)
    inside = clean > 0  # air is clipped at -1024
    assert (noisy.astype(float) - clean)[inside].std() == pytest.approx(40, rel=0.02)


def test_the_same_seed_writes_the_same_bytes(folder, tmp_path):
    write_phantom_dataset(tmp_path, seed=7, cases=3, held_out=2)
    assert _files(tmp_path) == _files(folder)


def test_another_seed_draws_other_cases(folder, tmp_path):
    write_phantom_dataset(tmp_path, seed=8, cases=1, held_out=0)
    there, here = _files(folder), _files(tmp_path)
    assert here["imagesTr/phantom_000.nii.gz"] != there["imagesTr/phantom_000.nii.gz"]


def test_a_case_does_not_depend_on_how_many_there_are(folder, tmp_path):
    write_phantom_dataset(tmp_path, seed=7, cases=4, held_out=0)
    there, here = _files(folder), _files(tmp_path)
    assert here["imagesTr/phantom_002.nii.gz"] == there["imagesTr/phantom_002.nii.gz"]
    assert here["labelsTr/phantom_003.nii.gz"] == there["labelsTs/phantom_003.nii.gz"]


def test_the_folder_holds_what_the_description_lists(folder):
    description = json.loads((folder / "dataset.json").read_text())
    listed = [path for pair in description["training"] for path in pair.values()]
    assert {path.removeprefix("./") for path in (*listed, *description["test"])} == {
        name for name in _files(folder) if name.endswith(".nii.gz") and "labelsTs" not in name
    }
    assert (description["numTraining"], description["numTest"]) == (3, 2)
    assert description["modality"] == {"0": "CT"}
    assert tuple(description["labels"].values()) == LABEL_NAMES
    assert list(description["labels"]) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("number", "codes"), [(0, ("R", "A", "S")), (1, ("L", "P", "S")), (2, ("L", "A", "S"))]
)
def test_files_are_turned_but_hold_the_same_volume(folder, number, codes):
    image, segmentation, spacing = phantom_case(np.random.default_rng([7, number]))
    for kind, array in (("images", image), ("labels", segmentation)):
        stored = nibabel.load(folder / f"{kind}Tr" / f"phantom_{number:03d}.nii.gz")
        assert nibabel.aff2axcodes(stored.affine) == codes
        turned = nibabel.as_closest_canonical(stored)
        np.testing.assert_array_equal(np.asanyarray(turned.dataobj).T, array)
        np.testing.assert_allclose(turned.header.get_zooms()[::-1], spacing, rtol=1e-6)


def test_headers_say_one_thing_only(folder):
    for path in folder.rglob("*.nii.gz"):
        header = nibabel.load(path).header
        assert header.get_xyzt_units()[0] == "mm"
        assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
        np.testing.assert_allclose(header.get_sform(), header.get_qform(), atol=1e-5)
        assert header.get_data_dtype() == (np.uint8 if "labels" in path.parent.name else np.int16)
        raw = nibabel.Nifti1Header(gzip.decompress(path.read_bytes())[:348])
        assert (float(raw["scl_slope"]), float(raw["scl_inter"])) == (1.0, 0.0)


def test_volumes_are_centered_on_the_world_origin(folder):
    for path in folder.rglob("*.nii.gz"):
        stored = nibabel.load(path)
        middle = [*((n - 1) / 2 for n in stored.shape), 1]
        np.testing.assert_allclose(stored.affine @ middle, [0, 0, 0, 1], atol=1e-4)
