"""The images to predict, read and brought to the grids of a model while another is predicted."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.core.acceptance import Accepted
from autoseg.core.dataset import Case
from autoseg.core.geometry import Geometry
from autoseg.core.plan import Plan
from autoseg.execution.ahead import ahead
from autoseg.execution.executor import Outcome, run_tasks
from autoseg.execution.machine import inspect_machine, memory_errors
from autoseg.execution.workers import open_workers
from autoseg.io import files, images
from preprocessing.case import PreparedImage, RawGrid, prepare_image
from preprocessing.footprint import reading_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationTask:
    """One case to prepare."""

    case: Case
    """The case; paths in full."""
    channels: int
    """Channels that the model takes."""
    plan: Plan
    """The model's plan."""
    names: tuple[str, ...]
    """Configurations whose grids are needed."""
    accepted: Accepted
    """What is accepted of the images although a rule refuses it."""
    folder: Path
    """Where the arrays go."""
    threads: int
    """Threads to compute with; their number changes no voxel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFile:
    """A prepared image as plain bytes: written once, read once, by the same run."""

    configuration: str
    """Name of the configuration whose grid it is on."""
    path: Path
    """The file."""
    shape: tuple[int, ...]
    """Channels and spatial shape."""

    def mapped(self) -> npt.NDArray[np.float32]:
        """Return the array without reading it at once; changes stay in memory."""
        return np.memmap(self.path, np.float32, mode="c", shape=self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCase:
    """A case whose arrays lie in files; processes exchange their paths."""

    case: Case
    """The case."""
    geometry: Geometry
    """Grid of the raw image."""
    grid: RawGrid
    """The same in plan order, and what was cut out of it."""
    arrays: tuple["ArrayFile", ...]
    """One of each configuration."""
    input_digests: tuple[str, ...]
    """SHA-256 of each image file."""
    notes: tuple[str, ...]
    """What the reader repaired or found worth saying."""

    @contextmanager
    def opened(self) -> Iterator[PreparedImage]:
        """Give the arrays, memory-mapped, and remove their files."""
        try:
            images = {file.configuration: file.mapped() for file in self.arrays}
            yield PreparedImage(images=images, grid=self.grid)
        finally:
            for file in self.arrays:
                with suppress(OSError):  # Windows keeps what is mapped; the folder goes in the end
                    file.path.unlink()


def prepare_case(task: PreparationTask) -> PreparedCase:
    """Read a case, prepare it for the configurations, and write its arrays.

    Raises
    ------
    InputError
        If a file of the case is refused.
    """
    with memory_errors(task.case.name):
        image = images.read_case_image(
            task.case,
            task.channels,
            orientation=task.plan.orientation,
            accepted=task.accepted,
        )
        prepared = prepare_image(
            image.voxels,
            image.geometry.spacing,
            task.plan,
            task.names,
            where=f"case {task.case.name!r}",
            threads=task.threads,
        )
    arrays = tuple(
        _write(task.folder / f"{task.case.name}.{name}", name, array)
        for name, array in prepared.images.items()
    )
    return PreparedCase(
        case=task.case,
        geometry=image.geometry,
        grid=prepared.grid,
        arrays=arrays,
        input_digests=image.digests,
        notes=image.notes,
    )


@contextmanager
def prepared_cases(
    tasks: Sequence[PreparationTask], workers: int
) -> Iterator[Iterator[Outcome[PreparationTask, PreparedCase]]]:
    """Give what becomes of each case, in their order.

    Parameters
    ----------
    tasks : sequence of PreparationTask
        The cases.
    workers : int
        Worker processes, which work ahead: no more than two cases of each, and two, lie prepared or
        are at work. 0 prepares each case in this process when it is asked for.
    """
    budget = inspect_machine().budget_bytes
    with open_workers(workers) as pool:
        outcomes = run_tasks(
            prepare_case,
            tasks,
            workers=pool,
            name=lambda task: f"case {task.case.name!r}",
            memory_bytes=lambda task: min(budget, reading_bytes(task.case, Path())),
            budget_bytes=budget,
            most_ahead=workers + 1,
        )
        if not workers:
            yield outcomes
            return
        with closing(ahead(outcomes, max(1, workers - 1))) as ready:
            yield ready


def preparation_workers(asked: int | None, *, cases: int, on_cpu: bool) -> int:
    """Return how many processes prepare cases.

    Parameters
    ----------
    asked : int or None
        The user's choice; None lets the machine decide.
    cases : int
        Cases to prepare: a single one is prepared in this process.
    on_cpu : bool
        Whether networks run on the CPU too: then one process is enough to be ahead of them.
    """
    if asked is not None:
        return min(asked, cases)
    if cases < 2:
        return 0
    return 1 if on_cpu else max(1, min(cases, inspect_machine().cores // 4, 8))


def _write(path: Path, name: str, array: npt.NDArray[np.float32]) -> ArrayFile:
    files.write_atomically(path, np.ascontiguousarray(array).data.cast("B"), durable=False)
    return ArrayFile(configuration=name, path=path, shape=array.shape)
