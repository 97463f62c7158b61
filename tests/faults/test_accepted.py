"""Every opt-in: the refusal names it, it does what it says with a note, and it does no more."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autoseg.cli.main import main
from autoseg.core.acceptance import parse_accepted
from autoseg.core.dataset import Case
from autoseg.core.errors import GeometryError, InputError, VoxelError
from autoseg.core.labels import Labels
from autoseg.io import images
from autoseg.io.workspace import Workspace

LABELS = Labels(names=("background", "left", "right"))
FLIPPED = np.diag([-1.0, 1.0, 1.0, 1.0])
EDGES = np.diag([0.8, 0.9, 2.5, 1.0])
"""What `make.AFFINE` is without its origin."""


@dataclass(frozen=True, kw_only=True)
class OptIn:
    """A faulty file, what is accepted of it, and where its voxels then lie."""

    accept: str
    name: str = "a.nii"
    content: Callable[[Any], bytes]
    affine: Callable[[Any], np.ndarray]
    note: str
    offered: str


def scaled(affine: np.ndarray, factor: float) -> np.ndarray:
    return np.diag([factor, factor, factor, 1.0]) @ affine


def forms(make: ModuleType) -> bytes:
    return make.nifti(make.voxels(), qform=make.AFFINE @ FLIPPED)


def in_metres(make: ModuleType) -> bytes:
    return make.nifti(make.voxels(), scaled(make.AFFINE, 1e-3), xyzt_units=1)


def nowhere(make: ModuleType) -> bytes:
    return make.nifti(make.voxels(), codes=(0, 0))


OPT_INS = [
    OptIn(accept="E-GEO-13=sform", content=forms, affine=lambda make: make.AFFINE,
          note=r"sform (RAS) and qform (LAS) disagree: corners lie up to", offered="(or =qform)"),
    OptIn(accept="E-GEO-13=qform", content=forms, affine=lambda make: make.AFFINE @ FLIPPED,
          note="; the qform is taken", offered="E-GEO-13=sform"),
    OptIn(accept="E-GEO-14=ras", content=nowhere, affine=lambda make: EDGES,
          note="neither sform nor qform is set (both codes are 0); its axes are taken to run to "
          "right, front and head", offered=""),
    OptIn(accept="E-GEO-14=ras", name="a.nrrd", affine=lambda make: EDGES,
          content=lambda make: make.nrrd(make.voxels(), space="scanner-xyz",
                                         space_directions="(0,0.8,0) (-0.9,0,0) (0,0,2.5)"),
          note="its space is 'scanner-xyz'", offered=""),
    OptIn(accept="E-GEO-14=ras", name="a.nrrd", affine=lambda make: EDGES,
          content=lambda make: make.nrrd(make.voxels(), space=None, space_directions=None,
                                         space_origin=None, spacings="0.8 0.9 2.5"),
          note="its space is 'not stated'", offered=""),
    OptIn(accept="E-GEO-14=ras", name="a.mha", affine=lambda make: EDGES,
          content=lambda make: make.metaimage(make.voxels(), TransformMatrix=None),
          note="its header has no TransformMatrix", offered=""),
    OptIn(accept="E-GEO-18=convert", content=in_metres, affine=lambda make: make.AFFINE,
          note="lengths in the unit 'metre' were multiplied by 1000",
          offered="E-GEO-18=convert (or ="),
    OptIn(accept="E-GEO-18=convert", affine=lambda make: make.AFFINE,
          content=lambda make: make.nifti(make.voxels(), scaled(make.AFFINE, 1e3), xyzt_units=3),
          note="lengths in the unit 'micron' were multiplied by 0.001", offered="(or =mm)"),
    OptIn(accept="E-GEO-18=mm", affine=lambda make: make.AFFINE,
          content=lambda make: make.nifti(make.voxels(), xyzt_units=3),
          note="the unit 'micron' is taken for mm", offered="E-GEO-18=convert"),
    OptIn(accept="E-GEO-18=convert", name="a.nrrd", affine=lambda make: scaled(make.AFFINE, 10.0),
          content=lambda make: make.nrrd(make.voxels(), space_units='"cm" "cm" "cm"'),
          note="lengths in the unit 'cm' were multiplied by 10", offered="E-GEO-18=convert"),
    OptIn(accept="E-GEO-18=convert", name="a.mha", affine=lambda make: scaled(make.AFFINE, 1e-3),
          content=lambda make: make.metaimage(make.voxels(), DistanceUnits="um"),
          note="lengths in the unit 'um' were multiplied by 0.001", offered="E-GEO-18=convert"),
    OptIn(accept="E-GEO-18=mm", name="a.mha", affine=lambda make: make.AFFINE,
          content=lambda make: make.metaimage(make.voxels(), DistanceUnits="furlong"),
          note="the unit 'furlong' is taken for mm", offered="E-GEO-18=mm"),
]  # fmt: skip
each = pytest.mark.parametrize("opt_in", OPT_INS, ids=lambda each: f"{each.accept}-{each.name}")


@each
def test_a_file_without_a_sure_place_is_taken_as_accepted(
    opt_in: OptIn, make: ModuleType, tmp_path: Path
):
    path = make.write(tmp_path / opt_in.name, opt_in.content(make))
    accepted = parse_accepted([opt_in.accept])
    image = images.read_image(path, orientation="stored", accepted=accepted)
    assert np.array_equal(image.voxels[0], make.voxels().T)
    found = np.array(image.geometry.file_affine)
    np.testing.assert_allclose(found, opt_in.affine(make), rtol=1e-6, atol=1e-5)
    (note,) = [note for note in image.notes if "accepted" in note]
    assert note.startswith(f"{opt_in.name}: ")
    assert opt_in.note in note
    assert note.endswith(f"(accepted: {opt_in.accept})")


@each
def test_it_is_refused_without_and_with_another_choice_and_the_hint_offers_it(
    opt_in: OptIn, make: ModuleType, tmp_path: Path
):
    path = make.write(tmp_path / opt_in.name, opt_in.content(make))
    rule = opt_in.accept.partition("=")[0]
    others = [t for t in ("E-GEO-13=sform", "E-GEO-14", "E-GEO-18=mm") if not t.startswith(rule)]
    for accepted in ((), parse_accepted([*others, "E-VAL-28", "E-GEO-20", "E-GEO-21"])):
        with pytest.raises(GeometryError) as caught:
            images.read_image(path, accepted=accepted)
        assert caught.value.rule == rule
        assert f", or --accept {rule}=" in caught.value.hint
        assert opt_in.offered in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "accept", "offers"),
    [
        pytest.param(
            "a.nrrd",
            lambda make: make.nrrd(
                make.voxels(), space=None, space_directions=None, space_origin=None
            ),
            "E-GEO-14=ras",
            False,
            id="no-spacing-in-an-nrrd",
        ),
        # Directions that are stated are not to be taken for others: the image would be mirrored.
        pytest.param(
            "a.nrrd",
            lambda make: make.nrrd(make.voxels(), space_origin=None),
            "E-GEO-14=ras",
            False,
            id="directions-but-no-origin-in-an-nrrd",
        ),
        pytest.param(
            "a.mha",
            lambda make: make.metaimage(make.voxels(), Offset=None),
            "E-GEO-14=ras",
            False,
            id="directions-but-no-offset-in-a-metaimage",
        ),
        pytest.param(
            "a.mha",
            lambda make: make.metaimage(make.voxels(), ElementSpacing=None),
            "E-GEO-14=ras",
            False,
            id="no-spacing-in-a-metaimage",
        ),
        pytest.param(
            "a.mha",
            lambda make: make.metaimage(make.voxels(), DistanceUnits="furlong"),
            "E-GEO-18=convert",
            True,
            id="unit-without-a-factor",
        ),
        pytest.param(
            "a.nrrd",
            lambda make: make.nrrd(make.voxels(), space_units='"um" "um" "mm"'),
            "E-GEO-18=convert",
            True,
            id="several-units",
        ),
    ],
)
def test_what_cannot_be_done_stays_refused(
    name: str, content: Any, accept: str, offers: bool, make: ModuleType, tmp_path: Path
):
    path = make.write(tmp_path / name, content(make))
    with pytest.raises(GeometryError) as caught:
        images.read_image(path, accepted=parse_accepted([accept]))
    assert caught.value.rule == accept.partition("=")[0]
    assert accept not in caught.value.hint
    assert ("--accept" in caught.value.hint) == offers


def test_impossible_numbers_are_refused_whatever_is_accepted(make: ModuleType, tmp_path: Path):
    path = make.write(tmp_path / "a.nii", make.nifti(make.voxels(), codes=(0, 0), pixdim=0))
    with pytest.raises(GeometryError, match=r"voxel edges \(pixdim\)") as caught:
        images.read_image(path, accepted=parse_accepted(["E-GEO-14"]))
    assert caught.value.rule == "E-GEO-17"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gaps_are_filled_channel_by_channel(dtype: str, make: ModuleType, tmp_path: Path):
    voxels = np.stack([make.voxels(dtype=dtype), make.voxels(dtype=dtype, seed=9) - 300], axis=3)
    broken = voxels.copy()
    broken[1, 2, 3, 0], broken[4, 6, 10, 0] = np.nan, np.inf
    broken[0, 0, 0, 1] = -np.inf
    path = make.write(tmp_path / "a.nii", make.nifti(broken))
    with pytest.raises(VoxelError, match="2 voxels are NaN or infinite") as caught:
        images.read_image(path)
    assert caught.value.hint.endswith(", or --accept E-VAL-28=fill")
    image = images.read_image(path, orientation="stored", accepted=parse_accepted(["E-VAL-28"]))
    expected = broken.astype(np.float32).T
    smallest = [float(np.nanmin(channel[np.isfinite(channel)])) for channel in expected]
    for channel, value in zip(expected, smallest, strict=True):
        channel[~np.isfinite(channel)] = value
    assert np.array_equal(image.voxels, expected)
    assert image.notes == (
        f"a.nii: channel 0: 2 voxels that are NaN or infinite became {smallest[0]:g}, the smallest "
        "of the others (accepted: E-VAL-28=fill)",
        f"a.nii: channel 1: 1 voxels that are NaN or infinite became {smallest[1]:g}, the smallest "
        "of the others (accepted: E-VAL-28=fill)",
    )


def test_nothing_but_gaps_and_gaps_in_labels_stay_refused(make: ModuleType, tmp_path: Path):
    accepted = parse_accepted(["E-VAL-28"])
    empty = make.write(tmp_path / "a.nii", make.nifti(np.full(make.SHAPE, np.nan, np.float32)))
    labels = make.mask(dtype="float32")
    labels[1, 1, 1] = np.nan
    mask = make.write(tmp_path / "m.nii", make.nifti(labels))
    with pytest.raises(VoxelError, match="385 voxels are NaN") as caught:
        images.read_image(empty, accepted=accepted)
    assert "--accept" not in caught.value.hint
    with pytest.raises(VoxelError, match="1 voxels are NaN") as caught:
        images.read_segmentation(mask, LABELS, accepted=accepted)
    assert "--accept" not in caught.value.hint


def test_a_channel_elsewhere_is_put_onto_the_first_one(make: ModuleType, tmp_path: Path):
    apart = make.AFFINE.copy()
    apart[2, 3] += 2.5  # the second channel lies one slice higher
    second = make.voxels(seed=9)
    make.write(tmp_path / "p_0000.nii", make.nifti(make.voxels()))
    make.write(tmp_path / "p_0001.nii", make.nifti(second, apart))
    case = Case(name="p", images=("p_0000.nii", "p_0001.nii"))
    with pytest.raises(GeometryError, match=r"case 'p': p_0001\.nii and p_0000\.nii") as caught:
        images.read_case_image(case, 2, folder=tmp_path)
    assert caught.value.hint.endswith(", or --accept E-GEO-23=resample")
    image = images.read_case_image(
        case, 2, folder=tmp_path, orientation="stored", accepted=parse_accepted(["E-GEO-23"])
    )
    assert np.array_equal(image.voxels[0], make.voxels().T)
    np.testing.assert_allclose(image.voxels[1, 1:], second.T[:-1], rtol=1e-5)
    assert np.all(image.voxels[1, 0] == second.min())
    np.testing.assert_allclose(image.geometry.file_affine, make.AFFINE, rtol=1e-6, atol=1e-5)
    (note,) = image.notes
    assert note.startswith("p_0001.nii: shape (11, 7, 5) was put onto the grid (11, 7, 5) of the")
    assert "35 voxels lie outside" in note


@pytest.fixture
def raw(make: ModuleType, tmp_path: Path) -> Path:
    return make.decathlon(tmp_path / "Task03_Faults")


def measured(raw: Path, *accept: str) -> int:
    options = [word for text in accept for word in ("--accept", text)]
    return main(["fingerprint", "-d", str(raw), "--workers", "0", "--quiet", *options])


def sketch(case: str) -> dict[str, Any]:
    path = Path("autoseg_workspace") / "Task03_Faults" / "measured" / f"{case}.json"
    return json.loads(path.read_text())["measurement"]


def test_a_segmentation_elsewhere_is_resampled_noted_and_recorded(raw, make, capsys):
    apart = make.AFFINE.copy()
    apart[0, 3] += 1.6  # two voxels of 0.8 mm to the right
    make.write(raw / "labelsTr" / "b.nii.gz", make.zipped(make.nifti(make.mask(), apart)))
    assert measured(raw) == 3
    message = capsys.readouterr().err
    assert "error: E-GEO-21 case 'b'" in message
    assert ", or --accept E-GEO-21=resample" in message
    assert measured(raw, "E-GEO-21") == 0
    moved = np.zeros(make.SHAPE, np.uint8)
    moved[2:] = make.mask()[:-2]
    assert sketch("b")["class_voxels"] == np.bincount(moved.ravel(), minlength=3).tolist()
    (note,) = sketch("b")["notes"]
    assert note.startswith("b.nii.gz: shape (11, 7, 5) was put onto the image's grid")
    dataset = Workspace(path=Path("autoseg_workspace")).dataset("Task03_Faults").read_dataset()
    assert [each.text for each in dataset.description.accepted] == ["E-GEO-21=resample"]
    assert any(
        note in each
        for each in json.loads(
            Path("autoseg_workspace/Task03_Faults/fingerprint.json").read_text()
        )["notes"]
    )


def test_other_choices_measure_the_cases_again_and_the_same_do_not(raw):
    def keys() -> dict[str, str]:
        return {case: sketch(case)["key"] for case in "abc"}

    assert measured(raw) == 0
    plain = keys()
    assert measured(raw, "E-SET-44") == 0  # changes no voxel
    assert keys() == plain
    assert measured(raw, "E-GEO-13=sform", "E-VAL-28") == 0
    chosen = keys()
    assert set(chosen.values()).isdisjoint(plain.values())
    assert measured(raw, "E-VAL-28=fill", "E-GEO-13=sform") == 0  # in another order
    assert keys() == chosen


def test_copies_are_one_patient_where_that_is_accepted(raw, capsys):
    (raw / "imagesTr" / "b.nii.gz").write_bytes((raw / "imagesTr" / "a.nii.gz").read_bytes())
    assert measured(raw) == 3
    message = capsys.readouterr().err
    assert "error: E-SET-44 case 'b'" in message
    assert ", or --accept E-SET-44=group" in message
    assert measured(raw, "E-SET-44=group") == 0
    dataset = Workspace(path=Path("autoseg_workspace")).dataset("Task03_Faults").read_dataset()
    assert dataset.patients == {"a": "a", "b": "a", "c": "c"}
    notes = json.loads(Path("autoseg_workspace/Task03_Faults/fingerprint.json").read_text())[
        "notes"
    ]
    assert any(note.endswith("share a fold (accepted: E-SET-44=group)") for note in notes)


def test_patients_that_are_named_now_are_not_merged_against_their_names(raw, tmp_path, capsys):
    (raw / "imagesTr" / "b.nii.gz").write_bytes((raw / "imagesTr" / "a.nii.gz").read_bytes())
    (tmp_path / "p.json").write_text(json.dumps({"a": "x", "b": "y", "c": "z"}))
    arguments = ["plan_and_preprocess", "-d", str(raw), "--workers", "0", "--patients", "p.json"]
    assert main([*arguments, "--accept", "E-SET-44"]) == 3
    message = capsys.readouterr().err
    assert "error: E-SET-44 case 'b'" in message
    assert "--accept" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("E-GEO-16", "nothing can be accepted of this rule"),
        ("E-GEO-13=both", "allowed is E-GEO-13=sform or E-GEO-13=qform"),
    ],
)
@pytest.mark.parametrize("verb", ["fingerprint", "plan_and_preprocess", "run", "predict"])
def test_what_cannot_be_accepted_ends_with_2(verb: str, text: str, says: str, capsys):
    needed = ["-i", "x", "-o", "y"] if verb == "predict" else ["-d", "x"]
    assert main([verb, *needed, "--accept", text]) == 2
    assert says in capsys.readouterr().err


def test_a_prediction_accepts_for_itself_and_records_it(write_model, make, capsys):
    model = write_model()
    for name, content in {"a": make.nifti(make.voxels()), "b": forms(make)}.items():
        make.write(Path("imgs") / f"{name}.nii.gz", make.zipped(content))
    arguments = ["predict", "-i", "imgs", "-o", "masks", "-m", str(model), "--device", "cpu"]
    assert main(arguments) == 4
    assert ", or --accept E-GEO-13=sform (or =qform)" in capsys.readouterr().err

    def masks() -> dict[str, Any]:
        cases = json.loads((Path("masks") / "autoseg_prediction.json").read_text())["cases"]
        return {case["case"]: case for case in cases}

    assert masks()["a"]["accepted"] == []
    assert main([*arguments, "--accept", "E-GEO-13=qform"]) == 0
    assert masks()["b"]["accepted"] == [{"rule": "E-GEO-13", "choice": "qform"}]
    assert masks()["b"]["notes"][0].endswith("the qform is taken (accepted: E-GEO-13=qform)")
    written = images.read_segmentation(Path("masks/b.nii.gz"), LABELS)  # one place for all
    np.testing.assert_allclose(
        written.geometry.file_affine, make.AFFINE @ FLIPPED, rtol=1e-6, atol=1e-5
    )


def test_a_prediction_tells_what_the_model_s_training_accepted(write_model, make, capsys):
    model = write_model()
    description = json.loads((model / "model.json").read_text())
    description["dataset"]["accepted"] = [{"rule": "E-VAL-28", "choice": "fill"}]
    (model / "model.json").write_text(json.dumps(description))
    make.write(Path("imgs") / "a.nii.gz", make.zipped(make.nifti(make.voxels())))
    arguments = ["predict", "-i", "imgs", "-m", str(model), "--device", "cpu"]
    assert main([*arguments, "-o", "masks"]) == 0
    assert "trained on cases with --accept E-VAL-28=fill;" in capsys.readouterr().err
    assert main([*arguments, "-o", "others", "--accept", "E-VAL-28"]) == 0
    assert "trained on cases with" not in capsys.readouterr().err


def test_labels_of_a_case_may_have_values_in_any_order(make: ModuleType, tmp_path: Path):
    path = make.write(tmp_path / "a.nii", make.nifti(make.mask()))
    swapped = LABELS.in_file((0, 2, 1))
    found = images.read_segmentation(path, swapped, orientation="stored")
    assert np.array_equal(found.voxels, np.array([0, 2, 1], np.uint8)[make.mask()].T)


def test_a_choice_settles_no_other_fault_of_the_file(make: ModuleType, tmp_path: Path):
    sheared = make.AFFINE.copy()
    sheared[0, 1] = 0.1
    path = make.write(tmp_path / "a.nii", make.nifti(make.voxels(), sheared, qform=make.AFFINE))
    with pytest.raises(InputError, match="sheared") as caught:
        images.read_image(path, accepted=parse_accepted(["E-GEO-13=sform"]))
    assert caught.value.rule == "E-GEO-16"
    assert "--accept" not in caught.value.hint
