"""The values of DICOM tags as numbers to rely on: finite, in range, as many as expected."""

from math import isfinite
from typing import TYPE_CHECKING, Final

from autoseg.io.dicom.faults import unreadable
from autoseg.io.formats.placement import impossible_place, rounded

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_FARTHEST_MM: Final = 1e6
"""Bound of positions and distances: a kilometer is no patient, and would overflow."""


def place_of(
    dataset: "Dataset", where: str
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return direction (6 entries of unit vectors) and position, LPS+ mm: both, or neither."""
    direction = _numbers(dataset, "ImageOrientationPatient", 6, where)
    position = _numbers(dataset, "ImagePositionPatient", 3, where)
    if direction is None or position is None:
        return None, None
    if max(map(abs, position)) > _FARTHEST_MM:
        raise impossible_place(where, f"ImagePositionPatient is {rounded(position)} mm")
    units: tuple[float, ...] = ()
    for vector in (direction[:3], direction[3:]):
        length = sum(value * value for value in vector) ** 0.5
        if abs(length - 1) > 1e-3:
            raise impossible_place(
                where, f"ImageOrientationPatient holds a vector of length {length:.6g}, not 1"
            )
        units += tuple(value / length for value in vector)
    return units, position


def spacing_of(dataset: "Dataset", where: str) -> tuple[float, float] | None:
    """Return the distance of rows and of columns in mm; None if the file does not say them."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        found = _numbers(dataset, keyword, 2, where)
        if found is not None:
            if min(found) <= 0 or max(found) > _FARTHEST_MM:
                raise impossible_place(where, f"{keyword} is {rounded(found)} mm")
            return found[0], found[1]
    return None


def thickness_of(dataset: "Dataset", where: str) -> float | None:
    """Return the distance to the next slice, or else the thickness of this one, in mm."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        found = _numbers(dataset, keyword, 1, where)
        if found is not None and 0 < found[0] <= _FARTHEST_MM:
            return found[0]
    return None


def rescale_of(dataset: "Dataset", where: str) -> tuple[float, float]:
    """Return slope and intercept; 1 and 0 if the file has none."""
    slope = (_numbers(dataset, "RescaleSlope", 1, where) or (1.0,))[0]
    intercept = (_numbers(dataset, "RescaleIntercept", 1, where) or (0.0,))[0]
    if slope == 0:
        raise unreadable(where, "has a RescaleSlope of 0, which leaves no image")
    return slope, intercept


def _numbers(dataset: "Dataset", keyword: str, count: int, where: str) -> tuple[float, ...] | None:
    """Return the decimal numbers of a tag; None if it is missing or empty."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    numbers = (float(value),) if count == 1 else tuple(float(part) for part in value)
    if len(numbers) != count:
        raise unreadable(where, f"{keyword} holds {len(numbers)} numbers, {count} expected")
    if not all(map(isfinite, numbers)):
        raise impossible_place(where, f"{keyword} holds NaN or infinity")
    return numbers


def whole_number(dataset: "Dataset", keyword: str, where: str) -> int:
    """Return a number of at least 1 that every image has."""
    value = dataset.get(keyword)
    if value is None or int(value) < 1:
        raise unreadable(
            where, f"has {keyword} {'missing' if value is None else int(value)}; is it cut off?"
        )
    return int(value)


def texts(dataset: "Dataset", keyword: str) -> tuple[str, ...]:
    """Return the words of a tag."""
    value = dataset.get(keyword)
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(map(str, value))
