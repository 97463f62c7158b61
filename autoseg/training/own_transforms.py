"""A user's own transforms: found by name among what is installed, run on patches, and checked.

They are entry points of the group ``autoseg.transforms`` and follow the call of batchgenerators'
``AbstractTransform``. They run on the host, on each patch by itself, between its reading and the
device's part of the augmentation: so they work with any device, see intensities as they are stored,
and a patch that is larger than the training's where it will be turned or shrunk.
"""

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from threading import Lock
from typing import Any, Final

import numpy as np

from autoseg.core.errors import TrainingError, UsageError
from autoseg.core.geometry import Array
from autoseg.training.sampling import Patch

GROUP: Final = "autoseg.transforms"
"""The group of entry points."""
Transform = Callable[..., dict[str, Any]]
"""Called as ``transform(data=..., seg=...)``; returns both, and whatever else was given."""

_ONE_AT_A_TIME: Final = Lock()
"""Held while a transform draws from numpy's and Python's global generators: threads share them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTransforms:
    """Transforms of a user, in the order in which they run; travels to processes by name."""

    names: tuple[str, ...]
    """Names of their entry points."""
    largest_label: int
    """Highest number that a label map may hold, that of the ignore label included."""
    calls: tuple[Transform, ...] = field(repr=False, compare=False)
    """What they are."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(load_transforms, self.names, largest_label=self.largest_label), ()

    def apply(
        self, patch: Patch, *, seed: int, case: str, masked: bool, previous_labels: int = 0
    ) -> Patch:
        """Run all transforms on one patch.

        Parameters
        ----------
        patch : Patch
            What was read; left as it is.
        seed : int
            From which numpy's and Python's global generators start, 0 to 2**32 - 1; afterwards
            they are as they were before.
        case : str
            Case that the patch is of, for messages.
        masked : bool
            Whether the mask of voxels inside the imaged body will be needed.
        previous_labels : int
            Foreground labels of the previous stage.

        Raises
        ------
        TrainingError
            If a transform fails, or changes shape or type, or gives values that are not finite, or
            labels that do not exist; names the transform.

        Notes
        -----
        ``data`` is (1, C, *spatial) float32. ``seg`` is (1, S, *spatial) int32: the label map;
        behind it, in a cascade, that of the previous stage; behind it, where some channel is 0
        outside the imaged body, the mask of the voxels inside. A transform that moves voxels must
        move all of ``seg``.
        """
        labels, largest = [patch.segmentation], [self.largest_label]
        if patch.previous is not None:
            labels.append(patch.previous)
            largest.append(previous_labels)
        if masked:
            labels.append(patch.nonzero)
            largest.append(1)
        given = {"data": patch.image[None].copy(), "seg": np.stack(labels)[None].astype(np.int32)}
        with _seeded(seed):
            for name, transform in zip(self.names, self.calls, strict=True):
                where = f"transform {name!r} on a patch of case {case!r}"
                given = _checked(_call(transform, given, where), given, largest, where)
        maps = iter(given["seg"][0])
        return Patch(
            image=np.ascontiguousarray(given["data"][0]),
            segmentation=next(maps).astype(patch.segmentation.dtype),
            previous=None if patch.previous is None else next(maps).astype(patch.previous.dtype),
            nonzero=next(maps, patch.nonzero).astype(bool),
        )


def load_transforms(names: Sequence[str], *, largest_label: int) -> OwnTransforms | None:
    """Find transforms among what is installed.

    Parameters
    ----------
    names : sequence of str
        Names of entry points of the group ``autoseg.transforms``, in the order in which they shall
        run. Each is a class or a function without arguments, which is called once and returns the
        transform, or the transform itself: whatever takes ``data`` and ``seg``.
    largest_label : int
        Highest number that a label map may hold, that of the ignore label included.

    Returns
    -------
    OwnTransforms or None
        None if there are no names.

    Raises
    ------
    UsageError
        If a name is not installed, twice installed, cannot be loaded or is no transform.
    """
    if not names:
        return None
    installed = entry_points(group=GROUP)
    calls = tuple(
        _load(name, tuple(installed.select(name=name)), installed.names) for name in names
    )
    return OwnTransforms(names=tuple(names), largest_label=largest_label, calls=calls)


