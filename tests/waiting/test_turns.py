"""Instead of a 429 at once: who waits, in which order, for how long, and when the store is asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from ratelimit import Identity, Policy, RateLimitMiddleware, StoreUnavailable
from ratelimit.model import Charge, Decision
from ratelimit.policy import Wait
from tests.acceptance import ANA, BEN, plain, policy
from tests.waiting import EMPTY, ONE_A_SECOND, Asked, Street, stepped

TWO_SECONDS = '{ up_to = "2s", queue = 100 }'
BOTH = ONE_A_SECOND + ', { name = "slots", concurrency = 1 }'


def test_a_short_wait_is_waited() -> None:
    """The caller gets its answer when a unit is free, and no 429."""

    async def test() -> None:
        street = Street(TWO_SECONDS)
        for _ in range(2):
            street.call()
        assert await street.answers() == [(200, 0), (200, 2_000)]
        assert street.store.asked == [0, 0, 2_000]

    stepped(test)


def test_a_long_wait_is_told_at_once() -> None:
    """Where the wait is longer than the tier says, it is a 429 as ever; and of a tier without `wait`."""

    async def test() -> None:
        street = Street('{ up_to = "1999ms" }')
        for _ in range(2):
            street.call()
        assert await street.answers() == [(200, 0), (429, 0)]
        assert street.calls[1].retry_after == "2"
        for _ in range(1_001):
            street.call(api_key="")
        assert [status for status, _ in (await street.answers())[-2:]] == [200, 429]

    stepped(test)


def test_in_the_order_of_arrival() -> None:
    """Each of a caller's in its turn, and the total of a wait is never above what the tier says: then it is a 429 whose
    Retry-After is true. The store is asked when a unit can be free, and by the next one for when that is."""

    async def test() -> None:
        street = Street('{ up_to = "4500ms" }')
        for _ in range(4):
            street.call()
        assert await street.answers() == [(200, 0), (200, 2_000), (200, 4_000), (429, 4_000)]
        assert street.calls[3].retry_after == "2"
        # one admitted, one denied, the others behind it; at each turn the first is admitted, the next told when it is
        assert street.store.asked == [0, 0, 2_000, 2_000, 4_000, 4_000]

    stepped(test)


def test_who_comes_later_goes_behind() -> None:
    """Also at the very instant at which a unit is free, and the store is not asked for who can't be first."""

    async def test() -> None:
        street = Street('{ up_to = "3s" }')
        for _ in range(2):
            street.call()
        await asyncio.sleep(1.5)
        street.call()
        await asyncio.sleep(0.4999)
        late = street.call()
        assert await street.answers() == [(200, 0), (200, 2_000), (200, 4_000), (429, 4_000)]
        assert street.store.asked == [0, 0, 2_000, 2_000, 4_000, 4_000]
        assert late.retry_after == "2"

    stepped(test)


def test_callers_are_apart() -> None:
    """Nobody waits behind another caller, nor behind what is under other limits."""
    limits = ONE_A_SECOND + ', { name = "searches", rate = "1/minute", operations = ["search"] }'

    async def test() -> None:
        street = Street(TWO_SECONDS, limits)
        for key, path in ((ANA, "/7"), (ANA, "/7"), (BEN, "/7"), (BEN, "/"), (BEN, "/")):
            street.call(key, path=path)
        assert await street.answers() == [(200, 0), (200, 2_000), (200, 0), (200, 2_000), (429, 2_000)]

    stepped(test)


def test_the_share_of_a_small_queue() -> None:
    """One place is a caller's at least, and no more of nine."""

    async def test() -> None:
        street = Street('{ up_to = "4s", queue = 9 }')
        for _ in range(3):
            street.call()
        assert await street.answers() == [(200, 0), (200, 2_000), (429, 0)]

    stepped(test)


