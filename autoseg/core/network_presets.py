"""The table of networks that a plan can name.

References
----------
plain: Ronneberger et al. 2015 (arXiv:1505.04597) as configured by Isensee et al. 2021
(doi:10.1038/s41592-020-01008-z). resenc: Isensee et al. 2024 (arXiv:2404.09556).
"""

from typing import Final

from autoseg.core.errors import PlanError
from autoseg.core.network_spec import Arch, Block

PRESETS: Final[dict[str, Arch]] = {
    "plain": Arch(),
    "resenc": Arch(
        encoder=Block(shortcut="residual", repeat=(1, 3, 4, 6, 6, 6)),
        decoder=Block(n=(1,)),
        stem=True,
    ),
}


def preset(name: str) -> Arch:
    """Return the network of a name, or raise `PlanError` that lists the names."""
    if name not in PRESETS:
        raise PlanError(f"network {name!r} is unknown; known are {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
