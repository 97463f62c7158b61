"""A command line as it would be typed again, with some of it left out."""

from collections.abc import Collection, Iterator

import click
from click.core import ParameterSource


def options_given(context: click.Context, *, without: Collection[str]) -> list[str]:
    """Return the options that the user typed.

    Parameters
    ----------
    context : Context
        Of the command that runs; its values are those that were typed, in their types.
    without : collection of str
        Parameters that are left out, by click's names.
    """
    return [
        word
        for parameter in context.command.params
        if isinstance(parameter, click.Option)
        and parameter.name not in without
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        for word in _words(parameter, context.params.get(str(parameter.name)))
    ]


def _words(option: click.Option, value: object) -> Iterator[str]:
    name = max(option.opts, key=len)
    if option.is_flag:
        yield name if value else max(option.secondary_opts, key=len)
        return
    for each in value if isinstance(value, tuple) else (value,):
        yield from (name, str(each))