def _load(name: str, found: tuple[EntryPoint, ...], known: set[str]) -> Transform:
    if not found:
        listed = ", ".join(sorted(known)) or "none"
        raise UsageError(
            f"transform {name!r}: not installed; installed are {listed}",
            hint=f"install the package whose entry point it is, in the group {GROUP}",
        )
    if len({point.value for point in found}) > 1:
        raise UsageError(
            f"transform {name!r}: installed {len(found)} times, as "
            f"{', '.join(point.value for point in found)}; a name must be one transform's",
            hint="uninstall the others, or rename an entry point",
        )
    where = f"transform {name!r} ({found[0].value})"
    try:
        loaded = found[0].load()
        made = loaded() if _makes_a_transform(loaded) else loaded
    except Exception as error:  # whatever a foreign package raises while it is imported or called
        raise UsageError(
            f"{where}: cannot be loaded: {type(error).__name__}: {error}",
            hint="correct or reinstall the package",
        ) from error
    if not callable(made) or not _takes_patches(made):
        raise UsageError(
            f"{where}: is {type(made).__name__}; a transform is called with data and seg",
            hint="let the entry point name a transform, or what returns one when called",
        )
    return made  # type: ignore[no-any-return]


def _makes_a_transform(loaded: object) -> bool:
    return inspect.isclass(loaded) or (callable(loaded) and not _takes_patches(loaded))


def _takes_patches(call: Callable[..., object]) -> bool:
    try:
        inspect.signature(call).bind(data=None, seg=None)
    except TypeError:
        return False
    return True


def _call(transform: Transform, given: dict[str, Any], where: str) -> object:
    try:
        return transform(**{name: array.copy() for name, array in given.items()})
    except Exception as error:  # whatever foreign code raises
        raise TrainingError(
            f"{where}: {type(error).__name__}: {error}",
            hint="correct the transform, or leave it out",
        ) from error


def _checked(
    made: object, given: dict[str, Array], largest: Sequence[int], where: str
) -> dict[str, Array]:
    """Return what a transform made if it can stand for what it was given."""
    arrays = made if isinstance(made, dict) else {}
    wrong = "" if arrays else f"returned {type(made).__name__}; a dictionary is needed"
    for name, before in given.items() if not wrong else ():
        wrong = wrong or _misfit(arrays.get(name), before, name)
    if wrong := wrong or _wrong_values(arrays["data"], arrays["seg"], largest):
        raise TrainingError(f"{where}: {wrong}", hint="correct the transform, or leave it out")
    return {"data": arrays["data"], "seg": arrays["seg"].astype(np.int32)}


def _misfit(array: object, before: Array, name: str) -> str:
    if not isinstance(array, np.ndarray):
        return f"returned {type(array).__name__} as {name!r}; an array is needed"
    if array.shape != before.shape:
        return f"{name!r} has shape {array.shape}; it must stay {before.shape}"
    if name == "data" and array.dtype != np.float32:
        return f"{name!r} is {array.dtype}; it must stay float32"
    if array.dtype.kind not in "biuf":
        return f"{name!r} is {array.dtype}; numbers are needed"
    return ""


def _wrong_values(image: Array, label_maps: Array, largest: Sequence[int]) -> str:
    if not np.isfinite(image).all():
        return "'data' holds values that are not finite"
    for number, highest in enumerate(largest):
        strange = _strange_labels(label_maps[:, number], highest)
        if strange:
            return f"'seg' holds {strange}; known are 0 to {highest}"
    return ""


def _strange_labels(label_map: Array, highest: int) -> str:
    """List values that are no label's number, the first five."""
    is_known = (label_map >= 0) & (label_map <= highest) & (label_map == np.rint(label_map))
    return ", ".join(f"{value:g}" for value in np.unique(label_map[~is_known])[:5])


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Start the global generators from a seed, and put them back as they were."""
    with _ONE_AT_A_TIME:
        before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002 - theirs
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numpy_before)  # noqa: NPY002
