"""The entry point: says what to install where the extra `cli` is not."""

from __future__ import annotations

import sys

from ratelimit.cli.output.exits import INTERRUPTED, USAGE

NEEDED = ("typer", "rich")


def main() -> None:
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
