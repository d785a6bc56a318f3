"""The middleware itself, driven over HTTP on a clock that moves: each request begins when the log says that it came,
and is answered when it says that it was over."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

import httpx2

from ratelimit import Identity, MemoryStore, RateLimitMiddleware
from ratelimit.model import Answer, Decision, Receive, Scope, Send, Style
from ratelimit.policy import Policy
from ratelimit.policy.keys import caller

DENIED = "denied"  # in the scope: the Decision that the answer tells


class Call(NamedTuple):
    """A request of a log: the number of its line, when it came, how long it took, and what the client sent."""

    line: int
    at_ms: int
    took_ms: int
    ip: str
    headers: dict[str, str]
    method: str
    target: str
    status: int


class Heard:
    """The style of a policy, and what it is asked to tell of a denial: of several times the last."""

    log_id_header = None

    def __init__(self, style: Style) -> None:
        self.headers, self.unavailable = style.headers, style.unavailable
        self._denied = style.denied

    def denied(self, decision: Decision, identity: Identity, log_id: str, scope: Scope) -> Answer:
        scope[DENIED] = decision
        return self._denied(decision, identity, log_id)


def basic(user: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()}


def of_headers(scope: Scope) -> Identity | None:
    """Who is calling, as an authentication in front would say it."""
    named = {name.decode(): value.decode() for name, value in scope["headers"]}
    if "x-org" not in named and "x-user" not in named:
        return None
    return Identity(organization=named.get("x-org"), user=named.get("x-user"), tier=named.get("x-tier"))


async def drive(
    policy: Policy, calls: Sequence[Call], identify: Callable[[Scope], Any] | None
) -> dict[int, dict[str, Any]]:
    """What `--verdicts` has of each line, by its number."""
    now = [0]
    waiting: dict[str, tuple[asyncio.Future[None], asyncio.Future[int]]] = {}
    verdicts: dict[int, dict[str, Any]] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        line = dict(scope["headers"])[b"x-line"].decode()
        reached, over = waiting[line]
        reached.set_result(None)
        status = await over
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    store, style = MemoryStore(clock=lambda: now[0]), Heard(policy.style)
    limited = RateLimitMiddleware(app, policy, store=store, style=style, identify=identify)

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        scope["client"] = headers[b"x-peer"].decode(), 1
        line = int(headers[b"x-line"])
        operation = policy.classify({**scope})
        said: Any = (identify(scope) if identify else None) or policy.identify(scope)
        whose = None if operation is None else caller(said)
        await limited(scope, receive, send)
        decision: Decision | None = scope.get(DENIED)
        denying = None if decision is None else decision.denying
        verdict = {"line": line, "caller": whose, "operation": operation, "allowed": denying is None}
        if denying is not None:
            verdict |= {"limit": denying.limit.name, "retry_after_ms": denying.retry_after_ms}
        verdicts[line] = verdict

    running: list[tuple[int, int, str, asyncio.Task[Any], int]] = []

    async def end(until: int) -> None:
        while running and running[0][0] <= until:
            ends, _, line, task, status = heappop(running)
            now[0] = ends
            waiting.pop(line)[1].set_result(status)
            await task

    loop = asyncio.get_running_loop()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(server), base_url="http://api.example.com") as client:
        for number, call in enumerate(sorted(calls, key=lambda call: (call.at_ms, call.line))):
            await end(call.at_ms)
            now[0] = call.at_ms
            line = str(call.line)
            waiting[line] = reached, _ = loop.create_future(), loop.create_future()
            headers = {"x-line": line, "x-peer": call.ip, **call.headers}
            task = asyncio.create_task(client.request(call.method, call.target, headers=headers))
            await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
            if reached.done():
                heappush(running, (call.at_ms + call.took_ms, number, line, task, call.status))
            else:
                del waiting[line]
                await task
        await end(2**62)
    return verdicts


def simulated(text: str) -> dict[int, dict[str, Any]]:
    """The same of a file of verdicts."""
    read = [json.loads(line) for line in text.splitlines()]
    return {one["line"]: {name: value for name, value in one.items() if name != "file"} for one in read}
