from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from autoseg.core.errors import DamagedError, GeometryError, UsageError, VoxelError
from autoseg.core.folds import Fold
from autoseg.core.model import FoldRecord, ModelDescription, PreviousStage
from autoseg.inference.predictor import predict_logits
from autoseg.inference.stored import finished_folds, read_model
from autoseg.inference.tiling import Tiling
from autoseg.inference.workplace import workplace
from autoseg.io import documents, files
from autoseg.networks.assembler import build_network
from autoseg.networks.device import Device

CPU = Device(torch_device=torch.device("cpu"), autocast=None)
SPACING = (1.0, 1.5, 4.0)
AXIS_ORDER = (2, 0, 1)


class Threshold(nn.Module):
    """Label 1 where the sum of all channels is above 5."""

    def forward(self, x, levels=1):
        above = x.sum(1, keepdim=True) - 5
        return [torch.cat((-above, above), 1)]


@pytest.fixture
def model_folder(tmp_path, description_of):
    """Write a model of folds 0 and 3, with random weights."""
    description = description_of()
    documents.write(tmp_path / "model.json", description)
    for number in (0, 3):
        network = unet(description, seed=number)
        write_fold(tmp_path / f"fold_{number}", network)
    return tmp_path


def unet(description, *, seed):
    torch.manual_seed(seed)
    return build_network(
        description.configuration.arch, description.topology, channels_in=1, channels_out=2
    )


def write_fold(folder, network):
    from safetensors.torch import save

    data = save(network.state_dict())
    files.write_atomically(folder / "weights.safetensors", data)
    record = FoldRecord(
        fold=Fold(training=("a",), validation=("b",)),
        weights_digest=files.digest(data),
        steps=7,
        minutes=0.5,
        device="cpu in float32",
    )
    documents.write(folder / "fold.json", record)


def test_array_on_the_grid_of_the_plan_is_segmented_voxel_by_voxel(model_of, phantom):
    image = phantom()
    labels = model_of(Threshold()).predict(image, SPACING)
    assert labels.dtype == np.uint8
    assert labels.shape == (25, 20, 10)
    np.testing.assert_array_equal(labels, image[0] > 5)
    assert 0.02 < labels.mean() < 0.4


def test_array_on_another_grid_is_segmented_on_its_own(model_of, phantom):
    fine = phantom().repeat(2, 1).repeat(2, 2)
    labels = model_of(Threshold()).predict(fine, (0.5, 0.75, 4.0))
    assert labels.shape == (50, 40, 10)
    disagreement = labels != (fine[0] > 5)
    assert disagreement.mean() < 0.04  # splines smooth the steps between repeated voxels


@pytest.mark.parametrize("anti_aliasing", [True, False])
def test_image_is_smoothed_for_prediction_as_for_training(model_of, anti_aliasing):
    model = model_of(Threshold())
    configuration = replace(model.description.configuration, anti_aliasing=anti_aliasing)
    plan = replace(model.description.plan, configurations=(configuration,))
    model = replace(model, description=replace(model.description, plan=plan))
    # In plane every third voxel is a sample, and the board's samples are a board again. Its mean of
    # 6 is above the threshold of 5, its dark half is not.
    board = np.where(np.indices((45, 60)).sum(0) % 2, 1, 11)[..., None].repeat(6, 2)
    labels = model.predict(board, (1 / 3, 0.5, 4.0))
    if anti_aliasing:
        assert labels.all()
    else:
        assert 0.4 < labels.mean() < 0.7


def test_channel_axis_may_be_left_out_where_there_is_one(model_of, phantom):
    model, image = model_of(Threshold()), phantom()
    np.testing.assert_array_equal(model.predict(image[0], SPACING), model.predict(image, SPACING))


def test_other_types_are_converted(model_of, phantom):
    model, image = model_of(Threshold()), phantom().round()
    np.testing.assert_array_equal(
        model.predict(image.astype(np.int16), SPACING), model.predict(image, SPACING)
    )


def test_all_channels_reach_the_network(model_of, phantom):
    image = phantom(channels=2)
    labels = model_of(Threshold(), channels=2).predict(image, SPACING)
    np.testing.assert_array_equal(labels, image.sum(0) > 5)


def test_array_is_left_unchanged(model_of, phantom):
    image = phantom()
    before = image.copy()
    model_of(Threshold()).predict(image, SPACING)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (5, 6), (1, 1, 5, 6, 7)])
