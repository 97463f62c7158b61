import os
import subprocess
import sys

import pytest

from autoseg.siblings import check_siblings


def test_the_packages_beside_autoseg_are_its_own():
    assert check_siblings() is None


@pytest.mark.parametrize("name", ["planners", "preprocessing"])
@pytest.mark.parametrize("place", ["{}.py", "{}/__init__.py"])
def test_a_file_that_shadows_a_sibling_is_named(name, place, tmp_path):
    shadow = tmp_path / place.format(name)
    shadow.parent.mkdir(exist_ok=True)
    shadow.write_text("")
    for code in (
        "from autoseg.cli.main import console; console()",
        "import autoseg; autoseg.load('model')",
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, "--help"],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (1, 2)
        assert f"{shadow}: shadows autoseg's package '{name}'" in done.stderr
