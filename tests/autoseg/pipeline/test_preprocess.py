from pathlib import Path

from autoseg.core.fingerprint import CaseGrid, ChannelStatistics, Fingerprint
from autoseg.pipeline.preprocess import estimate
from preprocessing.footprint import footprint

STATISTICS = ChannelStatistics(
    mean=0.0,
    median=0.0,
    std=1.0,
    minimum=-1.0,
    maximum=1.0,
    percentile_00_5=-1.0,
    percentile_99_5=1.0,
)


def fingerprint_of(*names: str) -> Fingerprint:
    grid = {"shape": (60, 40, 8), "shape_after_crop": (50, 40, 8), "spacing": (0.5, 1.0, 5.0)}
    cases = tuple(CaseGrid(name=name, class_voxels=(1, 1), **grid) for name in names)
    return Fingerprint(dataset="Task01_Test", cases=cases, channels=(STATISTICS,))


def test_the_estimate_follows_the_axes_of_the_plan(tmp_path, plan_of, configuration_of):
    flat = configuration_of((1.0, 0.5), (8, 8))
    plan = plan_of(flat, axis_order=(2, 0, 1))
    fingerprint = fingerprint_of("a", "b")
    needed = estimate(fingerprint, plan, [("2d", tmp_path)], channels=2)
    # In plan order: 8 slices of 50 x 40 voxels of 0.5 x 1 mm become 8 x 25 x 80.
    resampled = 8 * 25 * 80
    assert needed.disk_bytes == 2 * resampled * (4 * 2 + 2)
    assert needed.memory_bytes == footprint(fingerprint.cases[0], plan, ["2d"], 2).memory_bytes


def test_cases_that_are_stored_need_no_more_disk(tmp_path: Path, plan_of, configuration_of):
    plan = plan_of(configuration_of((1.0, 0.5), (8, 8)), axis_order=(2, 0, 1))
    (tmp_path / "a.json").write_text("{}")
    both = estimate(fingerprint_of("b", "c"), plan, [("2d", tmp_path)], channels=1)
    one = estimate(fingerprint_of("a", "b"), plan, [("2d", tmp_path)], channels=1)
    assert one.disk_bytes == both.disk_bytes / 2
