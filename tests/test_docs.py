"""The pages say what the program does: verbs, options, rules, links and commands."""

import re
from pathlib import Path

import click
import pytest

from autoseg.cli.main import VERBS, program

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def command(verb: str) -> click.Command:
    found = program.get_command(click.Context(program), verb)
    assert found is not None
    return found


def options(verb: str) -> set[str]:
    return {name for p in command(verb).params for name in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("verb", VERBS)
def test_the_reference_lists_every_option_of_every_verb(verb):
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    section = page.split(f"## {verb}\n")[1].split("\n## ")[0]
    common = page.split("## Options that many verbs have\n")[1].split("\n## ")[0]
    for parameter in command(verb).params:
        if isinstance(parameter, click.Option):
            longest = max(parameter.opts, key=len)
            assert f"`{longest}" in section + common, longest


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_pages_use_verbs_and_options_that_exist(page):
    for line in re.findall(r"^\s*(?:\$ )?autoseg ([^#\n|&]+)", page.read_text(), re.MULTILINE):
        words = line.split()
        if not words[0].islower() or words[0] in ("is", "turns", "reads", "writes", "shares"):
            continue  # prose that begins a line
        if words[0].isidentifier():
            known = options(words[0]) | {"--help"}
            used = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
            assert used <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_errors_page_lists_every_rule_in_the_code():
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    sources = [
        p for d in ("autoseg", "planners", "preprocessing") for p in ROOT.glob(f"{d}/**/*.py")
    ]
    found = {rule for path in sources for rule in re.findall(r'"(E-[A-Z]+-\d+)"', path.read_text())}
    assert found
    assert {rule for rule in found if rule not in page} == set()


def test_the_readme_is_short_and_begins_with_the_two_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert "pip install -c constraints.txt . && autoseg demo" in lines[:10]
    assert 'pip install -c constraints.txt -e ".[dev]" && pytest' in lines[:10]


def test_ci_runs_the_test_command_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    script = (ROOT / ".ci" / "run").read_text()
    install, test = re.findall(r'^(pip install .*\[dev\]") && (.*)$', readme, re.MULTILINE)[0]
    assert install.removeprefix("pip install ") in script
    assert script.rstrip().endswith(f"\n{test}")
