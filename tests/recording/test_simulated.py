"""What `[record]` has written is simulated exactly: the same policy says of each line what it said then."""

from __future__ import annotations

import asyncio
import json
import random
from heapq import heappop, heappush
from pathlib import Path

import pytest

from ratelimit import RateLimitMiddleware, hash_api_key
from ratelimit.config.load import parse_policy
from ratelimit.model import Message, Receive, Scope, Send
from ratelimit.recording import recording
from ratelimit.simulate.logs.guess import looked_at
from ratelimit.simulate.logs.own import mapping_of
from ratelimit.simulate.logs.sources import Source
from ratelimit.simulate.run import PolicyText, Share, Task
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import T, scope_of
from tests.recording import lines_of

KEYS = [f"sk_live_{number}" for number in range(4)]
POLICY = """
[record]
file = "LOG"
max_size = "100MB"
[operations]
exempt = ["GET /health"]
imports = ["POST /imports/**"]
[tiers.anonymous]
limits = [ { name = "address", rate = "9/10 seconds" } ]
[tiers.basic]
limits = [
  { name = "requests", rate = "(8 * seats + 4)/10 seconds", per = "api_key", cost = { imports = 3 } },
  { name = "daily", quota = "150/day" },
  { name = "failed", rate = "6/minute", charge_on = ["404"] },
  { name = "at once", concurrency = 2, per = ["organization", "plan"] },
]
KEYS
[[overrides]]
api_key = "HASH"
limits = { requests = "40/10 seconds" }
"""
KEY = '[[keys]]\nsha256 = "{}"\ntier = "basic"\norganization = "org{}"\nattributes = {{ seats = {}, plan = "{}" }}\n'


def policy_text(log: Path) -> str:
    keys = "".join(KEY.format(hash_api_key(key), n % 2, n + 1, "ab"[n % 2]) for n, key in enumerate(KEYS))
    return POLICY.replace("LOG", str(log)).replace("KEYS", keys).replace("HASH", hash_api_key(KEYS[3]))


async def drive(limited: RateLimitMiddleware, now: list[int], requests: int) -> None:
    """Requests that come and go on a clock that moves."""
    dice = random.Random(16)
    running: list[tuple[int, int, asyncio.Future[int], asyncio.Task[None]]] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    async def end(until: float) -> None:
        while running and running[0][0] <= until:
            now[0], _, over, task = heappop(running)
            over.set_result(dice.choice([200, 200, 404]))
            await task

    for number in range(requests):
        at = now[0] + dice.choice([1, 3, 40, 400, 900])
        await end(at)
        now[0] = at
        reached, over = asyncio.Event(), asyncio.get_running_loop().create_future()
        method, path = dice.choice([("GET", "/loans/7"), ("GET", "/loans"), ("POST", "/imports/a"), ("GET", "/health")])
        scope = scope_of(path, method, dice.choice([*KEYS, None]))
        scope |= {"client": (f"192.0.2.{dice.randrange(3)}", 1), "reached": reached, "over": over}
        task = asyncio.ensure_future(limited(scope, receive, send))
        waits = asyncio.ensure_future(reached.wait())
        await asyncio.wait({task, waits}, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if reached.is_set():
            heappush(running, (at + dice.choice([0, 10, 700, 3_000]), number, over, task))
    await end(float("inf"))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    scope["reached"].set()
    status = await scope["over"]
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_a_recorded_log_is_simulated_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By keys, addresses, formulas, overrides, costs, statuses and slots: not one line is decided otherwise."""
    now = [T]
    monkeypatch.setattr(recording, "monotonic", lambda: now[0] / 1000)
    log, verdicts = tmp_path / "calls.jsonl", tmp_path / "verdicts.jsonl"
    text = policy_text(log)
    limited = RateLimitMiddleware(app, parse_policy(text, "test.toml"), store=MemoryStore(clock=lambda: now[0]))
    asyncio.run(drive(limited, now, 2_000))
    assert limited._recording
    limited._recording.close()
    lines = lines_of(log)
    source = Source(str(log))
    formats = looked_at([source], mapping_of(())).formats
    task = Task(PolicyText(text, "test.toml"), (str(log),), tuple(formats), verdicts=str(verdicts))
    summary = Share(task, sources=[source]).run().summary
    source.close()
    said = {one["line"]: one["allowed"] for one in map(json.loads, verdicts.read_text().splitlines())}
    assert [said[number] for number in range(1, len(lines) + 1)] == [line["status"] != 429 for line in lines]
    assert summary.understood == len(lines) > 1_400
    assert 300 < summary.denied < len(lines) - 300
