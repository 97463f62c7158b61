"""The packages `planners` and `preprocessing` stand beside autoseg under common names."""

from importlib.util import find_spec
from pathlib import Path

from autoseg.core.errors import UsageError


def check_siblings() -> None:
    """Check that `planners` and `preprocessing` are autoseg's own.

    Raises
    ------
    UsageError
        If another file or folder of that name comes first on Python's path; names it.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("planners", "preprocessing"):
        spec = find_spec(name)
        place = Path((spec.origin if spec else None) or name).resolve()
        if place != home / name / "__init__.py":
            raise UsageError(
                f"{place}: shadows autoseg's package {name!r}; expected {home / name}",
                hint="rename that file or folder, or take its folder off PYTHONPATH",
            )
