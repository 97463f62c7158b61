"""The drawing of a network says what is built, and can be read."""

from itertools import combinations
from math import prod
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
import torch
from PIL import ImageFont
from torch import nn

from autoseg.core.dataset import DatasetDescription
from autoseg.core.labels import Labels, Region
from autoseg.core.network_presets import PRESETS
from autoseg.core.network_spec import Arch, Block, Style
from autoseg.core.plan import Configuration, Topology
from autoseg.networks.assembler import build_network
from autoseg.reporting.network_figure import draw_network
from autoseg.training.losses.deep_supervision import level_weights

SVG = "{http://www.w3.org/2000/svg}"
OKABE_ITO = {
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000",
}  # fmt: skip
FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


def halving(axes, stages, most=320):
    """Strides, kernels and features of an isotropic topology."""
    strides = ((1,) * axes, *((2,) * axes for _ in range(stages - 1)))
    return strides, ((3,) * axes,) * stages, tuple(min(32 * 2**s, most) for s in range(stages))


PROSTATE = (
    ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)),
    ((1, 3, 3), (1, 3, 3), *((3, 3, 3),) * 5),
    (32, 64, 128, 256, 320, 320, 320),
)
"""As nnU-Net plans Task05_Prostate."""
UNEQUAL = (((1, 1, 1), (2, 2, 2), (1, 1, 1)), ((3, 3, 3), (1, 3, 3), (3, 1, 1)), (512, 4, 8))


def configuration(network, patch, topology, **changes):
    strides, kernels, features = topology
    known = {
        "name": "2d" if len(patch) == 2 else "3d_fullres",
        "spacing": (3.6, 0.62, 0.625)[-len(patch) :],
        "median_shape": tuple(map(float, patch)),
        "patch_size": patch,
        "batch_size": 2,
        "batch_dice": False,
        "network": network,
        "arch": PRESETS[network] if network in PRESETS else Arch(),
        "style": Style(),
        "topology": Topology(strides=strides, kernels=kernels, features=features),
    }
    return Configuration(**{**known, **changes})


def description(name="Task05_Prostate", *, channels=2, labels=3):
    return DatasetDescription(
        name=name,
        channels=("MRI",) * channels,
        labels=Labels(names=("background", *(f"zone {n}" for n in range(1, labels)))),
        file_ending=".nii.gz",
    )


CONFIGURATIONS = {
    "prostate": configuration("plain", (20, 320, 256), PROSTATE),
    "prostate-resenc": configuration("resenc", (20, 320, 256), PROSTATE),
    "flat": configuration("plain", (1280, 1024), halving(2, 8, 512)),
    "two-resenc": configuration("resenc", (12, 14), halving(2, 2)),
    "unequal": configuration("plain", (4, 8, 6), UNEQUAL),
    "blocks-of-3": configuration(
        "own", (8, 12), halving(2, 3), arch=Arch(encoder=Block(n=(3,), repeat=(1, 2)))
    ),
    "cascade": configuration(
        "resenc",
        (192, 160, 96),
        halving(3, 6),
        name="3d_cascade_fullres",
        previous_stage="3d_lowres",
    ),
    **{
        f"{network}-{stages}": configuration(network, (512, 1024, 1024), halving(3, stages))
        for network in PRESETS
        for stages in range(1, 11)
    },
}
NETWORKS = ("prostate", "prostate-resenc", "flat", "two-resenc", "unequal", "blocks-of-3")
every_network = pytest.mark.parametrize("drawn", [*NETWORKS, "plain-10"])
every_figure = pytest.mark.parametrize("drawn", CONFIGURATIONS)


def figure(drawn, **about):
    """Return the root of the drawing."""
    return ElementTree.fromstring(draw_network(CONFIGURATIONS[drawn], description(**about)))


def lines(root, kind):
    """Return the lines of text of each group of a kind, in drawing order."""
    found = root.iterfind(f"{SVG}g[@class='{kind}']")
    return [tuple(text.text for text in group.iter(f"{SVG}text")) for group in found]


def times(sizes):
    return " \N{MULTIPLICATION SIGN} ".join(map(str, sizes))


