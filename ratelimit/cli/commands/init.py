"""`ratelimit init`: a first policy file, by a few questions or by options."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from shlex import quote
from shutil import copymode
from typing import Annotated, TypeVar

import typer

from ratelimit.cli.input.policies import STDIN, USUAL
from ratelimit.cli.output.console import say
from ratelimit.cli.output.exits import Stopped
from ratelimit.ground.words import listed
from ratelimit.model import ANONYMOUS

EXAMPLES = """
  ratelimit init
  ratelimit init --style ietf --tier basic=100/minute --tier pro=20/second
  ratelimit init api.toml --identity app --anonymous 30/minute --force
"""
TIERS = {"basic": "100/minute", "pro": "1000/minute"}
OTHERS = "20/minute"
_MINUTE = 60_000

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class Style(StrEnum):
    IETF = "ietf"
    FACTURAPI = "facturapi"
    LIGHTSPEED = "lightspeed"
    LENDWORKS = "lendworks"


class Identity(StrEnum):
    KEYS = "keys"
    APP = "app"
    ADDRESS = "address"


def init(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What to write.")] = USUAL,
    style: Annotated[Style | None, typer.Option("--style", help="How a 429 is told to callers.")] = None,
    identity: Annotated[
        Identity | None,
        typer.Option(
            "--identity", help="Who says who calls: keys in the file, your app, or nobody, so that addresses count."
        ),
    ] = None,
    tier: Annotated[
        list[str] | None, typer.Option("--tier", metavar="NAME=RATE", help="A tier of those who are known; repeat it.")
    ] = None,
    anonymous: Annotated[
        str | None, typer.Option("--anonymous", metavar="RATE", help="Of those who are not, for each address.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a first policy file, with a comment on everything that comes next.

    On a terminal it asks for what no option says; elsewhere it never asks, and takes ietf, keys, the tiers basic with
    100 and pro with 1000 requests a minute, and 20 for others. A file that is there stays, without --force.
    """
    if file in {"", STDIN}:
        raise Stopped(f"a first policy is written into a file; name one, such as {USUAL}")
    if os.path.lexists(file) and not force:
        raise Stopped(f"{file}: is there already; --force writes over it")
    given = _tiers(tier or ())
    asks = sys.stdin.isatty() and sys.stdout.isatty()
    if style is None:
        style = _one_of(Style, "Denials are told in the style of") if asks else Style.IETF
    if identity is None:
        identity = _one_of(Identity, "Callers are known by") if asks else Identity.KEYS
    known = identity is not Identity.ADDRESS
    if given and not known:
        raise Stopped("--tier: is for callers who are known; write --identity keys or --identity app")
    if known and not given:
        given = _asked("Their tiers, and how often each may call?", _written(TIERS), _listed) if asks else TIERS
    if anonymous is None:
        question = "And who is not known, for each address?" if known else "How often may each address call?"
        anonymous = _asked(question, _no_wider(given), _rate) if asks else _no_wider(given)
    _make(file, style, identity, anonymous, given)


def _make(file: str, style: Style, identity: Identity, anonymous: str, tiers: Mapping[str, str]) -> None:
    from ratelimit.config.starter import Choices, first_policy
    from ratelimit.review.policy import review

    text = first_policy(Choices(style.value, identity.value, anonymous, tiers), file)
    reviewed = review(text, file, int(time.time() * 1000))
    if reviewed.policy is None:
        raise Stopped(f"no policy comes of that: {reviewed.findings[0]}")
    _write(Path(file), text)
    for finding in reviewed.findings:
        say(f"{file}:{finding.line}: {finding.severity}: {finding} [{finding.code}]", "yellow")
    say(f"{file}: written. Its tiers: {listed(reviewed.policy.tiers)}.", "bold green")
    say(f"Next: ratelimit simulate {quote(file)} access.log")
    say(f"      ratelimit check {quote(file)} --app main:app")


def _one_of(choices: type[E], question: str) -> E:
    names = listed(choice.value for choice in choices)

    def taken(typed: str) -> E:
        try:
            return choices(typed)
        except ValueError:
            raise ValueError(f"{typed} is none of {names}") from None

    return _asked(f"{question} ({names})", next(iter(choices)).value, taken)


def _asked(question: str, default: str, taken: Callable[[str], T]) -> T:
    """Until what is typed can be taken."""
    while True:
        try:
            return taken(typer.prompt(question, default=default).strip())
        except (ValueError, Stopped) as error:
            say(error, "yellow")


def _listed(typed: str) -> Mapping[str, str]:
    return _tiers(typed.split(","))


def _written(tiers: Mapping[str, str]) -> str:
    return listed(f"{name}={rate}" for name, rate in tiers.items())


def _tiers(given: Sequence[str]) -> Mapping[str, str]:
    """Of `basic=100/minute`. Stopped for what is none."""
    tiers: dict[str, str] = {}
    for one in given:
        name, separator, rate = (part.strip() for part in one.partition("="))
        if not (name and separator):
            raise Stopped(f"--tier {one.strip()}: is no tier; write NAME=RATE, such as basic=100/minute")
        if name == ANONYMOUS:
            raise Stopped(f"--tier {one.strip()}: is of those who are not known; write --anonymous {rate}")
        if name in tiers:
            raise Stopped(f"--tier {one.strip()}: is there twice")
        try:
            tiers[name] = _rate(rate)
        except ValueError as error:
            raise Stopped(f"--tier {name}: {error}") from None
    return tiers


def _rate(typed: str) -> str:
    from ratelimit.config.grammar.amounts import rate

    rate(typed)
    return typed


def _no_wider(tiers: Mapping[str, str]) -> str:
    """What others have by default: no more than those who are known."""
    from ratelimit.config.grammar.amounts import rate

    minutely = [rate(text) for text in (OTHERS, *tiers.values())]
    known = [one for one in minutely if one.window_ms == _MINUTE and not one.max.names]
    return str(min(known, key=lambda one: one.max({})).written)


def _write(file: Path, text: str) -> None:
    """All of it or nothing: a disk may be full."""
    target = file.resolve()
    if target.exists() and not target.is_file():  # a folder, or a device that a file would take the place of
        raise Stopped(f"{file}: can't be written: it is no file")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        if target.exists():
            copymode(target, beside)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Stopped(f"{file}: can't be written: {error.strerror}") from None
