"""Whether the channels and the segmentation of a case lie on one grid, and putting them there.

By position in space alone: nothing is registered. Nothing is resampled unless it was accepted.
"""

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from autoseg.core.acceptance import Accepted, accepted_note, choice_of, offer
from autoseg.core.errors import GeometryError
from autoseg.core.geometry import Array, Geometry, grids_differ

_DECIMALS: Final = 9
"""Digits of a voxel index that are kept, so that ties do not hang on the last bit of a matrix."""


def check_grid(image: Geometry, segmentation: Geometry, where: str = "") -> None:
    """Refuse a segmentation that does not lie on the grid of its image, or of another one.

    Parameters
    ----------
    image, segmentation : Geometry
        In the same orientation.
    where : str
        Names the case; empty for none.

    Raises
    ------
    GeometryError
        E-GEO-20 if the shapes differ, E-GEO-21 if spacing, place or direction do.
    """
    fault = _fault(image, segmentation, where)
    if fault is not None:
        raise fault


def labels_on_grid(
    label_map: npt.NDArray[np.unsignedinteger],
    source: Geometry,
    image: Geometry,
    where: str,
    accepted: Accepted,
) -> tuple[npt.NDArray[np.unsignedinteger], tuple[str, ...]]:
    """Return a label map on the grid of its image, and a note if it had to be resampled.

    Parameters
    ----------
    label_map : (*spatial) array
        Labels on the grid ``source``; 0 is the background.
    source, image : Geometry
        In the same orientation.
    where : str
        Names the case; empty for none.
    accepted : tuple of Acceptance
        ``E-GEO-20=resample`` and ``E-GEO-21=resample`` take the nearest label by position.

    Raises
    ------
    GeometryError
        As `check_grid`, for what was not accepted, and for grids that do not meet in space.
    """
    fault = _fault(image, source, where)
    if fault is None:
        return label_map, ()
    choice = choice_of(accepted, fault.rule)
    if image.ndim != source.ndim or image.ndim == 2:  # no picture says where it lies
        raise fault
    if choice is None:
        raise GeometryError(str(fault), rule=fault.rule, hint=fault.hint + offer(fault.rule))
    moved, outside = resampled(label_map, source, image, order=0, outside=0)
    if outside == moved.size:
        raise _apart(fault)
    before = np.count_nonzero(label_map) * _voxel_mm3(source)
    after = np.count_nonzero(moved) * _voxel_mm3(image)
    if before and not after:
        raise _emptied(fault, before)
    note = (
        f"shape {source.shape} was put onto the image's grid {image.shape}, nearest label by "
        f"position: {before:.6g} mm³ of foreground became {after:.6g} mm³, {outside} voxels lie "
        "outside of it and became background"
    )
    return moved, (accepted_note(note, fault.rule, choice),)


