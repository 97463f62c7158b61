"""Writes the ``dataset.json`` of nnU-Net's raw datasets, version 2."""

import json

from autoseg.core.dataset import Dataset
from autoseg.core.labels import Labels


def nnunet_description(dataset: Dataset, file_ending: str) -> bytes:
    """Return the ``dataset.json`` of a dataset whose files are laid out as nnU-Net has them.

    Parameters
    ----------
    dataset : Dataset
        Its cases and what they have in common.
    file_ending : str
        Ending of the files.

    Notes
    -----
    The key ``patients`` is autoseg's own and is written where the patient of every case is known.
    """
    description = dataset.description
    entries: dict[str, object] = {
        "channel_names": {str(k): name for k, name in enumerate(description.channels)},
        **_declared(description.labels),
        "numTraining": len(dataset.cases),
        "file_ending": file_ending,
    }
    if dataset.patients is not None:
        entries["patients"] = dataset.patients
    return json.dumps(entries, indent=1, ensure_ascii=False).encode() + b"\n"


def _declared(labels: Labels) -> dict[str, object]:
    """Return the keys ``labels`` and, where there are regions, ``regions_class_order``."""
    values = labels.file_values
    declared: dict[str, object] = {labels.names[0]: values[0]}
    for structure in labels.structures:
        held = [values[label] for label in structure.labels]
        declared[structure.name] = held if len(held) > 1 else held[0]
    if labels.ignore is not None:
        declared["ignore"] = labels.ignore
    if not labels.regions:
        return {"labels": declared}
    order = [values[region.written] for region in labels.regions]
    return {"labels": declared, "regions_class_order": order}
