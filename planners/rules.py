"""Whose rules a plan follows: nnU-Net's to the letter, or those with its known mistakes mended."""

from dataclasses import dataclass
from typing import Final

from autoseg.core.geometry import Orientation
from autoseg.core.plan import RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Where two ways of planning differ."""

    name: RuleSet
    """Name on the command line and in the plan."""
    orientation: Orientation
    """How images are turned before anything is measured of them."""
    single_slice_first: bool
    """Whether an axis of one voxel counts as the coarsest, whatever its spacing."""
    least_voxels: int
    """Fewest voxels that a resampled case counts with along an axis, 0 or 1."""
    refuses_single_stages: bool
    """Whether images that no network can halve get no configuration."""
    anti_aliasing: bool
    """Whether images are smoothed along axes that resampling shrinks to under half."""
    dataset_share: float | None
    """Largest fraction of the dataset's voxels in one batch, 0 to 1; None: the reference's own."""
    most_patches_2d: int | None
    """Most 2D patches per step; None for no limit."""
    most_patches_3d: int | None
    """Most 3D patches per step; None for no limit."""
    plans_bytes: bool
    """Whether batch and width follow the predicted bytes of a step, not a count of elements."""

    def most_patches(self, ndim: int) -> int | None:
        """Return the most patches per step, or None."""
        return self.most_patches_2d if ndim == 2 else self.most_patches_3d


NNUNET: Final = Rules(
    name="nnunet",
    orientation="stored",
    single_slice_first=False,
    least_voxels=0,
    refuses_single_stages=False,
    anti_aliasing=False,
    dataset_share=None,
    most_patches_2d=None,
    most_patches_3d=None,
    plans_bytes=False,
)
"""Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, and the code of nnU-Net 2.8.1."""
AUTOSEG: Final = Rules(
    name="autoseg",
    orientation="canonical",
    single_slice_first=True,
    least_voxels=1,
    refuses_single_stages=True,
    anti_aliasing=True,
    dataset_share=0.05,
    most_patches_2d=48,
    most_patches_3d=12,
    plans_bytes=True,
)
"""nnU-Net's rules without its batches of 58 to 6711 tiny patches, without aliasing, and with
memory in bytes. The most patches are four and six times the batches that nnU-Net's networks were
made for; more patches of one small image show a step little that is new."""

RULES: Final[dict[RuleSet, Rules]] = {rules.name: rules for rules in (AUTOSEG, NNUNET)}
