"""A trained model in memory, ready to segment arrays; `autoseg.inference.stored` reads it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from torch import Tensor

from autoseg.core.errors import GeometryError
from autoseg.core.labels import LabelMap
from autoseg.core.model import ModelDescription
from autoseg.execution.machine import inspect_machine
from autoseg.inference.export import label_map_on_input_grid
from autoseg.inference.given_array import check_array
from autoseg.inference.predictor import OnTile, no_listener, predict_slabs
from autoseg.inference.previous import PreviousPrediction
from autoseg.inference.tiling import Tiling
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
    def places(self) -> tuple[Workplace, ...]:
        """Where it runs, a cascade's first stage in front."""
        return (*(() if self.previous is None else self.previous.places), self.place)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the configurations that an image is prepared for, a cascade's first in front."""
        first = () if self.previous is None else self.previous.stages
        return (*first, self.description.configuration_name)

    @overload
    def predict(
        self,
        array: npt.NDArray[Any],
        spacing: Sequence[float] | None = None,
        *,
        affine: npt.NDArray[np.floating] | None = None,
        where: str = "image",
        on_tile: OnTile = no_listener,
    ) -> LabelMap: ...
    @overload
    def predict(
        self,
        array: list[npt.NDArray[Any]],
        spacing: Sequence[Sequence[float]] | None = None,
        *,
        affine: Sequence[npt.NDArray[np.floating]] | None = None,
        where: str = "image",
        on_tile: OnTile = no_listener,
    ) -> list[LabelMap]: ...
    def predict(
        self,
        array: Any,
        spacing: Any = None,
        *,
        affine: Any = None,
        where: str = "image",
        on_tile: OnTile = no_listener,
    ) -> LabelMap | list[LabelMap]:
        """Segment an image in memory, or each of a list; starts no process and writes no file.

        Parameters
        ----------
        array : (C, *spatial) or (*spatial) array, or list of such
            Raw intensities in the units of the training images. The channel axis may be left out
            where there is one channel. With a spacing, axes are ``(z, y, x)`` in RAS+ orientation
            as `autoseg.io.images.read_image` gives them, in 2D ``(y, x)``.
        spacing : sequence of float, or list of such
            Voxel edges along the spatial axes, mm.
        affine : (4, 4) array, or list of such
            Instead of the spacing: from the voxel index along the spatial axes, which may then be
            in any order, to RAS+ mm. nibabel's arrays and affines fit as they are.
        where : str
            Names the image in errors.
        on_tile : callable
            Told how many tiles are done, and of how many.

        Returns
        -------
        (*spatial) array of uint8 or uint16, or list of such
            Value of every voxel's label, as files hold it; axes as given.

        Raises
        ------
        GeometryError
            If channels or axes are not those that the model was trained on, a spacing is not
            positive, or the affine places no voxels.
        VoxelError
            If the image holds NaN or infinity.
        """
        if isinstance(array, list):
            count = len(array)
            edges_of = [None] * count if spacing is None else list(spacing)
            matrices = [None] * count if affine is None else list(affine)
            if not count == len(edges_of) == len(matrices):
                raise GeometryError(
                    f"{where}: {count} images have {len(edges_of)} spacings and {len(matrices)} "
                    "affines; each needs one",
                    hint="give a list as long as that of the images",
                )
            places = zip(array, edges_of, matrices, strict=True)
            return [
                self.predict(each, edges, affine=matrix, where=f"{where} {n}", on_tile=on_tile)
                for n, (each, edges, matrix) in enumerate(places)
            ]
        plan, dataset = self.description.plan, self.description.dataset
        given = check_array(
            array,
            spacing,
            affine,
            channels=len(dataset.channels),
            axes=len(plan.axis_order),
            orientation=plan.orientation,
            where=where,
        )
        prepared = prepare_image(
            given.voxels,
            given.spacing,
            plan,
            self.stages,
            where=where,
            threads=inspect_machine().cores,
        )
        label_map = self.segment_prepared(prepared, on_tile=on_tile)
        return given.back(dataset.labels.to_file(label_map))

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
        return self.label_map(self.slabs(image, previous, on_tile=on_tile), grid)

    def label_map(self, slabs: Iterable[Tensor], grid: RawGrid) -> LabelMap:
        """Return the label map on the raw grid that slabs of logits lead to."""
        description = self.description
        return label_map_on_input_grid(
            slabs, grid, description.dataset.labels, description.plan, description.configuration
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
        axes = description.mirror_axes if self.mirror else ()
        tiling = Tiling(tile=configuration.patch_size, mirror_axes=axes)
        guide = None
        if previous is not None:
            guide = PreviousPrediction(label_map=previous, labels=description.previous_labels)
        return predict_slabs(
            self.place,
            image,
            tiling,
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
        coarse = self.previous.segment_prepared(prepared, on_tile=on_tile)
        return self.guide(coarse, prepared.grid)

    def guide(self, coarse: LabelMap, grid: RawGrid) -> LabelMap:
        """Return a first stage's label map, given on the raw grid, on this second stage's."""
        plan, configuration = self.description.plan, self.description.configuration
        threads = inspect_machine().cores
        return resample_reference(coarse, grid, plan, configuration, threads=threads)
