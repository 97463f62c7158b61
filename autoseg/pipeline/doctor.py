"""``autoseg doctor``: what autoseg sees of the machine and what it would choose."""

import platform
from importlib.metadata import PackageNotFoundError, version

from autoseg.core.version import __version__
from autoseg.execution.machine import free_disk_bytes, inspect_machine
from autoseg.io.workspace import Workspace
from autoseg.siblings import check_siblings

PACKAGES = ("torch", "numpy", "scipy", "nibabel", "SimpleITK", "blosc2", "pydantic")


def examine(workspace: Workspace, device: str = "auto") -> dict[str, str]:
    """Return facts by name: versions, cores, memory, disk, device and precision, workspace.

    Raises
    ------
    UsageError
        If the asked device does not exist, or another package shadows one of autoseg's.
    """
    check_siblings()
    from autoseg.networks.device import choose_device

    machine = inspect_machine()
    return {
        "autoseg": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{name: _version(name) for name in PACKAGES},
        "cores": str(machine.cores),
        "memory": f"{machine.memory_bytes / 2**30:.1f} GiB free for this process",
        "disk": f"{free_disk_bytes(workspace.path) / 2**30:.1f} GiB free",
        "device": str(choose_device(device)),
        "workspace": str(workspace.path),
        "datasets": ", ".join(workspace.datasets()) or "none planned yet",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