def test_the_share_of_a_caller() -> None:
    """A tenth of the places of a tier; who finds none is denied at once, while others wait."""

    async def test() -> None:
        street = Street('{ up_to = "4s", queue = 20 }')
        for key in (ANA, ANA, ANA, ANA, BEN, BEN):
            street.call(key)
        answers = [(200, 0), (200, 2_000), (200, 4_000), (429, 0), (200, 0), (200, 2_000)]
        assert await street.answers() == answers

    stepped(test)


def test_the_queue_of_a_tier() -> None:
    """Whoever finds it full is denied at once; one place is a caller's at least, and a place that is left is free."""

    async def test() -> None:
        street = Street('{ up_to = "2s", queue = 1 }')
        for key in (ANA, ANA, BEN, BEN):
            street.call(key)
        assert await street.answers() == [(200, 0), (200, 2_000), (200, 0), (429, 0)]
        for _ in range(2):
            street.call(BEN)
        assert (await street.answers())[4:] == [(200, 2_000), (200, 4_000)]

    stepped(test)


@pytest.mark.parametrize(
    ("limits", "answers"),
    [
        (BOTH, [(200, 30_000), (429, 0), (429, 0)]),
        (BOTH.replace("1/", "2/"), [(200, 30_000), (429, 0), (429, 0)]),
        (BOTH.replace("concurrency = 1", "concurrency = 2"), [(200, 30_000), (200, 32_000), (429, 2_000)]),
    ],
)
def test_slots_are_not_waited_for(limits: str, answers: list[tuple[int, int]]) -> None:
    """A slot frees when another request ends, which nobody knows: its denial is told at once, also where a rate denies
    too, and to who stood in line."""

    async def test() -> None:
        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(30)
            await plain(scope, receive, send)

        street = Street('{ up_to = "3s" }', limits, slow)
        for _ in range(3):
            street.call()
        assert await street.answers() == answers

    stepped(test)


def test_what_can_never_pass_does_not_wait() -> None:
    """It is told so at once, also where others stand in line."""
    limits = '{ name = "requests", rate = "3/second", precision = 1, cost = { write = 3, create = 2 } }'

    async def test() -> None:
        street = Street(TWO_SECONDS, limits, more='[operations]\nwrite = ["GET /w"]\ncreate = ["GET /c"]')
        (limit,) = street.app.policy.tiers["basic"]
        object.__setattr__(limit, "max", lambda _: 2)  # as of a formula
        for path in ("/w", "/c", "/c", "/w"):
            street.call(path=path)
        assert await street.answers() == [(403, 0), (200, 0), (200, 2_000), (403, 0)]

    stepped(test)


def test_costs_that_differ() -> None:
    """A small request does not pass a large one of the same limits, and each is told the wait that is true for it."""
    limits = '{ name = "requests", rate = "2/second", precision = 2, cost = { create = 2 } }'

    async def test() -> None:
        street = Street('{ up_to = "1600ms" }', limits, more='[operations]\ncreate = ["GET /c"]')
        street.call()
        await asyncio.sleep(0.5)
        street.call()
        assert await street.answers() == [(200, 0), (200, 500)]
        for path in ("/c", "/7", "/7", "/c"):
            street.call(path=path)
        # the two of before are free at 1.5 s and at 2 s; the first two units go to the large one
        assert (await street.answers())[2:] == [(200, 2_000), (429, 2_000), (429, 2_000), (429, 2_000)]

    stepped(test)


def test_who_can_only_fail_is_told_before() -> None:
    """When it is known that a turn comes too late, nobody waits for that."""
    limits = '{ name = "requests", rate = "1/second", precision = 1 }, { name = "more", rate = "2/10 seconds" }'

    async def test() -> None:
        street = Street('{ up_to = "5s" }', limits)
        for _ in range(4):
            street.call()
        assert await street.answers() == [(200, 0), (200, 2_000), (429, 2_000), (429, 2_000)]
        assert [call.retry_after for call in street.calls[2:]] == ["9", "9"]
        assert street.store.asked == [0, 0, 2_000, 2_000]

    stepped(test)


