from pathlib import Path

import click
import pytest

from autoseg.cli.repeated import options_given


@click.command()
@click.argument("words", nargs=-1)
@click.option("-d", "--dataset", type=click.Path(path_type=Path))
@click.option("--epochs", type=int, default=5)
@click.option("--transform", multiple=True)
@click.option("--quiet", is_flag=True)
@click.option("--with-previous/--without-previous", default=None)
@click.pass_context
def command(context, **_):
    return options_given(context, without=("quiet",))


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        ([], []),
        (["a", "-d", "raw/x", "--quiet"], ["--dataset", "raw/x"]),
        (["--epochs", "7", "b"], ["--epochs", "7"]),
        (["--transform", "p", "--transform", "q"], ["--transform", "p", "--transform", "q"]),
        (["--without-previous"], ["--without-previous"]),
        (["--with-previous"], ["--with-previous"]),
    ],
)
def test_options_are_given_as_they_were_typed(typed, again):
    assert command.main(typed, standalone_mode=False) == again
