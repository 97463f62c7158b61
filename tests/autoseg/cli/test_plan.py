"""``autoseg plan`` as it is typed: overrides, what is refused, JSON, and ``--check``."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autoseg.cli.main import main
from autoseg.pipeline.phantom import write_phantom_dataset

PLANS = Path("autoseg_workspace/Task01_Phantom/plans")
# A memory is always given: without one the verb measures how long steps take on this machine.
MEMORY = ("--gpu-memory-gib", "8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with a generated dataset of five volumes, measured, not planned."""
    home = tmp_path_factory.mktemp("home")
    raw, place = home / "Task01_Phantom", home / "autoseg_workspace"
    write_phantom_dataset(raw, seed=3, cases=5, held_out=0)
    where = ["--workspace", str(place), "--quiet"]
    assert main(["fingerprint", "-d", str(raw), "--workers", "0", *where]) == 0
    return place


@pytest.fixture(autouse=True)
def _home(workspace, tmp_path):
    """Work beside a copy of the workspace."""
    shutil.copytree(workspace, tmp_path / "autoseg_workspace")


@pytest.fixture
def say(capsys):
    """Run a verb on the dataset and return what it prints."""

    def run(verb, *options, code=0):
        capsys.readouterr()
        assert main([verb, "-d", "Task01", *options]) == code
        return capsys.readouterr()

    return run


@pytest.fixture
def plan(say):
    """Plan with options and return the document."""

    def run(*options):
        say("plan", *MEMORY, *options)
        return read()

    return run


@pytest.fixture
def refused(say):
    """Run ``plan`` with options and return the only error line, and its hint."""

    def run(*options, code):
        said = say("plan", *options, code=code)
        assert said.out == ""
        error, hint = said.err.splitlines()
        assert error.startswith("error: ")
        assert hint.startswith("hint: ")
        return error, hint

    return run


def read(name="default"):
    return json.loads((PLANS / f"{name}.json").read_text())


def fullres(document):
    return next(each for each in document["configurations"] if each["name"] == "3d_fullres")


def set_by_you(page):
    """Return the lines under the heading of what the user set."""
    _, _, rest = page.partition("\nSet by you, marked * below:\n")
    return " ".join(rest.partition("\n\n")[0].split())


@pytest.mark.parametrize(
    ("options", "field", "value", "listed"),
    [
        pytest.param(
            ("--spacing", "5,1.25,1.5"), "spacing", [5.0, 1.25, 1.5], "5 x 1.25 x 1.5 mm", id="mm"
        ),
        pytest.param(
            ("--patch-size", "16,64,48"), "patch_size", [16, 64, 48], "16 x 64 x 48", id="patch"
        ),
        pytest.param(("--batch-size", "3"), "batch_size", 3, "3 patches", id="batch"),
    ],
)
def test_an_override_is_planned_and_listed_as_the_users(plan, say, options, field, value, listed):
    assert fullres(plan(*options))[field] == value
    assert listed in set_by_you(say("explain").out)


def test_a_width_is_planned_in_every_configuration_and_listed(plan, say):
    document = plan("--width", "16")

    # Channels double by stage up to half of nnU-Net's 320, as 16 is half of its 32.
    assert fullres(document)["topology"]["features"][:5] == [16, 32, 64, 128, 160]
    assert {each["topology"]["features"][0] for each in document["configurations"]} == {16}
    assert "16 channels in the first stage" in set_by_you(say("explain").out)


def test_only_the_configurations_that_are_named_are_planned(plan, say):
    assert [each["name"] for each in plan("--configurations", "2d")["configurations"]] == ["2d"]
    assert "2d" in set_by_you(say("explain").out)


def test_the_rules_of_nnunet_are_planned_by_and_listed(plan, say):
    document = plan("--rules", "nnunet")

    assert (document["rules"], document["orientation"]) == ("nnunet", "stored")
    assert fullres(document)["anti_aliasing"] is False
    assert "nnunet" in set_by_you(say("explain").out)


