"""TensorBoard: a refusal where it is missing, and what it is given where it is not.

torch's writer needs the package, of which the tests must not depend: a stand-in takes its place.
"""

import sys
from importlib.util import find_spec
from types import ModuleType

import pytest

from autoseg.core.errors import UsageError
from autoseg.pipeline.tensorboard import chart, open_board, require_tensorboard


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="tensorboard is installed")
@pytest.mark.parametrize("ask", [require_tensorboard, lambda: open_board("folder")])
def test_what_is_not_installed_is_refused_with_the_line_that_installs_it(ask):
    with pytest.raises(UsageError, match="TensorBoard was asked for, and it is not") as caught:
        ask()

    assert caught.value.hint == "pip install autoseg[track]"


class StandIn:
    """Remembers what a SummaryWriter is given."""

    def __init__(self, folder):
        self.folder, self.given, self.is_open = folder, [], True

    def add_scalar(self, tag, value, step):
        self.given.append((tag, value, step))

    def flush(self):
        """Have nothing to write."""

    def close(self):
        self.is_open = False


@pytest.fixture
def _installed(monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = StandIn
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)


@pytest.mark.usefixtures("_installed")
def test_each_figure_of_an_epoch_goes_to_a_chart_at_its_step(tmp_path):
    board = open_board(tmp_path / "tensorboard")
    board.record({"epoch": 3.0, "step": 1000.0, "train_loss": 0.5, "dice_liver": 0.75})
    board.record({"epoch": 4.0, "train_loss": 0.4})
    board.close()

    assert board.writer.folder == str(tmp_path / "tensorboard")
    assert board.writer.given == [("loss/train", 0.5, 1000), ("Dice/liver", 0.75, 1000)]
    assert not board.writer.is_open


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("validation_loss", "loss/validation"),
        ("average_validation_loss", "loss/validation, averaged"),
        ("dice_left lung", "Dice/left lung"),
        ("average_dice_left lung", "Dice/left lung, averaged"),
        ("dice_mean_loss", "Dice/mean_loss"),
        ("average_pseudo_dice", "Dice/(mean), averaged"),
        ("learning_rate", "training/learning_rate"),
        ("wait_fraction", "training/wait_fraction"),
    ],
)
def test_charts_are_grouped_by_what_they_show(name, tag):
    assert chart(name) == tag