def channel_on_grid(
    channel: npt.NDArray[np.float32],
    source: Geometry,
    first: Geometry,
    where: str,
    accepted: Accepted,
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Return a channel on the grid of the first one, and a note if it had to be resampled.

    Parameters
    ----------
    channel : (*spatial) array
        Intensities on the grid ``source``.
    source, first : Geometry
        In the same orientation.
    where : str
        Names the case and the two files.
    accepted : tuple of Acceptance
        ``E-GEO-23=resample`` interpolates linearly; beyond the channel it has its smallest value.

    Raises
    ------
    GeometryError
        E-GEO-23 for grids that differ, unless that was accepted and they meet in space.
    """
    difference = _difference(source, first)
    if not difference:
        return channel, ()
    is_flat = source.ndim != first.ndim or first.ndim == 2
    fault = GeometryError(
        f"{where} lie on different grids: {difference}",
        rule="E-GEO-23",
        hint="register and resample the channels of a case to one grid"
        + ("" if is_flat else offer("E-GEO-23")),
    )
    choice = choice_of(accepted, "E-GEO-23")
    if choice is None or is_flat:
        raise fault
    smallest = float(channel.min())
    moved, outside = resampled(channel, source, first, order=1, outside=smallest)
    if outside == moved.size:
        raise _apart(fault)
    note = (
        f"shape {source.shape} was put onto the grid {first.shape} of the first channel, linearly "
        f"by position; {outside} voxels lie outside of it and became {smallest:g}"
    )
    return moved, (accepted_note(note, "E-GEO-23", choice),)


def resampled(
    voxels: Array, source: Geometry, target: Geometry, *, order: Literal[0, 1], outside: float
) -> tuple[npt.NDArray[Any], int]:
    """Return the values at the positions of another grid's voxels.

    Parameters
    ----------
    voxels : (*source.shape) array
        Values.
    source, target : Geometry
        In any orientation; as many axes.
    order : 0 or 1
        Nearest voxel, or linear interpolation.
    outside : float
        Value of positions beyond the voxels of ``source``, which reach half an edge around their
        centers; up to there the outermost value holds.

    Returns
    -------
    (*target.shape) array
        Of the same type.
    int
        Number of voxels that lie outside.

    Notes
    -----
    Nothing is smoothed: a fine channel that goes onto a coarse grid may alias.
    """
    from scipy.ndimage import affine_transform

    d = source.ndim
    matrix = np.round(np.linalg.inv(source.affine) @ target.affine, _DECIMALS)
    moved: npt.NDArray[Any] = affine_transform(
        voxels,
        matrix[:d, :d],
        offset=matrix[:d, d],
        output_shape=target.shape,
        order=order,
        mode="nearest",
        prefilter=False,
    )
    count = 0
    for index in range(target.shape[0]):  # by slices: indices of all voxels take 24 bytes each
        beyond = np.zeros(target.shape[1:], bool)
        for axis in range(d):
            places = matrix[axis, 0] * index + matrix[axis, d]
            for other in range(1, d):
                along = [-1 if k == other else 1 for k in range(1, d)]
                places = places + (matrix[axis, other] * np.arange(target.shape[other])).reshape(
                    along
                )
            edge = 0.5 + 10.0**-_DECIMALS * source.shape[axis]  # what lies on the edge is inside
            beyond |= (places < -edge) | (places > source.shape[axis] - 1 + edge)
        moved[index][beyond] = outside
        count += int(np.count_nonzero(beyond))
    return moved, count


def _fault(image: Geometry, segmentation: Geometry, where: str) -> GeometryError | None:
    place = f"{where}: " if where else ""
    if image.shape != segmentation.shape:
        return GeometryError(
            f"{place}segmentation shape {segmentation.shape} differs from image shape "
            f"{image.shape}",
            rule="E-GEO-20",
            hint="resample the segmentation onto the image's grid, or remove the case",
        )
    difference = grids_differ(image, segmentation)
    if not difference:
        return None
    return GeometryError(
        f"{place}image and segmentation lie apart: {difference}",
        rule="E-GEO-21",
        hint="resample the segmentation onto the image's grid, or correct its header",
    )


def _difference(source: Geometry, first: Geometry) -> str:
    if source.shape != first.shape:
        return f"shapes {source.shape} and {first.shape} differ"
    return grids_differ(source, first)


def _apart(fault: GeometryError) -> GeometryError:
    """Return the error for grids that were to be resampled but have no voxel in common."""
    return GeometryError(
        f"{fault}; they do not meet anywhere in space, so that resampling would leave nothing",
        rule=fault.rule,
        hint="correct the headers: one of them names another place",
    )


def _emptied(fault: GeometryError, before_mm3: float) -> GeometryError:
    """Return the error for a segmentation of which the image's grid shows nothing."""
    return GeometryError(
        f"{fault}; of its {before_mm3:.6g} mm³ of foreground nothing would be left on the image's "
        "grid",
        rule=fault.rule,
        hint="correct the headers, or remove the case",
    )


def _voxel_mm3(geometry: Geometry) -> float:
    return abs(float(np.linalg.det(geometry.affine[:-1, :-1])))