@pytest.fixture
def built():
    """Build a network without memory, and give it with the shape behind each of its parts."""

    def build(drawn, *, channels_in=2, channels_out=3):
        made = CONFIGURATIONS[drawn]
        shapes = {}
        with torch.device("meta"):
            network = build_network(
                made.arch, made.topology, channels_in=channels_in, channels_out=channels_out
            )
            ends = {part: part for part in (*network.upsamplers, *network.heads)}
            ends |= {stage: stage[-1] for stage in (*network.encoder, *network.decoder)}
            for part, end in ends.items():
                end.register_forward_hook(
                    lambda _, __, result, part=part: shapes.update({part: tuple(result.shape)})
                )
            network(torch.empty(1, channels_in, *made.patch_size), levels=network.supervised_levels)
        return network, shapes

    return build


def convolutions(part):
    """Return a part's convolutions that keep or halve the shape, without those of shortcuts."""
    kinds = (nn.Conv2d, nn.Conv3d)
    return [m for name, m in part.named_modules() if isinstance(m, kinds) and "short" not in name]


@every_network
def test_blocks_say_the_channels_voxels_and_convolutions_of_the_built_network(drawn, built):
    network, shapes = built(drawn)
    root = figure(drawn)

    for kind, parts in (("encoder", network.encoder), ("decoder", list(network.decoder)[::-1])):
        texts = lines(root, kind)
        assert len(texts) == len(parts)
        for text, part in zip(texts, parts, strict=True):
            _, channels, *size = shapes[part]
            units = convolutions(part)
            operations, kernel = next(line for line in text if ", " in line).split(", ", 1)
            number, noun = operations.split(" ", 1)
            assert text[:2] == (f"{channels} ch", times(size))
            assert int(number) * (2 if "residual" in noun else 1) == len(units)
            assert {kernel} == {times(unit.kernel_size) for unit in units}


@every_network
def test_arrows_say_the_strides_of_the_built_network(drawn, built):
    network, _ = built(drawn)
    root = figure(drawn)

    down = [times(convolutions(stage)[0].stride) for stage in list(network.encoder)[1:]]
    up = [times(upsampler.stride) for upsampler in network.upsamplers]
    assert lines(root, "down") == [(stride,) for stride in down]
    assert lines(root, "up") == [(stride,) for stride in up[::-1]]


@every_network
def test_heads_are_those_of_the_built_network_and_hollow_where_the_loss_ignores_them(drawn, built):
    network, shapes = built(drawn, channels_out=5)
    root = figure(drawn, labels=5)

    said = [text[-1] for text in lines(root, "decoder")]
    names = ["output", *["deep supervision"] * (len(network.heads) - 1)]
    weights = level_weights(network.supervised_levels)
    silent = [", weight 0" * (weight == 0) for weight in weights]
    assert {shapes[head][1] for head in network.heads} == {5}
    assert said == [f"{name}: 5 ch{end}" for name, end in zip(names, silent, strict=True)]
    heads = root.iterfind(f"{SVG}g[@class='head']/{SVG}rect")
    assert [head.get("fill") == "#ffffff" for head in heads] == [weight == 0 for weight in weights]


@every_network
def test_a_block_has_one_bar_per_operation_and_the_strided_one_comes_first(drawn, built):
    network, _ = built(drawn)
    root = figure(drawn)

    blocks = list(root.iterfind(f"{SVG}g[@class='encoder']"))
    bars = [[bar.get("fill") for bar in block.iterfind(f"{SVG}rect")] for block in blocks]
    stem = sum(1 for _ in convolutions(network.stem))
    assert [len(found) for found in bars] == [
        len(stage) + stem * (place == 0) for place, stage in enumerate(network.encoder)
    ]
    for found, stage in zip(bars, network.encoder, strict=True):
        is_strided = prod(convolutions(stage)[0].stride) > 1
        assert [color == "#D55E00" for color in found] == [is_strided] + [False] * (len(found) - 1)


def test_a_stem_is_drawn_and_named_before_the_first_residual_block():
    first = figure("prostate-resenc").find(f"{SVG}g[@class='encoder']")

    assert [bar.get("fill") for bar in first.iter(f"{SVG}rect")] == ["#56B4E9", "#0072B2"]
    assert [text.text for text in first.iter(f"{SVG}text")][2:] == [
        "stem of 1 convolution", f"1 residual block, {times((1, 3, 3))}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        pytest.param("prostate", ["input: 4 ch"], id="image"),
        pytest.param(
            "cascade", ["image + labels of 3d_lowres", "input: 4 + 2 ch"], id="previous-stage"
        ),
    ],
)
def test_the_input_counts_image_channels_and_those_of_a_previous_stage(drawn, expected):
    texts = [text.text for text in figure(drawn, channels=4).iterfind(f"{SVG}text")]

    assert texts[: len(expected)] == expected


