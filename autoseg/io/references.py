"""The expert segmentation of a case, on the grid of its image."""

from pathlib import Path

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.geometry import Geometry, Orientation
from autoseg.io import images


def read_reference(
    case: Case,
    folder: Path,
    description: DatasetDescription,
    geometry: Geometry,
    orientation: Orientation,
) -> images.Segmentation:
    """Read the segmentation of a training case.

    Parameters
    ----------
    case : Case
        The case.
    folder : Path
        Folder that its paths start from.
    description : DatasetDescription
        Labels, and what is accepted although a rule refuses it.
    geometry : Geometry
        Grid of its image.
    orientation : Orientation
        Of the plan, in which the image was read.

    Raises
    ------
    InputError
        If the file is refused, or lies on another grid and that is not accepted.
    """
    expected = images.read_segmentation(
        folder / str(case.segmentation),
        case.labels_in_file(description.labels),
        orientation=orientation,
        accepted=description.accepted,
    )
    return images.on_grid_of(geometry, expected, case.name, accepted=description.accepted)