def test_array_of_other_axes_or_channels_is_refused(model_of, shape):
    wanted = rf"image: shape \({', '.join(map(str, shape))}\).*1 channel\(s\) and 3 spatial axes"
    with pytest.raises(GeometryError, match=wanted) as refusal:
        model_of(Threshold()).predict(np.ones(shape), SPACING)
    assert refusal.value.rule == "E-MODEL-60"


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (-1.0, 1.0, 1.0)])
def test_impossible_spacing_is_refused(model_of, spacing, phantom):
    with pytest.raises(GeometryError, match=r"spacing .*must be 3 positive numbers, mm"):
        model_of(Threshold()).predict(phantom(), spacing)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_array_that_is_not_finite_is_refused(model_of, value, phantom):
    image = phantom()
    image[0, 3:5, 4, 1] = value
    with pytest.raises(VoxelError, match="2 voxels are NaN or infinite") as refusal:
        model_of(Threshold()).predict(image, SPACING)
    assert refusal.value.rule == "E-VAL-28"


def test_folds_are_averaged_by_their_logits(model_folder, phantom):
    image, tiling = phantom().transpose(0, 3, 1, 2), Tiling(tile=(4, 8, 12), mirror_axes=())
    together, *alone = (
        predict_logits(read_model(model_folder, CPU, folds=folds).place, image, tiling)
        for folds in ((0, 3), (0,), (3,))
    )
    np.testing.assert_allclose(together, (alone[0] + alone[1]) / 2, rtol=1e-3, atol=1e-4)


def test_model_read_back_predicts_as_the_network_did(
    model_folder, description_of, model_of, phantom
):
    network = unet(description_of(), seed=3).eval()
    model = read_model(model_folder, CPU, folds=[3], mirror=False)
    np.testing.assert_array_equal(
        model.predict(phantom(), SPACING), model_of(network).predict(phantom(), SPACING)
    )


def test_finished_folds_are_those_with_a_record(model_folder):
    (model_folder / "fold_1").mkdir()
    (model_folder / "fold_all").mkdir()
    (model_folder / "fold_all" / "fold.json").write_text("{}")
    assert finished_folds(model_folder) == (0, 3)
    assert read_model(model_folder, CPU).folds == (0, 3)


def test_mirroring_follows_the_training_unless_told_otherwise(model_folder):
    assert read_model(model_folder, CPU).mirror is True
    assert read_model(model_folder, CPU, mirror=False).mirror is False


def test_fold_that_is_not_trained_is_refused(model_folder):
    with pytest.raises(UsageError, match=r"fold 2 is not trained; finished are \[0, 3\]") as error:
        read_model(model_folder, CPU, folds=[0, 2])
    assert error.value.hint == "train it: autoseg train 3d_fullres 2"


def test_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is no model folder; it has no model\.json"):
        read_model(tmp_path, CPU)