def test_outputs_are_regions_where_there_are_any():
    regions = (
        Region(name="whole", labels=(1, 2), written=1), Region(name="core", labels=(2,), written=2)
    )  # fmt: skip
    labels = Labels(names=("background", "edema", "core"), regions=regions)
    about = DatasetDescription(name="x", channels=("MRI",), labels=labels, file_ending=".png")
    root = ElementTree.fromstring(draw_network(CONFIGURATIONS["flat"], about))

    assert lines(root, "decoder")[0][-1] == "output: 2 ch"


@pytest.mark.parametrize(
    ("drawn", "title", "patch"),
    [
        pytest.param(
            "prostate-resenc",
            "3d_fullres: resenc U-Net, 7 stages, batch 2",
            (times((20, 320, 256)), times((3.6, 0.62, 0.625))),
            id="volumes",
        ),
        pytest.param(
            "plain-1",
            "3d_fullres: plain U-Net, 1 stage, batch 2",
            (times((512, 1024, 1024)), times((3.6, 0.62, 0.625))),
            id="one-stage",
        ),
        pytest.param(
            "flat",
            "2d: plain U-Net, 8 stages, batch 2",
            (times((1280, 1024)), times((0.62, 0.625))),
            id="slices",
        ),
    ],
)
def test_the_title_names_dataset_configuration_and_network(drawn, title, patch):
    name = 'Task01_<b>"A" & B</b>'
    root = figure(drawn, name=name)

    voxels, edges = patch
    *_, heading, grid = (text.text for text in root.iterfind(f"{SVG}text"))
    assert heading == root.findtext(f"{SVG}title") == f"{name} {title}"
    assert grid == f"patch of {voxels} voxels, {edges} mm each"


def test_the_description_walks_through_the_network():
    told = figure("two-resenc").findtext(f"{SVG}desc").split("; ")

    two, three = times((2, 2)), times((3, 3))
    assert told == [
        "input: 2 ch",
        f"encoder stage 1: 32 ch, {times((12, 14))}, stem of 1 convolution, "
        f"1 residual block, {three}",
        f"bottleneck stage 2: 64 ch, {times((6, 7))}, 3 residual blocks, {three}, stride {two}",
        f"decoder stage 1: 32 ch, {times((12, 14))}, 1 convolution, {three}, output: 3 ch",
    ]


def test_the_description_goes_down_and_up_again():
    told = figure("prostate").findtext(f"{SVG}desc").split("; ")

    assert [part.split(":")[0] for part in told[1:]] == [
        *(f"encoder stage {number}" for number in range(1, 7)),
        "bottleneck stage 7",
        *(f"decoder stage {number}" for number in range(6, 0, -1)),
    ]


def test_a_block_is_as_high_as_its_voxels_logarithm_and_as_wide_as_its_channels():
    topology = ((1, 1), (4, 4)), ((3, 3), (3, 3)), (8, 16)
    made = configuration("plain", (16, 16), topology)
    root = ElementTree.fromstring(draw_network(made, description()))

    sizes = []
    for block in root.iterfind(f"{SVG}g[@class='encoder']"):
        bars = list(block.iter(f"{SVG}rect"))
        right = max(float(bar.get("x")) + float(bar.get("width")) for bar in bars)
        sizes.append((right - float(bars[0].get("x")), float(bars[0].get("height"))))
    # 256 voxels and 16, whose logarithm is half: 12 + 66 and 12 + 66 / 2.
    # 16 channels and 8: 24 + 76 and 24 + 76 / 2.
    assert sizes == [pytest.approx((62, 78)), pytest.approx((100, 45))]


@every_figure
def test_arrows_down_are_upright_but_where_widths_leap(drawn):
    for kind in ("down", "up"):
        for path in figure(drawn).iterfind(f"{SVG}g[@class='{kind}']/{SVG}path"):
            start, end, *_ = path.get("d")[1:].replace("M", "L").split(" L")
            is_upright = start.split(",")[0] == end.split(",")[0]
            assert is_upright or drawn == "unequal"


