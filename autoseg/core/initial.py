"""Where a training took its first weights from: the model, which is the run's, and its fold."""

from dataclasses import dataclass
from typing import ClassVar

from autoseg.core.geometry import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Initial:
    """The model that all folds of a run start from, and how much of it fits their network."""

    __pydantic_config__: ClassVar = STRICT

    path: str
    """Where it was, as it was given: a model folder, a fold's folder, or dataset/configuration."""
    dataset: str
    """Name of the dataset that it was trained on."""
    configuration: str
    """Which configuration of its plan it is."""
    model_digest: str
    """SHA-256 of its description, ``model.json``."""
    copied: int
    """Tensors of the new network that are the model's."""
    adapted: int
    """Those made of the model's, for other channels, labels or kernels."""
    fresh: int
    """Those drawn at random."""
    unused: int
    """Tensors of the model that the new network has no place for."""
    parameters: int
    """Numbers in the new network."""
    parameters_taken: int
    """Those of them that are the model's."""

    @property
    def share(self) -> float:
        """Share of the network's parameters that are the model's, 0 to 1."""
        return self.parameters_taken / max(self.parameters, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialFold:
    """The weights that one fold starts from."""

    __pydantic_config__: ClassVar = STRICT

    fold: int
    """Fold of the model."""
    weights_digest: str
    """SHA-256 of its weights."""
