"""What the processes on one Redis have in common of their launches, beside the counters: three keys of plain commands.

PREFIX:{launch}:paused      a sorted set of what operators said, by instant: "1798761600000 paused"; the last counts.
                            What a process knows and does not find there it writes again, as after a flush
PREFIX:{launch}:reports     a sorted set of processes, by the instant at which they last wrote
PREFIX:{launch}:report:ID   what a process has seen, in JSON: it ends WEEK after the last word of it
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple
from weakref import ref

from ratelimit.launches.report import LimitReport, merged
from ratelimit.model import StoreUnavailable

WEEK = 7 * 86_400  # seconds
YEARS = 1_000 * 86_400  # of what operators said: longer than any launch
REPORTS = 256  # processes whose reports are kept, those that wrote last
SAID = 10  # of what operators said, the last of it
ROWS = 64  # callers of a limit that a process writes
LARGEST = 1_000_000  # bytes of a report: what is larger is none of ours

Ask = Callable[..., Awaitable[Any]]
_WORD = re.compile(rb"([0-9]{1,15}) (paused|resumed)")


class Word(NamedTuple):
    """What an operator said, and when by the store's clock."""

    at_ms: int
    paused: bool

    def written(self) -> str:
        return f"{self.at_ms} {'paused' if self.paused else 'resumed'}"


class Gathered(NamedTuple):
    """The reports of all processes. `processes` wrote one; of `unread` nobody could make sense."""

    limits: list[LimitReport]
    processes: int
    unread: int


class Shared:
    """On a store of Redis, whose `ask` sends a command about a key. Everything raises StoreUnavailable."""

    def __init__(self, ask: Ask, prefix: str) -> None:
        self._ask = ask
        self._key = f"{prefix}:{{launch}}:"

    async def now_ms(self) -> int:
        reply = await self._command("TIME")
        try:
            seconds, microseconds = reply
            return int(seconds) * 1000 + int(microseconds) // 1000
        except (TypeError, ValueError):
            raise StoreUnavailable("what the server sent is no time") from None

    async def words(self) -> list[Word]:
        """What was said of late, the last of it last. What somebody else has written there says nothing."""
        said = await self._command("ZRANGE", f"{self._key}paused", 0, -1)
        found = [_WORD.fullmatch(one) for one in _texts(said)]
        return sorted(Word(int(one[1]), one[2] == b"paused") for one in found if one)

    async def say(self, word: Word) -> None:
        key = f"{self._key}paused"
        await self._command("ZADD", key, word.at_ms, word.written())
        await self._command("ZREMRANGEBYRANK", key, 0, -SAID - 1)
        await self._command("EXPIRE", key, YEARS)

    async def write(self, process: str, report: Sequence[object]) -> None:
        now_ms = await self.now_ms()
        key = f"{self._key}reports"
        text = json.dumps(report, separators=(",", ":"))
        await self._command("SET", f"{self._key}report:{process}", text, "EX", WEEK)
        await self._command("ZADD", key, now_ms, process)
        await self._command("ZREMRANGEBYSCORE", key, "-inf", now_ms - WEEK * 1000)
        await self._command("ZREMRANGEBYRANK", key, 0, -REPORTS - 1)
        await self._command("EXPIRE", key, WEEK)

    async def gathered(self, most: int) -> Gathered:
        parts, unread, limits = list[object](), 0, list[LimitReport]()
        processes = _texts(await self._command("ZRANGE", f"{self._key}reports", 0, -1))
        for process in processes:
            text = await self._command("GET", self._key.encode() + b"report:" + process)
            try:
                part = json.loads(text) if text is not None and len(text) <= LARGEST else None
                merged([part], most)
            except (TypeError, ValueError, RecursionError):
                unread += text is not None
            else:
                parts.append(part)
        limits = merged(parts, most)
        return Gathered(limits, len(parts), unread)

    async def _command(self, *parts: bytes | str | int) -> Any:
        return await self._ask("{launch}", *parts)


def _texts(reply: object) -> Iterable[bytes]:
    return [one for one in reply if isinstance(one, bytes)] if isinstance(reply, list) else ()


def shared_of(store: object) -> Shared | None:
    """What a store keeps for all processes; None of one that is of this process alone."""
    if not callable(getattr(store, "ask", None)):
        return None
    there = ref(store)  # which is the key under which this is kept

    async def ask(*parts: Any) -> Any:
        store: Any = there()
        if store is None:
            raise StoreUnavailable("the store is gone")
        return await store.ask(*parts)

    return Shared(ask, getattr(store, "prefix", "ratelimit"))
