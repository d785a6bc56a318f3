"""The header that tells a client of a limit that is launched: the one place where a shadow shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratelimit.launches.upcoming import WithUpcoming, upcoming, with_upcoming
from ratelimit.model import FOREVER, Charge, Decision, Identity, Launch, Limit, Rate, State
from ratelimit.policy import Policy
from ratelimit.stores.memory import MemoryStore
from ratelimit.styles import Facturapi, Ietf, WithIetfHeaders
from ratelimit.styles.wire import most_of

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
STAGES = ((T + 5_000, False), (T + 9_000, True), (FOREVER, False))
ANA = Identity(user="ana")


def state(used: int, maximum: int = 10, name: str = "requests", stages: Any = STAGES, **fields: Any) -> State:
    limit = Limit(name, Rate(60_000), lambda _: maximum, launch=fields.pop("launch", Launch(warn=0.8)))
    charge = Charge(limit, name, 1, ((FOREVER, maximum),), stages)
    return State(charge, maximum, used, 1_000, 60_000, **{"shadow": True, **fields})


def told(*states: State) -> str:
    headers = upcoming(Decision(True, T, states))
    assert [name for name, _ in headers] in ([], [b"upcoming-ratelimit"])
    return b"".join(value for _, value in headers).decode()


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (state(7), ""),
        (state(8), '"requests";u=80;from=@1772359205'),
        (state(10), '"requests";u=100;from=@1772359205'),
        (state(4, exceeded=True), '"requests";u=100;over;from=@1772359205'),
        (state(0, 0, exceeded=True), '"requests";u=100;over;from=@1772359205'),
        (state(12), '"requests";u=100;from=@1772359205'),
        (state(8, stages=((FOREVER, False),)), '"requests";u=80'),
        (state(8, stages=((T, True), (T + 7, False), (FOREVER, True))), '"requests";u=80;from=@1772359201'),
        (state(8, name='a "b" \\'), '"a \\"b\\" \\\\";u=80;from=@1772359205'),
        (state(8, shadow=False), ""),
        (state(8, launch=Launch()), ""),
        (state(8, launch=None), ""),
    ],
)
def test_what_is_told(one: State, expected: str) -> None:
    """From `warn` of the max on how much is used, whether it would have denied, and from when on it does."""
    assert told(one) == expected


def test_several_are_one_list() -> None:
    """In the order of the tier."""
    assert told(state(9), state(1), state(8, name="b")) == (
        '"requests";u=90;from=@1772359205, "b";u=80;from=@1772359205'
    )


def test_any_style_has_it() -> None:
    """On what is allowed and on a denial by another limit; a 503 and a refusal are the style's own."""
    inner = WithIetfHeaders(Facturapi(max_retry_after=7))
    style = WithUpcoming(inner)
    allowed = Decision(True, T, (state(9),))
    field = (b"upcoming-ratelimit", b'"requests";u=90;from=@1772359205')
    assert style.headers(allowed, ANA, "x") == [*inner.headers(allowed, ANA, "x"), field]
    denied = Decision(False, T, (state(9), state(10, name="b", shadow=False, exceeded=True, retry_after_ms=5)))
    answer, own = style.denied(denied, ANA, "x"), inner.denied(denied, ANA, "x")
    assert (answer.status, answer.headers, answer.body) == (own.status, [*own.headers, field], own.body)
    assert style.unavailable("x") == inner.unavailable("x")
    assert style.refused
    assert style.refused(400, "a", "b", "x") == inner.style.refused(400, "a", "b", "x")
    assert style.log_id_header == inner.log_id_header
    assert most_of(style) == 7


def test_without_states() -> None:
    """What is told is the same where a decision has numbers, and where each limit is looked at."""
    store = MemoryStore(lambda: T)
    charges = (state(0).charge, state(0, name="b", maximum=5).charge, state(0, name="c", launch=None).charge)

    async def test() -> list[bool]:
        told = []
        for _ in range(9):
            decision = await store.acquire(charges)
            same = upcoming(Decision(True, T, decision.states))
            assert upcoming(decision) == same
            told.append(bool(same))
            if decision.numbers:
                assert len(decision.numbers[1].made) == 1
        return told

    assert asyncio.run(test()) == [False] * 3 + [True] * 6


def test_only_who_asks_for_it() -> None:
    """The style of a policy without `warn` is the very same object."""
    nothing: Any = None

    def policy(launch: Launch | None) -> Policy:
        limit = Limit("requests", Rate(60_000), lambda _: 1, launch=launch)
        return Policy({"basic": (limit,)}, nothing, nothing, nothing, nothing)

    style = Ietf()
    assert with_upcoming(style, policy(None)) is style
    assert with_upcoming(style, policy(Launch())) is style
    assert with_upcoming(style, policy(Launch(warn=0.5))) == WithUpcoming(style)
