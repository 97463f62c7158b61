"""Who writes to a folder of segmentations: a command for all cases, or parts beside each other."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from autoseg.execution.progress import Progress
from autoseg.io import locks
from autoseg.pipeline.prediction import Part

WHOLE: Final = Part()
"""All cases."""
_INSTEAD: Final = "choose another -o FOLDER"


@contextmanager
def held(
    output: Path,
    purpose: str,
    part: Part = WHOLE,
    *,
    progress: Progress,
) -> Iterator[None]:
    """Hold the output folder while the block runs; a part holds a folder of its own in it.

    A part that starts, or ends, holds the output folder for a moment, so that no command for all
    cases begins meanwhile; such a command holds the folders of all parts.

    Parameters
    ----------
    output : Path
        Folder of segmentations.
    purpose : str
        What holds it, for the message that others get.
    part : Part
        Which share of the cases is written.
    progress : Progress
        Told if a part has to wait for a command for all cases.

    Raises
    ------
    LockedError
        If another process writes what this one would.
    """
    if not part.name:
        with locks.hold(output, purpose, instead=_INSTEAD), ExitStack() as parts:
            folders = [path for path in output.glob(".part*of*") if path.is_dir()]
            for folder in folders:
                parts.enter_context(locks.hold(folder, purpose, instead=_INSTEAD))
            yield
            parts.close()
            _remove(folders)
        return

    def wait(said: str) -> None:
        progress.note(f"waiting: {said}")

    own = part.folder(output)
    with ExitStack() as stack:
        with locks.hold(output, purpose, wait=True, on_wait=wait):
            for folder in output.glob(".part*of*"):  # those of another division share cases
                if not folder.name.endswith(f"of{part.of}"):
                    with locks.hold(folder, purpose, instead=_INSTEAD):
                        pass
            stack.enter_context(locks.hold(own, purpose, instead=_INSTEAD))
        yield
        with locks.hold(output, purpose, wait=True, on_wait=wait):
            stack.close()
            _remove([own])


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
