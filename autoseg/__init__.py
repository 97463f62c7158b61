"""autoseg: self-configuring segmentation of medical images."""

from typing import TYPE_CHECKING, Any

from autoseg.core.version import __version__

__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from autoseg.pipeline.load import load


def __getattr__(name: str) -> Any:
    """Load `autoseg.load` on first use, so that importing autoseg stays light."""
    if name == "load":
        from autoseg.pipeline.load import load

        return load
    raise AttributeError(f"module 'autoseg' has no attribute {name!r}")
