"""Segmentations and their records, whatever a killed run left of them."""

import pytest

from autoseg.core.dataset import DatasetDescription
from autoseg.core.errors import UsageError
from autoseg.core.labels import Labels
from autoseg.pipeline.prediction import PredictedCase, PredictionManifest
from autoseg.pipeline.segmentation_folder import SegmentationFolder, recorded_cases

RECORD = PredictedCase(
    case="b", input_digests=("1",), output_digest="", weights_digests=("2",), mirror=False
)


@pytest.fixture
def outputs(tmp_path):
    """The file of one case, a TIFF stack, whose spacing lies beside it."""
    return {"b": tmp_path / "b.tif"}


@pytest.fixture
def folder_of(tmp_path):
    """Open the folder with some records."""
    made_by = PredictionManifest(
        autoseg_version="0",
        dataset=DatasetDescription(
            name="Task99_Test",
            channels=("T1",),
            labels=Labels(names=("background", "organ")),
            file_ending=".tif",
        ),
        configuration="3d_fullres",
        plan="default",
        plan_digest="3",
        cases=(),
    )

    def build(recorded):
        file = tmp_path / "autoseg_prediction.json"
        return SegmentationFolder(file=file, made_by=made_by, recorded=recorded)

    return build


def write(folder, outputs):
    output = outputs["b"]
    folder.write(RECORD, output, b"voxels", (output.with_suffix(".json"), b"spacing"))


def test_an_unchanged_segmentation_is_known_with_its_sidecar(folder_of, outputs, tmp_path):
    folder = folder_of({})
    write(folder, outputs)
    found = recorded_cases(tmp_path, outputs, overwrite=False, alone=False)
    assert found == folder.recorded
    (tmp_path / "b.json").write_bytes(b"other spacing")
    with pytest.raises(UsageError, match=r"b\.tif: is in the way; autoseg did not write it, or"):
        recorded_cases(tmp_path, outputs, overwrite=False, alone=False)


def test_a_sidecar_whose_segmentation_is_missing_is_removed(folder_of, outputs, tmp_path):
    write(folder_of({}), outputs)
    outputs["b"].unlink()  # as if killed between both
    found = recorded_cases(tmp_path, outputs, overwrite=False, alone=False)
    assert (found, (tmp_path / "b.json").exists()) == ({}, False)
    folder_of(found).write_manifest()  # as when another case is done, before a second kill
    assert recorded_cases(tmp_path, outputs, overwrite=False, alone=False) == {}


def test_a_sidecar_that_nobody_recorded_is_in_the_way_and_nothing_is_removed(
    folder_of, outputs, tmp_path
):
    write(folder_of({}), outputs)
    outputs["b"].unlink()
    theirs = tmp_path / "c.json"
    theirs.write_bytes(b"mine")
    both = {**outputs, "c": tmp_path / "c.tif"}
    with pytest.raises(UsageError, match=r"c\.json: is in the way"):
        recorded_cases(tmp_path, both, overwrite=False, alone=False)
    assert theirs.read_bytes() == b"mine"
    assert (tmp_path / "b.json").exists()
    assert recorded_cases(tmp_path, both, overwrite=True, alone=False) == {}
    assert theirs.exists()
