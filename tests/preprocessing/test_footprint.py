from dataclasses import replace

from autoseg.core.fingerprint import CaseGrid
from preprocessing.footprint import PROCESS_BYTES, footprint

CASE = CaseGrid(
    name="a",
    shape=(60, 40, 8),
    shape_after_crop=(50, 40, 8),
    spacing=(0.5, 1.0, 5.0),
    class_voxels=(1, 1),
)


def test_disk_counts_the_voxels_of_every_grid(plan_of, configuration_of):
    # In plan order: 8 slices of 50 x 40 voxels of 0.5 x 1 mm become 8 x 25 x 80 and 16 x 25 x 40.
    flat = configuration_of((1.0, 0.5), (8, 8))
    deep = replace(configuration_of((2.5, 1.0, 1.0), (8, 8, 8)))
    for configuration, voxels in ((flat, 8 * 25 * 80), (deep, 16 * 25 * 40)):
        plan = plan_of(configuration, axis_order=(2, 0, 1))
        needed = footprint(CASE, plan, [configuration.name], channels=3)
        assert needed.disk_bytes == (voxels * (3 * 4 + 2),)


def test_memory_while_reading_holds_the_file_and_two_copies(plan_of, configuration_of):
    coarse = configuration_of((20.0, 20.0, 20.0), (4, 4, 4))  # hardly anything is left to store
    needed = footprint(CASE, plan_of(coarse, axis_order=(2, 0, 1)), ["3d_fullres"], channels=2)
    raw, kept = 60 * 40 * 8, 50 * 40 * 8
    assert needed.memory_bytes == PROCESS_BYTES + raw * (4 + 2 * 4 + 2) + kept * 2 * 4


def test_memory_on_a_fine_grid_holds_three_copies_of_it(plan_of, configuration_of):
    fine = configuration_of((0.5, 0.25, 0.5), (8, 8, 8))
    needed = footprint(CASE, plan_of(fine, axis_order=(2, 0, 1)), ["3d_fullres"], channels=1)
    kept, stored = 50 * 40 * 8, 80 * 100 * 80
    slab = 64 * 100 * 80
    expected = kept * (4 + 2) + slab * 4 + stored * (3 * 4 + 2)
    assert needed.memory_bytes == PROCESS_BYTES + expected
