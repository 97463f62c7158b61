"""``autoseg explain``: the drawings that go with the page of a plan."""

from pathlib import Path

from autoseg.io import files
from autoseg.io.workspace import DatasetFolder
from autoseg.reporting.network_figure import draw_network


def write_figures(
    folder: DatasetFolder, plan: str = "default", *, into: Path | None = None
) -> tuple[Path, ...]:
    """Draw the network of every configuration of a plan.

    Parameters
    ----------
    folder : DatasetFolder
        A planned dataset.
    plan : str
        Name of the plan.
    into : Path, optional
        Folder to write to; beside the plan if left out.

    Returns
    -------
    tuple of Path
        Files ``<plan>_<configuration>.svg``, in the order of the plan. They follow from the plan,
        so those of an earlier call are replaced.

    Raises
    ------
    UsageError
        If there is no plan of this name.
    ResourceError
        If a file cannot be written.
    """
    decided, dataset = folder.read_plan(plan), folder.read_dataset()
    place = folder.plan_file(plan).parent if into is None else into
    written = []
    for configuration in decided.configurations:
        path = place / f"{plan}_{configuration.name}.svg"
        figure = draw_network(configuration, dataset.description)
        files.write_atomically(path, figure.encode())
        written.append(path)
    return tuple(written)
