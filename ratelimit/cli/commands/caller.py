"""`ratelimit usage`, `reset` and `watch`: one caller, as a store has it."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import Annotated, NamedTuple

import typer
from rich.console import Console, Group
from rich.live import Live

from ratelimit.cli.input.callers import IdentityOption, KeyOption, caller_of
from ratelimit.cli.input.instants import at_ms
from ratelimit.cli.input.policies import FileArgument, called, policy_of, read_once
from ratelimit.cli.input.stores import StoreOption, with_store
from ratelimit.cli.output.bars import frame
from ratelimit.cli.output.console import console, say
from ratelimit.cli.output.exits import FINDINGS, Stopped
from ratelimit.cli.output.formats import Format, FormatOption, Level, annotate, emit_json
from ratelimit.explanation.caller import Caller
from ratelimit.explanation.limits import Explained
from ratelimit.explanation.told import caller_as_json, usage_as_json
from ratelimit.explanation.verdict import Verdict, usage_of
from ratelimit.explanation.whole import of_tier
from ratelimit.ground.loops import pause
from ratelimit.ground.printable import printable
from ratelimit.ground.times import instant
from ratelimit.ground.words import one_of
from ratelimit.model import Store, StoreUnavailable
from ratelimit.policy import Policy
from ratelimit.policy.keys import caller as called_by

USAGE_EXAMPLES = """
  ratelimit usage ratelimit.toml --identity organization=acme
  ratelimit usage ratelimit.toml --key - < key.txt
  ratelimit usage ratelimit.toml --identity ip=192.0.2.7 --store redis://…
"""
RESET_EXAMPLES = """
  ratelimit reset ratelimit.toml --identity organization=acme
  ratelimit reset ratelimit.toml --identity user=ana --limit monthly --yes
"""
WATCH_EXAMPLES = """
  ratelimit watch ratelimit.toml --identity organization=acme
  ratelimit watch ratelimit.toml --identity user=ana --once --format json
"""
LEAST_EVERY, MOST_EVERY = 0.2, 3600  # seconds

LimitOption = Annotated[
    list[str] | None, typer.Option("--limit", metavar="NAME", help="Only this limit; may be given several times.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
EveryOption = Annotated[float, typer.Option("--every", metavar="SECONDS", help="How often the store is asked.")]
OnceOption = Annotated[bool, typer.Option("--once", help="Look once, and end.")]


class Asked(NamedTuple):
    """A caller that was named, and all its limits."""

    file: str
    policy: Policy
    caller: Caller
    limits: tuple[Explained, ...]

    @property
    def name(self) -> str:
        return called_by(self.caller.identity)

    async def used(self, store: Store) -> Verdict:
        return await usage_of(store, [one.charge for one in self.limits])

    def frame(self, verdict: Verdict, out: Console, gone: str | None = None) -> Group:
        return frame(self.caller, self.limits, verdict, out, gone)


def usage(
    file: FileArgument,
    key: KeyOption = None,
    identity: IdentityOption = None,
    store: StoreOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show what one caller has used of each of its limits.

    Nothing is charged. The caller is named by --key or --identity.
    """
    asked = _asked(file, key, identity)
    _show(output, "usage", asked, with_store(asked.policy, store, asked.used))


def reset(
    file: FileArgument,
    key: KeyOption = None,
    identity: IdentityOption = None,
    limit: LimitOption = None,
    yes: YesOption = False,
    store: StoreOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Forget what one caller has used, of all its limits or of some.

    Asks first on a terminal; elsewhere it needs --yes.
    """
    asked = _asked(file, key, identity)
    names = [one.limit.name for one in asked.limits]
    if unknown := [name for name in limit or () if name not in names]:
        raise Stopped(f"this caller has no limit {printable(unknown[0])}{one_of(unknown[0], names)}")
    asked = asked._replace(limits=tuple([one for one in asked.limits if not limit or one.limit.name in limit]))
    if not yes and not _agreed(asked, store):
        say("nothing was forgotten")
        raise typer.Exit(FINDINGS)
    keys = [one.key for one in asked.limits]
    count = with_store(asked.policy, store, lambda opened: opened.reset(keys))
    said = f"{asked.name}: {count} of {len(keys)} counters had something in them, and are forgotten"
    if output is Format.JSON:
        counters = [f"{asked.policy.store.prefix}:{key}" for key in keys]
        emit_json("reset", {"caller": caller_as_json(asked.caller), "forgotten": count, "counters": counters})
    elif output is Format.GITHUB:
        annotate("notice", said, file=called(file))
    else:
        say(said)


def watch(
    file: FileArgument,
    key: KeyOption = None,
    identity: IdentityOption = None,
    every: EveryOption = 1.0,
    once: OnceOption = False,
    store: StoreOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Watch what one caller uses, until Ctrl-C.

    Nothing is charged.
    """
    if not LEAST_EVERY <= every <= MOST_EVERY:
        range_of = f"the shortest is {LEAST_EVERY} seconds, the longest {MOST_EVERY}"
        raise Stopped(f"--every: is out of range; {range_of}")
    asked = _asked(file, key, identity)
    if once:
        _show(output, "watch", asked, with_store(asked.policy, store, asked.used))
        return
    with suppress(KeyboardInterrupt):
        with_store(asked.policy, store, partial(_watch, output, asked, every))


async def _watch(output: Format, asked: Asked, every: float, store: Store) -> None:
    """Until it is interrupted. A store that is out of reach at once, or in a pipe, ends it."""
    verdict = await asked.used(store)
    if output is Format.TEXT and _is_live():
        with Live(asked.frame(verdict, console()), console=console(), auto_refresh=False) as live:
            while True:
                await pause(every)
                gone = None
                try:
                    verdict = await asked.used(store)
                except StoreUnavailable as error:
                    gone = f"the store can't be reached: {error}"
                live.update(asked.frame(verdict, live.console, gone), refresh=True)
    while True:
        _show(output, "watch", asked, verdict)
        sys.stdout.flush()
        await pause(every)
        verdict = await asked.used(store)


def _is_live() -> bool:
    return console().is_terminal


def _is_attended() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _asked(file: str, key: str | None, identity: list[str] | None) -> Asked:
    read_once(file, key)
    policy = policy_of(file)
    caller = caller_of(policy, key, identity)
    if not caller.placed and caller.identity.root[0] == "ip":
        raise Stopped("this caller is counted by its address, which is not known: add --identity ip=…")
    return Asked(file, policy, caller, of_tier(policy, caller, at_ms(None)))


def _agreed(asked: Asked, store: str | None) -> bool:
    if not _is_attended():
        raise Stopped("nobody can be asked here whether to forget what this caller has used: add --yes")
    verdict = with_store(asked.policy, store, asked.used)
    console().print(asked.frame(verdict, console()))
    return typer.confirm(f"Forget all this of {printable(asked.name)}?")


def _show(output: Format, command: str, asked: Asked, verdict: Verdict) -> None:
    if output is Format.JSON:
        told = [usage_as_json(used, asked.policy.store.prefix) for used in verdict.usage]
        emit_json(command, {"caller": caller_as_json(asked.caller), "at": instant(verdict.now_ms), "limits": told})
    elif output is Format.GITHUB:
        for used in verdict.usage:
            level: Level = "notice" if used.left else "warning"
            said = f"{used.used} of {used.max} used, {used.left} left"
            annotate(level, f"{asked.name}: {used.charge.limit.name}: {said}", file=called(asked.file))
    else:
        console().print(asked.frame(verdict, console()))
