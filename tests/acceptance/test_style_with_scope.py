"""A method of a style that has a parameter `scope` is given the scope of the request."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit import Answer, Decision, Identity, MemoryStore, RateLimitMiddleware, StoreUnavailable
from ratelimit.answers.telling import scoped
from ratelimit.model import Headers, Refused, Scope
from ratelimit.styles import Ietf, WithIetfHeaders
from tests.acceptance import T, ask, header, plain, policy, run, scope_of

JSON = (b"content-type", b"application/json")


class InTheirLanguage:
    """Says everything with the path of the request; one method asks by keyword alone, one does not ask."""

    log_id_header = b"x-log-id"

    def headers(self, decision: Decision, identity: Identity, log_id: str, scope: Scope) -> Headers:
        return [(b"x-told", b"%s %d" % (scope["path"].encode(), len(log_id)))]

    def denied(self, decision: Decision, identity: Identity, log_id: str, *, scope: Scope) -> Answer:
        return Answer(429, [JSON, (b"x-told", scope["path"].encode())], b"{}")

    def unavailable(self, log_id: str) -> Answer:
        return Answer(503, [JSON, (b"x-told", b"nothing")], b"{}")

    def refused(self, status: int, code: str, message: str, log_id: str, scope: Scope) -> Answer:
        return Answer(status, [JSON, (b"x-told", scope["path"].encode() + b" " + code.encode())], b"{}")


class Away(MemoryStore):
    async def acquire(self, charges: Any) -> Decision:
        raise StoreUnavailable("away")


def refusing(_: Scope) -> Identity:
    raise Refused(400, "invalid_request", "No.")


@pytest.mark.parametrize("style", [InTheirLanguage(), WithIetfHeaders(InTheirLanguage())])
@pytest.mark.parametrize("limits", ['{ name = "a", rate = "1/minute" }', '{ name = "a", concurrency = 0 }'])
def test_every_method(style: Any, limits: str) -> None:
    """Of an allowed request, of a denied one and of one that is refused; what does not ask is called as ever."""

    async def told(**more: Any) -> tuple[int, str | None, bool]:
        store = more.pop("store", None) or MemoryStore(clock=lambda: T)
        limiter = RateLimitMiddleware(plain, policy(limits), store=store, style=style, **more)
        for path in ("/first", "/second"):
            start, *_ = await ask(limiter, scope=scope_of(path))
        return start["status"], header(start, "x-told"), header(start, "ratelimit") is not None

    async def test() -> None:
        adds = isinstance(style, WithIetfHeaders)
        assert await told() == (429, "/second", adds)
        assert await told(identify=refusing) == (400, "/second invalid_request", False)
        allowed = await told(store=Away())
        assert allowed == (200, "/second 24", False)

    run(test())


def test_with_a_slot() -> None:
    """So is a request that holds a slot."""

    async def test() -> None:
        limiter = RateLimitMiddleware(
            plain, policy('{ name = "a", concurrency = 1 }'), store="memory://", style=InTheirLanguage()
        )
        start, *_ = await ask(limiter, scope=scope_of("/one"))
        assert header(start, "x-told") == "/one 24"

    run(test())


def test_unavailable() -> None:
    """The 503 of a policy that denies without its store, by a method that asks."""

    class Apologetic(InTheirLanguage):
        def unavailable(self, log_id: str, scope: Scope) -> Answer:  # type: ignore[override]
            return Answer(503, [(b"x-told", scope["path"].encode())], b"")

    async def test() -> None:
        for style, told in ((Apologetic(), "/one"), (InTheirLanguage(), "nothing")):
            denying = policy(more='[store]\non_failure = "deny"')
            limiter = RateLimitMiddleware(plain, denying, store=Away(), style=style)
            start, *_ = await ask(limiter, scope=scope_of("/one"))
            assert (start["status"], header(start, "x-told")) == (503, told)

    run(test())


def test_a_style_without_refusals() -> None:
    """A style that asks for the scope need not know of refusals."""

    class OfThree(InTheirLanguage):
        refused = None  # type: ignore[assignment]

    async def test() -> None:
        limiter = RateLimitMiddleware(plain, policy(), store="memory://", style=OfThree(), identify=refusing)
        start, body = await ask(limiter)
        assert (start["status"], body["body"]) == (400, b'{"error":"invalid_request","message":"No."}')

    run(test())


class BuiltIn:
    """Methods without a signature that can be read, and one that takes whatever it is given."""

    log_id_header = None
    headers = dict
    unavailable = staticmethod(max)

    def denied(self, *arguments: Any, **more: Any) -> Answer:
        raise NotImplementedError


@pytest.mark.parametrize("style", [Ietf(), WithIetfHeaders(Ietf()), BuiltIn(), object()])
def test_who_does_not_ask(style: Any) -> None:
    """Of a style that has no such parameter nothing is made for a request."""
    assert scoped(style) is None
