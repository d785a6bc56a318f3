"""The entry point: says what to install where the extra `cli` is not."""

from __future__ import annotations

import os
import sys

from ratelimit.cli.output.exits import INTERRUPTED, USAGE

NEEDED = ("typer", "rich")


def main() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who started this: exit codes are as promised all the same
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - until it ends
    if not os.environ.get("COLUMNS", "").strip("0"):  # as a shell without a terminal may have it: 0 shows nothing
        os.environ.pop("COLUMNS", None)
    try:
        from ratelimit.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in NEEDED:
            raise
        sys.stderr.write(f"ratelimit: the command needs {error.name}: pip install 'ratelimit-asgi[cli]'\n")
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    app(prog_name="ratelimit")