@pytest.mark.parametrize("file", ["model.json", "fold_3/fold.json", "fold_3/weights.safetensors"])
def test_damaged_file_is_named(model_folder, file):
    data = bytearray((model_folder / file).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (model_folder / file).write_bytes(data)
    with pytest.raises(DamagedError, match=file.replace(".", r"\.")) as error:
        read_model(model_folder, CPU)
    assert error.value.rule == "E-MODEL-59"


def test_missing_weights_are_named(model_folder):
    (model_folder / "fold_0" / "weights.safetensors").unlink()
    with pytest.raises(DamagedError, match=r"fold_0/weights\.safetensors: cannot be read"):
        read_model(model_folder, CPU)


def test_weights_of_another_network_are_refused(model_folder):
    write_fold(model_folder / "fold_0", nn.Conv3d(1, 2, 3))
    with pytest.raises(DamagedError, match=r"weights\.safetensors: its tensors do not fit"):
        read_model(model_folder, CPU)


class Echo(nn.Module):
    """Label 1 where the first stage says so, whatever the image."""

    def forward(self, x, levels=1):
        guided = x[:, 1:2] - 0.5
        return [torch.cat((-guided, guided), 1)]


def test_the_second_stage_sees_what_the_first_predicts(model_of, cascade_description):
    first = model_of(Threshold())
    second = replace(
        first,
        description=cascade_description(first.description),
        place=workplace([Echo()], CPU, axes=3),
        previous=first,
    )
    image = gaussian_filter(np.random.default_rng(3).normal(size=(30, 22, 9)), 2) * 60
    expected = first.predict(image, SPACING)
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(second.predict(image, SPACING), expected)


@pytest.fixture
def cascade_on_disk(tmp_path, description_of, cascade_description):
    """Write both stages with one fold each, among the models of a plan."""
    description = cascade_description(description_of())
    folders = [tmp_path / "models" / name / "default" for name in description.plan.names]
    for folder, name in zip(folders, description.plan.names, strict=True):
        described = replace(description, configuration_name=name)
        network = build_network(
            described.configuration.arch,
            described.topology,
            channels_in=described.channels_in,
            channels_out=2,
        )
        data = encode_weights(network)
        files.write_atomically(folder / "fold_0" / "weights.safetensors", data)
        digest = files.digest(data)
        record = FoldRecord(
            fold=Fold(training=("a",), validation=("b",)),
            weights_digest=digest,
            steps=1,
            minutes=0.1,
            device="cpu",
        )
        documents.write(folder / "fold_0" / "fold.json", record)
        if name == "3d_fullres":
            stage = PreviousStage(
                configuration="3d_fullres", run="default", weights_digests=(digest,)
            )
        else:
            described = replace(described, previous=stage)
        documents.write(folder / "model.json", described)
    return folders


def encode_weights(network):
    from safetensors.torch import save

    return save(network.state_dict())


def test_both_stages_are_read_and_the_first_may_lie_inside_the_second(cascade_on_disk, tmp_path):
    first, second = cascade_on_disk
    model = read_model(second, CPU)
    assert model.previous is not None
    assert model.all_digests == (*model.digests, *model.previous.digests)
    assert model.place.networks[0].encoder[0][0].conv.in_channels == 2
    assert read_model(second, CPU, with_previous=False).previous is None
    moved = tmp_path / "elsewhere"
    second.rename(moved)
    first.rename(moved / "previous_stage")
    assert read_model(moved, CPU).all_digests == model.all_digests


def test_a_second_stage_without_its_own_first_stage_is_refused(cascade_on_disk):
    first, second = cascade_on_disk
    stored = documents.read(second / "model.json", ModelDescription)
    other = replace(stored.previous, weights_digests=("0" * 64,))
    documents.write(second / "model.json", replace(stored, previous=other))
    with pytest.raises(UsageError, match=r"is not the first stage that .* was trained with"):
        read_model(second, CPU)
    first.rename(first.with_name("gone"))
    with pytest.raises(UsageError, match="its first stage cannot be read"):
        read_model(second, CPU)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA"])
def test_an_affine_says_how_the_array_lies(codes, model_of, phantom):
    import nibabel as nib

    model, canonical = model_of(Threshold()), phantom()
    expected = model.predict(canonical, SPACING)
    # (z, y, x) of the reader are (x, y, z) of nibabel, backwards.
    stored = nib.Nifti1Image(canonical[0].T, np.diag([*SPACING[::-1], 1.0]))
    turned = stored.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
        )
    )
    found = model.predict(np.asarray(turned.dataobj), affine=turned.affine)
    assert found.shape == turned.shape
    back = nib.Nifti1Image(found, turned.affine)
    np.testing.assert_array_equal(nib.as_closest_canonical(back).dataobj, expected.T)
    assert expected.any()


def test_lists_of_arrays_give_lists_of_masks(model_of, phantom):
    model, image = model_of(Threshold()), phantom()
    first, second = model.predict([image, image[:, 3:, :, 1:]], [SPACING, SPACING])
    np.testing.assert_array_equal(first, model.predict(image, SPACING))
    assert second.shape == (22, 20, 9)
    affine = np.diag([4.0, 1.5, 1.0, 1.0])
    (third,) = model.predict([image[0].T], affine=[affine])
    np.testing.assert_array_equal(third, first.T)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs either its spacing or its affine, and not both"),
        ({"spacing": SPACING, "affine": np.eye(4)}, "needs either its spacing or its affine"),
        ({"affine": np.eye(3)}, r"an affine of shape \(3, 3\) does not fit 3 spatial axes"),
        ({"affine": np.diag([1, 1, 0, 1.0])}, "image"),
    ],
)
def test_an_image_without_a_place_is_refused(options, message, model_of, phantom):
    with pytest.raises(GeometryError, match=message):
        model_of(Threshold()).predict(phantom(), **options)


def test_a_second_image_of_a_list_is_named(model_of, phantom):
    model, image = model_of(Threshold()), phantom()
    wrong = image.copy()
    wrong[0, 3, 4, 1] = np.nan
    with pytest.raises(VoxelError, match="image 1: 1 voxels are NaN or infinite"):
        model.predict([image, wrong], [SPACING, SPACING])
    with pytest.raises(GeometryError, match="2 images have 1 spacings and 2 affines"):
        model.predict([image, image], [SPACING])
    both = np.array([SPACING, SPACING])
    assert len(model.predict([image, image], both)) == 2
