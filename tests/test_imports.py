"""What an import loads: a parent package drags in more than the import contracts see."""

import subprocess
import sys
from pathlib import Path

import pytest

import autoseg

SOURCE = Path(autoseg.__file__).parents[1]


def _modules(*folders):
    """Return the names of all modules in folders of the source."""
    found = []
    for folder in folders:
        for path in sorted((SOURCE / folder).rglob("*.py")):
            parts = path.relative_to(SOURCE).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def _loaded(*modules):
    """Import modules in a fresh process; return the top-level packages it then has."""
    code = f"import sys, {', '.join(modules)}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SOURCE
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["autoseg", "planners", "preprocessing", "autoseg.cli.main"])
def test_import_does_not_load_torch(module):
    assert "torch" not in _loaded(module)


def test_no_module_of_a_torch_free_layer_loads_torch():
    folders = ("autoseg/core", "autoseg/io", "autoseg/execution", "autoseg/pipeline")
    modules = _modules(*folders, "autoseg/cli", "planners", "preprocessing")
    assert len(modules) > 40
    assert "torch" not in _loaded(*modules)


def test_core_is_plain_python_and_numpy():
    loaded = _loaded(*_modules("autoseg/core"))
    foreign = {"pydantic", "nibabel", "scipy", "skimage", "SimpleITK", "blosc2", "torch", "pebble"}
    assert loaded & foreign == set()
    assert "numpy" in loaded


def test_autoseg_alone_loads_nothing_heavy():
    assert _loaded("autoseg") & {"numpy", "pydantic", "scipy", "click"} == set()


@pytest.mark.parametrize("module", ["autoseg.io.store", "autoseg.io.images", "autoseg.io.files"])
def test_codecs_and_pools_are_loaded_at_first_use(module):
    assert _loaded(module) & {"blosc2", "nibabel", "SimpleITK", "pebble"} == set()
