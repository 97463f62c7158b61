"""An image that is given as an array: checked, and turned as the model's training images were."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoseg.core.errors import GeometryError, VoxelError
from autoseg.core.geometry import Geometry, Orientation
from autoseg.core.labels import LabelMap
from autoseg.io.formats.placement import check_spacing, oriented_geometry, straightened


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenArray:
    """An image in memory, ready for preprocessing."""

    voxels: npt.NDArray[np.float32]
    """(C, *spatial) intensities, axes as the reader of files gives them."""
    spacing: tuple[float, ...]
    """Voxel edges along the spatial axes, mm."""
    geometry: Geometry | None
    """How its axes were turned; None where they lay right."""

    def back(self, label_map: LabelMap) -> LabelMap:
        """Return a label map of the turned image with the axes that were given."""
        return label_map if self.geometry is None else self.geometry.to_file(label_map)


def check_array(
    array: npt.NDArray[np.generic],
    spacing: Sequence[float] | None,
    affine: npt.NDArray[np.floating] | None,
    *,
    channels: int,
    axes: int,
    orientation: Orientation,
    where: str = "image",
) -> GivenArray:
    """Check an array against what a model takes, and turn it.

    Parameters
    ----------
    array : (C, *spatial) or (*spatial) array
        The image; the channel axis may be left out where there is one channel.
    spacing : sequence of float, optional
        Voxel edges, mm; then the axes are those of the reader.
    affine : (4, 4) array, optional
        From the voxel index along the given axes to RAS+ mm; then they may be in any order.
    channels, axes : int
        Channels and spatial axes that the model takes.
    orientation : str
        How training images were turned.
    where : str
        Names the image in errors.

    Raises
    ------
    GeometryError
        If channels or axes are not those of the model, a spacing is not positive, both or neither
        of spacing and affine are given, or the affine is no placement of voxels.
    VoxelError
        If the image holds NaN or infinity.
    """
    image = np.asarray(array, dtype=np.float32)
    if image.ndim == axes and channels == 1:
        image = image[None]
    if image.ndim != axes + 1 or len(image) != channels:
        raise GeometryError(
            f"{where}: shape {np.shape(array)} does not fit the model, which takes {channels} "
            f"channel(s) and {axes} spatial axes",
            rule="E-MODEL-60",
        )
    if not np.isfinite(image).all():
        count = int(image.size - np.isfinite(image).sum())
        raise VoxelError(
            f"{where}: {count} voxels are NaN or infinite; none may be", rule="E-VAL-28"
        )
    if (spacing is None) == (affine is None):
        raise GeometryError(
            f"{where}: needs either its spacing or its affine, and not both",
            hint="predict(array, spacing), or predict(array, affine=image.affine) of nibabel",
        )
    if affine is not None:
        return _turned(image, affine, orientation, where)
    assert spacing is not None  # one of both is given
    if len(spacing) != axes or min(spacing) <= 0:
        raise GeometryError(
            f"{where}: spacing {tuple(spacing)} must be {axes} positive numbers, mm"
        )
    return GivenArray(voxels=image, spacing=tuple(spacing), geometry=None)


def _turned(
    image: npt.NDArray[np.float32],
    affine: npt.NDArray[np.floating],
    orientation: Orientation,
    where: str,
) -> GivenArray:
    if np.shape(affine) != (4, 4) or image.ndim != 4:
        raise GeometryError(
            f"{where}: an affine of shape {np.shape(affine)} does not fit {image.ndim - 1} spatial "
            "axes; 4 x 4 places three",
            hint="give the spacing of a 2D image",
        )
    matrix, _ = straightened(np.asarray(affine, np.float64), "affine", where)
    check_spacing(matrix, where)
    geometry = oriented_geometry(image.shape[1:], matrix, orientation)
    voxels = np.stack([geometry.to_array(channel) for channel in image])
    return GivenArray(voxels=voxels, spacing=geometry.spacing, geometry=geometry)
