"""A policy file is edited while the process runs. Looks are made by hand, so that nothing here waits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ratelimit import Policy, RateLimitMiddleware, hash_api_key
from ratelimit.model import ASGIApp, Message
from ratelimit.reload.watch import Watch
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import T, ask, header, plain

_first: WeakKeyDictionary[RateLimitMiddleware, Policy] = WeakKeyDictionary()
_times = count(1_000_000_000)  # seconds: what is written anew is seen to be


def text(limits: str = '{ name = "requests", rate = "100/minute" }', more: str = "", callers: int = 8) -> str:
    """A policy of known callers, whose API keys are key0, key1 and so on."""
    keys = "".join(
        f'[[keys]]\nsha256 = "{hash_api_key(f"key{n}")}"\ntier = "basic"\norganization = "o{n}"\n'
        for n in range(callers)
    )
    others = '[tiers.anonymous]\nlimits = [ { name = "ip", rate = "100/minute" } ]\n'
    return f'style = "lendworks"\n{more}\n{keys}\n{others}\n[tiers.basic]\nlimits = [ {limits} ]\n'


def rate(number: int, more: str = "", **rest: Any) -> str:
    return text(f'{{ name = "requests", rate = "{number}/minute" }}', more, **rest)


def written(path: Path, content: str | bytes) -> Path:
    """In place, as an editor does it."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (at := next(_times), at))
    return path


def limited(path: Path, app: ASGIApp = plain, **rest: Any) -> RateLimitMiddleware:
    limiter = RateLimitMiddleware(app, path, **{"store": MemoryStore(clock=lambda: T), **rest})
    _first[limiter] = limiter.policy
    return limiter


def watch_of(limiter: RateLimitMiddleware) -> Watch:
    assert limiter._follower
    watch = limiter._follower.watch
    assert isinstance(watch, Watch)
    return watch


def edited(limiter: RateLimitMiddleware) -> bool:
    """Whether another policy is in force than the one that it was made with."""
    assert limiter._renewed
    assert limiter._renewed.policy is limiter.policy
    return limiter.policy is not _first[limiter]


def stepped(limiter: RateLimitMiddleware, times: int = 3) -> None:
    for _ in range(times):
        watch_of(limiter).step()


async def looked(limiter: RateLimitMiddleware, times: int = 3) -> None:
    """On another thread, as it is: what it asks a store is asked on this loop."""
    for _ in range(times):
        await asyncio.to_thread(watch_of(limiter).step)


async def called(app: ASGIApp, number: int = 0, times: int = 1, path: str = "/items/7", **rest: Any) -> Message:
    """The start of the last response to a caller's requests."""
    for _ in range(times):
        start = (await ask(app, path, api_key=f"key{number}", **rest))[0]
    return start


def limit_of(start: Message) -> str | None:
    return header(start, "x-ratelimit-limit")


def messages(records: Sequence[Any], level: str | None = None) -> list[str]:
    return [record.getMessage() for record in records if level is None or record.levelname == level]