def text_box(text):
    """Return the box of a text in DejaVu Sans, the widest of the usual fonts."""
    size = float(text.get("font-size", "12"))
    face = "DejaVuSans-Bold.ttf" if text.get("font-weight") == "bold" else "DejaVuSans.ttf"
    width = ImageFont.truetype(FONTS / face, 100).getlength(text.text) * size / 100
    x, y = float(text.get("x")), float(text.get("y"))
    left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor", "start")]
    return left, y - 0.76 * size, left + width, y + 0.24 * size


def shape_box(shape):
    """Return the box of a rectangle or an arrow."""
    if shape.tag == f"{SVG}rect":
        x, y, width, height = (float(shape.get(key)) for key in ("x", "y", "width", "height"))
        return x, y, x + width, y + height
    points = [tuple(map(float, point[1:].split(","))) for point in shape.get("d").split(" ")]
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def overlap(one, other):
    return (
        one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    )  # fmt: skip


@every_figure
@pytest.mark.parametrize(
    "name", ["Task05_Prostate", "Dataset120_" + "BRAIN_METASTASES" * 4], ids=["short", "long"]
)
def test_no_text_touches_another_or_a_block_and_all_lie_on_the_paper(drawn, name):
    root = figure(drawn, name=name, labels=119)
    texts = [(text.text, text_box(text)) for text in root.iter(f"{SVG}text")]
    paper, *shapes = [
        shape_box(shape) for shape in root.iter() if shape.tag in (f"{SVG}rect", f"{SVG}path")
    ]

    for (text, box), (other_text, other) in combinations(texts, 2):
        assert not overlap(box, other), (text, other_text)
    for text, box in texts:
        assert not any(overlap(box, shape) for shape in shapes), text
    for left, top, right, bottom in (*(box for _, box in texts), *shapes):
        assert paper[0] < left
        assert right < paper[2]
        assert paper[1] < top
        assert bottom < paper[3]


@every_figure
def test_blocks_of_encoder_and_decoder_keep_apart(drawn):
    root = figure(drawn)
    blocks = [
        [shape_box(bar) for bar in block.iter(f"{SVG}rect")]
        for kind in ("encoder", "decoder", "head")
        for block in root.iterfind(f"{SVG}g[@class='{kind}']")
    ]
    for one, other in combinations(blocks, 2):
        assert not any(overlap(bar, others) for bar in one for others in other)


@every_figure
def test_the_drawing_is_shown_at_a_size_that_can_be_read(drawn):
    root = figure(drawn)

    _, _, width, height = root.get("viewBox").split()
    assert (root.get("width"), root.get("height")) == (width, height)
    assert float(width) < 1200
    sizes = [float(element.get("font-size", "12")) for element in root.iter()]
    assert min(sizes) >= 11


@every_figure
def test_colors_are_told_apart_and_those_of_operations_are_in_the_legend(drawn):
    root = figure(drawn)
    operations = {
        bar.get("fill")
        for kind in ("encoder", "decoder")
        for block in root.iterfind(f"{SVG}g[@class='{kind}']")
        for bar in block.iter(f"{SVG}rect")
    }
    strokes = {path.get("stroke") for path in root.iter(f"{SVG}path")}
    legend = {bar.get("fill") for bar in root.iterfind(f"{SVG}rect")} - {"#ffffff"}

    assert operations == legend
    assert operations | strokes - {"#595959"} <= OKABE_ITO


def test_the_legend_names_each_color():
    root = figure("prostate-resenc")
    samples = [e for e in root if e.tag in (f"{SVG}rect", f"{SVG}path")][-6:]
    texts = [text.text for text in root.iterfind(f"{SVG}text")][-8:-2]

    assert [(s.get("stroke") if "path" in s.tag else s.get("fill")) for s in samples] == [
        "#56B4E9", "#0072B2", "#D55E00", "#009E73", "#595959", "#CC79A7",
    ]  # fmt: skip
    assert texts == [
        "convolution",
        "residual block of 2 convolutions",
        "strided residual block",
        "transposed convolution",
        "skip, concatenated",
        f"head: {times((1, 1, 1))} convolution",
    ]


def test_the_same_configuration_gives_the_same_bytes():
    first, again = (draw_network(CONFIGURATIONS["cascade"], description()) for _ in range(2))

    assert first == again
    assert first.endswith("</svg>\n")
