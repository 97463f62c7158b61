"""``autoseg.load``: a trained model in memory, for use from Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.siblings import check_siblings

if TYPE_CHECKING:
    from autoseg.inference.model import Model


def load(
    model_folder: str | Path,
    *,
    folds: Sequence[int] | None = None,
    device: str = "auto",
    mirror: bool | None = None,
) -> "Model":
    """Load a trained model.

    Parameters
    ----------
    model_folder : str or Path
        Such as ``autoseg_workspace/Task04_Hippocampus/models/default/3d_fullres/default``.
    folds : sequence of int, optional
        Folds to average; all finished ones if left out.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    mirror : bool, optional
        Whether to average over mirrored views; as trained if left out.

    Returns
    -------
    Model
        Its ``predict(array, spacing)`` returns the label map of an image.

    Raises
    ------
    UsageError
        If the folder is no model folder, or a fold is not finished.
    DamagedError
        If a file of the model is not what was written.
    """
    check_siblings()
    from autoseg.inference.stored import read_model
    from autoseg.networks.device import choose_device

    return read_model(Path(model_folder), choose_device(device), folds=folds, mirror=mirror)
