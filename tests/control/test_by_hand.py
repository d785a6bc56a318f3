"""What an app charges and gives back by hand."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ratelimit import Charge, Decision, Identity, Limit, Rate, RateLimitMiddleware, parse_policy
from ratelimit.control.control import Control, OfExempt, control_of
from ratelimit.model import Readings
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import T, ask, header, plain, policy, scope_of
from tests.control import ADDRESS, TEXT, Away, app, limiter, run, status, used

ITEM: dict[str, Any] = {"path": "/items/7", "api_key": None}


def test_left() -> None:
    """What is left of the limits of the decision, and of what was charged by hand since."""

    async def handle(control: Control, send: Any) -> None:
        assert control.left() == {"requests": 59}
        await control.charge(30, limit="rows")
        assert control.left() == {"requests": 59, "rows": 70}
        await control.charge(100, limit="rows")
        assert control.left() == {"requests": 59, "rows": 0}
        await control.refund()
        assert control.left() == {"requests": 60, "rows": 0}

    async def test() -> None:
        limited = limiter(app(handle))
        assert status(await ask(limited, **ITEM)) == 200
        assert await used(limited, "requests", "rows") == {"requests": 0, "rows": 130}

    run(test())


def test_charge_above_the_max() -> None:
    """What was used counts above the max, and the next request that needs the limit pays for it."""

    async def handle(control: Control, send: Any) -> None:
        await control.charge(101, limit="rows")

    async def test() -> None:
        limited = limiter(app(handle))
        assert status(await ask(limited, **ITEM)) == 200
        assert status(await ask(limited, path="/export", api_key=None)) == 429
        assert status(await ask(limited, **ITEM)) == 200

    run(test())


def test_several_limits() -> None:
    """Several are charged in one step, of whatever operations they are, and their `cost` does not multiply."""

    async def handle(control: Control, send: Any) -> None:
        await control.charge(7, limit=("tokens", "daily tokens", "requests"))

    async def test() -> None:
        store = Away(lambda: T)
        limited = limiter(app(handle), TEXT.replace('rate = "60/minute" }', 'rate = "60/minute", cost = 5 }'), store)
        await ask(limited, **ITEM)
        assert store.asked.count("charge") == 1
        assert await used(limited) == {"requests": 12, "tokens": 7, "daily tokens": 7, "rows": 0}

    run(test())


def test_the_same_charges_again() -> None:
    """For the same caller it is the same tuple, by which a store knows what it has prepared."""

    async def test() -> None:
        limited = limiter(plain)
        made, identity = limited.policy, Identity(user="ana", tier="anonymous")
        assert made.named(identity, ("rows",)) is not made.named(identity, ("tokens",))
        again = made.named(identity, ("rows",))
        assert made.named(identity, ("rows",)) is again
        assert made.named(Identity(user="ana", tier="anonymous"), ("rows",)) is again
        assert [charge.cost for charge in again] == [1]
        long = Identity(user="x" * 2_000, tier="anonymous")
        assert made.named(long, ("rows",)) == made.named(long, ("rows",))
        assert made.named(long, ("rows",)) is not made.named(long, ("rows",))
        listed = Identity(user="ana", tier="anonymous")
        listed = Identity.of_checked((*listed[:-1], {"of": ["a list"]}))
        assert made.named(listed, ("rows",)) == again
        assert made.named(listed, ("rows",)) is not made.named(listed, ("rows",))

    run(test())


def test_an_unknown_name() -> None:
    """It raises with the names that there are, the near one first, and nothing is charged."""
    raised: list[str] = []

    async def handle(control: Control, send: Any) -> None:
        for name in ("row", "zzz"):
            for verb in (control.charge, control.hold):
                with pytest.raises(LookupError) as error:
                    await verb(1, limit=name)  # type: ignore[misc]
                raised.append(str(error.value))

    async def test() -> None:
        limited = limiter(app(handle))
        assert status(await ask(limited, **ITEM)) == 200
        names = '"requests", "tokens", "daily tokens", "rows"'
        assert raised[0] == raised[1] == f'there is no limit "row"; did you mean "rows"? This caller has {names}'
        assert raised[2] == raised[3] == f'there is no limit "zzz"; this caller has {names}'
        assert await used(limited, "rows") == {"rows": 0}

    run(test())


def test_a_caller_without_limits() -> None:
    """It is said that there is none to charge."""

    async def handle(control: Control, send: Any) -> None:
        with pytest.raises(LookupError, match=r'^there is no limit "rows": this caller has none$'):
            await control.charge(1, limit="rows")

    run(_asked(limiter(app(handle), "[tiers.anonymous]\nlimits = []")))


async def _asked(limited: Any, **request: Any) -> None:
    assert status(await ask(limited, **(request or ITEM))) == 200


def test_a_limit_of_the_decision_alone() -> None:
    """A limit that the request was charged to is found by its name, also where the caller's tier does not have it; the
    charges of the same are the same tuple."""
    declared = Limit("exports", Rate(60_000), lambda _: 5, cost=3)
    seen: list[Any] = []

    async def handle(control: Control, send: Any) -> None:
        states = control.decision.states
        key = states[0].charge.key.replace("requests", "exports")
        control.decision.states = (*states, states[0]._replace(charge=_charge(declared, key), max=5))
        await control.charge(2, limit="exports")
        await control.charge(1, limit=("exports", "rows"))
        seen.append(control.charges("exports"))
        assert control.charges("exports") is seen[0]
        assert control.left()["exports"] == 2
        with pytest.raises(LookupError, match=r'did you mean "exports"'):
            await control.charge(1, limit="export")

    async def test() -> None:
        limited = limiter(app(handle), TEXT.replace("tokens", "x"), _Plain(lambda: T))
        await _asked(limited)
        assert [charge.cost for charge in seen[0]] == [1]

    run(test())


class _Plain(MemoryStore):
    """Decisions with states that a test may add to."""

    async def acquire(self, charges: Any) -> Any:
        decision = await super().acquire(charges)
        return Decision(decision.allowed, decision.now_ms, decision.states)


def _charge(limit: Limit, key: str) -> Any:
    return Charge(limit, key, 3, ((2**53 - 1, 5),))


def test_a_limit_that_is_off() -> None:
    """It has its name, and nothing is counted."""

    async def handle(control: Control, send: Any) -> None:
        await control.charge(5, limit="rows")
        async with control.hold(5, limit="tokens") as held:
            assert held.allowed
            assert held.retry_after == 0
            held.settle(3)
        assert control.left() == {"requests": 59}

    async def test() -> None:
        text = TEXT.replace('"100/day"', '"100/day", mode = "off"').replace(
            '"1000/minute"', '"1000/minute", mode = "off"'
        )
        store = Away(lambda: T)
        await _asked(limiter(app(handle), text, store))
        assert {"hold", "settle"}.isdisjoint(store.asked)

    run(test())


def test_shadow() -> None:
    """A limit in shadow is not told."""

    async def handle(control: Control, send: Any) -> None:
        await control.charge(5, limit="rows")
        assert control.left() == {"requests": 59}

    run(_asked(limiter(app(handle), TEXT.replace('"100/day"', '"100/day", mode = "shadow"'))))


@pytest.mark.parametrize(("units", "left"), [(None, 0), (5, 0), (9, 0), (2, 3), (0, 5)])
def test_refund(units: int | None, left: int) -> None:
    """So many units of what the request took go back, or all of it, and never more than that; a slot is no unit."""

    async def handle(control: Control, send: Any) -> None:
        await control.refund(units)
        assert control.left() == {"requests": 60 - left, "at once": 2}

    async def test() -> None:
        text = TEXT.replace(
            'rate = "60/minute" }', 'rate = "60/minute", cost = 5 }, { name = "at once", concurrency = 3 }'
        )
        limited = limiter(app(handle), text)
        await _asked(limited)
        assert await used(limited, "requests") == {"requests": left}

    run(test())


def test_a_second_refund() -> None:
    """It raises, and gives nothing back."""

    async def handle(control: Control, send: Any) -> None:
        with pytest.raises(ValueError, match=r"^refund: units: -1 is too small; the least is 0$"):
            await control.refund(-1)
        await control.refund(0)
        with pytest.raises(RuntimeError, match=r"^refund: what this request took was given back already"):
            await control.refund()

    async def test() -> None:
        limited = limiter(app(handle))
        await _asked(limited)
        assert await used(limited, "requests") == {"requests": 1}

    run(test())


def test_without_the_store(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is raised into the app, and the log says what is not counted and what stays counted, at most once a
    second."""
    store = Away(lambda: T)

    async def handle(control: Control, send: Any) -> None:
        store.away = {"charge", "refund"}
        for _ in range(3):
            await control.charge(5, limit="rows")
        await control.refund()
        assert "rows" not in control.left()

    run(_asked(limiter(app(handle), store=store)))
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "charge of rows: what was used is not counted: gone",
        "refund of requests: what was to be given back stays counted: gone",
    ]