def test_others_may_take_the_unit() -> None:
    """Another process may be first: then the first of the line waits for the next one, within its time."""

    async def test() -> None:
        street = Street('{ up_to = "4s" }')
        first, second = street.call(), street.call()
        await first.task
        (charge,) = street.app.policy.charges(Identity(user="ana", tier="basic"), "detail_read")

        async def takes(at: float) -> None:
            await asyncio.sleep(at)
            await street.store.charge([charge])

        task = asyncio.get_running_loop().create_task(takes(1.9995))
        await second.task
        await task
        assert (second.status, second.at_ms, second.retry_after) == (200, 4_000, None)
        assert street.store.asked == [0, 0, 2_000, 4_000]

    stepped(test)


def test_cancelled_in_line() -> None:
    """Who is cancelled leaves the line and is charged nothing; the next one moves up, and asks no earlier."""

    async def test() -> None:
        street = Street('{ up_to = "3s" }')
        for _ in range(4):
            street.call()
        await asyncio.sleep(1)
        street.calls[1].task.cancel()
        await asyncio.sleep(0.5)
        street.calls[2].task.cancel()
        assert await street.answers() == [(200, 0), (0, -1), (0, -1), (200, 2_000)]
        assert street.store.asked == [0, 0, 2_000]
        assert street.calls[1].task.cancelled()
        street.call()
        await asyncio.sleep(0)
        street.calls[-1].task.cancel()
        await street.answers()
        (here,) = street.app._turns._here.values()
        assert (here.lines, here.waiting) == ({}, {})

    stepped(test)


class Failing(Asked):
    """A store that goes away after a second."""

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        if self.now_ms() > 1_000:
            raise StoreUnavailable("it is gone")
        return await super().acquire(charges)


@pytest.mark.parametrize(("on_failure", "status"), [("allow", 200), ("deny", 503)])
def test_the_store_goes_away(on_failure: str, status: int) -> None:
    """Who waits then gets what `on_failure` says."""

    async def test() -> None:
        street = Street(TWO_SECONDS, store=Failing(), more=f'[store]\non_failure = "{on_failure}"')
        for _ in range(3):
            street.call()
        assert await street.answers() == [(200, 0), (status, 2_000), (status, 2_000)]

    stepped(test)


