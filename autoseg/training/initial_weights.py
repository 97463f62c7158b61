"""Which tensors of a trained network a new one starts with, and how they are made to fit.

Stages are counted from the finest: of a deeper network those are taken over that both have. What
goes into a network and what comes out is matched by name, never by its place. A convolution and the
norm behind it are taken over together or not at all. No tensor is cut or stretched in width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Tensor, nn

from autoseg.core.initial import InitialFold
from autoseg.core.model import ModelDescription
from autoseg.training.fitted_tensors import (
    ChannelNames,
    channel_names,
    fit_inputs,
    fit_kernel,
    fit_logits,
)

How = Literal["copied", "adapted", "fresh"]
"""Where a tensor comes from: from the model as it is, from it but made to fit, or from chance."""
READ_THE_IMAGE: Final = ("0.conv.weight", "0.first.conv.weight", "0.shortcut.0.weight")
"""Tensors of the first encoder stage, below ``encoder.0``, that read the image without a stem."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InitialWeights:
    """Weights of a trained fold, and the model that they belong to."""

    description: ModelDescription
    """The model."""
    tensors: Mapping[str, Tensor]
    """Its network's tensors by name."""
    origin: InitialFold
    """Which fold it is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchedTensor:
    """One tensor of the new network."""

    name: str
    """Its name."""
    part: str
    """The part of the network that it belongs to, such as ``encoder stage 2``."""
    how: How
    """Where its values come from."""
    values: Tensor | None
    """Its values; None where they are drawn."""
    source: str
    """Name of the tensor in the model; empty where they are drawn."""
    parameters: int
    """Numbers that it holds."""
    taken: int
    """Those of them that are the model's."""

    def as_fresh(self) -> "MatchedTensor":
        """Return the same tensor, drawn at random."""
        return replace(self, how="fresh", values=None, source="", taken=0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """What a new network takes over from a model."""

    tensors: tuple[MatchedTensor, ...]
    """Every tensor of the new network, in its order."""
    unused: tuple[str, ...]
    """Names of the model's tensors that the new network has no place for."""

    def count(self, how: How) -> int:
        """Return how many tensors come from one place."""
        return sum(tensor.how == how for tensor in self.tensors)

    @property
    def parts(self) -> dict[str, tuple[MatchedTensor, ...]]:
        """The tensors of each part of the network, in its order."""
        found: dict[str, tuple[MatchedTensor, ...]] = {}
        for tensor in self.tensors:
            found[tensor.part] = (*found.get(tensor.part, ()), tensor)
        return found

    @property
    def parameters(self) -> int:
        """Numbers in the new network."""
        return sum(tensor.parameters for tensor in self.tensors)

    @property
    def taken(self) -> int:
        """Those of them that are the model's."""
        return sum(tensor.taken for tensor in self.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What a tensor does in its network; two tensors of one place may stand for each other."""

    part: str
    stage: int
    rest: str
    reads_image: bool

    @property
    def unit(self) -> tuple[str, int, tuple[str, ...]]:
        """The unit of convolution and norm: a name ends in module and tensor, ``norm.bias``."""
        return self.part, self.stage, tuple(self.rest.split(".")[:-2])

    @property
    def title(self) -> str:
        if self.part in ("stem", "heads"):
            return self.part
        return f"{'encoder' if self.part == 'encoder' else 'decoder'} stage {self.stage}"


_Ends = tuple[ChannelNames, ChannelNames]
"""Names of the new network's channels, and of the model's."""


def match_weights(
    target: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    *,
    names: ChannelNames,
    source_names: ChannelNames,
) -> Matched:
    """Find what a network can take over from a trained one.

    Parameters
    ----------
    target : mapping of str to Tensor
        State of the new network, with the values that it was drawn with; without values, on the
        ``meta`` device, the tensors are matched all the same.
    source : mapping of str to Tensor
        State of the trained network.
    names, source_names : ChannelNames
        What goes into them and what comes out.

    Returns
    -------
    Matched
        A tensor is *copied* if the trained network has one of the same place and shape, and
        *adapted* if that was made to fit (`autoseg.training.fitted_tensors`):

        - channels of the image and of a previous stage: `fit_inputs`;
        - labels and regions: `fit_logits`;
        - kernels that are smaller than wanted: `fit_kernel`.

        All else is *fresh*: another width, a larger kernel, another stride of an upsampling, and
        stages that the trained network lacks.

    References
    ----------
    Carreira and Zisserman 2017, arXiv:1705.07750, spread a kernel over the new axis; in the middle
    alone, as Arnab et al. 2021, arXiv:2103.15691, do, the result does not depend on the input.
    """
    places = _places(target)
    theirs = {place: name for name, place in _places(source).items()}
    units: dict[object, list[str]] = {}
    for name, place in places.items():
        units.setdefault(place.unit, []).append(name)
    found: dict[str, MatchedTensor] = {}
    for members in units.values():
        matched = [
            _match(name, target[name], places[name], source, theirs, (names, source_names))
            for name in members
        ]
        is_whole = all(tensor.values is not None for tensor in matched)
        found |= {each.name: each if is_whole else each.as_fresh() for each in matched}
    used = {tensor.source for tensor in found.values()}
    return Matched(
        tensors=tuple(found[name] for name in target),
        unused=tuple(name for name in source if name not in used),
    )


@torch.no_grad()
def start_from(
    network: nn.Module, initial: InitialWeights, description: ModelDescription
) -> Matched:
    """Put all that fits of trained weights into a new network.

    Parameters
    ----------
    network : Module
        A `UNet` with the weights that it was drawn with; changed in place.
    initial : InitialWeights
        The trained weights.
    description : ModelDescription
        What the new network is for.

    Returns
    -------
    Matched
        What was put where.
    """
    tensors = network.state_dict()
    matched = match_weights(
        tensors,
        initial.tensors,
        names=channel_names(description),
        source_names=channel_names(initial.description),
    )
    for tensor in matched.tensors:
        if tensor.values is not None:
            tensors[tensor.name].copy_(tensor.values)
    return matched


def _places(tensors: Mapping[str, Tensor]) -> dict[str, _Place]:
    """Return the place of every tensor by its name; lists of the decoder begin at the coarsest."""
    stages = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("encoder."))
    has_stem = "stem.conv.weight" in tensors
    places = {}
    for name in tensors:
        part, _, rest = name.partition(".")
        stage, reads_image = 0, name == "stem.conv.weight"
        if part != "stem":
            number, _, rest = rest.partition(".")
            stage = int(number) if part == "encoder" else stages - 2 - int(number)
            is_first = (part, stage) == ("encoder", 0) and not has_stem
            reads_image = is_first and rest in READ_THE_IMAGE
        places[name] = _Place(part=part, stage=stage, rest=rest, reads_image=reads_image)
    return places


def _match(
    name: str,
    fresh: Tensor,
    place: _Place,
    source: Mapping[str, Tensor],
    theirs: Mapping[_Place, str],
    ends: _Ends,
) -> MatchedTensor:
    """Match one tensor, whatever becomes of the others of its unit."""
    other = theirs.get(place, "")
    values = _fit(place, source[other], fresh, ends) if other else None
    is_same = bool(other) and values is source[other]
    if values is not None and not is_same:
        # Distinct numbers above 0 go the same way; what is 0 behind it did not come from them.
        marks = torch.arange(1.0, 1 + source[other].numel()).reshape(source[other].shape)
        fitted = _fit(place, marks, torch.zeros(fresh.shape), ends)
        taken = 0 if fitted is None else int(fitted.count_nonzero())
    else:
        taken = fresh.numel() if is_same else 0
    return MatchedTensor(
        name=name,
        part=place.title,
        how="copied" if is_same else "fresh" if values is None else "adapted",
        values=values,
        source="" if values is None else other,
        parameters=fresh.numel(),
        taken=taken,
    )


def _fit(place: _Place, source: Tensor, fresh: Tensor, ends: _Ends) -> Tensor | None:
    """Return a tensor of the model in the shape of a fresh one: itself if it has it already."""
    if place.part == "heads":
        return fit_logits(source, fresh, *ends)
    if place.reads_image:
        source = fit_inputs(source, *ends)
    if place.part != "upsamplers":
        source = fit_kernel(source, fresh.shape)
    return source if source.shape == fresh.shape else None
