"""A trained model in memory: read from its folder, ready to segment arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import (
    DamagedError,
    GeometryError,
    UsageError,
    VoxelError,
)
from autoseg.core.model import (
    MODEL_FILE,
    RECORD_FILE,
    WEIGHTS_FILE,
    FoldRecord,
    ModelDescription,
)
from autoseg.inference.export import label_map_on_input_grid
from autoseg.inference.predictor import PreviousPrediction, Window, predict_logits
from autoseg.io import documents, files
from autoseg.networks.assembler import UNet, build_network
from autoseg.networks.device import Device, place_network
from preprocessing.case import (
    CroppedImage,
    RawGrid,
    crop_image,
    resample_case,
    resample_reference,
)


def _silent(done: int, total: int) -> None:
    """Ignore how many tiles are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A configuration trained on some folds, on a device."""

    description: ModelDescription
    """How it was made and what its channels and labels mean."""
    folds: tuple[int, ...]
    """Folds whose logits are averaged."""
    digests: tuple[str, ...]
    """SHA-256 of each fold's weights."""
    networks: tuple[UNet, ...]
    """One network per fold, in evaluation mode."""
    device: Device
    """Where they lie."""
    mirror: bool
    """Whether logits are averaged over mirrored views."""
    previous: "Model | None" = None
    """First stage of a cascade, whose label map is a further input."""

    @property
    def all_digests(self) -> tuple[str, ...]:
        """SHA-256 of all weights that a segmentation depends on, those of a first stage behind."""
        return self.digests + (() if self.previous is None else self.previous.all_digests)

    def predict(
        self,
        array: npt.NDArray[np.generic],
        spacing: Sequence[float],
        *,
        on_tile: Callable[[int, int], None] = _silent,
    ) -> npt.NDArray[np.unsignedinteger]:
        """Segment an image in memory; starts no process and writes no file.

        Parameters
        ----------
        array : (C, *spatial) or (*spatial) array
            Raw intensities in the units of the training images, axes ``(z, y, x)`` in RAS+
            orientation as `autoseg.io.images.read_image` gives them, in 2D ``(y, x)``. The channel
            axis may be left out where there is one channel.
        spacing : sequence of float
            Voxel edges along the spatial axes, mm.
        on_tile : callable
            Told how many tiles are done, and of how many.

        Returns
        -------
        (*spatial) array of uint8 or uint16
            Value of every voxel's label, as files hold it.

        Raises
        ------
        GeometryError
            If channels or axes are not those that the model was trained on, or a spacing is not
            positive.
        VoxelError
            If the image holds NaN or infinity.
        """
        plan = self.description.plan
        image = _checked(array, spacing, len(self.description.dataset.channels), plan.axis_order)
        cropped = crop_image(image, spacing, plan)
        return self.description.dataset.labels.to_file(self._segment(cropped, on_tile))

    def logits(
        self,
        image: npt.NDArray[np.float32],
        previous: npt.NDArray[np.unsignedinteger] | None = None,
        *,
        on_tile: Callable[[int, int], None] = _silent,
    ) -> npt.NDArray[np.float32]:
        """Return the logits (K, *spatial) of a preprocessed image (C, *spatial).

        ``previous`` is the label map (*spatial) that the first stage of a cascade predicted.
        """
        description, configuration = self.description, self.description.configuration
        axes = description.plan.patch_mirror_axes(configuration) if self.mirror else ()
        window = Window(tile=configuration.patch_size, mirror_axes=axes)
        guide = None
        if previous is not None:
            guide = PreviousPrediction(label_map=previous, labels=description.previous_labels)
        return predict_logits(
            self.networks, image, window, self.device, previous=guide, on_tile=on_tile
        )

    def _segment(
        self, cropped: CroppedImage, on_tile: Callable[[int, int], None]
    ) -> npt.NDArray[np.unsignedinteger]:
        """Return the label map on the raw grid; the stages of a cascade share plan and crop."""
        plan, configuration = self.description.plan, self.description.configuration
        previous = None
        if self.previous is not None:
            coarse = self.previous._segment(cropped, on_tile)
            previous = resample_reference(coarse, cropped.grid, plan, configuration)
        prepared, _ = resample_case(cropped, configuration)
        return self.label_map(self.logits(prepared, previous, on_tile=on_tile), cropped.grid)

    def label_map(
        self, logits: npt.NDArray[np.float32], grid: RawGrid
    ) -> npt.NDArray[np.unsignedinteger]:
        """Return the label map on the raw grid, axes as the reader gave them.

        Labels are positions in `autoseg.core.labels.Labels.names`.
        """
        return label_map_on_input_grid(
            logits,
            grid,
            self.description.dataset.labels,
            self.description.plan,
            self.description.configuration,
        )


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
    axes = description.configuration.ndim
    for fold in chosen:
        digest, network = _read_fold(folder / f"fold_{fold}", description)
        digests.append(digest)
        networks.append(place_network(network, device, axes=axes).eval())
    return Model(
        description=description,
        folds=chosen,
        digests=tuple(digests),
        networks=tuple(networks),
        device=device,
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


def _checked(
    array: npt.NDArray[np.generic],
    spacing: Sequence[float],
    channels: int,
    axis_order: Sequence[int],
) -> npt.NDArray[np.float32]:
    image = np.asarray(array, dtype=np.float32)
    if image.ndim == len(axis_order) and channels == 1:
        image = image[None]
    if image.ndim != len(axis_order) + 1 or len(image) != channels:
        raise GeometryError(
            f"image: shape {np.shape(array)} does not fit the model, which takes {channels} "
            f"channel(s) and {len(axis_order)} spatial axes",
            rule="E-MODEL-60",
        )
    if len(spacing) != len(axis_order) or min(spacing) <= 0:
        raise GeometryError(
            f"image: spacing {tuple(spacing)} must be {len(axis_order)} positive numbers, mm"
        )
    if not np.isfinite(image).all():
        count = int(image.size - np.isfinite(image).sum())
        raise VoxelError(f"image: {count} voxels are NaN or infinite; none may be", rule="E-VAL-28")
    return image
