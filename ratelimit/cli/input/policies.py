"""A policy file that is named on the command line."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ratelimit.cli.output.exits import Stopped
from ratelimit.policy import Policy

MOST = 64 << 20  # bytes of a file: /dev/zero has no end; 100,000 keys take 20 MB
STDIN = "-"
USUAL = "ratelimit.toml"  # where no file is named

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The policy file; - is standard input.")]


def text_of(file: str) -> str:
    """Stopped where it can't be read, PolicyError where it is no text."""
    from ratelimit.config.load import decoded

    return decoded(bytes_of(file), called(file))


def policy_of(file: str) -> Policy:
    """PolicyError with everything that is wrong. What is only odd is for `ratelimit check` to tell."""
    from ratelimit.config import PolicyError
    from ratelimit.config.load import examine

    examined = examine(text_of(file), os.path.realpath(file))
    if examined.policy is None:
        raise PolicyError(f"{called(file)}: {problem}" for problem in examined.problems if not problem.odd)
    return examined.policy


def read_once(*names: str | None) -> None:
    """Stopped where two of what is to be read are standard input."""
    if names.count(STDIN) > 1:
        raise Stopped("standard input is only there once: name a file for the others")


def called(file: str) -> str:
    return "standard input" if file == STDIN else file


def bytes_of(file: str) -> bytes:
    """Stopped where it can't be read."""
    try:
        if file == STDIN:
            data = sys.stdin.buffer.read(MOST + 1)
        else:
            with open(file, "rb") as opened:  # noqa: PTH123 - what is "" is no folder
                data = opened.read(MOST + 1)
    except (OSError, ValueError) as error:  # a ValueError of a name with a zero byte in it
        raise Stopped(f"{called(file)}: can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MOST:
        raise Stopped(f"{called(file)}: is larger than {MOST >> 20} MB, which no policy file is")
    return data