def test_what_goes_back_by_its_status() -> None:
    """A limit that counts by the outcome is waited for like any other, and what waited gives back as ever. A denial of
    units that may come back is still told as one."""
    limits = ONE_A_SECOND.replace(" }", ', refund_on = ["5xx"] }')

    async def test() -> None:
        async def failing(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(0.1)
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        street = Street(TWO_SECONDS, limits, failing)
        for _ in range(2):
            street.call()
        assert await street.answers() == [(500, 100), (500, 2_100)]
        (state,) = (await street.store.peek(street.app.policy.charges(ana(), "detail_read"), 0)).states
        assert state.used == 0
        short = Street('{ up_to = "1s" }', limits, failing)
        for _ in range(2):
            short.call()
        assert await short.answers() == [(500, 2_200), (429, 2_100)]
        assert short.calls[1].retry_after == "1"

    stepped(test)


def ana() -> Identity:
    return Identity(user="ana", tier="basic")


def test_the_app_raises() -> None:
    """Its error is its own, whoever waited for its turn."""

    async def test() -> None:
        async def broken(scope: Any, receive: Any, send: Any) -> None:
            raise KeyError("mine")

        street = Street(TWO_SECONDS, app=broken)
        for _ in range(2):
            street.call()
        await street.answers()
        assert [type(call.task.exception()) for call in street.calls] == [KeyError, KeyError]

    stepped(test)


def test_shutdown() -> None:
    """Who waits when the server ends is denied at once; one that begins again has those who wait anew."""

    async def test() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                return await plain(scope, receive, send)
            for name in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{name}"
                await send({"type": f"lifespan.{name}.complete"})
            return None

        async def send(_: Any) -> None:
            pass

        street = Street(TWO_SECONDS, app=app)
        for _ in range(2):
            messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

            async def receive(left: list[Any] = messages) -> Any:
                await asyncio.sleep(0.5)
                return left.pop(0)

            for _ in range(3):
                street.call()
            await street.app({"type": "lifespan"}, receive, send)
            await street.answers()
            await asyncio.sleep(2)
        answers = await street.answers()
        assert answers == [(200, 0), (429, 1_000), (429, 1_000), (200, 3_000), (429, 4_000), (429, 4_000)]
        with pytest.raises(AssertionError):
            await street.app({"type": "lifespan"}, receive_of({"type": "lifespan.shutdown"}), send)

    stepped(test)


def receive_of(message: Any) -> Any:
    async def receive() -> Any:
        return message

    return receive


@pytest.mark.parametrize("seed", range(20))
def test_strict(seed: int) -> None:
    """Whoever comes when: no window has more than the max, nobody is answered later than its time, and those of one
    caller who are admitted are so in the order in which they came."""
    dice = random.Random(seed)

    async def test() -> None:
        street = Street('{ up_to = "900ms", queue = 200 }', '{ name = "requests", rate = "4/second", precision = 10 }')
        came = []
        for _ in range(150):
            await asyncio.sleep(dice.choice([0, 0, 0.001, 0.05, 0.1, 0.3]))
            came.append(street.store.now_ms())
            gone = came[-1] / 1_000 + 0.2
            street.call(received=dice.choice([(EMPTY,), (EMPTY, gone, {"type": "http.disconnect"})]))
        answers = await street.answers()
        admitted = sorted(at for status, at in answers if status == 200)
        assert all(later - at >= 1_000 for at, later in zip(admitted, admitted[4:], strict=False))
        assert all(0 <= at - since <= 900 for (_, at), since in zip(answers, came, strict=True))
        in_order = [at for status, at in answers if status == 200]
        assert in_order == sorted(in_order)
        assert len(admitted) > 30

    stepped(test)


def test_tiers() -> None:
    """A tier that is not there waits as the one that counts in its place; without a tier it is the default one's."""
    made = policy(more="[identity]\ndefault_tier = 'basic'\n")
    waiting = Policy(
        made.tiers, made.identify, made.classify, made.style, made.address, (), "basic", waits={"basic": Wait(2_000)}
    )
    for tier in ("basic", None, "later"):
        assert waiting.wait_of(Identity(user="ana", tier=tier)) == ("basic", Wait(2_000, 100))
    assert waiting.wait_of(Identity(user="ana", tier="anonymous")) == ("anonymous", None)
    with pytest.raises(ValueError, match='waits names "basics", but the policy has only "anonymous", "basic"'):
        Policy(made.tiers, made.identify, made.classify, made.style, made.address, waits={"basics": Wait(1)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0,), "Wait: up_to_ms: 0 is out of range; the shortest wait is 1ms, the longest 60s"),
        ((60_001,), "Wait: up_to_ms: 60001 is out of range; the shortest wait is 1ms, the longest 60s"),
        (("2s",), 'Wait: up_to_ms: "2s" is not a whole number'),
        ((1, 0), "Wait: queue: 0 is too small; the least is 1"),
        ((1, 100_001), "Wait: queue: 100001 is too large; the most is 100000"),
    ],
)
def test_a_wait_by_hand(given: Any, message: str) -> None:
    """What can't be meant is refused where it is made."""
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the whole message is compared
        Wait(*given)
    assert str(refusal.value) == message


def test_without_waits_nothing_is_there() -> None:
    """An app whose policy has no `wait` asks its own store."""
    app = RateLimitMiddleware(plain, policy())
    assert (app._turns, type(app.store).__name__) == (None, "MemoryStore")