def test_let_through_without_the_store() -> None:
    """What was let through uncounted has nothing left to tell, and nothing goes back of it."""
    store = Away(lambda: T)
    store.away = {"acquire"}

    async def handle(control: Control, send: Any) -> None:
        assert control.left() == {}
        await control.refund()

    run(_asked(limiter(app(handle), store=store)))
    assert store.asked == ["acquire"]


class _Own:
    """A store as somebody has made it before there were units."""

    async def acquire(self, charges: Any) -> Any:
        return Decision(True, T)


def test_a_store_without_these_verbs() -> None:
    """It is said which one is missing and what to give."""

    async def handle(control: Control, send: Any) -> None:
        with pytest.raises(
            TypeError, match=r"^charge: the store is a tests.control.test_by_hand._Own, which has no such"
        ):
            await control.charge(1, limit="requests")
        with pytest.raises(TypeError, match=r"^refund: the store is a"):
            await control.refund()

    store: Any = _Own()
    run(_asked(limiter(app(handle), '[tiers.anonymous]\nlimits = [{ name = "requests", rate = "6/minute" }]', store)))


def test_exempt() -> None:
    """A request that is exempt has a control without limits: nothing is left, nothing goes back, and every name is
    unknown."""

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        control = control_of(scope)
        assert isinstance(control, OfExempt)
        assert control.left() == {}
        await control.refund()
        with pytest.raises(LookupError, match=r"^there is no limit 'rows': this request is exempt from every limit$"):
            await control.charge(1, limit="rows")
        with pytest.raises(LookupError):
            control.hold(1, limit="rows")
        await plain(scope, receive, send)

    run(_asked(limiter(handle), path="/health", api_key=None))


