"""As what images are stored is told for each configuration that has cases."""

from dataclasses import replace

import numpy as np

from autoseg.core.dataset import Case, Dataset, DatasetDescription
from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import Labels
from autoseg.core.plan import Decision
from autoseg.io import documents, store
from autoseg.io.workspace import DatasetFolder
from autoseg.pipeline.stored_types import storage_decisions
from preprocessing.runner import grid_key

SHAPE = (3, 4, 5)


def write(place, name, dtype):
    decision = Decision(
        subject="image.dtype", value=dtype, rule="it fits", numbers=(("smallest step", "0.5"),)
    )
    record = store.StoredCase(
        name=name,
        key="key",
        geometry=Geometry(
            file_shape=SHAPE[::-1],
            file_affine=tuple(map(tuple, np.eye(4).tolist())),
            file_axes=(2, 1, 0),
            reversed_axes=(False,) * 3,
        ),
        crop=Box(start=(0, 0, 0), stop=SHAPE),
        shape=SHAPE,
        foreground_offsets=(0, 0, 0),
        digests={},
        decisions=(decision,),
    )
    arrays = store.CaseArrays(
        image=np.zeros((1, *SHAPE), np.float32),
        segmentation=np.zeros(SHAPE, np.uint8),
        nonzero=np.ones(SHAPE, bool),
        foreground=np.zeros(0, np.uint32),
    )
    store.write_case(place, record, arrays)


def test_cases_are_counted_by_type_and_the_first_of_each_is_shown(
    tmp_path, plan_of, configuration_of
):
    folder = DatasetFolder(path=tmp_path / "T")
    description = DatasetDescription(
        name="T", channels=("CT",), labels=Labels(names=("background", "a")), file_ending=".nii"
    )
    cases = tuple(Case(name=name, images=(f"{name}.nii",)) for name in "abcd")
    documents.write(
        folder.dataset_file, Dataset(description=description, folder=str(tmp_path), cases=cases)
    )
    fine = configuration_of((1.0, 1.0, 1.0), (4, 4, 4))
    coarse = replace(fine, name="3d_lowres", spacing=(2.0, 2.0, 2.0))
    plan = plan_of(coarse, fine)
    place = folder.store(grid_key(plan, fine))
    for name, dtype in (("a", "int16"), ("b", "float16"), ("c", "int16"), ("removed", "float32")):
        write(place, name, dtype)
    (place / "c.json").write_text("{}")  # torn: whoever needs it makes it again

    (decision,) = storage_decisions(folder, plan)  # the coarse grid has no case
    assert decision.subject == "3d_fullres.stored_image"
    assert decision.value == "int16 in 1 case, float16 in 1 case"
    assert decision.rule == "it fits"
    assert decision.numbers == (("smallest step of a", "0.5"), ("smallest step of b", "0.5"))
