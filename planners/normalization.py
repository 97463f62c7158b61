"""How each channel's intensities are normalized: chosen by its name and by what cropping left."""

from statistics import median
from typing import Final

from autoseg.core.dataset import DatasetDescription
from autoseg.core.fingerprint import Fingerprint
from autoseg.core.plan import Normalization, Scheme

SCHEMES: Final[dict[str, Scheme]] = {
    "ct": "ct",
    "zscore": "zscore",
    "rescale_to_0_1": "rescale_to_0_1",
    "rgb_to_0_1": "rgb_to_0_1",
    "nonorm": "none",
}
"""Channel names, in lower case, that name a scheme; any other channel takes ``zscore``."""
MASKED_BELOW: Final = 0.75
"""Statistics are taken inside the nonzero mask if cropping keeps less than this fraction."""


def choose_normalization(
    fingerprint: Fingerprint, description: DatasetDescription
) -> tuple[Normalization, ...]:
    """Return how each channel is normalized.

    Parameters
    ----------
    fingerprint : Fingerprint
        Statistics by channel, and what cropping kept of each case.
    description : DatasetDescription
        Names of the channels; case does not matter.

    Returns
    -------
    tuple of Normalization
        One per channel. Only ``zscore`` is ever restricted to the nonzero mask: the other
        schemes map 0 to a fixed value, or take their statistics from the foreground.
    """
    is_mostly_zero = kept_fraction(fingerprint) < MASKED_BELOW
    chosen = []
    for channel, statistics in zip(description.channels, fingerprint.channels, strict=True):
        scheme = SCHEMES.get(channel.casefold(), "zscore")
        chosen.append(
            Normalization(
                scheme=scheme,
                inside_nonzero_only=is_mostly_zero and scheme == "zscore",
                statistics=statistics,
            )
        )
    return tuple(chosen)


def kept_fraction(fingerprint: Fingerprint) -> float:
    """Return the median over the cases of the fraction of voxels that cropping keeps."""
    return median(case.relative_size_after_crop for case in fingerprint.cases)
