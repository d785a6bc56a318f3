"""One of the APIs that are reproduced, at full load: `python -m benchmarks.apis_run ORDER`, where the apps run.

ORDER is a JSON object: `api`, `url` of a Redis or an empty text for the memory store, `asked` requests, `phases`. Each
phase begins when all limits are whole again after the one before. The policy is that of the example, with callers of
its own. Prints a JSON object: what was done, and how many answers were wrong by what was wrong.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.apis_check import Answer, Limit, grouped, parsed, wrong
from benchmarks.in_server import Connections
from ratelimit import RateLimitMiddleware, parse_policy

EXAMPLES = Path(__file__).parents[1] / "examples"
STORE = '[store]\ntimeout = "10s"\non_failure = "deny"\n'  # what the store does not decide is a 503: a wrong answer
WARM = 2_000  # requests of other callers before those that count
BURST = 8  # requests for one counter in a row, so that more come at a time than its cap
HELD = 0.002  # seconds that the invoicing API works on a request
REGISTERS = (1, 3, 33, 33)
PREMIUM = 4  # callers
IDENTIFIED = 12


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: requests in their order with the counter of each, and the limit of each counter."""

    api: str
    keys: Sequence[str]  # lines of the policy file
    counters: Sequence[str]
    requests: Sequence[bytes]
    limits: Mapping[str, Limit]
    held: float = 0.0


def known_key(name: str, tier: str, more: str = "") -> str:
    digest = sha256(name.encode()).hexdigest()
    return f'\n[[keys]]\nsha256 = "{digest}"\ntier = "{tier}"\norganization = "{name}"\n{more}\n'


def sent(key: str, counter: str, method: str, path: str) -> bytes:
    body = "Content-Length: 0\r\n" if method != "GET" else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nX-Counter: {counter}\r\n"
    return f"{head}{body}\r\n".encode()


def one_rate(api: str, tier: str, path: str, limits: Mapping[str, tuple[Limit, str]]) -> Load:
    """Callers in turn, each with one limit."""
    return Load(
        api,
        [known_key(name, tier, more) for name, (_, more) in limits.items()],
        list(limits),
        [sent(name, name, "GET", path) for name in limits],
        {name: limit for name, (limit, _) in limits.items()},
    )


def lendworks() -> Load:
    """The premium tier: 10,000 a minute for each key."""
    limits = {f"premium-{number}": (Limit(10_000, 60), "") for number in range(PREMIUM)}
    return one_rate("lendworks", "premium", "/api/v1/loans", limits)


def lightspeed() -> Load:
    """300 x registers + 50 in 5 minutes for each retailer and application."""
    limits = {
        f"retailer-{number}": (
            Limit(300 * registers + 50, 300),
            f'application = "webshop"\nattributes = {{ registers = {registers} }}',
        )
        for number, registers in enumerate(REGISTERS)
    }
    return one_rate("lightspeed", "retailer", "/api/2.0/products", limits)


CLASSES = {  # of Facturapi: method, path, and what the example allows
    "detail_read": ("GET", "/v2/invoices/1", Limit(300, 60, cap=4)),
    "search": ("GET", "/v2/invoices", Limit(120, 60, cap=4)),
    "create": ("POST", "/v2/customers", Limit(60, 60, cap=4)),
    "write": ("PUT", "/v2/invoices/1", Limit(60, 60, cap=4)),
    "heavy_write": ("POST", "/v2/invoices", Limit(10, 2, cap=2)),
}


def facturapi() -> Load:
    """Five classes of operations, each with a rate and a cap, for each caller."""
    names = [f"identified-{number}" for number in range(IDENTIFIED)]
    limits, requests, counters = {}, [], []
    for name in names:
        for kind, (method, path, limit) in CLASSES.items():
            counter = f"{name}/{kind}"
            limits[counter] = limit
            requests += [sent(name, counter, method, path)] * BURST
            counters += [counter] * BURST
    keys = [known_key(name, "identified", 'attributes = { mode = "live" }') for name in names]
    return Load("facturapi", keys, counters, requests, limits, held=HELD)


LOADS: Mapping[str, Callable[[], Load]] = {
    "lendworks": lendworks,
    "lightspeed": lightspeed,
    "facturapi": facturapi,
}


class App:
    """Routes of the shapes that the three APIs have, and the most requests of a counter that were inside at a time."""

    def __init__(self, held: float) -> None:
        self.most: Counter[str] = Counter()
        self._inside: Counter[str] = Counter()
        self._held = held

    async def answer(self, request: Request) -> JSONResponse:
        counter = request.headers["x-counter"]
        self._inside[counter] += 1
        self.most[counter] = max(self.most[counter], self._inside[counter])
        try:
            if self._held:
                await asyncio.sleep(self._held)
        finally:
            self._inside[counter] -= 1
        return JSONResponse({"id": "1", "state": "in stock"})

    def starlette(self) -> Starlette:
        lists = ("/api/v1/loans", "/api/2.0/products", "/v2/invoices", "/v2/customers")
        routes = [Route(path, self.answer, methods=["GET", "POST"]) for path in lists]
        return Starlette(routes=[*routes, Route("/v2/invoices/{id}", self.answer, methods=["GET", "PUT"])])


async def run(api: str, url: str, asked: int, phases: int) -> dict[str, Any]:
    load = LOADS[api]()
    text = (EXAMPLES / api / "ratelimit.toml").read_text().replace("[store]\n", STORE) + "".join(load.keys)
    app = App(load.held)
    served = app.starlette()
    served.add_middleware(RateLimitMiddleware, policy=parse_policy(text), store=url or "memory://")
    warm = Connections(served, [sent("nobody", "warm", "GET", "/v2/invoices/1")], watch=lambda *_: None)
    await warm.send(WARM)
    took, spent, allowed, found = 0.0, 0.0, 0, Counter[str]()
    for phase in range(phases):
        app.most.clear()
        raw: list[tuple[bytes, float, float, bytes]] = []
        connections = Connections(served, load.requests, watch=partial(noted, raw))
        began = time.perf_counter()
        spent += await connections.send(asked)
        took += time.perf_counter() - began
        index = {request: number for number, request in enumerate(load.requests)}
        answers = [(index[request], parsed(at, until, answer)) for request, at, until, answer in raw]
        found.update(wrong(api, load.limits, grouped(load.counters, answers), app.most))
        found.update({"unanswered": asked - len(raw)} if len(raw) != asked else {})
        allowed += sum(answer.allowed for _, answer in answers)
        if phase < phases - 1:
            await asyncio.sleep(until_whole(load.limits, answers))
    await served.middleware_stack.app.store.close()  # type: ignore[union-attr]
    return {
        "requests": asked * phases,
        "allowed": allowed,
        "rate": asked * phases / took,
        "cpu_us": spent / asked / phases * 1e6,
        "counters": len(load.limits),
        "wrong": dict(found),
    }


def noted(raw: list[tuple[bytes, float, float, bytes]], request: bytes, sent_at: float, answer: bytes) -> None:
    """As it came: what is in it is looked at later, so that the load is not the harness's."""
    raw.append((request, sent_at, time.time(), answer))


def until_whole(limits: Mapping[str, Limit], answers: Sequence[tuple[int, Answer]]) -> float:
    """Seconds until all that was let through counts no more."""
    last = max(answer.answered for _, answer in answers)
    return max(limit.whole_again(last) for limit in limits.values()) - time.time()


if __name__ == "__main__":
    logging.getLogger("ratelimit").setLevel(logging.ERROR)  # that this app has few of the example's routes is known
    print(json.dumps(uvloop.run(run(**json.loads(sys.argv[1])))))
