"""An app that is named on the command line, as uvicorn names it: `main:app`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import reduce
from importlib import import_module
from inspect import iscoroutinefunction, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from ratelimit.cli.output.exits import FINDINGS, Stopped
from ratelimit.endpoints.listing import routes_of
from ratelimit.policy import Policy

ASGI = ("scope", "receive", "send")

AppOption = Annotated[
    str | None,
    typer.Option(
        "--app", metavar="MODULE:APP", help="The app, as uvicorn is told it: main:app, or a function that makes it."
    ),
]


def app_of(named: str, *policies: Policy) -> Any:
    """The app, found from the current folder on. A function that makes one is called. Stopped where there is none, and
    where a limit that an endpoint declares contradicts one of the policies."""
    module, separator, attribute = named.partition(":")
    if not separator or not module or not attribute:
        raise Stopped(f"--app {named}: is not the name of an app; write module:app, such as main:app")
    if module.endswith(".py") or "/" in module:
        dotted = module.removesuffix(".py").strip("./").replace("/", ".")
        raise Stopped(f"--app {named}: is a file; write its module: {dotted}:{attribute}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    with _printing_to_stderr():
        try:
            found = import_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a module may even end the process
            raise Stopped(f"--app {named}: can't be imported: {_told(error)}") from None
        try:
            app = reduce(getattr, attribute.split("."), found)
        except AttributeError:
            raise Stopped(f"--app {named}: there is no {attribute} in {module}") from None
        app = _made(app, named) if _is_factory(app) else app
    if not callable(app):
        raise Stopped(f"--app {named}: is no app, but of type {type(app).__name__}")
    for policy in policies:
        try:
            routes_of(app, policy)
        except ValueError as error:
            raise Stopped(f"--app {named}: {error}", FINDINGS) from None
    return app


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """What an app prints is no part of the answer, nor what a process prints that it starts."""
    ours = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(ours, 1)
        os.close(ours)


def _is_factory(app: Any) -> bool:
    """Whether it can be called with nothing, and is no app itself."""
    if not callable(app) or hasattr(app, "routes") or iscoroutinefunction(app):
        return False
    try:
        parameters = signature(app).parameters
        signature(app).bind()
    except (TypeError, ValueError):
        return False
    return tuple(parameters) != ASGI


def _made(factory: Any, named: str) -> Any:
    try:
        return factory()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        raise Stopped(f"--app {named}: makes no app: {_told(error)}") from None


def _told(error: BaseException) -> str:
    """What it says, and the innermost line of the user's own that says it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith("<") and "importlib" not in frame.filename]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own[1:] else ""  # the first is this file
    return f"{type(error).__name__}: {error}{where}"
