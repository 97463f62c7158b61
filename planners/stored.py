"""A fingerprint along the axes of the files, for rules that do not turn images."""

from dataclasses import replace

from autoseg.core.fingerprint import CaseGrid, Fingerprint


def as_stored(fingerprint: Fingerprint) -> Fingerprint:
    """Return a fingerprint whose cases have their axes in the order of their files.

    Parameters
    ----------
    fingerprint : Fingerprint
        Measured in canonical orientation.

    Returns
    -------
    Fingerprint
        The same intensities; measured symmetries are left out, as they name canonical axes.
    """
    return replace(
        fingerprint, cases=tuple(_as_stored(case) for case in fingerprint.cases), symmetries=()
    )


def _as_stored(case: CaseGrid) -> CaseGrid:
    if not case.stored_axes:
        return case
    return replace(
        case,
        shape=tuple(case.shape[axis] for axis in case.stored_axes),
        shape_after_crop=tuple(case.shape_after_crop[axis] for axis in case.stored_axes),
        spacing=tuple(case.spacing[axis] for axis in case.stored_axes),
        stored_axes=(),
    )
