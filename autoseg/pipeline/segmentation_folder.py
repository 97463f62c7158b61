"""A folder of segmentations that is being filled, and the manifest that says what made them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.core.errors import AutosegError, UsageError
from autoseg.io import documents, files
from autoseg.io.formats.image_digest import stored_digest
from autoseg.io.formats.table import sidecar_places
from autoseg.io.guard import FILE_ENDINGS
from autoseg.pipeline.prediction import PredictedCase, PredictionManifest, manifests


@dataclass(slots=True, kw_only=True)
class SegmentationFolder:
    """What lies in a folder so far."""

    file: Path
    """The manifest."""
    made_by: PredictionManifest
    """What the segmentations are made by; it lists none."""
    recorded: dict[str, PredictedCase]
    """Records of the segmentations that are there, by case."""

    def write(
        self, record: PredictedCase, output: Path, data: bytes, sidecar: tuple[Path, bytes] | None
    ) -> None:
        """Write a segmentation: its record goes to the manifest first, then the file to its place.

        Killed in between, the next run finds a record without its file and does the case again.

        Parameters
        ----------
        record : PredictedCase
            What it was made from; its ``output_digest`` is filled in here.
        output : Path
            Its file.
        data : bytes
            The file's content.
        sidecar : tuple of Path and bytes, optional
            Another file that it needs.
        """
        files.remove(output)
        digest = files.digest(data + (sidecar[1] if sidecar else b""))
        self.recorded[record.case] = replace(record, output_digest=digest)
        try:
            self.write_manifest()
            if sidecar:
                files.write_atomically(*sidecar)
            files.write_atomically(output, data)
        except AutosegError:
            del self.recorded[record.case]  # the record would speak of a file that is not there
            if sidecar:
                files.remove(sidecar[0])
            raise

    def write_manifest(self) -> PredictionManifest:
        """Write down what lies in the folder."""
        cases = tuple(self.recorded[name] for name in sorted(self.recorded))
        manifest = replace(self.made_by, cases=cases)
        documents.write(self.file, manifest)
        return manifest

    def remove_other_manifests(self) -> None:
        """Remove those of parts once this one lists what they list."""
        for path in set(manifests(self.file.parent)) - {self.file}:
            files.remove(path)


def recorded_cases(
    folder: Path, outputs: Mapping[str, Path], *, overwrite: bool, alone: bool
) -> dict[str, PredictedCase]:
    """Return the records of segmentations that lie in a folder unchanged.

    A sidecar whose segmentation is missing is removed: a run was killed between them.

    Parameters
    ----------
    folder : Path
        The folder.
    outputs : mapping of str to Path
        The file of each case that is to be written.
    overwrite : bool
        Whether files that no record knows may be replaced.
    alone : bool
        Whether only these cases are looked at: the others are for others to list.

    Raises
    ------
    UsageError
        If a file is in the way that no record knows, unless it may be replaced.
    """
    recorded, known = {}, set()
    for path in manifests(folder):
        for record in documents.read_stored(path, PredictionManifest).cases:
            if alone and record.case not in outputs:
                continue
            known.add(record.case)
            for output in (folder / f"{record.case}{ending}" for ending in FILE_ENDINGS):
                if output.is_file() and stored_digest(output) == record.output_digest:
                    recorded[record.case] = record
    unfinished = []
    for case, output in outputs.items():
        written = [path for path in (output, *sidecar_places(output)) if path.exists()]
        if case in known and not output.exists():
            unfinished += written
        elif written and case not in recorded and not overwrite:
            raise UsageError(
                f"{written[0]}: is in the way; autoseg did not write it, or it was changed",
                hint="choose another -o FOLDER, or --overwrite to replace it",
            )
    for path in unfinished:  # the next manifest will not know them
        files.remove(path)
    return recorded