def test_nothing_is_listed_as_the_users_where_nothing_was_set(plan, say):
    plan()

    assert "Set by you" not in say("explain").out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ("--spacing", "1,x,1"), "'1,x,1' must be numbers with commas between", id="spacing"
        ),
        pytest.param(
            ("--patch-size", "8"), "'8' must be 2 or 3 numbers, one per axis", id="patch-size"
        ),
        pytest.param(("--patch-size", "8,8.5,8"), "must be numbers", id="fraction-of-a-voxel"),
        pytest.param(
            ("--configurations", "2d,4d"),
            "'4d' is none of 2d, 3d_lowres, 3d_fullres, 3d_cascade_fullres",
            id="configurations",
        ),
        pytest.param(("--rules", "mine"), "'mine' is not one of 'autoseg', 'nnunet'", id="rules"),
    ],
)
def test_a_wrong_form_is_a_usage_error(refused, options, message):
    error, _ = refused(*MEMORY, *options, code=2)

    assert f"Invalid value for '{options[0]}'" in error
    assert message in error


@pytest.mark.parametrize(("memory", "shown"), [("0", "0.0"), ("1024", "1024.0")])
def test_a_memory_that_no_device_has_is_refused(refused, memory, shown):
    error, hint = refused("--gpu-memory-gib", memory, code=2)

    assert f"gpu_memory_gib is {shown}; it must be a positive number of at most 512" in error
    assert "in GiB" in hint


def test_json_is_one_document_with_the_whole_plan(say):
    said = json.loads(say("plan", *MEMORY, "--json").out)

    assert said["dataset"] == "Task01_Phantom"
    assert Path(said["file"]).samefile(PLANS / "default.json")
    assert said["plan"] == read()
    assert said["cpu"] is None


def test_a_plan_as_it_was_made_can_be_trained(plan, say):
    plan()
    said = say("plan", "--check", str(PLANS / "default.json"))

    assert said.out.endswith(f"{PLANS / 'default.json'}: can be trained\n")
    assert "edited: " not in said.out
    assert said.err == ""


def test_an_edit_that_can_be_trained_is_told(plan, say):
    document = plan("--batch-size", "3")
    fullres(document)["batch_size"] = 2
    (PLANS / "default.json").write_text(json.dumps(document))

    said = say("plan", "--check", str(PLANS / "default.json"), "--json")

    (line,) = json.loads(said.out)["edited"]
    assert line == "3d_fullres.batch_size: 2 patches; the decision was 3 patches"


def test_an_edit_that_cannot_be_trained_exits_with_the_reason(plan, say):
    document = plan()
    fullres(document)["patch_size"] = [64, 512, 512]
    fullres(document)["batch_size"] = 1
    document["name"] = "mine"
    (PLANS / "other.json").write_text(json.dumps({**document, "gpu_memory_gib": 512.0}))

    said = say("plan", "--check", str(PLANS / "other.json"), code=3)

    lines = said.err.splitlines()
    assert said.out == ""
    assert lines[0] == "error: name 'mine' must be that of the file, 'other'"
    assert "patch_size 64 x 512 x 512 voxels is larger than every image" in lines[2]
    assert lines[-2] == f"error: {PLANS / 'other.json'}: 2 values cannot be trained with"
    assert lines[-1].endswith("autoseg plan -d Task01_Phantom --plan other --overwrite")


@pytest.mark.parametrize(
    "options",
    [
        ("--width", "16"),
        ("--batch-size", "2"),
        ("--max-hours", "3"),
        ("--gpu-memory-gib", "8"),
        ("--plan", "mine"),
        ("--overwrite",),
    ],
)
def test_check_takes_no_option_of_planning(refused, options):
    error, hint = refused("--check", "any.json", *options, code=2)

    assert error == (
        "error: --check any.json: takes no other option of planning; the plan is checked as it is"
    )
    assert "leave the other options out" in hint


def test_the_same_plan_again_loads_no_torch(plan):
    plan()
    code = (
        "import sys; from autoseg.cli.main import main; "
        "code = main(['plan', '-d', 'Task01', '--gpu-memory-gib', '8']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
