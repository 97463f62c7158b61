"""The figure of a training: what it shows of any history, and that it can be read."""

from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from PIL import ImageFont

from autoseg.core.training_history import gather_history
from autoseg.reporting.training_figure import STRUCTURES, training_figure

SVG = "{http://www.w3.org/2000/svg}"
FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


def rows(epochs, structures, *, averaged=True):
    """Return rows whose structure k reaches a Dice of k of all of them."""
    for epoch in range(epochs):
        done = (epoch + 1) / epochs
        row = {
            "epoch": epoch,
            "step": 250 * (epoch + 1),
            "elapsed_s": 90.0 * (epoch + 1),
            "learning_rate": 0.01 * (1 - done) ** 0.9,
            "wait_fraction": 0.002 + 0.001 * (epoch % 3),
            "train_loss": 1 - 1.8 * done,
            "validation_loss": 1 - 1.6 * done,
        }
        for k in range(structures):
            row[f"dice_part {k + 1}"] = done * (k + 1) / structures
        row["pseudo_dice"] = done * (structures + 1) / 2 / structures
        if averaged:
            names = [name for name in row if "dice" in name or name == "validation_loss"]
            row |= {f"average_{name}": row[name] + 0.01 for name in names}
        yield row


HISTORIES = {
    "none": [],
    "1-of-1": rows(1, 1),
    "2-of-3-raw": rows(2, 3, averaged=False),
    "60-of-6": rows(60, 6),
    "1000-of-118": rows(1000, 118),
    "losses-only": [{"epoch": 0, "train_loss": 0.5}],
    "wild": [{"epoch": e, "train_loss": 1e9 if e == 5 else -0.5 + 0.1 / (1 + e)} for e in range(9)],
    "nothing-else": [{"epoch": 0}],
}
HISTORIES = {name: gather_history(found) for name, found in HISTORIES.items()}
every_history = pytest.mark.parametrize("name", HISTORIES)


def figure(name, **about):
    about = {"title": "Task04 3d_fullres fold 0", "label": "preset fast, 60 epochs", **about}
    return ElementTree.fromstring(training_figure(HISTORIES[name], **about))


def texts(root):
    return [e.text for e in root.iter(f"{SVG}text")]


def curves(root):
    """Return the names of all curves by their tooltips."""
    return [e.findtext(f"{SVG}title") for e in root.iter(f"{SVG}g") if e.get("class") == "curve"]


def text_box(element):
    """Measure a text in DejaVu Sans, the widest of the fonts that the figure names."""
    size = float(element.get("font-size", 12))
    name = "DejaVuSans-Bold" if element.get("font-weight") else "DejaVuSans"
    font = ImageFont.truetype(FONTS / f"{name}.ttf", 100)
    left, top, right, bottom = (
        edge * size / 100 for edge in font.getbbox(element.text, anchor="ls")
    )
    anchor = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")]
    x, y = float(element.get("x")) - (right - left) * anchor, float(element.get("y"))
    return x + left, y + top, x + right, y + bottom


@every_history
def test_no_text_touches_another_and_all_lie_on_the_paper(name):
    root = figure(name)
    left, top, width, height = map(float, root.get("viewBox").split())
    boxes = [(e.text, text_box(e)) for e in root.iter(f"{SVG}text")]

    for (one, a), (other, b) in combinations(boxes, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (one, other)
    for text, box in boxes:
        assert left < box[0], text
        assert box[2] < left + width, text
        assert top < box[1], text
        assert box[3] < top + height, text


@every_history
def test_the_same_history_gives_the_same_bytes(name):
    made = [training_figure(HISTORIES[name], title="t") for _ in range(2)]

    assert made[0] == made[1]


def test_panels_show_losses_dice_rate_and_wait_with_their_last_values():
    shown = texts(figure("2-of-3-raw"))

    for text in (
        "Task04 3d_fullres fold 0", "preset fast, 60 epochs", "2 epochs, 500 steps, 3 min",
        "loss", "training -0.8", "validation -0.6",
        "Dice of random validation patches", "part 1 0.333", "part 3 1", "mean 0.667",
        "learning rate", "learning rate 0",
        "time that the device waited for data, %", "waited 0.3 %",
        "epoch",
    ):  # fmt: skip
        assert text in shown


def test_averaged_weights_are_named_and_the_raw_ones_go_with_them():
    shown = texts(figure("1-of-1"))

    assert "part 1 1.01" in shown
    assert "part 1 1" not in shown
    assert "Dice of random validation patches; thick: averaged weights, thin: raw" in shown
    assert curves(figure("1-of-1")).count("part 1") == 1
    assert "mean 1.01" not in shown  # of one structure it says the same again


def test_of_many_structures_the_best_the_worst_and_the_mean_are_shown():
    root = figure("1000-of-118")
    named = {name for name in curves(root) if name.startswith("part")}

    assert named == {"part 118", *(f"part {k}" for k in range(1, len(STRUCTURES)))}
    assert any(text.startswith("Dice, best and worst 5 of 118 structures") for text in texts(root))
    # 1000 epochs x 16 curves, of about 12 bytes a point.
    assert len(training_figure(HISTORIES["1000-of-118"], title="t")) < 400_000


def test_panels_without_figures_are_left_out():
    assert "learning rate" not in texts(figure("losses-only"))
    assert texts(figure("none")) == [
        "Task04 3d_fullres fold 0", "no epoch is complete yet", "preset fast, 60 epochs",
    ]  # fmt: skip


def test_what_xml_cannot_hold_is_replaced():
    history = gather_history([{"epoch": 0, "dice_<a>&\x00\x1b": 0.5}])
    root = ElementTree.fromstring(training_figure(history, title="<&>\x07"))

    assert "<a>&\ufffd\ufffd 0.5" in texts(root)
