"""`ratelimit launch`: where a launch is, whom it would have denied, and how it is stopped and goes on."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from time import time_ns
from typing import Annotated, Any, NamedTuple, TypeVar

import typer

from ratelimit.cli.input.policies import FileArgument, called, policy_of
from ratelimit.cli.input.stores import VARIABLE, StoreOption, with_store
from ratelimit.cli.output.console import say
from ratelimit.cli.output.exits import Stopped
from ratelimit.cli.output.formats import Format, FormatOption, annotate, emit_json
from ratelimit.cli.output.launches import told_report, told_status
from ratelimit.ground.times import second
from ratelimit.launches.shared import Gathered, Shared, Word, shared_of
from ratelimit.launches.status import modes, statuses
from ratelimit.model import FOREVER, Store
from ratelimit.policy import Policy
from ratelimit.stores import split_url

STATUS_EXAMPLES = """
  ratelimit launch status ratelimit.toml
  ratelimit launch status ratelimit.toml --store redis://… --format json
"""
REPORT_EXAMPLES = """
  ratelimit launch report ratelimit.toml
  ratelimit launch report ratelimit.toml --top 5
"""
PAUSE_EXAMPLES = """
  ratelimit launch pause ratelimit.toml
"""
RESUME_EXAMPLES = """
  ratelimit launch resume ratelimit.toml
"""

T = TypeVar("T")

TopOption = Annotated[int, typer.Option("--top", min=1, max=1000, help="So many callers of each limit.")]


class _Seen(NamedTuple):
    now_ms: int
    word: Word | None


def status(file: FileArgument, store: StoreOption = None, output: FormatOption = Format.TEXT) -> None:
    """Show the stages of each limit that is launched, and which is in force by the clock of the store.

    With memory:// there is no other process, nothing can be paused, and the clock is that of this machine.
    """
    policy = _launched(file)
    seen = _Seen(time_ns() // 1_000_000, None) if _in_memory(policy, store) else _shared(policy, store, _look)
    limits, overrides = statuses(policy, seen.now_ms), modes(policy)
    paused = seen.word is not None and seen.word.paused
    if output is Format.JSON:
        pause = None if seen.word is None or not paused else seen.word.at_ms
        emit_json(
            "launch status",
            {
                "file": called(file),
                "now_ms": seen.now_ms,
                "paused_since_ms": pause,
                "limits": [
                    {
                        **one._asdict(),
                        "now": "shadow" if paused else one.now,
                        "stages": [_json(stage, seen.now_ms) for stage in one.stages],
                    }
                    for one in limits
                ],
                "overrides": [_json(one, seen.now_ms) for one in overrides],
            },
        )
    elif output is Format.GITHUB:
        for limit in limits:
            now = "shadow, paused" if paused else limit.now
            annotate("notice", f"{limit.name} of {limit.tier}: {now}", file=called(file))
    else:
        told_status(limits, overrides, seen.now_ms, seen.word)


def report(
    file: FileArgument, store: StoreOption = None, top: TopOption = 20, output: FormatOption = Format.TEXT
) -> None:
    """Show whom limits in launch would have denied while they were in shadow, and the max that each caller needs.

    It is of all processes on one Redis, of the last week, and a few seconds old. Each process keeps the callers with
    the most would-be denials: a count of another one may be too high, never too low, and says by how much.
    """
    gathered: Gathered = _shared(_launched(file), store, lambda shared: shared.gathered(top))
    if output is Format.JSON:
        limits = [{**one._asdict(), "rows": [row._asdict() for row in one.rows]} for one in gathered.limits]
        emit_json("launch report", {"file": called(file), **gathered._asdict(), "limits": limits})
    elif output is Format.GITHUB:
        for one in gathered.limits:
            annotate("notice", f"{one.name} would have denied {one.denials} requests", file=called(file))
    else:
        told_report(gathered)


def pause(file: FileArgument, store: StoreOption = None, output: FormatOption = Format.TEXT) -> None:
    """Put every limit that has a launch back in shadow, in all processes on this store, within 2 s.

    It holds until `ratelimit launch resume`, also through restarts and where Redis loses it. Limits without a launch
    stay as they are.
    """
    _say(file, store, output, paused=True)


def resume(file: FileArgument, store: StoreOption = None, output: FormatOption = Format.TEXT) -> None:
    """Have the stages of launches go on, each by its own instants, in all processes on this store, within 2 s."""
    _say(file, store, output, paused=False)


def _say(file: str, store: str | None, output: Format, *, paused: bool) -> None:
    policy = _launched(file)
    if _in_memory(policy, store):
        raise Stopped(
            "the store is memory://, and no other process can be told anything: to pause a launch needs Redis;"
            f" give --store redis://… or {VARIABLE}, or restart the app with RATELIMIT_MODE=shadow"
        )
    word, said = _shared(policy, store, partial(_put, paused=paused))
    names = sorted({one.name for one in statuses(policy, word.at_ms)})
    if paused:
        what = f"launches are paused since {second(word.at_ms)}: in shadow everywhere within 2 s"
    else:
        what = f"launches go on since {second(word.at_ms)}: their stages hold everywhere within 2 s"
    what = f"{what if said else f'nothing to do, {what}'}: {', '.join(names)}"
    if output is Format.JSON:
        emit_json(
            f"launch {'pause' if paused else 'resume'}",
            {"file": called(file), "paused": paused, "since_ms": word.at_ms, "said": said, "limits": names},
        )
    elif output is Format.GITHUB:
        annotate("notice", what, file=called(file))
    else:
        say(what)


def _launched(file: str) -> Policy:
    policy = policy_of(file)
    if not statuses(policy, 0):
        raise Stopped(f"{called(file)}: no limit has a launch; write one: launch = {{ shadow_until = … }}")
    return policy


def _in_memory(policy: Policy, store: str | None) -> bool:
    return split_url(store or os.environ.get(VARIABLE) or policy.store.url).scheme == "memory"


def _shared(policy: Policy, store: str | None, work: Callable[[Shared], Awaitable[T]]) -> T:
    async def on(opened: Store) -> T:
        shared = shared_of(opened)
        assert shared  # noqa: S101 - it is no memory
        return await work(shared)

    return with_store(policy, store, on)


async def _look(shared: Shared) -> _Seen:
    words = await shared.words()
    return _Seen(await shared.now_ms(), words[-1] if words else None)


async def _put(shared: Shared, *, paused: bool) -> tuple[Word, bool]:
    """The word that holds, and whether it was said now. By the clock of the store, and after what was said before: that
    launches go on, too, where nothing is there, as processes write a pause again that a flush has taken."""
    words, now_ms = await shared.words(), await shared.now_ms()
    last = words[-1] if words else None
    if last is not None and last.paused is paused:
        return last, False
    word = Word(now_ms if last is None else max(now_ms, last.at_ms + 1), paused)
    await shared.say(word)
    return word, True


def _json(one: Any, now_ms: int) -> dict[str, object]:
    """With its instants as numbers; one that never comes is null."""
    until = None if one.until_ms >= FOREVER else one.until_ms
    return {**one._asdict(), "until_ms": until, "when": one.when(now_ms)}
