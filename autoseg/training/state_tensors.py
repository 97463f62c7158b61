"""The tensors of a training's state by name, copied out of it and put back into it."""

from collections.abc import Iterable

import torch
from torch import Tensor

from autoseg.training.state import TrainState


def tensors_of(state: TrainState) -> dict[str, Tensor]:
    """Return copies of all tensors of a state, on the host.

    Returns
    -------
    dict of Tensor
        ``network.*`` and ``average.*`` by their names in the network, ``optimizer.<index>.<name>``,
        ``losses`` of the epoch that has begun, and ``random.*``, the states of torch's generators.
    """
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    if state.average is not None:
        averaged = state.average.state_dict().items()
        tensors |= {f"average.{name}": value for name, value in averaged}
    for index, values in state.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    if state.losses:
        tensors["losses"] = torch.stack(state.losses)
    copies = {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }
    return copies | {f"random.{name}": value for name, value in _random_states()}


def put_tensors(tensors: dict[str, Tensor], state: TrainState) -> None:
    """Put the tensors of another state into one of the same network and optimizer.

    Parameters
    ----------
    tensors : dict of Tensor
        As `tensors_of` returns them.
    state : TrainState
        Changed in place.

    Raises
    ------
    RuntimeError
        If names or shapes do not fit the network.
    KeyError
        If the states of the generators are missing.
    """
    state.network.load_state_dict(_part(tensors, "network."))
    if state.average is not None:
        state.average.load_state_dict(_part(tensors, "average."))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimizer.").items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = value
    state.optimizer.load_state_dict({**state.optimizer.state_dict(), "state": slots})
    device = next(state.network.parameters()).device
    state.losses = list(tensors["losses"].to(device).unbind()) if "losses" in tensors else []
    random = _part(tensors, "random.")
    torch.set_rng_state(random["cpu"])
    for number in range(torch.cuda.device_count()):
        if f"cuda_{number}" in random:
            torch.cuda.set_rng_state(random[f"cuda_{number}"], number)


def _random_states() -> Iterable[tuple[str, Tensor]]:
    """Yield the states of torch's own generators; no patch depends on them."""
    yield "cpu", torch.get_rng_state()
    if torch.cuda.is_available():
        for number, each in enumerate(torch.cuda.get_rng_state_all()):
            yield f"cuda_{number}", each


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
