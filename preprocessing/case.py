"""One case in order: axes, crop, normalization, resampling. Training and prediction share it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from autoseg.core.geometry import Box, resampled_shape
from autoseg.core.plan import Configuration, Plan
from preprocessing.cropping import nonzero_box, nonzero_mask
from preprocessing.label_resampling import resample_mask, resample_segmentation
from preprocessing.normalization import ChannelScaling, normalize
from preprocessing.resampling import (
    resample_image,
    separate_axis,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawGrid:
    """Where a cut lies in a raw image; axes in plan order."""

    whole_shape: tuple[int, ...]
    """Spatial shape of the whole image."""
    crop: Box
    """The box that was cut out."""
    spacing: tuple[float, ...]
    """Voxel edges, mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CroppedImage:
    """An image in plan order, cut to its nonzero box and normalized: the same for every grid."""

    image: npt.NDArray[np.float32]
    """(C, *spatial) normalized intensities on the raw grid."""
    nonzero: npt.NDArray[np.bool_]
    """(*spatial) voxels inside the imaged body; all true where no channel's scheme asks for it."""
    grid: RawGrid
    """Where the cut lies in the raw image."""
    scalings: tuple[ChannelScaling, ...]
    """How each channel was normalized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedImage:
    """An image as the networks of some configurations see it."""

    images: dict[str, npt.NDArray[np.float32]]
    """(C, *spatial) on the grid of each configuration, by its name."""
    grid: RawGrid
    """Of the image that they were made from."""
    previous: dict[str, npt.NDArray[np.unsignedinteger]] = field(default_factory=dict)
    """(*spatial) label map of a cascade's first stage on the second's grid, by the second's name,
    where it is known already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """From a raw grid's cut to a configuration's."""

    shape: tuple[int, ...]
    """Spatial shape to reach."""
    spacing: tuple[float, ...]
    """Voxel edges to reach, mm."""
    separate: int | None
    """Axis that is resampled apart; see `preprocessing.resampling.separate_axis`."""


def crop_image(
    voxels: npt.NDArray[np.float32],
    spacing: Sequence[float],
    plan: Plan,
    *,
    where: str = "image",
) -> CroppedImage:
    """Put an image into plan order, cut it to its nonzero box and normalize it.

    Parameters
    ----------
    voxels : (C, *spatial) array of float32
        Raw image, axes as the reader gives them.
    spacing : sequence of float
        Voxel edges along the same axes, mm.
    plan : Plan
        Axis order and normalization.
    where : str
        Names the image in errors.

    Raises
    ------
    VoxelError
        If intensities do not fit their normalization; see `preprocessing.normalization.normalize`.
    """
    ordered = in_plan_order(voxels, plan)
    crop = nonzero_box(ordered)
    cut = ordered[:, *crop.slices]
    asked = any(scheme.inside_nonzero_only for scheme in plan.normalization)
    nonzero = nonzero_mask(cut) if asked else np.ones(cut.shape[1:], bool)
    image, scalings = normalize(cut, nonzero, plan.normalization, where=where)
    return CroppedImage(
        image=image,
        nonzero=nonzero,
        grid=raw_grid(voxels.shape[1:], spacing, crop, plan),
        scalings=scalings,
    )


def prepare_image(
    voxels: npt.NDArray[np.float32],
    spacing: Sequence[float],
    plan: Plan,
    names: Sequence[str],
    *,
    where: str = "image",
    threads: int = 1,
) -> PreparedImage:
    """Bring a raw image to the grids of some configurations of a plan.

    Parameters
    ----------
    voxels, spacing, plan, where
        As in `crop_image`.
    names : sequence of str
        Names of the configurations.
    threads : int
        Threads to compute with; their number changes no voxel.
    """
    cropped = crop_image(voxels, spacing, plan, where=where)
    images = {
        name: resample_case(cropped, plan.configuration(name), threads=threads)[0] for name in names
    }
    return PreparedImage(images=images, grid=cropped.grid)


def in_plan_order(voxels: npt.NDArray[np.float32], plan: Plan) -> npt.NDArray[np.float32]:
    """Return an array (C, *spatial) with its spatial axes in the plan's order (a view)."""
    return voxels.transpose(0, *(axis + 1 for axis in plan.axis_order))


def plan_resampling(grid: RawGrid, configuration: Configuration) -> Resampling:
    """Return the grid that a configuration wants for a raw grid's cut.

    A 2D configuration of a 3D image resamples within slices; the slices keep their spacing.
    """
    kept = len(grid.spacing) - configuration.ndim
    target = (*grid.spacing[:kept], *configuration.spacing)
    return Resampling(
        shape=resampled_shape(grid.crop.shape, grid.spacing, target),
        spacing=target,
        separate=separate_axis(grid.spacing, target),
    )


def resample_case(
    cropped: CroppedImage, configuration: Configuration, *, threads: int = 1
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the image and the nonzero mask on a configuration's grid.

    The image is smoothed where the configuration asks for it; the mask never is. The number of
    threads changes no voxel.
    """
    grid = plan_resampling(cropped.grid, configuration)
    image = resample_image(
        cropped.image,
        grid.shape,
        order=configuration.image_order,
        separate=grid.separate,
        anti_aliasing=configuration.anti_aliasing,
        threads=threads,
    )
    mask = resample_mask(cropped.nonzero, grid.shape, separate=grid.separate, threads=threads)
    return image, mask


def resample_reference(
    segmentation: npt.NDArray[np.unsignedinteger],
    grid: RawGrid,
    plan: Plan,
    configuration: Configuration,
    *,
    threads: int = 1,
) -> npt.NDArray[np.unsignedinteger]:
    """Return a segmentation (*spatial, the reader's axes) on a configuration's grid.

    Parameters
    ----------
    segmentation : (*spatial) array of unsigned int
        Reference, or the prediction of a previous stage, on the whole raw grid.
    grid : RawGrid
        Where the image's cut lies in it.
    plan, configuration
        What was decided.
    threads : int
        Threads to compute with; their number changes no voxel.
    """
    wanted = plan_resampling(grid, configuration)
    cut = segmentation.transpose(plan.axis_order)[grid.crop.slices]
    return resample_segmentation(
        cut,
        wanted.shape,
        order=configuration.segmentation_order,
        separate=wanted.separate,
        threads=threads,
    )


def raw_grid(shape: Sequence[int], spacing: Sequence[float], crop: Box, plan: Plan) -> RawGrid:
    """Return a raw image's grid in plan order.

    Parameters
    ----------
    shape, spacing : sequence
        Voxels and voxel edges (mm) per axis, as the reader gives them.
    crop : Box
        Cut, axes in plan order.
    plan : Plan
        Axis order.
    """
    return RawGrid(
        whole_shape=tuple(shape[axis] for axis in plan.axis_order),
        crop=crop,
        spacing=tuple(spacing[axis] for axis in plan.axis_order),
    )
