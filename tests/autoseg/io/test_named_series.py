"""Of a folder with several series, the one that the user named is read; of others, the only one."""

import pytest

from autoseg.core.acceptance import parse_accepted
from autoseg.core.errors import DatasetError, ImageFileError
from autoseg.io.named_series import with_named_series

NAMED = parse_accepted(["E-DCM-53=1.5", "E-DCM-53=1.2", "E-VAL-28"])


def folder_of(*series: str):
    """Return a reader of a folder with these series."""

    def read(asked: str | None) -> str:
        if asked is None and len(series) == 1:
            return series[0]
        if asked not in series:
            raise DatasetError(f"series {series}, asked was {asked}", rule="E-DCM-53")
        return asked

    return read


def test_the_only_series_is_read_whatever_was_named():
    assert with_named_series(folder_of("1.7"), NAMED) == "1.7"


def test_of_several_the_named_one_is_read():
    assert with_named_series(folder_of("1.1", "1.2"), NAMED) == "1.2"
    assert with_named_series(folder_of("1.5", "1.9"), NAMED) == "1.5"


def test_of_several_named_ones_none_is_chosen():
    with pytest.raises(DatasetError, match=r"\('1\.2', '1\.5'\), asked was None"):
        with_named_series(folder_of("1.2", "1.5"), NAMED)


def test_several_of_which_none_was_named_are_refused_with_all_of_them():
    for accepted in ((), NAMED):
        with pytest.raises(DatasetError, match=r"\('1\.3', '1\.4'\), asked was None"):
            with_named_series(folder_of("1.3", "1.4"), accepted)


def test_other_refusals_are_not_swallowed():
    def read(asked: str | None) -> str:
        if asked is None:
            raise DatasetError("several", rule="E-DCM-53")
        raise ImageFileError("a slice is missing", rule="E-DCM-50")

    with pytest.raises(ImageFileError, match="a slice is missing"):
        with_named_series(read, NAMED)
