import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from autoseg.cli import main as cli
from autoseg.core.errors import GeometryError, LockedError, PartialError

VERBS = list(cli.VERBS)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from autoseg.cli.main import console; console()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(cli.LazyVerbs, "get_command", lambda self, ctx, name: command)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_and_loads_no_torch(verb, capsys):
    code = (
        "import sys; from autoseg.cli.main import main; "
        f"main(['{verb}', '--help']); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"Example: autoseg {verb}" in done.stdout


def test_help_lists_every_verb_without_importing_one():
    code = (
        "import sys; from autoseg.cli.main import main; main(['--help']); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'pydantic', 'rich')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)


def test_no_verb_prints_the_help_and_is_a_usage_error(capsys):
    assert cli.main([]) == 2
    assert "Usage: autoseg" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["trian"], "No such command 'trian'", id="unknown-verb"),
        pytest.param(["train", "3d_fullres"], "Missing argument 'FOLD...'", id="missing-fold"),
        pytest.param(["explain", "--paln", "x"], "No such option '--paln'", id="unknown-option"),
        pytest.param(["evaluate", "-i", "x", "--workers", "-1"], "'-1' must be", id="workers"),
        pytest.param(["explain", "--plan", "../x"], "--plan '../x'", id="plan-is-no-folder-name"),
        pytest.param(["explain", "--plan", ""], "--plan ''", id="plan-is-empty"),
        pytest.param(["train", "2d", "0", "--epochs", "0"], "epochs is 0", id="no-epochs"),
        pytest.param(
            ["train", "2d", "0", "--steps-per-epoch", "0"], "steps-per-epoch is 0", id="no-steps"
        ),
        pytest.param(["train", "2d", "0", "--max-minutes", "-1"], "is -1.0", id="no-time"),
    ],
)
def test_a_usage_error_is_exit_code_2_and_one_error_line(arguments, words, capsys):
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error:")
    assert words in lines[0]


def test_an_autoseg_error_becomes_its_line_its_hint_and_its_code(monkeypatch, capsys):
    fail_with(monkeypatch, LockedError("x: is in use", rule="E-RUN-73", hint="wait"))
    assert cli.main(["any"]) == 7
    assert capsys.readouterr().err == "error: E-RUN-73 x: is in use\nhint: wait\n"


def test_many_problems_are_shown_up_to_ten_and_then_counted(monkeypatch, capsys):
    problems = tuple(GeometryError(f"case {i}", rule="E-GEO-20", hint="mend") for i in range(13))
    fail_with(monkeypatch, PartialError("13 of 20 cases are refused", problems, hint="go on"))
    assert cli.main(["any"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error: E-GEO-20 case") for line in lines) == 10
    assert lines[20] == "... and 3 more problems"
    assert lines[-2:] == ["error: 13 of 20 cases are refused", "hint: go on"]


def test_json_tells_an_error_as_one_document(monkeypatch, capsys):
    problem = GeometryError("case a", rule="E-GEO-20", hint="mend")

    @click.command()
    @click.option("--json", is_flag=True)
    def command(json: bool) -> None:
        raise PartialError("1 of 2 cases", (problem,))

    monkeypatch.setattr(cli.LazyVerbs, "get_command", lambda self, ctx, name: command)
    assert cli.main(["any", "--json"]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["message"] == "1 of 2 cases"
    assert error["problems"] == [{"rule": "E-GEO-20", "message": "case a", "hint": "mend"}]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(click.UsageError("no such thing"), 2, id="usage"),
        pytest.param(KeyboardInterrupt(), 75, id="ctrl-c"),
        pytest.param(MemoryError("big"), 6, id="memory"),
        pytest.param(RuntimeError("bug"), 1, id="bug"),
    ],
)
def test_json_is_one_document_whatever_happens(error, code, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    @click.command()
    @click.option("--json", is_flag=True)
    def command(json: bool) -> None:
        raise error

    monkeypatch.setattr(cli.LazyVerbs, "get_command", lambda self, ctx, name: command)
    assert cli.main(["any", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["error"]["message"]


def test_ctrl_c_is_exit_code_75(monkeypatch, capsys):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert cli.main(["any"]) == 75
    assert "run the same command again" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback_in_a_file_and_prints_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    fail_with(monkeypatch, ZeroDivisionError("one\nby zero"))
    assert cli.main(["any"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: a bug of autoseg's own: ZeroDivisionError: one by zero"
    path = Path(hint.removeprefix("hint: please report it with "))
    assert "ZeroDivisionError" in path.read_text()


def test_the_version_is_printed():
    done = run("--version")
    assert done.stdout.startswith("autoseg, version 0.")


DROPPED = """
import time
from autoseg.cli.main import keep_interrupts

class Dropping:
    def __del__(self):
        raise KeyboardInterrupt

keep_interrupts()
try:
    Dropping()
    time.sleep(300)
except KeyboardInterrupt:
    print("heard")
"""


def test_ctrl_c_in_a_destructor_is_heard():
    found = subprocess.run(
        [sys.executable, "-c", DROPPED], capture_output=True, text=True, timeout=60, check=True
    )
    assert (found.stdout, found.stderr) == ("heard\n", "")
