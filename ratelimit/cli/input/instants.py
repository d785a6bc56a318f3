"""An instant that is named on the command line."""

from __future__ import annotations

from datetime import datetime
from time import time_ns
from typing import Annotated

import typer

from ratelimit.checks.values import LARGEST
from ratelimit.cli.output.exits import Stopped

AtOption = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="As of another time: 2026-12-31T00:00Z, with its offset.")
]


def at_ms(text: str | None) -> int:
    """In milliseconds since 1970; of nothing, now. Stopped for what is no time."""
    if text is None:
        return time_ns() // 1_000_000
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Stopped("--at: is no time; write it as 2026-12-31T00:00Z") from None
    if instant.tzinfo is None:
        raise Stopped(f"--at: has no offset; write {instant.isoformat(timespec='minutes')}Z if it is UTC")
    return min(max(0, round(instant.timestamp() * 1000)), LARGEST)
