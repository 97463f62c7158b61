"""As what the images of a dataset are stored, told as decisions of its plan."""

from collections import defaultdict

from autoseg.core.errors import DamagedError
from autoseg.core.plan import Decision, Plan
from autoseg.io import store
from autoseg.io.workspace import DatasetFolder
from autoseg.reporting.wording import count
from preprocessing.runner import grid_key


def storage_decisions(folder: DatasetFolder, plan: Plan) -> tuple[Decision, ...]:
    """Return one decision per configuration whose cases are preprocessed.

    Parameters
    ----------
    folder : DatasetFolder
        The dataset.
    plan : Plan
        Its plan.

    Returns
    -------
    tuple of Decision
        Each case decides on its own; cases of one type are counted, and the first of them is shown.
    """
    names = [case.name for case in folder.read_dataset().cases]
    decisions = []
    for configuration in plan.configurations:
        by_type: defaultdict[str, list[tuple[str, Decision]]] = defaultdict(list)
        place = folder.store(grid_key(plan, configuration))
        for name in filter(lambda name: store.has_record(place, name), names):
            try:
                record = store.read_record(place, name)
            except DamagedError:  # told, and made again, by whoever needs the case
                continue
            for decision in record.decisions:
                by_type[decision.value].append((name, decision))
        if by_type:
            decisions.append(_joined(configuration.name, by_type))
    return tuple(decisions)


def _joined(configuration: str, by_type: dict[str, list[tuple[str, Decision]]]) -> Decision:
    firsts = [cases[0] for cases in by_type.values()]
    return Decision(
        subject=f"{configuration}.stored_image",
        value=", ".join(
            f"{value} in {count(len(cases), 'case')}" for value, cases in by_type.items()
        ),
        rule=firsts[0][1].rule,
        numbers=tuple(
            (f"{label} of {name}", number)
            for name, decision in firsts
            for label, number in decision.numbers
        ),
        changed_by="intensities of coarser or finer steps in the image files",
    )
