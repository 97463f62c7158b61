"""From trained folds to a choice, to masks that follow it; probabilities, uncertainty, averages."""

import json
from pathlib import Path
from xml.etree import ElementTree

import blosc2
import nibabel as nib
import numpy as np
import pytest

from autoseg.cli.main import main

NAMES = ("2d", "3d_fullres")
SHORT = ["--preset", "fast", "--epochs", "2", "--steps-per-epoch", "15", "--device", "cpu"]
SHORT += ["--workers", "0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, write_msd_dataset):
    """A workspace whose 2d and 3d_fullres models are validated on folds 0 and 1."""
    folder = tmp_path_factory.mktemp("selection")
    raw = write_msd_dataset(folder / "Task07_Box", cases=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = ["run", "-d", str(raw), "-c", "2d", "-c", "3d_fullres", *SHORT, "--quiet"]
        assert main([*arguments, "-f", "0", "-f", "1"]) == 0
    return folder


@pytest.fixture
def here(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def dataset_folder(here):
    return here / "autoseg_workspace" / "Task07_Box"


def selection_of(here):
    return json.loads((dataset_folder(here) / "selection.json").read_text())


def mask(path):
    return np.asarray(nib.load(path).dataobj)


def test_a_run_ends_with_a_choice_among_models_and_pairs(here):
    selection = selection_of(here)
    titles = {
        "+".join(each["configuration"] for each in candidate["members"])
        for candidate in selection["candidates"]
    }
    assert titles in ({"2d", "3d_fullres", "2d+3d_fullres"}, {"2d", "3d_fullres", "3d_fullres+2d"})
    means = [candidate["mean_dice"] for candidate in selection["candidates"]]
    assert means == sorted(means, reverse=True)
    splits = json.loads((dataset_folder(here) / "splits.json").read_text())
    expected = sorted(name for fold in splits["folds"][:2] for name in fold["validation"])
    assert selection["cases"] == expected
    for candidate in selection["candidates"]:
        interval = candidate["interval"]
        assert interval["low"] <= candidate["mean_dice"] <= interval["high"]


def test_the_dice_of_a_pair_is_that_of_its_averaged_probabilities(here, capsys):
    # By another way: predict the validation images with each model of fold 0, then average.
    case = json.loads((dataset_folder(here) / "splits.json").read_text())["folds"][0]["validation"][
        0
    ]
    models = dataset_folder(here) / "models" / "default"
    image = here / "Task07_Box" / "imagesTr" / f"{case}.nii.gz"
    for name in NAMES:
        arguments = ["predict", "-i", str(image), "-o", f"pair_{name}", "--probabilities"]
        model = ["-m", str(models / name / "default"), "-f", "0", "--device", "cpu", "--quiet"]
        assert main([*arguments, *model]) == 0
    assert (
        main(["ensemble", "-i", "pair_2d", "-i", "pair_3d_fullres", "-o", "pair", "--quiet"]) == 0
    )
    (folder,) = (dataset_folder(here) / "selection" / "default").iterdir()
    differs = mask(f"pair/{case}.nii.gz") != mask(folder / f"{case}.nii.gz")
    stored = [f"pair_{each}/probabilities/{case}.b2nd" for each in NAMES]
    mean = np.mean([blosc2.open(file)[:].astype(float) for file in stored], axis=0)
    lowest, highest = np.sort(mean, axis=0)[-2:, differs]
    assert (highest - lowest < 5e-3).all()  # preprocessed cases and probabilities are rounded
    assert differs.mean() < 0.01
    assert mask(f"pair/{case}.nii.gz").any()


def test_selecting_again_keeps_what_was_predicted(here, capsys):
    before = selection_of(here)
    predictions = sorted((dataset_folder(here) / "selection").rglob("*.nii.gz"))
    times = [path.stat().st_mtime_ns for path in predictions]
    assert main(["select", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "> " in shown
    assert "chosen: " in shown
    assert "post-processing, judged out of fold:" in shown
    assert selection_of(here) == before
    assert [path.stat().st_mtime_ns for path in predictions] == times


def test_the_figure_shows_every_candidate_and_the_reason(here):
    root = ElementTree.parse(dataset_folder(here) / "selection.svg").getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Task07_Box: which model segments new images" in texts
    assert {"2d", "3d_fullres"} <= set(texts)
    assert any(text.startswith("Chosen: ") for text in texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 3


def test_predict_follows_the_choice_and_says_so(here, capsys):
    arguments = ["predict", "-i", "Task07_Box/imagesTs", "-o", "followed", "--device", "cpu"]
    assert main(arguments) == 0
    shown = capsys.readouterr().err
    selection = selection_of(here)
    assert f"selected: {selection['reason']}" in shown
    taken = selection["candidates"][selection["chosen"]]["members"]
    for each in taken:
        assert f"{each['configuration']}, fold(s) 0, 1" in shown
    manifest = json.loads(Path("followed/autoseg_prediction.json").read_text())
    kept = [trial["rule"] for trial in selection["trials"] if trial["kept"]]
    assert manifest["cases"][0]["rules"] == kept
    digests = [digest for each in taken for digest in each["weights_digests"]]
    assert manifest["cases"][0]["weights_digests"] == digests


def test_several_models_are_averaged_without_files_between(here):
    models = dataset_folder(here) / "models" / "default"
    named = [part for name in NAMES for part in ("-m", str(models / name / "default"))]
    common = ["-i", "Task07_Box/imagesTs", "--device", "cpu", "--quiet"]
    assert main(["predict", *common, *named, "-o", "both"]) == 0
    for name in NAMES:
        model = ["-m", str(models / name / "default")]
        assert main(["predict", *common, *model, "-o", f"alone_{name}", "--probabilities"]) == 0
    averaged = ["ensemble", "-i", "alone_2d", "-i", "alone_3d_fullres", "-o", "averaged", "--quiet"]
    assert main(averaged) == 0
    for path in Path("both").glob("*.nii.gz"):
        first, second = mask(path), mask(Path("averaged") / path.name)
        assert first.any()
        stored = [f"alone_{each}/probabilities/{path.name[:-7]}.b2nd" for each in NAMES]
        mean = np.mean([blosc2.open(file)[:].astype(float) for file in stored], axis=0)
        lowest, highest = np.sort(mean, axis=0)[-2:, first != second]
        assert (highest - lowest < 2e-3).all()  # float16 decides ties in its own way
        np.testing.assert_array_equal(second, mean.argmax(0))


def test_probabilities_lie_on_the_grid_of_the_file_and_lead_to_the_mask(here):
    model = str(dataset_folder(here) / "models" / "default" / "3d_fullres" / "default")
    arguments = ["predict", "-i", "Task07_Box/imagesTs", "-o", "told", "-m", model]
    more = ["--probabilities", "--uncertainty", "--device", "cpu", "--quiet"]
    assert main([*arguments, *more]) == 0
    for path in Path("told").glob("*.nii.gz"):
        name = path.name.removesuffix(".nii.gz")
        label_map = mask(path)
        found = blosc2.open(f"told/probabilities/{name}.b2nd")[:]
        assert found.dtype == np.float16
        assert found.shape == (found.shape[0], *label_map.shape)
        np.testing.assert_allclose(found.sum(0, dtype=np.float32), 1, atol=2e-3)
        differs = found.argmax(0) != label_map
        lowest, highest = np.sort(found, axis=0)[-2:, differs]
        assert (highest == lowest).all()  # float16 makes ties
        assert differs.mean() < 1e-3
        entropy = mask(f"told/uncertainty/{name}_entropy.nii.gz")
        probability = found.astype(float)
        expected = -(probability * np.log(np.maximum(probability, 1e-30))).sum(0)
        np.testing.assert_allclose(entropy, expected / np.log(len(found)), atol=0.01)
        disagreement = mask(f"told/uncertainty/{name}_disagreement.nii.gz")
        assert set(np.unique(disagreement)) <= {0.0, 0.5, 1.0}  # of two folds
        assert 0 < disagreement.mean() < 0.2


def test_what_is_asked_for_later_is_made_then(here):
    model = str(dataset_folder(here) / "models" / "default" / "2d" / "default")
    arguments = ["predict", "-i", "Task07_Box/imagesTs", "-o", "later", "-m", model]
    common = ["--device", "cpu", "--quiet"]
    assert main([*arguments, *common]) == 0
    assert not Path("later/probabilities").exists()
    assert main([*arguments, *common, "--probabilities"]) == 0
    made = {path: path.stat().st_mtime_ns for path in Path("later/probabilities").iterdir()}
    assert made
    assert main([*arguments, *common, "--probabilities"]) == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_folders_without_probabilities_or_of_other_cases_are_not_averaged(here, capsys):
    Path("empty").mkdir(exist_ok=True)
    assert main(["ensemble", "-i", "empty", "-i", "empty", "-o", "none"]) == 2
    assert "empty: holds no probabilities" in capsys.readouterr().err
    model = str(dataset_folder(here) / "models" / "default" / "2d" / "default")
    images = sorted((here / "Task07_Box" / "imagesTs").glob("*.nii.gz"))
    common = ["-m", model, "--device", "cpu", "--quiet", "--probabilities"]
    assert main(["predict", "-i", str(images[0]), "-o", "one", *common]) == 0
    assert main(["predict", "-i", "Task07_Box/imagesTs", "-o", "all", *common]) == 0
    code = main(["ensemble", "-i", "one", "-i", "all", "-o", "none"])
    if len(images) > 1:
        assert code == 2
        assert f"{len(images) - 1} cases are not in both" in capsys.readouterr().err
    assert main(["ensemble", "-i", "one", "-o", "none"]) == 2
    assert "one folder is given" in capsys.readouterr().err


def test_an_average_is_kept_and_what_changed_is_made_again(here, capsys):
    models = dataset_folder(here) / "models" / "default"
    for name in NAMES:
        model = ["-m", str(models / name / "default"), "--device", "cpu", "--quiet"]
        arguments = ["predict", "-i", "Task07_Box/imagesTs", "-o", f"alone_{name}", *model]
        assert main([*arguments, "--probabilities"]) == 0
    sources = [part for name in NAMES for part in ("-i", f"alone_{name}")]
    averaged = ["ensemble", *sources, "-o", "again", "--quiet"]
    assert main(averaged) == 0
    made = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(Path("again").glob("*.nii.gz"))
    }
    first, *others = made
    first.unlink()
    assert main(averaged) == 0
    assert first.read_bytes() == made[first][0]
    assert all(path.stat().st_mtime_ns == made[path][1] for path in others)
    first.write_bytes(b"mine")
    capsys.readouterr()
    assert main(averaged) == 2
    assert f"{first}: is in the way; autoseg did not write it" in capsys.readouterr().err
    assert first.read_bytes() == b"mine"
    assert main([*averaged, "--overwrite"]) == 0
    assert first.read_bytes() == made[first][0]
    assert main(["ensemble", *sources, "-o", f"alone_{NAMES[0]}"]) == 2
    assert "holds what is to be averaged" in capsys.readouterr().err


def test_a_selected_model_that_was_trained_again_is_refused(here, capsys):
    selection = selection_of(here)
    original = json.dumps(selection)
    path = dataset_folder(here) / "selection.json"
    members = selection["candidates"][selection["chosen"]]["members"]
    members[0]["weights_digests"][0] = "0" * 64
    try:
        path.write_text(json.dumps(selection))
        arguments = ["predict", "-i", "Task07_Box/imagesTs", "-o", "refused", "--device", "cpu"]
        assert main(arguments) == 2
        shown = capsys.readouterr().err
        assert "was trained again since selection.json was written" in shown
        assert "choose again: autoseg select" in shown
    finally:
        path.write_text(original)
