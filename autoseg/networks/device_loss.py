"""An accelerator that fails in the middle of the work: the same command carries on later."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autoseg.core.errors import InterruptedRun
from autoseg.execution.machine import is_memory_error


@contextmanager
def device_losses(where: str, device: object, *, kept: str) -> Iterator[None]:
    """Turn the loss of a device into what a person or a scheduler can act on.

    Parameters
    ----------
    where : str
        What was being done.
    device : object
        Names the device.
    kept : str
        What of the work is not lost.

    Raises
    ------
    InterruptedRun
        If the device is lost.
    """
    try:
        yield
    except torch.AcceleratorError as error:
        if is_memory_error(error):
            raise
        raise InterruptedRun(
            f"{where}: {device} was lost ({str(error).splitlines()[0][:160]}); {kept}",
            hint="run the same command again when the device is back, or with another --device",
        ) from error
