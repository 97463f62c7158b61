"""Adds up the memory of tensors that have shapes and storages but no numbers, while code runs.

On torch's ``meta`` device nothing is computed. Kernels allocate there what they return; what a
convolution on a real device allocates besides, copies in the order of its weights, is added.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final
from weakref import ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

META: Final = torch.device("meta")
"""The device whose tensors are counted."""
CONVOLUTIONS: Final[dict[Callable[..., Any], int]] = {
    torch.ops.aten.convolution.default: 1,
    torch.ops.aten.convolution_backward.default: 2,
}
"""Operators that bring what comes before their weights into the order of these, if they differ;
cuDNN's and oneDNN's alike (``aten/src/ATen/native/Convolution.cpp``). The place of the weights."""
SLOW: Final[frozenset[Callable[..., Any]]] = frozenset(
    (
        torch.ops.aten.native_batch_norm.default,
        torch.ops.aten.native_batch_norm_backward.default,
        torch.ops.aten.leaky_relu_backward.default,
        torch.ops.aten.linalg_vector_norm.default,
        torch.ops.aten.add.Tensor,
        torch.ops.aten.where.self,
    )
)
"""Operators that return new tensors and take half a trace's time, layer by layer the same."""


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages on the meta device that are alive."""

    def __init__(self, block_bytes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moments: list[int] = []
        self._block_bytes = block_bytes
        self._used = 0
        self._held: dict[int, ref[torch.UntypedStorage]] = {}
        self._known: dict[object, Any] = {}

    def size(self, tensor: Tensor) -> int:
        """Return the bytes that a tensor's storage takes on the device, 0 if it is on another."""
        return self._rounded(tensor.untyped_storage().nbytes()) if tensor.device == META else 0

    def _rounded(self, size: int) -> int:
        return -(-size // self._block_bytes) * self._block_bytes

    def hold(self, values: Iterable[object]) -> None:
        """Count the storage of every tensor among the values until it is freed."""
        for value in values:
            if isinstance(value, Tensor):
                self._hold(value.untyped_storage(), self.size(value))
            elif isinstance(value, (tuple, list)):
                self.hold(value)

    def _hold(self, storage: torch.UntypedStorage, size: int) -> None:
        key = id(storage)  # torch keeps the object as long as the storage
        if key in self._held:
            return

        def release(_: object) -> None:
            self._used -= size
            del self._held[key]

        self._held[key] = ref(storage, release)
        self._used += size

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operator, and note the bytes in use while both arguments and results are."""
        copies = 0
        if func in SLOW and not kwargs and args[0].device == META:
            result = self._repeated(func, args)
        elif func in CONVOLUTIONS:
            place = CONVOLUTIONS[func]
            result = func(*args, **(kwargs or {}))
            if order := _channels_last(args[place]):
                copied = (x for x in args[:place] if not x.is_contiguous(memory_format=order))
                copies = sum(self._rounded(x.nbytes) for x in copied)
                result = _rebuilt(result, order)
        else:
            result = func(*args, **(kwargs or {}))
        self.hold((result,))
        self.moments.append(self._used + copies)
        return result

    def _repeated(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run an operator, or rebuild what it gave for arguments of the same description."""
        key = (func, *(_description(value) for value in args))
        if key not in self._known:
            self._known[key] = func(*args)
        return _rebuilt(self._known[key], torch.preserve_format)


def _description(value: object) -> object:
    """Return everything about an argument that a result on the meta device depends on."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device
    return tuple(value) if isinstance(value, list) else value


def _rebuilt(result: Any, order: torch.memory_format) -> Any:
    """Return new tensors like those of a result; vectors have one order only."""
    if isinstance(result, tuple):
        return tuple(_rebuilt(tensor, order) for tensor in result)
    if result is None or result.ndim < 4:
        return None if result is None else torch.empty_like(result)
    return torch.empty_like(result, memory_format=order)


def _channels_last(weight: Tensor) -> torch.memory_format | None:
    """Return the channels-last order if weights are in it; a convolution then computes in it."""
    order = torch.channels_last if weight.ndim == 4 else torch.channels_last_3d
    ordered = torch.empty_like(weight, memory_format=order)
    return order if weight.stride() == ordered.stride() else None
