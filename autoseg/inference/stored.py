"""Trained models on disk: which folds are finished, and how a model is read from its folder."""

from collections.abc import Sequence
from pathlib import Path

from autoseg.core.errors import DamagedError, UsageError
from autoseg.core.model import (
    MODEL_FILE,
    RECORD_FILE,
    WEIGHTS_FILE,
    FoldRecord,
    ModelDescription,
)
from autoseg.inference.model import Model
from autoseg.inference.workplace import workplace
from autoseg.io import documents, files
from autoseg.networks.assembler import UNet, build_network
from autoseg.networks.device import Device


def finished_folds(folder: Path) -> tuple[int, ...]:
    """Return the numbers of the folds of a model folder whose training is finished, sorted."""
    records = folder.glob(f"fold_*/{RECORD_FILE}")
    numbers = (record.parent.name.removeprefix("fold_") for record in records)
    return tuple(sorted(int(number) for number in numbers if number.isdigit()))


def read_description(folder: Path) -> ModelDescription:
    """Read the description of a model folder.

    Raises
    ------
    UsageError
        If the folder is no model folder.
    DamagedError
        If its description cannot be read.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        raise UsageError(
            f"{folder}: is no model folder; it has no {MODEL_FILE}",
            hint="name a folder such as <workspace>/<dataset>/models/<plan>/<configuration>/<run>",
        )
    return documents.read_stored(path, ModelDescription, rule="E-MODEL-59")


def read_model(
    folder: Path,
    device: Device,
    *,
    folds: Sequence[int] | None = None,
    mirror: bool | None = None,
    with_previous: bool = True,
) -> Model:
    """Read a model from its folder.

    Parameters
    ----------
    folder : Path
        Model folder.
    device : Device
        Where to put the networks.
    folds : sequence of int, optional
        Folds to average; all finished ones if left out.
    mirror : bool, optional
        Whether to average over mirrored views; as trained if left out.
    with_previous : bool
        Whether to read the first stage of a cascade as well.

    Raises
    ------
    UsageError
        If the folder is no model folder, a fold is not finished, or the first stage of a cascade
        is missing or another one than the second was trained with.
    DamagedError
        If a file is not what was written.
    """
    description = read_description(folder)
    finished = finished_folds(folder)
    chosen = tuple(folds) if folds else finished
    missing = [fold for fold in chosen if fold not in finished]
    if missing or not chosen:
        raise UsageError(
            f"{folder}: fold {missing[0] if missing else 0} is not trained; "
            f"finished are {list(finished) or 'none'}",
            rule="E-MODEL-61",
            hint=f"train it: autoseg train {description.configuration_name} "
            f"{missing[0] if missing else 0}",
        )
    digests, networks = [], []
    for fold in chosen:
        digest, network = _read_fold(folder / f"fold_{fold}", description)
        digests.append(digest)
        networks.append(network)
    return Model(
        description=description,
        folds=chosen,
        digests=tuple(digests),
        place=workplace(networks, device, axes=description.configuration.ndim),
        mirror=description.training.mirror_prediction if mirror is None else mirror,
        previous=_read_previous(folder, description, device, mirror) if with_previous else None,
    )


def _read_previous(
    folder: Path, description: ModelDescription, device: Device, mirror: bool | None
) -> Model | None:
    """Read the first stage of a cascade; it lies in the folder, or among the plan's models."""
    stage = description.previous
    if stage is None:
        return None
    inside = folder / "previous_stage"
    beside = folder.resolve().parent.parent / stage.configuration / stage.run
    place = inside if (inside / MODEL_FILE).is_file() else beside
    try:
        model = read_model(place, device, mirror=mirror)
    except UsageError as error:
        raise UsageError(
            f"{folder}: is the second stage of a cascade; its first stage cannot be read: {error}",
            rule="E-MODEL-61",
            hint=f"copy the model folder of {stage.configuration} to {inside}; or: {error.hint}",
        ) from error
    if model.digests != stage.weights_digests:
        raise UsageError(
            f"{place}: is not the first stage that {folder} was trained with: other folds or "
            "weights",
            rule="E-MODEL-61",
            hint="train the second stage again, in another --run NAME",
        )
    return model


def _read_fold(folder: Path, description: ModelDescription) -> tuple[str, UNet]:
    from safetensors.torch import load as decode

    path = folder / WEIGHTS_FILE
    record = documents.read_stored(folder / RECORD_FILE, FoldRecord, rule="E-MODEL-59")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedError(
            f"{path}: cannot be read ({error.strerror})", rule="E-MODEL-59"
        ) from error
    if files.digest(data) != record.weights_digest:
        raise DamagedError(
            f"{path}: its digest differs from the one in {RECORD_FILE}",
            rule="E-MODEL-59",
            hint=f"copy the model again; or remove {folder} and train the fold again",
        )
    network = build_network(
        description.configuration.arch,
        description.topology,
        channels_in=description.channels_in,
        channels_out=description.dataset.labels.channels,
    )
    try:
        network.load_state_dict(decode(data))
    except RuntimeError as error:
        raise DamagedError(
            f"{path}: its tensors do not fit the plan's network ({str(error).splitlines()[0]})",
            rule="E-MODEL-59",
        ) from error
    return record.weights_digest, network
