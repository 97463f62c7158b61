"""What ``predict`` is asked for, and the record of what it wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from autoseg.core.acceptance import Accepted
from autoseg.core.dataset import Case, DatasetDescription
from autoseg.core.errors import AutosegError, PartialError, RefusedCasesError, UsageError
from autoseg.core.geometry import STRICT
from autoseg.io import documents
from autoseg.io.guard import file_ending, is_series
from autoseg.postprocessing.rules import Rule

MANIFEST: Final = "autoseg_prediction.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedCase:
    """Which input became which output."""

    __pydantic_config__: ClassVar = STRICT

    case: str
    """Case name."""
    input_digests: tuple[str, ...]
    """SHA-256 of each image file; of an average those of the arrays of probabilities."""
    output_digest: str
    """SHA-256 of the segmentation's file and its sidecar; recorded before they are written."""
    weights_digests: tuple[str, ...]
    """SHA-256 of the weights of every fold that was averaged."""
    mirror: bool
    """Whether mirrored views were averaged."""
    accepted: Accepted = ()
    """What was accepted although a rule refuses it."""
    rules: tuple[Rule, ...] = ()
    """Post-processing that was applied."""
    probabilities_digest: str = ""
    """SHA-256 of the probabilities' array; empty where there is none."""
    uncertainty_digests: tuple[str, ...] = ()
    """SHA-256 of the maps of uncertainty, if there are any."""
    notes: tuple[str, ...] = ()
    """What the reader repaired or found worth saying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionManifest:
    """What an output folder holds and what made it."""

    __pydantic_config__: ClassVar = STRICT

    schema_version: int = 1
    """Version of this document."""
    autoseg_version: str
    """Version that predicted."""
    dataset: DatasetDescription
    """Channels and labels of the model."""
    configuration: str
    """Configuration of the model; those of an ensemble joined by ``+``."""
    plan: str
    """Name of the model's plan."""
    plan_digest: str
    """SHA-256 of the plan."""
    cases: tuple[PredictedCase, ...]
    """Cases whose segmentations lie in the folder, sorted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A model and which of its folds segment."""

    folder: Path
    """Model folder."""
    folds: tuple[int, ...] = ()
    """Folds to average; empty for all that are finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of several equal shares of the cases, for as many machines or devices."""

    number: int = 1
    """Which, from 1."""
    of: int = 1
    """How many there are."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(
                f"part {self.number} of {self.of} does not exist; parts are numbered from 1",
                hint="e.g. --parts 4 --part 1 to --parts 4 --part 4",
            )

    def share(self, cases: Sequence[Case]) -> tuple[Case, ...]:
        """Return the cases of this part."""
        return tuple(cases[self.number - 1 :: self.of])

    @property
    def name(self) -> str:
        """What its files are called by; empty where there is one part."""
        return f"part{self.number}of{self.of}" if self.of > 1 else ""

    def folder(self, output: Path) -> Path:
        """Return the folder that it holds while it runs."""
        return output / f".{self.name}" if self.name else output


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What to predict with what, and where it goes."""

    source: Path
    """An image, a folder of images, or a manifest that lists them."""
    output: Path
    """Folder for the segmentations."""
    models: tuple[ModelChoice, ...]
    """Models; several are averaged."""
    rules: tuple[Rule, ...] = ()
    """Post-processing, in its order."""
    probabilities: bool = False
    """Whether probabilities are written too."""
    uncertainty: bool = False
    """Whether entropy and disagreement are written too."""
    device: str = "auto"
    """Device; see `autoseg.networks.device.choose_device`."""
    mirror: bool | None = None
    """Whether to average over mirrored views; None does as the model was trained."""
    overwrite: bool = False
    """Whether files that this model did not write may be replaced."""
    accepted: Accepted = ()
    """What is accepted of the images although a rule refuses it; the model's own training does not
    count."""
    part: Part = Part()
    """Which share of the cases."""
    workers: int | None = None
    """Processes that prepare images; None lets the machine decide."""

    @property
    def folder(self) -> Path:
        """The folder that this run holds: parts that run at the same time each hold their own."""
        return self.part.folder(self.output)

    @property
    def manifest(self) -> Path:
        """The manifest that this run writes, for the same reason one of its own."""
        stem = Path(MANIFEST).stem
        return self.output / (f"{stem}_{self.part.name}.json" if self.part.name else MANIFEST)

    def output_file(self, case: Case) -> Path:
        """Return where the segmentation of a case goes."""
        return self.output / f"{case.name}{output_ending(case)}"


def output_ending(case: Case) -> str:
    """Return the ending of a case's segmentation; a DICOM series has none."""
    return file_ending(Path(case.images[0])) or ".nii.gz"


def check_output(request: Prediction, cases: Sequence[Case]) -> None:
    """Refuse to write segmentations among the images that they are made from."""
    images = [Path(image).resolve() for case in cases for image in case.images]
    inputs = {image if is_series(image) else image.parent for image in images}
    if request.output.resolve() in inputs:
        raise UsageError(
            f"{request.output}: holds the images; segmentations need a folder of their own",
            hint="choose another -o FOLDER",
        )


def check_uncertainty(request: Prediction, dataset: DatasetDescription, axes: int) -> None:
    """Refuse maps of uncertainty of pictures, for which there is no file type."""
    if request.uncertainty and axes < 3:
        raise UsageError(
            f"dataset {dataset.name!r} has 2D images; --uncertainty writes NIfTI, which has 3 axes",
            hint="--probabilities tells the same of pictures",
        )


def manifests(folder: Path) -> list[Path]:
    """Return the manifests of a folder of segmentations: one, or one of each part."""
    return sorted(folder.glob(f"{Path(MANIFEST).stem}*.json"))


def report_problems(
    problems: Sequence[AutosegError],
    cases: int,
    output: Path,
    manifest: PredictionManifest | None,
    *,
    hint: str,
) -> None:
    """Raise one error for all cases that could not be segmented, if there are any.

    Raises
    ------
    PartialError
        If some could not; the others lie in the output folder.
    RefusedCasesError
        If none could.
    """
    if not problems:
        return
    if len(problems) == cases or manifest is None:
        raise RefusedCasesError(
            f"all {cases} cases are refused; nothing was written", tuple(problems), hint=hint
        )
    raise PartialError(
        f"{len(problems)} of {cases} cases are refused; the others are in {output}",
        tuple(problems),
        hint=f"{hint}: finished cases are kept",
        result=documents.to_json(manifest),
    )