@pytest.mark.parametrize(("kind", "what"), [("http", "request"), ("websocket", "WebSocket")])
def test_no_limiter(kind: str, what: str) -> None:
    """Where no limiter saw it, that is said, with what to do."""
    with pytest.raises(RuntimeError, match=rf"^no limiter saw this {what}, .*app.add_middleware"):
        control_of({**scope_of(), "type": kind})


def test_an_inner_policy() -> None:
    """By hand it charges the counters that its requests are charged to: its own where both policies have the name."""
    made = policy()
    left: list[dict[str, int]] = []

    async def handle(control: Control, send: Any) -> None:
        await control.charge(1, limit="requests")
        left.append(control.left())
        assert control.charges("requests")[0].key.endswith("@2")

    async def test() -> None:
        store = MemoryStore(clock=lambda: T)
        text = '[tiers.anonymous]\nlimits = []\n[tiers.basic]\nlimits = [{ name = "requests", rate = "3/minute" }]'
        inner = RateLimitMiddleware(app(handle), parse_policy(text, "inner"), store=store, identify=made.identify)
        outer = RateLimitMiddleware(inner, made, store=store)
        seen = [status(await ask(outer)) for _ in range(3)]
        assert seen == [200, 200, 429]
        assert left == [{"requests": 1}, {"requests": 0}]

    run(test())


def test_headers_are_of_the_decision() -> None:
    """Where nothing of the policy is known late, headers tell the decision."""

    async def handle(control: Control, send: Any) -> None:
        await control.charge(10, limit="requests")

    async def test() -> None:
        text = TEXT.replace(", hold = true", "").replace('"lendworks"', '"lightspeed"')
        start, _ = await ask(limiter(app(handle), text), **ITEM)
        assert header(start, "x-ratelimit-remaining") == "59"

    run(test())


def test_readings() -> None:
    """A request that can be read in several ways has one control."""

    async def handle(control: Control, send: Any) -> None:
        await control.charge(10, limit="requests")

    async def test() -> None:
        limited = limiter(app(handle), classify=lambda _: Readings(("search", "create")))
        await _asked(limited)
        assert await used(limited, "requests", identity=ADDRESS) == {"requests": 11}

    run(test())
