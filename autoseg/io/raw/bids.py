"""BIDS datasets: the anatomical images of every session, and the one segmentation of each.

A session is a case, its subject the patient. Where several files could be meant, none is chosen: a
manifest can say which.

References
----------
.. [1] Gorgolewski et al., The brain imaging data structure, Scientific Data 3, 160044 (2016),
   doi:10.1038/sdata.2016.44
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from autoseg.core.dataset import Case, near_misses
from autoseg.core.errors import AutosegError, DatasetError
from autoseg.io.raw.bids_files import BidsFile, by_case
from autoseg.io.raw.bids_labels import read_labels
from autoseg.io.raw.channel_files import is_there
from autoseg.io.raw.dataset_json import refuse
from autoseg.io.raw.layouts import Listing, RawDataset, extra, missing
from autoseg.io.raw.listing import look_alikes, unsafe_names, visible_names
from autoseg.io.raw.places import BIDS_JSON

_SEGMENTATIONS: Final = ("dseg", "mask")
_NO_IMAGES: Final = (*_SEGMENTATIONS, "probseg", "defacemask")
_MANIFEST: Final = "or list the files of each case in a manifest"

_Files = dict[str, list[BidsFile]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Channel:
    """One kind of image that every case has."""

    name: str
    """Its suffix, such as ``T1w``; with the entities before it where several kinds share it."""
    kinds: frozenset[str]
    """The kinds of files that it may be."""

    def files(self, case: Sequence[BidsFile]) -> list[BidsFile]:
        """Return the files of a case that may be this channel."""
        return [file for file in case if file.kind in self.kinds]


def read_bids(folder: Path, exclude: frozenset[str]) -> RawDataset:
    """Read a BIDS dataset.

    Parameters
    ----------
    folder : Path
        Folder with ``dataset_description.json`` and images
        ``sub-*/[ses-*/]anat/sub-*_[ses-*_]*<suffix>.nii.gz``. Segmentations, ``*_dseg.nii.gz``
        or else ``*_mask.nii.gz``, lie beside them or in one folder ``derivatives/<pipeline>``.
    exclude : frozenset of str
        Cases, ``sub-*`` or ``sub-*_ses-*``, to leave out, whatever their files are like.

    Raises
    ------
    DatasetError
        If there are no segmentations or those of several pipelines, no kind of image that all
        cases have, or nothing says what the labels mean.

    Notes
    -----
    Cases without a segmentation, and kinds of images that some case lacks, are left out and noted.
    """
    where = str(folder / BIDS_JSON)
    found = by_case(folder, folder)
    images = {
        case: chosen
        for case, files in found.items()
        if (chosen := [file for file in files if file.suffix not in _NO_IMAGES])
    }
    segmentations = _one_pipeline(folder, found)
    seen = frozenset(images) | frozenset(segmentations)
    images = {case: files for case, files in images.items() if case not in exclude}
    segmentations = {case: f for case, f in segmentations.items() if case not in exclude}
    if not segmentations:
        refuse(str(folder), "all cases are excluded", "exclude fewer cases", rule="E-SET-47")
    labeled = {case: images[case] for case in sorted(segmentations) if case in images}
    labels = read_labels(folder, [file for files in segmentations.values() for file in files])
    channels, notes = _channels(labeled, where)
    problems = _problems(folder, labeled, segmentations, channels)
    cases = tuple(
        Case(
            name=case,
            images=tuple(channel.files(files)[0].path for channel in channels),
            segmentation=segmentations[case][0].path,
            patient=PurePosixPath(files[0].path).parts[0],
        )
        for case, files in labeled.items()
    )
    bare = sorted(set(images).difference(segmentations))
    if bare:
        notes.insert(0, f"{len(bare)} cases without a segmentation are left out: {_some(bare)}")
    endings = {file.ending for files in labeled.values() for file in files}
    return RawDataset(
        name=folder.resolve().name,
        folder=folder,
        where=where,
        channels=tuple(channel.name for channel in channels),
        labels=labels,
        listing=Listing(
            cases=cases,
            file_ending=endings.pop() if len(endings) == 1 else ".nii.gz",
            problems=tuple(problems),
            seen=seen,
            notes=tuple(notes),
        ),
    )


def _one_pipeline(folder: Path, raw: _Files) -> _Files:
    """Return the segmentations by case, from the only place that has any."""
    derived = folder / "derivatives"
    places = {"sub-*/": _segmentations(raw)} | {
        f"derivatives/{name}": _segmentations(by_case(derived / name, folder))
        for name in visible_names(derived)
    }
    places = {place: files for place, files in places.items() if files}
    if not places:
        refuse(
            str(folder),
            "has no segmentations; looked for were sub-*/[ses-*/]anat/*_dseg.nii.gz (or *_mask) "
            "in it and in derivatives/<pipeline>",
            f"put them there, {_MANIFEST}",
            rule="E-SET-42",
        )
    if len(places) > 1:
        listed = ", ".join(f"{place} ({len(files)} cases)" for place, files in places.items())
        refuse(
            str(folder),
            f"has segmentations in {listed}; allowed is one place",
            f"move the others away, {_MANIFEST}",
            rule="E-SET-43",
        )
    return next(iter(places.values()))


def _segmentations(files: _Files) -> _Files:
    """Return the discrete segmentations of a folder, or else its masks."""
    for suffix in _SEGMENTATIONS:
        if found := {
            case: chosen
            for case, listed in files.items()
            if (chosen := [file for file in listed if file.suffix == suffix])
        }:
            return found
    return {}


def _channels(cases: _Files, where: str) -> tuple[list[_Channel], list[str]]:
    """Return the kinds of images that all cases have, and notes on the others.

    Where no kind of a suffix is in all cases but each has one file of it, that is a channel too:
    protocols have different names at different sites.
    """
    suffixes = {file.kind: file.suffix for files in cases.values() for file in files}
    has = {
        kind: [case for case, files in cases.items() if kind in {file.kind for file in files}]
        for kind in sorted(suffixes)
    }
    channels: list[_Channel] = []
    notes: list[str] = []
    for suffix in sorted(set(suffixes.values())):
        kinds = [kind for kind, other in suffixes.items() if other == suffix]
        whole = [kind for kind in sorted(kinds) if len(has[kind]) == len(cases)]
        if not whole and all(any(file.suffix == suffix for file in f) for f in cases.values()):
            channels.append(_Channel(name=suffix, kinds=frozenset(kinds)))
            notes.append(f"images {', '.join(sorted(kinds))} count as one channel, {suffix}")
            continue
        channels += [
            _Channel(name=suffix if len(whole) == 1 else kind, kinds=frozenset({kind}))
            for kind in whole
        ]
        notes += [_left_out(kind, has[kind], cases) for kind in sorted(set(kinds) - set(whole))]
    if cases and not channels:
        listed = ", ".join(f"{kind} ({len(having)})" for kind, having in has.items())
        refuse(
            where,
            f"there is no kind of image that all {len(cases)} cases with a segmentation have, but "
            f"{listed}",
            f"add the missing images, --exclude cases, {_MANIFEST}",
            rule="E-SET-42",
        )
    return channels, notes


def _left_out(kind: str, having: Sequence[str], cases: Iterable[str]) -> str:
    lacking = sorted(set(cases).difference(having))
    return f"images {kind} are left out: {len(lacking)} cases lack them: {_some(lacking)}"


def _problems(
    folder: Path,
    labeled: _Files,
    segmentations: _Files,
    channels: Sequence[_Channel],
) -> list[AutosegError]:
    """Return what is wrong with single cases."""
    problems: list[AutosegError] = [
        extra(folder / file.path, case)
        for case, files in segmentations.items()
        if case not in labeled
        for file in files
    ]
    chosen = []
    for case, images in labeled.items():
        roles = {"segmentation": segmentations[case]}
        roles |= {channel.name: channel.files(images) for channel in channels}
        problems += _ambiguous(case, roles, folder)
        chosen += [(case, file.path) for files in roles.values() for file in files]
    problems += unsafe_names(chosen, folder)
    problems += look_alikes(((case, files[0].path) for case, files in labeled.items()), str(folder))
    return problems + [
        missing(folder / path, case) for case, path in chosen if not is_there(folder / path)
    ]


def _ambiguous(
    case: str, roles: Mapping[str, Sequence[BidsFile]], folder: Path
) -> list[AutosegError]:
    return [
        DatasetError(
            f"{folder}: case {case!r} has several files for its {role}: "
            f"{', '.join(file.path for file in files)}; allowed is one",
            rule="E-SET-43",
            hint=f"move the others away, {_MANIFEST}",
        ).about(case)
        for role, files in roles.items()
        if len(files) > 1
    ]


def _some(cases: Sequence[str]) -> str:
    return near_misses(cases, ())
