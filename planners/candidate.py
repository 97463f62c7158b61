"""One configuration on its way from a grid to a place in the plan."""

from dataclasses import dataclass, replace
from functools import partial

from autoseg.core.errors import PlanError
from autoseg.core.network_presets import preset
from autoseg.core.network_spec import Style
from autoseg.core.plan import Configuration, ConfigurationName
from planners.patch import Fit, Workload, fit_patch, with_width
from planners.spacing import Grid
from planners.spending import Spent, spend
from planners.topology import FIRST_FEATURES
from planners.words import times


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A configuration, and what its patch, batch and width rest on."""

    name: ConfigurationName
    """Its name."""
    grid: Grid
    """Spacing and shapes, in plan order."""
    dataset_voxels: float
    """Voxels of all cases on this grid."""
    fit: Fit
    """Patch and network geometry."""
    spent: Spent | None = None
    """What the memory was spent on, where steps are predicted in bytes."""
    batch_dice: bool = False
    """Whether the Dice loss sums over the batch."""
    previous_stage: ConfigurationName | None = None
    """Configuration whose prediction is a further input."""

    def configured(self, load: Workload) -> Configuration:
        """Return the configuration with the batch and width that were chosen."""
        overrides, spent = load.overrides, self.spent
        if spent is None:
            batch, width = self.fit.batch_size, overrides.width or FIRST_FEATURES
            counted = self._of(load, self.fit, overrides.batch_size or batch, width)
            self._check_elements(counted, load)
            return counted
        configuration = self._of(load, spent.fit, spent.batch_size, spent.width)
        return replace(configuration, step_bytes=spent.step_bytes)

    def bought(self, load: Workload) -> "Candidate":
        """Return the candidate with the device's memory spent; as it is where none is predicted.

        Raises
        ------
        PlanError
            If the memory does not hold even the least.
        """
        if load.step_bytes is None:
            return self
        predict = load.step_bytes
        refit = partial(self._refit, load)
        spent = spend(
            self.fit,
            load,
            lambda fit, batch, width: predict(self._of(load, fit, batch, width)),
            refit,
            where=self.name,
        )
        return replace(self, fit=spent.fit, spent=spent)

    def _refit(self, load: Workload, most_elements: float) -> Fit:
        return fit_patch(
            self.grid,
            self.dataset_voxels,
            load,
            where=self.name,
            most_elements=most_elements,
            given=self.fit.patch_size if self.fit.is_given else None,
        )

    def _check_elements(self, configuration: Configuration, load: Workload) -> None:
        """Refuse what the user set if it is beyond the count of elements that nnU-Net allows."""
        overrides, ndim = load.overrides, configuration.ndim
        if not self.fit.is_given and overrides.batch_size is None and overrides.width is None:
            return
        elements = load.elements(configuration.topology, configuration.patch_size)
        counted = elements * configuration.batch_size / load.reference.batch(ndim)
        allowed = load.reference.elements(ndim, load.gpu_memory_gib)
        if counted > allowed:
            needed = load.gpu_memory_gib * counted / allowed
            raise PlanError(
                f"configuration {self.name!r}: a step of {configuration.batch_size} patches of "
                f"{times(configuration.patch_size)} voxels at {configuration.topology.features[0]} "
                f"channels counts as {needed:.3g} GiB by nnU-Net's rules; the budget is "
                f"{load.gpu_memory_gib:.3g} GiB",
                hint="take less of --patch-size, --batch-size or --width, or more of "
                "--gpu-memory-gib",
            )

    def _of(self, load: Workload, fit: Fit, batch_size: int, width: int) -> Configuration:
        return Configuration(
            name=self.name,
            spacing=self.grid.spacing,
            median_shape=self.grid.median_shape,
            patch_size=fit.patch_size,
            batch_size=batch_size,
            batch_dice=self.batch_dice,
            network=load.reference.network,
            arch=preset(load.reference.network),
            style=Style(),
            topology=with_width(fit.topology, width),
            anti_aliasing=load.rules.anti_aliasing,
            previous_stage=self.previous_stage,
        )
