"""What is kept of callers between their requests, and what of it is sent."""

from __future__ import annotations

import asyncio
import gc

import pytest

from ratelimit.ground import memo
from ratelimit.stores.batching.callers import Caller
from tests import servers
from tests.stores import Subject, quota, rate, router_of
from tests.stores.wires import WARM, never_paused, spy


@pytest.fixture(params=["valkey", "redis"])
def subject(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Subject:
    never_paused(monkeypatch)
    server: servers.Server = request.getfixturevalue(request.param)
    return Subject(server.name, server.unix_url)


def test_what_is_static_is_sent_once(subject: Subject) -> None:
    """The limits that callers have in common are in a call once; where attributes make another max, once for each."""
    maxes = [54_321] * 60 + [65_432] * 3 + [76_543]

    async def test() -> None:
        await subject.store.acquire(WARM)
        calls = spy(subject.store)
        callers = [(rate(maximum, 60_000, key=f"r{c}"), quota(98_765, key="q")) for c, maximum in enumerate(maxes)]
        decisions = await asyncio.gather(*map(subject.store.acquire, callers))
        *first, last = calls
        assert [last.count(b"%d" % number) for number in (54_321, 65_432, 76_543, 98_765)] == [1, 1, 1, 3]
        assert [[call.count(b"%d" % number) for number in (54_321, 98_765)] for call in first] == [[1, 1]] * 2
        assert [d.states[0].max for d in decisions] == maxes

    subject.run(test())


def test_callers_do_not_pile_up(subject: Subject) -> None:
    """Of many callers that never come again, a bounded number is kept, and who comes all the time stays among them."""
    regular = (rate(99, 60_000, key="regular"),)

    def kept() -> int:
        gc.collect()
        return sum(isinstance(it, Caller) for it in gc.get_objects())

    async def test() -> None:
        before = kept()
        await subject.store.acquire(WARM)
        callers = router_of(subject.store).callers
        assert callers.recent._size == memo.SIZE
        callers.recent = memo.Recent(256)
        await subject.store.acquire(regular)
        known = callers.of(regular)
        for some in range(0, 2 * 256 + 64, 64):
            strangers = [(rate(9, 60_000, key=f"r{some + c}"),) for c in range(64)]
            await asyncio.gather(*map(subject.store.acquire, [regular, *strangers]))
        assert 256 <= kept() - before <= 2 * 256
        assert callers.of(regular) is known

    subject.run(test())


def test_a_list_is_what_it_holds(subject: Subject) -> None:
    """A list of charges that is changed between two requests is decided by what it holds at each."""

    async def test() -> None:
        charges = [rate(0, 60_000, key="none")]
        assert not (await subject.store.acquire(charges)).allowed
        charges[:] = [rate(9, 60_000, key="some"), quota(9, key="q")]
        decision = await subject.store.acquire(charges)
        assert decision.allowed
        assert [state.charge for state in decision.states] == charges
        charges.pop()
        assert [state.used for state in (await subject.store.acquire(charges)).states] == [2]
        assert (await subject.store.acquire([])).states == ()

    subject.run(test())
