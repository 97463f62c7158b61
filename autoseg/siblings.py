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
        places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
        own = home / name
        if not any(
            place and own in (Path(place).resolve(), Path(place).resolve().parent)
            for place in places
        ):
            raise UsageError(
                f"{places[0] if places else name}: shadows autoseg's package {name!r}; "
                f"expected {own}",
                hint="rename that file or folder, or take it off PYTHONPATH",
            )
