"""What an image to predict has that makes one doubt that it is like the training images."""

from typing import Final

from autoseg.core.model import ModelDescription
from autoseg.pipeline.prepared_cases import PreparedCase

FAR_APART: Final = 8.0
"""Ratio of spacings above which a unit is the likeliest reason: cm or inches for mm, or a slice
thickness that was written down wrong."""


def spacing_notes(prepared: PreparedCase, description: ModelDescription) -> tuple[str, ...]:
    """Return a note for every axis whose spacing is far from the one that the model works at."""
    spacing = prepared.grid.spacing
    wanted = description.configuration.spacing
    notes = []
    first = len(spacing) - len(wanted)  # a 2D network works at any distance of slices
    for axis, (here, there) in enumerate(zip(spacing[first:], wanted, strict=True), first):
        ratio = here / there
        if max(ratio, 1 / ratio) > FAR_APART:
            notes.append(
                f"spacing {here:g} mm along axis {axis} of the plan is "
                f"{max(ratio, 1 / ratio):.3g} times {'more' if ratio > 1 else 'less'} than the "
                f"{there:g} mm that the model works at; are the units right?"
            )
    return tuple(notes)
