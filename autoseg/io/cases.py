"""A training case as it is read: its image, and its segmentation on the image's grid."""

from pathlib import Path

from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import DatasetError
from autoseg.core.geometry import Orientation
from autoseg.io import images


def read_case(
    case: Case,
    description: DatasetDescription,
    folder: Path,
    *,
    orientation: Orientation = "canonical",
) -> tuple[images.Image, images.Segmentation]:
    """Read a case, each of its files once.

    Parameters
    ----------
    case : Case
        The case.
    description : DatasetDescription
        Channels, labels, and what is accepted of its files.
    folder : Path
        Folder that the case's paths start from.
    orientation : Orientation
        How to turn the arrays.

    Returns
    -------
    Image
        All channels.
    Segmentation
        With the positions of the dataset's labels, whatever values they have in the file.

    Raises
    ------
    DatasetError
        E-SET-42 if the case has no segmentation.
    InputError
        If a file of the case is refused, or they do not belong together.
    """
    accepted = description.accepted
    if case.segmentation is None:
        raise DatasetError(f"case {case.name!r}: has no segmentation", rule="E-SET-42")
    image = images.read_case_image(
        case,
        len(description.channels),
        folder=folder,
        orientation=orientation,
        accepted=accepted,
    )
    segmentation = images.read_segmentation(
        folder / case.segmentation,
        case.labels_in_file(description.labels),
        orientation=orientation,
        accepted=accepted,
    )
    return image, images.on_grid_of(image.geometry, segmentation, case.name, accepted=accepted)
