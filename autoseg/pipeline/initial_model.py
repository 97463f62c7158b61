"""``--init``: which trained model a training starts from, and whether enough of it fits."""

from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autoseg.core.errors import UsageError
from autoseg.core.initial import Initial, InitialFold
from autoseg.core.model import MODEL_FILE, RECORD_FILE, FoldRecord, ModelDescription
from autoseg.io import documents, files
from autoseg.io.workspace import Workspace, matching_names

if TYPE_CHECKING:
    from autoseg.training.initial_weights import InitialWeights, Matched

LEAST_SHARE: Final = 0.05
"""Share of a network's parameters, 0 to 1, below which a start from a model is refused: it would
be one from chance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InitialModel:
    """A trained fold that another training starts from."""

    path: str
    """Where the model is, as it was given."""
    folder: Path
    """Its folder."""
    weights: "InitialWeights"
    """The fold's weights."""
    record: FoldRecord
    """Which cases trained it."""
    is_fold_named: bool
    """Whether this fold was asked for."""

    @property
    def description(self) -> ModelDescription:
        """What the model is."""
        return self.weights.description

    @property
    def fold(self) -> int:
        """Number of the fold."""
        return self.weights.origin.fold


def find_initial(
    path: Path,
    number: int,
    workspace: Workspace | None = None,
    *,
    besides: Path | None = None,
    settled: int | None = None,
) -> InitialModel:
    """Find and read the model that a fold's training starts from.

    Parameters
    ----------
    path : Path
        A model folder, the folder of one of its folds, or ``DATASET/CONFIGURATION`` of the
        workspace, with ``/RUN`` behind it if there are several.
    number : int
        The fold to train. Of a model folder the fold of this number is taken, whose validation
        cases may be the same; the lowest finished one if that is not finished.
    workspace : Workspace, optional
        Where ``DATASET/CONFIGURATION`` is looked up.
    besides : Path, optional
        Model folder of the training itself, which cannot be meant.
    settled : int, optional
        Fold of the model that the training began with, should it go on: by now the model may have
        one that would be preferred.

    Returns
    -------
    InitialModel
        With weights on the CPU.

    Raises
    ------
    UsageError
        If there is no such model, or several, or no finished fold, or it is the training itself.
    DamagedError
        E-MODEL-59 if a file of the model is not what was written.
    """
    import torch

    from autoseg.inference.stored import finished_folds, read_model
    from autoseg.networks.device import Device
    from autoseg.training.initial_weights import InitialWeights

    folder, asked = _locate(path, workspace, besides)
    if besides is not None and folder.resolve() == besides.resolve():
        raise UsageError(
            f"--init {path}: is the very run that would start from it",
            hint="choose another --run NAME for the training",
        )
    finished = finished_folds(folder)
    fold = asked if asked is not None else settled
    if fold is None:
        fold = number if number in finished else min(finished, default=0)
    cpu = Device(torch_device=torch.device("cpu"), autocast=None)
    model = read_model(folder, cpu, folds=[fold], with_previous=False)
    return InitialModel(
        path=str(path),
        folder=folder,
        weights=InitialWeights(
            description=model.description,
            tensors=model.place.networks[0].state_dict(),
            origin=InitialFold(fold=fold, weights_digest=model.digests[0]),
        ),
        record=documents.read_stored(
            folder / f"fold_{fold}" / RECORD_FILE, FoldRecord, rule="E-MODEL-59"
        ),
        is_fold_named=asked is not None,
    )


def describe_initial(initial: InitialModel, description: ModelDescription) -> Initial:
    """Return what a model's description says of the model that it starts from.

    Parameters
    ----------
    initial : InitialModel
        Any of its folds: all give the same.
    description : ModelDescription
        What is trained.

    Raises
    ------
    UsageError
        If less than `LEAST_SHARE` of the network's parameters can be taken over.
    """
    matched = match_initial(initial, description)
    value = Initial(
        path=initial.path,
        dataset=initial.description.dataset.name,
        configuration=initial.description.configuration_name,
        model_digest=files.digest_file(initial.folder / MODEL_FILE),
        copied=matched.count("copied"),
        adapted=matched.count("adapted"),
        fresh=matched.count("fresh"),
        unused=len(matched.unused),
        parameters=matched.parameters,
        parameters_taken=matched.taken,
    )
    if value.share < LEAST_SHARE:
        raise UsageError(
            f"--init {initial.path}: only {percent(value.share)} of the network's parameters are "
            f"in the model, at least {percent(LEAST_SHARE)} are needed; the model has a "
            f"{_network(initial.description)}, this training a {_network(description)}",
            hint=_hint(initial, description),
        )
    return value


