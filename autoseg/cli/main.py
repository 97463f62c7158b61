"""The program ``autoseg``: verbs loaded when called, and where errors become exit codes."""

import _thread
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Final

import click

from autoseg.core.errors import (
    AutosegError,
    Bug,
    InterruptedRun,
    PartialError,
    RefusedCasesError,
    ResourceError,
    UsageError,
)
from autoseg.core.version import __version__
from autoseg.siblings import check_siblings

VERBS: Final = {
    "check": "Find every fault of a raw dataset, and what looks wrong.",
    "fingerprint": "Measure a raw dataset.",
    "plan": "Decide on patches, networks and batches for a measured dataset.",
    "explain": "Print a plan as a page: every decision, its rule and its numbers.",
    "preprocess": "Put every case onto the plan's grids.",
    "plan_and_preprocess": "Measure, plan and preprocess a raw dataset.",
    "train": "Train folds of a configuration and validate them.",
    "predict": "Segment images with a trained model.",
    "select": "Choose the model, or the pair of models, that segments new images.",
    "ensemble": "Average the probabilities of several predictions.",
    "evaluate": "Score segmentations against references.",
    "run": "Do everything from raw data to validated models.",
    "demo": "Do everything on a small generated dataset.",
    "doctor": "Print what autoseg sees of this machine.",
}
SHOWN_PROBLEMS: Final = 10
"""Problems that are printed before the rest is only counted."""
DROPPED_S: Final = 0.05
"""After what time a Ctrl-C that was dropped is answered, seconds."""


def keep_lines(command: click.Command) -> None:
    r"""Let ``\b`` in a raw docstring be what it is to click: leave the lines below as they are."""
    command.help = (command.help or "").replace(r"\b", "\b")


class LazyVerbs(click.Group):
    """A group whose commands are imported when they are called, so that help stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb and return its command."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"autoseg.cli.{cmd_name}").command
        keep_lines(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def program() -> None:
    r"""Segment medical images with networks that configure themselves.

    \b
    autoseg plan_and_preprocess -d Task01
    autoseg train 3d_fullres 0
    autoseg predict -i imgs -o masks
    """


keep_lines(program)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; see ``docs/reference/errors.md``."""
    # Sums depend on the number of threads; work on many cases is spread over processes instead.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    try:
        _stop_on_signals()
        check_siblings()
        return program.main(arguments, prog_name="autoseg", standalone_mode=False) or 0
    except AutosegError as error:
        return report(error, as_json=as_json)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "autoseg"
        return report(UsageError(error.format_message(), hint=f"{path} --help"), as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        return report(_stopped(), as_json=as_json)
    except BrokenPipeError:
        return 0
    except Exception as error:  # the one place: what is unforeseen becomes a file and a line
        return report(_unforeseen(error), as_json=as_json)


def console() -> None:
    """Run the program and leave with its exit code."""
    keep_interrupts()
    sys.exit(main())


def keep_interrupts() -> None:
    """Let no Ctrl-C get lost: Python drops one that arrives in a destructor, and prints it."""
    usual = sys.unraisablehook

    def again(dropped: "sys.UnraisableHookArgs") -> None:
        if dropped.exc_type is KeyboardInterrupt:
            later = threading.Timer(DROPPED_S, _interrupt_main)  # not in here: dropped again
            later.daemon = True
            later.start()
        else:
            usual(dropped)

    sys.unraisablehook = again


def _interrupt_main() -> None:
    """Send Ctrl-C to the main thread, which also wakes it where it waits for the system."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # Windows
        _thread.interrupt_main()


def report(error: AutosegError, *, as_json: bool = False) -> int:
    """Print an error and its problems, each as one ``error:`` line and one ``hint:`` line."""
    problems = error.problems if isinstance(error, RefusedCasesError) else ()
    for problem in problems[:SHOWN_PROBLEMS]:
        _print_problem(problem)
    if len(problems) > SHOWN_PROBLEMS:
        _say(f"... and {len(problems) - SHOWN_PROBLEMS} more problems")
    _print_problem(error)
    if as_json:
        shown = [_as_dict(problem) for problem in problems]
        result = {"result": error.result} if isinstance(error, PartialError) else {}
        click.echo(json.dumps({"error": {**_as_dict(error), "problems": shown}, **result}))
    return error.exit_code


def _stopped() -> InterruptedRun:
    return InterruptedRun(
        "stopped on request; nothing is half-written",
        hint="run the same command again: it carries on",
    )


def _unforeseen(error: Exception) -> AutosegError:
    """Say that memory ran out, or keep the traceback of a bug in a file and name it."""
    from autoseg.execution.machine import is_memory_error

    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if is_memory_error(error):
        return ResourceError(
            f"memory ran out ({what[:200]})",
            rule="E-RES-64",
            hint="close other programs, use fewer --workers, or plan with less --gpu-memory-gib",
        )
    import tempfile
    from pathlib import Path

    from autoseg.io.files import write_atomically

    path = Path(tempfile.gettempdir()) / f"autoseg_bug_{time.strftime('%Y%m%d_%H%M%S')}.txt"
    write_atomically(path, traceback.format_exc().encode(), durable=False)
    return Bug(f"a bug of autoseg's own: {what}", hint=f"please report it with {path}")


def _stop_on_signals() -> None:
    """Let signals that ask for an end do what Ctrl-C does; what is ignored stays ignored."""
    for name in ("SIGTERM", "SIGUSR1", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has but the first
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _print_problem(error: AutosegError) -> None:
    _say(f"error: {error.text}")
    if error.hint:
        _say(f"hint: {error.hint}")


def _as_dict(error: AutosegError) -> dict[str, str]:
    return {"rule": error.rule, "message": str(error.args[0]), "hint": error.hint}


def _say(text: str) -> None:
    click.echo(text, err=True)
