import pickle
import random
from importlib import import_module

import numpy as np
import pytest

from autoseg.core.errors import TrainingError, UsageError
from autoseg.training.own_transforms import load_transforms
from autoseg.training.sampling import Patch

MODULE = """
import random
import numpy as np

class Shift:
    def __call__(self, **given):
        given["data"] = given["data"] + np.float32(np.random.normal() + random.random())
        return given

def double(data, seg, **rest):
    return {"data": data * 2, "seg": seg}

def flips():
    return Flip((2, 4))

class Flip:
    def __init__(self, axes):
        self.axes = axes
    def __call__(self, data, seg):
        return {"data": np.flip(data, self.axes), "seg": np.flip(seg, self.axes)}

def in_place(data, seg):
    data += 1
    seg[:] = 1
    return {"data": data, "seg": seg}

def as_floats(data, seg):
    return {"data": data, "seg": seg.astype(np.float64)}

crop = lambda data, seg: {"data": data[..., 1:], "seg": seg}
wide = lambda data, seg: {"data": data.astype(np.float64), "seg": seg}
nan = lambda data, seg: {"data": np.where(data > 1, np.float32("nan"), data), "seg": seg}
relabel = lambda data, seg: {"data": data, "seg": seg + 2}
halves = lambda data, seg: {"data": data, "seg": seg / 2}
words = lambda data, seg: {"data": data, "seg": seg.astype(str)}
listed = lambda data, seg: {"data": data.tolist(), "seg": seg}
lost = lambda data, seg: {"data": data}
nothing = lambda data, seg: None
fails = lambda data, seg: 1 / 0
number = 7
takes_another = lambda other: other
needs_more = lambda data, seg, strength: None
"""
BROKEN = "raise OSError('no such library')"
POINTS = """[autoseg.transforms]
shift = own_transforms_of_a_test:Shift
double = own_transforms_of_a_test:double
flips = own_transforms_of_a_test:flips
in_place = own_transforms_of_a_test:in_place
as_floats = own_transforms_of_a_test:as_floats
crop = own_transforms_of_a_test:crop
wide = own_transforms_of_a_test:wide
nan = own_transforms_of_a_test:nan
relabel = own_transforms_of_a_test:relabel
halves = own_transforms_of_a_test:halves
words = own_transforms_of_a_test:words
listed = own_transforms_of_a_test:listed
lost = own_transforms_of_a_test:lost
nothing = own_transforms_of_a_test:nothing
fails = own_transforms_of_a_test:fails
number = own_transforms_of_a_test:number
takes_another = own_transforms_of_a_test:takes_another
needs_more = own_transforms_of_a_test:needs_more
broken = broken_transforms_of_a_test:any
noise = batchgenerators.transforms.noise_transforms:GaussianNoiseTransform
mirror = batchgenerators.transforms.spatial_transforms:MirrorTransform
[another.group]
hidden = own_transforms_of_a_test:Shift
"""


def install(folder, name, points):
    (folder / f"{name}-1.dist-info").mkdir(parents=True)
    (folder / f"{name}-1.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
    (folder / f"{name}-1.dist-info" / "entry_points.txt").write_text(points)


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """Install a package with transforms, and return the folder that it is in."""
    install(tmp_path, "own", POINTS)
    (tmp_path / "own_transforms_of_a_test.py").write_text(MODULE)
    (tmp_path / "broken_transforms_of_a_test.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def patch():
    """A patch (2, 3, 4, 5) with labels 0 to 2, in a cascade."""
    rng = np.random.default_rng(0)
    return Patch(
        image=rng.normal(size=(2, 3, 4, 5)).astype(np.float32),
        segmentation=rng.integers(0, 3, (3, 4, 5)).astype(np.uint8),
        nonzero=rng.random((3, 4, 5)) > 0.3,
        previous=rng.integers(0, 2, (3, 4, 5)).astype(np.uint8),
    )


def apply(names, patch, *, seed=1, masked=True, largest_label=2):
    transforms = load_transforms(names, largest_label=largest_label)
    return transforms.apply(patch, seed=seed, case="x", masked=masked, previous_labels=1)


def test_no_names_are_no_transforms():
    assert load_transforms((), largest_label=2) is None


def test_transforms_run_in_the_order_of_their_names(patch):
    shift = apply(["shift"], patch).image - patch.image
    found = [apply(names, patch).image for names in (["shift", "double"], ["double", "shift"])]
    np.testing.assert_allclose(found[0], 2 * (patch.image + shift), rtol=1e-5)
    np.testing.assert_allclose(found[1], 2 * patch.image + shift, rtol=1e-5)


def test_what_moves_voxels_moves_all_of_a_patch(patch):
    found = apply(["flips"], patch)  # axes 2 and 4 of (1, C, z, y, x): z and x
    for name in ("segmentation", "nonzero", "previous"):
        before, after = getattr(patch, name), getattr(found, name)
        np.testing.assert_array_equal(after, before[::-1, :, ::-1])
        assert after.dtype == before.dtype
    np.testing.assert_array_equal(found.image, patch.image[:, ::-1, :, ::-1])
    assert found.image.flags.c_contiguous


@pytest.mark.parametrize(("previous", "masked"), [(True, True), (True, False), (False, True)])
def test_seg_holds_the_maps_that_will_be_needed(patch, previous, masked):
    if not previous:
        patch = Patch(image=patch.image, segmentation=patch.segmentation, nonzero=patch.nonzero)
    found = apply(["in_place"], patch, masked=masked)
    assert (found.segmentation == 1).all()
    assert (found.previous is None) == (not previous)
    assert not previous or (found.previous == 1).all()
    assert found.nonzero.all() == masked


def test_transform_cannot_change_what_was_read(patch):
    before = patch.image.copy(), patch.segmentation.copy()
    apply(["in_place"], patch)
    np.testing.assert_array_equal(patch.image, before[0])
    np.testing.assert_array_equal(patch.segmentation, before[1])


def test_labels_may_come_back_as_whole_floats(patch):
    found = apply(["as_floats"], patch)
    np.testing.assert_array_equal(found.segmentation, patch.segmentation)
    assert found.segmentation.dtype == np.uint8


def test_seed_decides_and_the_global_generators_stay_as_they_were(patch):
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    first = [apply(["shift"], patch, seed=seed).image for seed in (1, 2, 1)]
    drawn = random.random(), np.random.normal()  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    assert drawn == (random.random(), np.random.normal())  # noqa: NPY002
    np.testing.assert_array_equal(first[0], first[2])
    assert not np.array_equal(first[0], first[1])


def test_generators_stay_as_they_were_when_a_transform_fails(patch):
    before = random.getstate()
    with pytest.raises(TrainingError):
        apply(["fails"], patch)
    assert random.getstate() == before


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)], ids=["3d", "2d"])
def test_transforms_of_batchgenerators_fit(shape):
    patch = Patch(
        image=np.ones((1, *shape), np.float32),
        segmentation=np.arange(np.prod(shape)).reshape(shape).astype(np.uint8),
        nonzero=np.ones(shape, bool),
    )
    flipped = 0
    for seed in range(8):
        found = apply(["noise", "mirror"], patch, seed=seed, largest_label=60)
        assert sorted(found.segmentation.ravel()) == list(range(np.prod(shape)))
        assert 0 < np.abs(found.image - 1).max() < 2  # a variance of up to 0.1
        flipped += not np.array_equal(found.segmentation, patch.segmentation)
    assert flipped  # of 8, each with a chance of 3/4 or more


