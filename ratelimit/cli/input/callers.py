"""A caller that is named on the command line, or by its API key on standard input."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import Annotated

import typer

from ratelimit.cli.output.exits import Stopped
from ratelimit.explanation.caller import Caller, WrongCaller, by_key, by_pairs, refuse_keys
from ratelimit.policy import Policy

LONGEST = 8_192  # bytes of an API key: more is a file that was not meant
STDIN = "-"

KeyOption = Annotated[
    str | None,
    typer.Option("--key", metavar="-", help="- reads the caller's API key from standard input. It is never written."),
]
IdentityOption = Annotated[
    list[str] | None,
    typer.Option("--identity", metavar="NAME=VALUE", help="organization=acme, tier=basic, ip=192.0.2.7, seats=3, …"),
]


def caller_of(policy: Policy, key: str | None, identity: list[str] | None, *arguments: str) -> Caller:
    """Stopped where it can't be said who is meant, and where an argument looks like an API key: none is repeated."""
    pairs = identity or []
    try:
        refuse_keys(policy, [*pairs, *arguments])
        if key is None:
            return by_pairs(policy, pairs)
        if key != STDIN:
            raise Stopped("an API key is read from standard input: give --key - and write it there, or pipe it in")
        return by_key(policy, _read(), pairs)
    except WrongCaller as error:
        raise Stopped(str(error)) from None


def _read() -> bytes:
    if sys.stdin.isatty():
        try:
            return getpass("API key: ", stream=sys.stderr).encode(errors="surrogateescape")
        except EOFError:
            raise typer.Abort from None
    data = sys.stdin.buffer.read(LONGEST + 1).strip()
    if len(data) > LONGEST or b"\n" in data or b"\0" in data:
        raise Stopped("standard input is no API key: it must be one, in a line")
    return data
