"""Gives the tests the module that builds every faulty file."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """Load ``make.py`` by its path: the test folders are no packages."""
    spec = importlib.util.spec_from_file_location(
        "faults_make", Path(__file__).with_name("make.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
