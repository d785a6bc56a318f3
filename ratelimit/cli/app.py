"""The command line: each command in one line, and what becomes of errors that are nobody's fault here."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from inspect import cleandoc
from textwrap import indent
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from ratelimit.cli.commands import caller, check, diff, explain, init, launch, reload, simulate
from ratelimit.cli.output.console import say
from ratelimit.cli.output.exits import FINDINGS, INTERRUPTED, STORE, USAGE, Stopped
from ratelimit.explanation.caller import keys_hidden
from ratelimit.model import StoreUnavailable

# What stands where nothing should may be an API key, which typer would repeat.
MAY_REPEAT_A_KEY = re.compile(r"extra argument|(?<![a-z0-9])(?:sk|pk|rk|ghp|gho|xox[a-z])[_-]", re.IGNORECASE).search
NOT_REPEATED = "there is an argument that can't be understood; it is not repeated, as it may be an API key: see --help"


class Commands(TyperGroup):
    """What stops a command is told in a sentence, and by its exit code."""

    def make_context(self, *given: Any, **more: Any) -> Any:  # where --help and --version write
        with _told():
            return super().make_context(*given, **more)

    def invoke(self, ctx: Any) -> Any:
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:  # noqa: C901 - a clause for each thing that may stop a command
    try:
        yield
    except Stopped as error:
        said, code = [str(error)], error.code
    except StoreUnavailable as error:
        said, code = [f"the store can't be reached: {error}"], STORE
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # who reads has seen enough
        name = f"{error.filename}: " if error.filename else ""
        said, code = [f"{name}{error.strerror or error}"], USAGE
    except ValueError as error:
        problems = getattr(error, "problems", None)  # a PolicyError, without the import of pydantic
        if problems is None:
            raise
        said, code = problems, FINDINGS
    except typer.Abort:  # of a question that was not answered, whose line is not over
        sys.stderr.write("\n")
        said, code = ["interrupted"], INTERRUPTED
    except Exception as error:
        if not MAY_REPEAT_A_KEY(str(getattr(error, "message", ""))):  # of a usage error of typer's
            raise
        said, code = [NOT_REPEATED], USAGE
    else:
        return
    for sentence in said:
        say(f"ratelimit: {keys_hidden(sentence)}", stderr=True)
    raise typer.Exit(code)


app = typer.Typer(
    cls=Commands,
    name="ratelimit",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        try:
            say(f"ratelimit {version('ratelimit-asgi')}")
        except PackageNotFoundError:
            say("ratelimit, from sources that are not installed")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 0 fine, 1 findings, 2 wrong usage or a file that can't be read, 3 the store is out of reach."
)
def _about(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Choose the limits of an API, launch them, and run them."""


def _add(name: str, command: Callable[..., None], examples: str, to: typer.Typer = app) -> None:
    """Its help is its docstring, whose lines the terminal breaks anew, and its examples as they stand."""
    paragraphs = [" ".join(text.split()) for text in cleandoc(command.__doc__ or "").split("\n\n")]
    text = "\n\n".join([*paragraphs, "Examples:", indent(cleandoc(examples), "  ")])
    to.command(name, help=escape(text))(command)


_add("init", init.init, init.EXAMPLES)
_add("check", check.check, check.EXAMPLES)
_add("schema", check.schema, check.SCHEMA_EXAMPLES)
_add("simulate", simulate.simulate, simulate.EXAMPLES)
_add("reload", reload.reload, reload.EXAMPLES)
_add("diff", diff.diff, diff.EXAMPLES)
_add("explain", explain.explain, explain.EXAMPLES)
_add("usage", caller.usage, caller.USAGE_EXAMPLES)
_add("reset", caller.reset, caller.RESET_EXAMPLES)
_add("watch", caller.watch, caller.WATCH_EXAMPLES)
_launch = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Limits in launch: where they are, and stop.")
app.add_typer(_launch, name="launch")
_add("status", launch.status, launch.STATUS_EXAMPLES, _launch)
_add("report", launch.report, launch.REPORT_EXAMPLES, _launch)
_add("pause", launch.pause, launch.PAUSE_EXAMPLES, _launch)
_add("resume", launch.resume, launch.RESUME_EXAMPLES, _launch)