def test_transforms_travel_by_name(patch):
    transforms = load_transforms(["shift", "double"], largest_label=2)
    sent = pickle.dumps(transforms)
    assert b"own_transforms_of_a_test" not in sent
    options = {"seed": 9, "case": "x", "masked": True, "previous_labels": 1}
    np.testing.assert_array_equal(
        pickle.loads(sent).apply(patch, **options).image, transforms.apply(patch, **options).image
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("crop", r"'data' has shape \(1, 2, 3, 4, 4\); it must stay \(1, 2, 3, 4, 5\)"),
        ("wide", "'data' is float64; it must stay float32"),
        ("nan", "'data' holds values that are not finite"),
        ("relabel", "'seg' holds 3, 4; known are 0 to 2"),
        ("halves", "'seg' holds 0.5; known are 0 to 2"),
        ("words", "'seg' is <U11; numbers are needed"),
        ("listed", "returned list as 'data'; an array is needed"),
        ("lost", "returned NoneType as 'seg'; an array is needed"),
        ("nothing", "returned NoneType; a dictionary is needed"),
        ("fails", "ZeroDivisionError: division by zero"),
    ],
)
def test_wrong_result_is_an_error_that_names_transform_and_case(patch, name, why):
    with pytest.raises(TrainingError, match=f"^transform '{name}' on a patch of case 'x': {why}$"):
        apply(["double", name], patch)


def test_labels_of_the_previous_stage_have_a_limit_of_their_own(patch):
    high = Patch(
        image=patch.image,
        segmentation=np.zeros_like(patch.segmentation),
        nonzero=patch.nonzero,
        previous=np.full_like(patch.segmentation, 2),
    )
    with pytest.raises(TrainingError, match=r"'double' .* 'seg' holds 2; known are 0 to 1"):
        apply(["double"], high)


def test_name_that_is_not_installed_is_refused_with_what_is(installed):
    known = sorted(line.split()[0] for line in POINTS.splitlines() if "=" in line)
    known.remove("hidden")  # of another group
    listed = ", ".join(known)
    with pytest.raises(UsageError, match=f"'nosie': not installed; installed are {listed}$"):
        load_transforms(["nosie"], largest_label=2)


def test_name_of_two_packages_is_refused(installed):
    install(installed, "second", "[autoseg.transforms]\nshift = elsewhere:Shift\n")
    with pytest.raises(UsageError, match=r"'shift': installed 2 times, as .*elsewhere:Shift"):
        load_transforms(["shift"], largest_label=2)


def test_package_that_cannot_be_loaded_is_named():
    why = r"'broken' \(broken_transforms_of_a_test:any\): cannot be loaded: OSError: no such lib"
    with pytest.raises(UsageError, match=why):
        load_transforms(["broken"], largest_label=2)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("number", r"is int; a transform is called with data and seg$"),
        ("takes_another", "cannot be loaded: TypeError: .* missing 1 required"),
        ("needs_more", "cannot be loaded: TypeError: .* missing 3 required"),
    ],
)
def test_what_is_no_transform_is_refused(name, why):
    with pytest.raises(UsageError, match=f"^transform '{name}' .*{why}"):
        load_transforms([name], largest_label=2)


def test_class_is_made_once_and_a_function_may_be_the_transform_itself():
    own = import_module("own_transforms_of_a_test")
    calls = load_transforms(["shift", "flips", "double"], largest_label=2).calls
    assert [type(call).__name__ for call in calls] == ["Shift", "Flip", "function"]
    assert calls[2] is own.double