def match_initial(initial: InitialModel, description: ModelDescription) -> "Matched":
    """Return what the network of a training can take over from a model.

    Parameters
    ----------
    initial : InitialModel
        The model.
    description : ModelDescription
        What is trained; its network is not drawn, for shapes are enough.
    """
    import torch

    from autoseg.networks.assembler import build_network
    from autoseg.training.fitted_tensors import channel_names
    from autoseg.training.initial_weights import match_weights

    with torch.device("meta"):
        network = build_network(
            description.configuration.arch,
            description.topology,
            channels_in=description.channels_in,
            channels_out=description.dataset.labels.channels,
        )
    return match_weights(
        network.state_dict(),
        initial.weights.tensors,
        names=channel_names(description),
        source_names=channel_names(initial.description),
    )


def percent(share: float) -> str:
    """Write a share in percent, rounded down, so that 100 % means all."""
    return f"{floor(1000 * share + 1e-9) / 10:g} %"


def _locate(
    path: Path, workspace: Workspace | None, besides: Path | None
) -> tuple[Path, int | None]:
    """Return the model folder, and the fold if a fold's folder was named."""
    if (path / MODEL_FILE).is_file():
        return path, None
    whole = path.absolute()
    number = whole.name.removeprefix("fold_")
    if whole.name != number and number.isdigit() and (whole.parent / MODEL_FILE).is_file():
        return path.parent if path.name else whole.parent, int(number)
    if workspace is None or path.exists():
        raise _no_model(path, "give a model folder or a fold's, or DATASET/CONFIGURATION")
    return _named(path, workspace, besides), None


def _named(path: Path, workspace: Workspace, besides: Path | None) -> Path:
    """Return the only trained model that is spelled ``DATASET/CONFIGURATION``, or with its run."""
    from autoseg.inference.stored import finished_folds

    descriptions = sorted(workspace.path.glob("*/models/*/*/*/" + MODEL_FILE))
    folders = [each.parent for each in descriptions if each.parent != besides]
    trained = [folder for folder in folders if finished_folds(folder)]
    dataset, *rest = path.parts
    datasets = matching_names(dataset, workspace.datasets()) if rest else ()
    found = [
        folder
        for folder in trained
        if folder.parts[-5] in datasets and list(folder.parts[-2:][: len(rest)]) == rest
    ]
    if not found:
        there = sorted({f"{folder.parts[-5]}/{folder.parts[-2]}" for folder in trained})
        raise _no_model(path, f"trained in {workspace.path} are: {', '.join(there) or 'none'}")
    if len(found) > 1:
        raise UsageError(
            f"--init {path}: may mean {', '.join(map(str, found))}",
            hint="add the run, as in DATASET/CONFIGURATION/RUN, or give one of these folders",
        )
    return found[0]


def _no_model(path: Path, hint: str) -> UsageError:
    what = f"has no {MODEL_FILE}" if path.exists() else "does not exist"
    return UsageError(f"--init {path}: is no model folder; it {what}", hint=hint)


def _network(description: ModelDescription) -> str:
    """Name a network, such as ``3D plain network of 3 stages, 4 to 16 channels``."""
    configuration, features = description.configuration, description.topology.features
    return (
        f"{configuration.ndim}D {configuration.network} network of {len(features)} stages, "
        f"{features[0]} to {features[-1]} channels"
    )


def _hint(initial: InitialModel, description: ModelDescription) -> str:
    theirs, ours = initial.description, description
    width = theirs.training.width_fraction
    narrowed = f"--width-fraction {width:g}" if width != ours.training.width_fraction else ""
    networks = [(each.configuration.arch, each.configuration.topology) for each in (theirs, ours)]
    if narrowed and networks[0] == networks[1]:
        return f"train with the model's width: {narrowed}"
    return (
        f"plan with the model's network: autoseg plan -d {ours.dataset.name} --like "
        f"{initial.folder} --plan like; then train {theirs.configuration_name} --plan like "
        f"{narrowed}".rstrip()
    )
