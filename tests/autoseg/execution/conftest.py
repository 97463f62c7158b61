"""Makes the functions that spawned workers run importable by name, in this process and in theirs.

A spawned process starts with the import paths of its parent, so that one entry serves both.
"""

from importlib import import_module
from pathlib import Path

import pytest


@pytest.fixture
def tasks(monkeypatch):
    """Return the module of functions for workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return import_module("tasks_for_workers")
