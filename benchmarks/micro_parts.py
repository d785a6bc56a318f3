"""The parts of the path of a request, each as a function without arguments that does it once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from hashlib import sha256
from itertools import count
from types import SimpleNamespace
from typing import Any

from benchmarks.charges import OPERATION, organization
from benchmarks.yardstick import yardstick
from ratelimit import Decision, Identity, MemoryStore, Policy, RateLimitMiddleware, parse_policy
from ratelimit.model import Message, Receive, Scope, Send

STYLES = ("facturapi", "lightspeed", "lendworks", "ietf")
CALLERS = 1_000  # known API keys, and in one part as many overrides
LOG_ID = "0123456789abcdef01234567"
TIERS = """
[tiers.anonymous]
limits = [ { name = "ip", rate = "60/minute" } ]
[tiers.known]
limits = [ { name = "requests", rate = "1000000000/minute" }, { name = "monthly", quota = "1000000000/month" } ]
"""
FORWARDED = """
[identity]
trusted_proxies = ["10.0.0.0/8"]
forwarded = "x-forwarded-for"
"""
YARDSTICK = "the yardstick"

Part = Callable[[], object]


def parts() -> dict[str, Part]:
    """By name. The first is no part: it is what machines are compared by."""
    return {
        YARDSTICK: yardstick,
        **identifying(),
        **classifying(),
        **looking_up(),
        **telling(),
        "memory store: a rate and a quota": deciding(),
        "whole path of a request, memory store": passing(),
    }


def identifying() -> dict[str, Part]:
    keys = "".join(
        f'[[keys]]\nsha256 = "{sha256(f"key-{n}".encode()).hexdigest()}"\ntier = "known"\norganization = "o{n}"\n'
        for n in range(CALLERS)
    )
    known, behind = parse_policy(TIERS + keys), parse_policy(FORWARDED + TIERS)
    by_key = request(headers=[(b"x-api-key", b"key-500")])
    by_proxy = request(headers=[(b"x-forwarded-for", b"203.0.113.7, 10.1.2.3")], client="10.0.0.1")
    return {
        f"identify: one of {CALLERS:,} API keys": partial(known.identify, by_key),
        "identify: anonymous": partial(known.identify, request_of_nobody),
        "identify: behind two proxies": partial(behind.identify, by_proxy),
    }


def classifying() -> dict[str, Part]:
    """By the last rule that there is, and by no rule."""
    made: dict[str, Part] = {}
    for rules in (10, 1_000):
        listed = ", ".join(f'"POST /v2/things-{n}/{{id}}/done"' for n in range(rules))
        policy = parse_policy(f"[operations]\nheavy_write = [{listed}]\n{TIERS}")
        last = request(method="POST", path=f"/v2/things-{rules - 1}/17/done")
        made[f"classify: the last of {rules:,} rules"] = partial(policy.classify, last)
        made[f"classify: none of {rules:,} rules"] = partial(policy.classify, request_of_nobody)
    made["classify: a collection"] = partial(policy.classify, request(path="/items"))
    made["classify: an id in capitals"] = partial(policy.classify, request(path="/items/CUS_17"))
    made["classify: an odd path"] = partial(policy.classify, request(path="/docs/../items/17"))
    return made


def looking_up() -> dict[str, Part]:
    override = '[[overrides]]\norganization = "customer-{}"\nlimits = {{ requests = "5/minute" }}\n'
    plain, overridden = parse_policy(TIERS), parse_policy(TIERS + "".join(map(override.format, range(CALLERS))))
    known, numbers = organization(500), count(CALLERS)
    return {
        "policy: a known caller": partial(plain.charges, known, OPERATION),
        "policy: a caller never seen before": lambda: plain.charges(organization(next(numbers)), OPERATION),
        f"policy: a known caller, {CALLERS:,} overrides": partial(overridden.charges, known, OPERATION),
        f"policy: never seen, {CALLERS:,} overrides": lambda: overridden.charges(
            organization(next(numbers)), OPERATION
        ),
    }


def telling() -> dict[str, Part]:
    """The headers of an allowed response."""
    made: dict[str, Part] = {}
    identity = organization(1)
    for name in STYLES:
        policy = parse_policy(f'style = "{name}"\n{TIERS}')
        decision = decided(policy, identity)
        made[f"style: {name}"] = partial(policy.style.headers, decision, identity, LOG_ID)
    return made


def decided(policy: Policy, identity: Identity) -> Decision:
    decision = finished(MemoryStore().acquire(policy.charges(identity, OPERATION)))
    assert isinstance(decision, Decision)
    return decision


def deciding() -> Part:
    store, charges = MemoryStore(), parse_policy(TIERS).charges(organization(1), OPERATION)
    return lambda: finished(store.acquire(charges))


def passing() -> Part:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        pass

    limited = RateLimitMiddleware(app, parse_policy(TIERS), store="memory://", identify=lambda _: organization(1))
    return lambda: finished(limited(request_of_nobody.copy(), receive, send))


def finished(coroutine: Coroutine[Any, Any, object]) -> object:
    """The result of a coroutine that waits for nothing; it may let others have their turn."""
    try:
        while coroutine.send(None) is None:
            pass
    except StopIteration as end:
        return end.value
    raise RuntimeError("the coroutine waits for something, so its time would not be its own")


def request(
    *, method: str = "GET", path: str = "/items/1", headers: list[tuple[bytes, bytes]] | None = None, client: str = ""
) -> dict[str, Any]:
    """A scope, with the headers that clients send anyway."""
    usual = [(b"host", b"api.example"), (b"user-agent", b"client/1.0"), (b"accept", b"application/json")]
    address = (client or "203.0.113.9", 50_000)
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*usual, *(headers or [])],
        "client": address,
        "app": APP,
    }


class Router:
    """What is read of those of Starlette, which is none of what the benchmarks need."""

    def __init__(self, *declared: str) -> None:
        lines = [line.split() for line in declared]
        self.routes = [
            SimpleNamespace(path=path, methods={method}, endpoint=None, param_convertors={}) for method, path in lines
        ]


class App:
    """As an app of Starlette has its routes: those of its router, and what it costs to ask for them."""

    def __init__(self, router: Router) -> None:
        self.router = router

    @property
    def routes(self) -> list[SimpleNamespace]:
        return self.router.routes


APP = App(
    Router(
        *("GET /health", "GET /items", "POST /items", "GET /items/{id}", "PATCH /items/{id}", "DELETE /items/{id}"),
        *("GET /v2/invoices", "POST /v2/invoices", "GET /v2/invoices/{id}", "GET /v2/invoices/{id}/lines/{line}"),
        *("GET /v2/reports/top10", "GET /docs/{page:path}", "GET /openapi.json"),
        *(f"POST /v2/things-{number}/{{id}}/done" for number in range(10)),
    )
)
request_of_nobody = request()
