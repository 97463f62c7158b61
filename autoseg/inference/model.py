"""A trained model in memory, ready to segment arrays; `autoseg.inference.stored` reads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.labels import LabelMap
from autoseg.core.model import ModelDescription
from autoseg.execution.machine import inspect_machine
from autoseg.inference.export import label_map_on_input_grid
from autoseg.inference.predictor import OnTile, no_listener, predict_slabs
from autoseg.inference.window import PreviousPrediction, Window
from autoseg.inference.workplace import Workplace
from preprocessing.case import PreparedImage, RawGrid, prepare_image, resample_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A configuration trained on some folds, on a device."""

    description: ModelDescription
    """How it was made and what its channels and labels mean."""
    folds: tuple[int, ...]
    """Folds whose logits are averaged."""
    digests: tuple[str, ...]
    """SHA-256 of each fold's weights."""
    place: Workplace
    """One network per fold, and where they run."""
    mirror: bool
    """Whether logits are averaged over mirrored views."""
    previous: "Model | None" = None
    """First stage of a cascade, whose label map is a further input."""

    @property
    def all_digests(self) -> tuple[str, ...]:
        """SHA-256 of all weights that a segmentation depends on, those of a first stage behind."""
        return self.digests + (() if self.previous is None else self.previous.all_digests)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the configurations that an image is prepared for, a cascade's first in front."""
        first = () if self.previous is None else self.previous.stages
        return (*first, self.description.configuration_name)

    def predict(
        self,
        array: npt.NDArray[np.generic],
        spacing: Sequence[float],
        *,
        where: str = "image",
        on_tile: OnTile = no_listener,
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
        where : str
            Names the image in errors.
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
        threads = inspect_machine().cores
        prepared = prepare_image(image, spacing, plan, self.stages, where=where, threads=threads)
        labels = self.description.dataset.labels
        return labels.to_file(self.segment_prepared(prepared, on_tile=on_tile))

    def segment(
        self,
        image: npt.NDArray[np.float32],
        grid: RawGrid,
        previous: LabelMap | None = None,
        *,
        on_tile: OnTile = no_listener,
    ) -> LabelMap:
        """Segment a preprocessed image.

        Parameters
        ----------
        image : (C, *spatial) array of float32
            On the configuration's grid, axes in plan order.
        grid : RawGrid
            Of the image that it was made from.
        previous : (*spatial) array of unsigned int, optional
            Label map that the first stage of a cascade predicted, on the same grid as the image.
        on_tile : callable
            Told how many tiles are done, and of how many.

        Returns
        -------
        (*whole image) array of unsigned int
            On the raw grid, axes as the reader gave them. Labels are positions in
            `autoseg.core.labels.Labels.names`.
        """
        description = self.description
        return label_map_on_input_grid(
            self.slabs(image, previous, on_tile=on_tile),
            grid,
            description.dataset.labels,
            description.plan,
            description.configuration,
        )

    def slabs(
        self,
        image: npt.NDArray[np.float32],
        previous: LabelMap | None = None,
        *,
        folds_apart: bool = False,
        on_tile: OnTile = no_listener,
    ) -> Iterator[Tensor]:
        """Yield the logits of a preprocessed image; see `predict_slabs`."""
        description, configuration = self.description, self.description.configuration
        axes = description.plan.patch_mirror_axes(configuration) if self.mirror else ()
        window = Window(tile=configuration.patch_size, mirror_axes=axes)
        guide = None
        if previous is not None:
            guide = PreviousPrediction(label_map=previous, labels=description.previous_labels)
        return predict_slabs(
            self.place,
            image,
            window,
            previous=guide,
            folds_apart=folds_apart,
            on_tile=on_tile,
        )

    def segment_prepared(
        self, prepared: PreparedImage, *, on_tile: OnTile = no_listener
    ) -> LabelMap:
        """Return the label map on the raw grid of an image prepared for all `stages`."""
        image = prepared.images[self.description.configuration_name]
        previous = self.previous_label_map(prepared, on_tile=on_tile)
        return self.segment(image, prepared.grid, previous, on_tile=on_tile)

    def previous_label_map(
        self, prepared: PreparedImage, *, on_tile: OnTile = no_listener
    ) -> LabelMap | None:
        """Return what the first stage of a cascade predicts, on the second's grid, or None."""
        if (known := prepared.previous.get(self.description.configuration_name)) is not None:
            return known
        if self.previous is None:
            return None
        plan, configuration = self.description.plan, self.description.configuration
        coarse = self.previous.segment_prepared(prepared, on_tile=on_tile)
        threads = inspect_machine().cores
        return resample_reference(coarse, prepared.grid, plan, configuration, threads=threads)


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
