"""The figures of a training for TensorBoard, where it is installed and asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.core.errors import UsageError
from autoseg.core.training_history import AVERAGE, DICE, MEAN_DICE

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """An event file that grows with the training."""

    writer: "SummaryWriter"
    """What writes it, in a thread of its own."""

    def record(self, values: Mapping[str, float]) -> None:
        """Write the figures of an epoch at its step; without a ``step`` there is no place for them.

        Raises
        ------
        OSError
            If an earlier figure could not be written.
        """
        if "step" not in values:
            return
        for name, value in values.items():
            if name not in ("epoch", "step"):
                self.writer.add_scalar(chart(name), value, int(values["step"]))
        self.writer.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self.writer.close()


def require_tensorboard() -> None:
    """Refuse to go on without TensorBoard; to be called before anything is trained.

    Raises
    ------
    UsageError
        If the package is missing or too old for torch.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401 - whether it can be
    except ImportError as error:
        raise UsageError(
            f"TensorBoard was asked for, and it is not installed ({error})",
            hint="pip install autoseg[track]",
        ) from error


def open_board(folder: Path) -> Board:
    """Open a new event file in a folder, which is created; earlier ones stay.

    Raises
    ------
    UsageError
        If TensorBoard is not installed.
    """
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return Board(writer=SummaryWriter(str(folder)))


def chart(name: str) -> str:
    """Return the chart of a figure, behind its group; raw and averaged weights share a group.

    Examples
    --------
    >>> chart("average_dice_tumor"), chart("pseudo_dice"), chart("train_loss"), chart("step_s")
    ('Dice/tumor, averaged', 'Dice/(mean)', 'loss/train', 'training/step_s')
    """
    plain = name.removeprefix(AVERAGE)
    which = ", averaged" if plain != name else ""
    if plain == MEAN_DICE:
        return f"Dice/(mean){which}"
    if plain.startswith(DICE):
        return f"Dice/{plain.removeprefix(DICE)}{which}"
    if plain.endswith("_loss"):
        return f"loss/{plain.removesuffix('_loss')}{which}"
    return f"training/{plain}{which}"
