"""Random datasets as a planner sees them: grids, labels and channels from a seed, no voxels.

Each is put into two forms that hold the same numbers: autoseg's fingerprint and description, and
the two documents that nnU-Net plans from. In nnU-Net a 2D image has a first axis of one voxel.
"""

from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np
import numpy.typing as npt

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.io.raw.declared_labels import parse_labels

Rng = np.random.Generator
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DATASET: Final = "Dataset001_Parity"
"""Name of every dataset."""
SIZES: Final = ((4, 60), (60, 320), (200, 700), (300, 1800))
"""Voxels per axis of tiny, usual, large and whole-body images, smallest and largest."""
FLAT_SIZES: Final = (800, 4000)
"""Voxels per axis of large 2D images, and in the plane of large volumes of few slices."""
EDGES_MM: Final = (0.3125, 0.5, 0.62, 0.7, 0.7421875, 0.79, 0.859375, 1.0, 1.1, 1.5, 1.5625, 2.0)
"""In-plane voxel edges, mm, exact in binary and not."""
THICK_MM: Final = (1.0, 1.25, 2.0, 2.5, 3.0, 3.3, 3.6, 4.5, 5.0, 6.0, 7.5, 8.0, 10.0)
"""Edges across slices, mm."""
RATIOS: Final = (1.2, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Ratios of edges, among them those at which rules change their mind."""
MOST_RATIO: Final = 12.0
"""Largest ratio of edges."""
FACTORS: Final = (0.2, 0.25, 1 / 3, 0.4, 0.5, 0.8, 1.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
"""Edges of one protocol across slices, as parts of another's."""
THREE_QUARTERS: Final = (((17, 18), (27, 34)), ((21, 23), (23, 28)), ((3, 4), (1, 1)))
"""Voxels kept of voxels, on two axes, that leave exactly 0.75, where a rule changes its mind; as
floating-point numbers, the first two pairs of fractions multiply to slightly less."""
CHANNELS: Final = (
    "CT", "ct", "MRI", "T1", "FLAIR", "PET", "zscore", "noNorm", "rescale_to_0_1", "rgb_to_0_1",
)  # fmt: skip
"""Names of channels."""
FAKE_MM: Final = 999
"""nnU-Net's edge along the first axis of a 2D image, times the largest of the others."""


NNUNET_NAMES: Final = {"minimum": "min", "maximum": "max"}
"""Names of statistics that nnU-Net calls otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One drawn dataset."""

    index: int
    """Number of the draw; with the seed it leads to the same dataset again."""
    spacings: Floats
    """Voxel edge in mm, by case and array axis."""
    before: Ints
    """Voxels by case and array axis, before cropping."""
    after: Ints
    """Voxels by case and array axis, after cropping."""
    channels: tuple[str, ...]
    """Name of each channel."""
    statistics: tuple[ChannelStatistics, ...]
    """Foreground intensities of each channel."""
    labels: dict[str, int | list[int]]
    """Key ``labels`` of ``dataset.json``."""
    order: list[int]
    """Key ``regions_class_order``; empty where there are no regions."""
    is_natural: bool
    """Whether the images are 2D and in a format that has no spacing, such as .png."""

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return int(self.spacings.shape[1])

    @property
    def ending(self) -> str:
        """Ending of the files."""
        return ".png" if self.is_natural else ".nii.gz"

    def dataset_json(self) -> dict[str, object]:
        """Return ``dataset.json``; it names reader and case, for nnU-Net not to look for files."""
        reader = "NaturalImage2DIO" if self.is_natural else "SimpleITKIO"
        regions = {"regions_class_order": self.order} if self.order else {}
        return {
            "channel_names": {str(k): name for k, name in enumerate(self.channels)},
            "labels": self.labels,
            **regions,
            "numTraining": len(self.spacings),
            "file_ending": self.ending,
            "overwrite_image_reader_writer": reader,
            "dataset": {"case": {"images": [f"case{self.ending}"], "label": f"l{self.ending}"}},
        }

    def dataset_fingerprint(self) -> dict[str, object]:
        """Return nnU-Net's ``dataset_fingerprint.json``."""
        spacings, after = self.spacings, self.after
        if self.ndim == 2:
            spacings = np.column_stack([spacings.max(1) * FAKE_MM, spacings])
            after = np.column_stack([np.ones(len(after), np.int64), after])
        kept = [np.prod(a) / np.prod(b) for a, b in zip(self.after, self.before, strict=True)]
        return {
            "spacings": spacings.tolist(),
            "shapes_after_crop": after.tolist(),
            "foreground_intensity_properties_per_channel": {
                str(k): {NNUNET_NAMES.get(name, name): getattr(one, name) for name in one.__slots__}
                for k, one in enumerate(self.statistics)
            },
            "median_relative_size_after_cropping": float(np.median(kept)),
        }

    def description(self) -> DatasetDescription:
        """Return autoseg's description, its labels as autoseg reads them."""
        return DatasetDescription(
            name=DATASET,
            channels=self.channels,
            labels=parse_labels(self.dataset_json(), "nnunet", f"draw {self.index}"),
            file_ending=self.ending,
        )

    def fingerprint(self) -> Fingerprint:
        """Return autoseg's fingerprint."""
        voxels = (1,) * len(self.labels)
        rows = zip(self.before.tolist(), self.after.tolist(), self.spacings.tolist(), strict=True)
        return Fingerprint(
            dataset=DATASET,
            cases=tuple(
                CaseGrid(
                    name=f"case_{k:04d}",
                    shape=tuple(before),
                    shape_after_crop=tuple(after),
                    spacing=tuple(spacing),
                    class_voxels=voxels,
                )
                for k, (before, after, spacing) in enumerate(rows)
            ),
            channels=self.statistics,
        )


def draw_fingerprint(seed: int, index: int) -> Draw:
    """Draw a dataset; the same for the same two numbers."""
    rng = np.random.default_rng([seed, index])
    ndim = 2 if rng.random() < 0.15 else 3
    is_natural = ndim == 2 and rng.random() < 0.5
    cases = _log_integer(rng, 5, 2000)
    shape, spacing, odd = _base(rng, ndim)
    if is_natural:
        spacing = np.ones(2)
    spacings = np.tile(spacing, (cases, 1))
    if not is_natural:
        spacings = _spacings(rng, spacings, odd, is_stack=ndim == 3 and shape[odd] < 3)
    after = _shapes(rng, shape, spacing, spacings)
    if rng.random() < 0.15:
        for case in np.flatnonzero(rng.random(cases) < rng.random()):
            turn = rng.permutation(ndim)
            after[case], spacings[case] = after[case][turn], spacings[case][turn]
    after, before = _cropped(rng, after)
    channels = tuple(str(name) for name in rng.choice(CHANNELS, _log_integer(rng, 1, 8)))
    labels, order = _labels(rng)
    return Draw(
        index=index,
        spacings=spacings,
        before=before,
        after=after,
        channels=channels,
        statistics=tuple(_statistics(rng) for _ in channels),
        labels=labels,
        order=order,
        is_natural=is_natural,
    )


def _log_integer(rng: Rng, low: int, high: int) -> int:
    """Draw a whole number, each order of magnitude as likely as the next."""
    return int(np.exp(rng.uniform(log(low), log(high + 1))))


def _base(rng: Rng, ndim: int) -> tuple[Floats, Floats, int]:
    """Draw the dataset's usual shape and spacing, and the axis that differs from the others."""
    odd = int(rng.integers(ndim))
    is_thin = ndim == 3 and rng.random() < 0.2
    is_flat = (ndim == 2 or is_thin) and rng.random() < 0.3
    low, high = FLAT_SIZES if is_flat else SIZES[rng.choice(len(SIZES), p=(0.2, 0.45, 0.2, 0.15))]
    shape = np.exp(rng.uniform(log(low), log(high), ndim))
    if rng.random() < 0.4:
        shape[:] = shape[0]
    spacing = np.full(ndim, rng.choice(EDGES_MM) if rng.random() < 0.6 else rng.uniform(0.2, 3))
    if rng.random() < 0.2:
        spacing[rng.integers(ndim)] *= rng.uniform(1, 1.6)
    if ndim == 3 and rng.random() < 0.65:
        ratio = _ratio(rng, float(spacing[odd]))
        spacing[odd] *= ratio
        if rng.random() < 0.7:
            shape[odd] = max(1, shape[odd] / ratio)
    if rng.random() < 0.4:
        shape = 16 * np.ceil(shape / 16)
    if is_thin:
        shape[odd] = _log_integer(rng, 1, 16)
    if rng.random() < 0.4:
        spacing = spacing.astype(np.float32).astype(np.float64)
    return shape, spacing, odd


def _ratio(rng: Rng, edge: float) -> float:
    """Draw the edge of the odd axis as a multiple of the others."""
    kind = rng.random()
    thick = [mm / edge for mm in THICK_MM if edge <= mm <= MOST_RATIO * edge]
    if kind < 0.6:
        return float(rng.choice(thick if thick and kind < 0.4 else RATIOS))
    ratio = float(np.exp(rng.uniform(0, log(MOST_RATIO))))
    return 1 / ratio if kind < 0.7 else ratio


def _spacings(rng: Rng, spacings: Floats, odd: int, *, is_stack: bool) -> Floats:
    """Draw each case's spacing: all the same, scattered, or of some protocols.

    A stack of one or two slices mostly comes in two protocols: some cases then have no voxel left.
    """
    cases, ndim = spacings.shape
    kind = rng.uniform(0.2, 0.65) if is_stack else rng.random()
    if kind < 0.25:
        factors = np.tile(rng.uniform(0.8, 1.2, (cases, 1)), ndim)
        factors[:, odd] **= rng.integers(2)
        spacings = spacings * factors
    elif kind < 0.65:
        number = 2 if is_stack else int(rng.integers(2, 5))
        protocols = np.tile(rng.choice((0.75, 1.0, 1.0, 1.25), (number, 1)), ndim)
        protocols[:, odd] = rng.choice(FACTORS, number)
        shares = rng.dirichlet(np.ones(number))
        in_turn = np.arange(cases) % number
        followed = in_turn if rng.random() < 0.5 else rng.choice(number, cases, p=shares)
        spacings = spacings * protocols[followed]
    if rng.random() < 0.4:
        spacings = spacings.astype(np.float32).astype(np.float64)
    return spacings


def _shapes(rng: Rng, shape: Floats, spacing: Floats, spacings: Floats) -> Ints:
    """Draw each case's shape: of the same voxels, or of scattered extents in mm."""
    cases, ndim = spacings.shape
    if rng.random() < (0.8 if shape.min() < 3 else 0.2):
        scatter = 2 * int(rng.integers(2))
        scattered = np.tile(shape, (cases, 1)) + rng.integers(-scatter, scatter + 1, (cases, ndim))
    else:
        spread = rng.choice((0.0, 0.02, 0.1, 0.3))
        scattered = shape * spacing * np.exp(spread * rng.standard_normal((cases, ndim))) / spacings
    return np.maximum(np.round(scattered), 1).astype(np.int64)


def _cropped(rng: Rng, after: Ints) -> tuple[Ints, Ints]:
    """Draw the shapes before cropping; to keep exactly 0.75, change those after it as well."""
    kind = rng.random()
    if kind < 0.3:
        return after, after
    if kind < 0.8:
        kept = np.clip(rng.uniform(0.6, 1) * rng.uniform(0.8, 1.2, after.shape), 0.1, 1)
        return after, np.ceil(after / kept).astype(np.int64)
    after, before = after.copy(), after.copy()
    axes = rng.permutation(after.shape[1])[:2]
    pair = THREE_QUARTERS[rng.integers(len(THREE_QUARTERS))]
    for axis, (kept_voxels, of) in zip(axes, pair, strict=True):
        times = -(-after[:, axis] // kept_voxels)
        after[:, axis], before[:, axis] = times * kept_voxels, times * of
    return after, before


def _labels(rng: Rng) -> tuple[dict[str, int | list[int]], list[int]]:
    """Draw labels, nested regions or not, and an ignore label or not."""
    count = _log_integer(rng, 1, 120)
    labels: dict[str, int | list[int]] = {"background": 0}
    order: list[int] = []
    if count >= 2 and rng.random() < 0.2:
        labels |= {f"region {k}": list(range(k, count + 1)) for k in range(1, count + 1)}
        order = list(range(1, count + 1))
    else:
        labels |= {f"structure {k}": k for k in range(1, count + 1)}
    if rng.random() < 0.15:
        labels["ignore"] = count + 1
    return labels, order


def _statistics(rng: Rng) -> ChannelStatistics:
    """Draw intensities that may have been measured."""
    low, median, high = sorted(rng.normal(0, 300, 3).tolist())
    return ChannelStatistics(
        mean=median + 1,
        median=median,
        std=(high - low) / 4,
        minimum=low - 10,
        maximum=high + 10,
        percentile_00_5=low,
        percentile_99_5=high,
    )
