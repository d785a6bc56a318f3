"""An `identify` or a `classify` that gives what it may not give is found by its name, at the first request."""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Any

import pytest

from ratelimit import Identity, MemoryStore, Policy, RateLimitMiddleware
from tests.acceptance import T, ask, limited, plain, policy, run, scope_of

HEAVY = '[operations]\nheavy_write = ["POST /v2/invoices"]\n'
SECRET = "sk_live_secret"


class Kind(str, Enum):  # noqa: UP042 - as apps for older Pythons have it
    SEARCH = "search"


class Giving:
    """A callable with a class of its own, as a policy's own is."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def __call__(self, scope: Any) -> Any:
        return self.said

    def method(self, scope: Any) -> Any:
        return self.said

    async def later(self, scope: Any) -> Any:
        return self.said


def giving(scope: Any, said: Any) -> Any:
    return said


def ways(said: Any) -> list[tuple[Any, str]]:
    mine = Giving(said)
    return [
        (mine, "Giving"),
        (mine.method, "Giving.method"),
        (mine.later, "Giving.later"),
        (partial(giving, said=said), "giving"),
        (partial(partial(giving), said=said), "giving"),
    ]


def refused(**callables: Any) -> str:
    limiter = RateLimitMiddleware(plain, policy(), store="memory://", **callables)
    with pytest.raises(TypeError) as refusal:
        run(ask(limiter))
    return str(refusal.value)


@pytest.mark.parametrize("said", [5, True, b"search", ["search"], 1.5, {}, object])
def test_no_operation(said: Any) -> None:
    """A classify that returns what is no text and not None, by name and with what it returned."""
    for classify, name in ways(said):
        assert refused(classify=classify) == (
            f"classify, which is {__name__}.{name}, returned {said!r}: an operation is a text, and None is exempt from"
            " every limit"
        )


def test_an_operation_that_would_fill_the_log() -> None:
    """What it returned is told in one line of bounded length."""
    told = refused(classify=lambda _: ["\n" * 10_000])
    assert len(told) < 800
    assert "\n" not in told


@pytest.mark.parametrize("said", ["acme", 5, True, b"x", {"user": "ana"}, ("acme", None), SECRET])
def test_no_identity(said: Any) -> None:
    """An identify that returns no Identity, by name and type: what it returned could be an API key."""
    for identify, name in ways(said):
        told = refused(identify=identify)
        assert told == (
            f"identify, which is {__name__}.{name}, returned a value of type {type(said).__name__}: it must return an"
            " Identity, or None where the policy's own is to say who is calling"
        )
        assert SECRET not in told


def by_hand(identify: Any) -> RateLimitMiddleware:
    made = policy()
    own = Policy(made.tiers, identify, made.classify, made.style, made.address, default_tier="anonymous")
    return RateLimitMiddleware(plain, own, store="memory://")


@pytest.mark.parametrize("more", [{}, {"identify": lambda _: None}, {"identify": Giving(None).later}])
def test_the_policys_own(more: Any) -> None:
    """So does one of a policy that was made by hand, also behind an identify that leaves the request to it."""
    for said, part in ((5, "returned a value of type int"), (None, "the policy's identify returned None")):
        for identify in (Giving(said), Giving(said).later):
            limiter = by_hand(identify)
            if more:
                limiter = RateLimitMiddleware(plain, limiter.policy, store="memory://", **more)
            with pytest.raises(TypeError, match=part):
                run(ask(limiter))


@pytest.mark.parametrize("identify", [Giving(Identity(user="ana")), Giving(Identity(user="ana")).later])
@pytest.mark.parametrize("leaving", [None, Giving(None), Giving(None).later])
def test_what_may_be_given(identify: Any, leaving: Any) -> None:
    """An Identity, at once or later, by the middleware's identify or, where that leaves it to it, by the policy's."""
    limiter = by_hand(identify)
    if leaving:
        limiter = RateLimitMiddleware(plain, limiter.policy, store="memory://", identify=leaving)
    request = scope_of()

    async def test() -> None:
        start, _ = await ask(limiter, scope=request)
        assert start["status"] == 200
        assert request["ratelimit.identity"].user == "ana"

    run(test())


def test_of_a_subclass() -> None:
    """An Identity of a class of the app's own is taken for what it says."""

    class Mine(Identity):
        pass

    limiter = limited(plain, identify=lambda _: Mine(user="ana", tier="basic"))
    request = scope_of()
    run(ask(limiter, scope=request))
    assert type(request["ratelimit.identity"]) is Identity
    assert request["ratelimit.identity"] == Identity(user="ana", ip="192.0.2.7", tier="basic")


def test_an_enum_is_its_text() -> None:
    """An operation that is an Enum of texts is counted by the limits that list its text."""
    limits = '{ name = "searches", rate = "1/minute", operations = ["search"] }'
    limiter = RateLimitMiddleware(
        plain, policy(limits), store=MemoryStore(clock=lambda: T), classify=lambda _: Kind.SEARCH
    )

    async def test() -> None:
        assert [(await ask(limiter))[0]["status"] for _ in range(2)] == [200, 429]

    run(test())


def test_what_the_policys_own_gives_may_be_handed_on() -> None:
    """A classify that asks the policy's own, also later, hands on that a request may be read in several ways."""
    made = policy('{ name = "requests", rate = "9/minute", cost = { heavy_write = 5 } }', HEAVY)

    async def later(scope: Any) -> Any:
        return made.classify(scope)

    async def test() -> None:
        for classify in (None, made.classify, later):
            limiter = RateLimitMiddleware(plain, made, store=MemoryStore(clock=lambda: T), classify=classify)
            request = scope_of("/x/../v2/invoices", "POST")
            await ask(limiter, scope=request)
            assert request["ratelimit"].states[0].used == 5

    run(test())


@pytest.mark.parametrize("classify", [lambda _: None, Giving(None).later])
def test_none_is_exempt(classify: Any) -> None:
    """None from classify exempts a request from every limit: nobody is asked for, nothing is charged."""
    limiter = limited(plain, '{ name = "closed", rate = "0/minute" }', classify=classify)
    request = scope_of()

    async def test() -> None:
        assert (await ask(limiter, scope=request))[0]["status"] == 200
        assert "ratelimit" not in request

    run(test())
