"""Gives the tests the module that builds DICOM series."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

MAKER = Path(__file__).parents[3] / "faults" / "make_dicom.py"


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """Load ``make_dicom.py`` by its path: the test folders are no packages."""
    spec = importlib.util.spec_from_file_location("faults_make_dicom", MAKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
