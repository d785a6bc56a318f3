"""Slots of concurrency: given, renewed, taken again, and free again when nobody renews them. And what comes at once, is
cancelled, or comes after the end."""

from __future__ import annotations

import asyncio

from ratelimit.testing.contract.subject import Subject, T, concurrency, quota, rate

NEVER = None


def test_concurrency(subject: Subject) -> None:
    """No more leases than max at a time; a released one frees its slot at once, a lost one when its lease ends."""
    cap = concurrency(2, lease_ms=10_000)

    async def test() -> None:
        one = await subject.at(T).acquire(cap)
        two = await subject.at(T + 5_000).acquire(cap)
        assert [d.states[0].remaining for d in (one, two)] == [1, 0]
        denied = await subject.acquire(cap)
        assert not denied.allowed
        assert (denied.states[0].retry_after_ms, denied.states[0].reset_after_ms) == (1_000, 10_000)
        await subject.release(*two.leases)
        await subject.release(*two.leases)  # twice is as good as once
        three = await subject.acquire(cap)
        assert three.allowed
        assert not (await subject.at(T + 9_999).acquire(cap)).allowed
        assert (await subject.at(T + 10_000).acquire(cap)).allowed  # one's lease has ended
        assert len({d.leases[0].id for d in (one, two, three)}) == 3
        assert (await subject.at(T + 100_000).acquire(concurrency(0))).states[0].retry_after_ms is NEVER

    subject.run(test())


def test_slots_are_read(subject: Subject) -> None:
    """A peek at a cost of 0 says how many slots are held now, beside what is used of rates: and takes none."""
    cap, limit = concurrency(2, lease_ms=10_000), rate(5, 60_000)
    read = [concurrency(2, lease_ms=10_000, cost=0), limit]

    async def test() -> None:
        one = await subject.at(T).acquire(cap, limit)
        await subject.at(T + 5_000).acquire(cap, limit)
        for _ in range(2):
            seen = await subject.store.peek(read, 0)
            assert [(state.used, state.max, state.exceeded) for state in seen.states] == [(2, 2, False), (2, 5, False)]
        assert (await subject.store.peek(read)).allowed  # nothing of the slots is asked for
        await subject.release(*one.leases)
        assert (await subject.store.peek(read, 0)).states[0].used == 1
        assert (await subject.at(T + 15_000).store.peek(read, 0)).states[0].used == 0

    subject.run(test())


def test_renewal(subject: Subject) -> None:
    """A renewed lease lives on, also an expired one whose slot nobody wanted; one that was dropped is taken again, and
    told where there is no room for it."""
    cap = concurrency(1, lease_ms=10_000)

    async def test() -> None:
        first = await subject.at(T).acquire(cap)
        assert await subject.at(T + 9_000).store.renew(first.leases) == []
        assert not (await subject.at(T + 18_999).acquire(cap)).allowed
        assert await subject.at(T + 30_000).store.renew(first.leases) == []
        assert not (await subject.at(T + 39_999).acquire(cap)).allowed
        second = await subject.at(T + 40_000).acquire(cap)
        assert second.allowed
        assert await subject.store.renew([*first.leases, *second.leases]) == list(first.leases)
        assert await subject.store.renew([*first.leases, *second.leases]) == []  # told once
        state = (await subject.acquire(cap)).states[0]
        assert (state.exceeded, state.used) == (True, 2)
        await subject.release(*second.leases)
        assert not (await subject.acquire(cap)).allowed
        await subject.release(*first.leases)
        assert (await subject.acquire(cap)).allowed

    subject.run(test())


def test_leases_that_are_taken_again(subject: Subject) -> None:
    """Leases that were lost are taken again in one step: with the expired ones of others out of the way, in their
    order, and in a limit of their own each."""
    cap, other = concurrency(3, lease_ms=10_000), concurrency(1, lease_ms=10_000, key="other")

    async def test() -> None:
        ours = [(await subject.at(T).acquire(cap)).leases[0] for _ in range(2)]
        ours += (await subject.acquire(other)).leases
        stopped = (await subject.at(T + 5_000).acquire(cap)).leases[0]
        theirs = [(await subject.at(T + 12_000).acquire(cap)).leases[0] for _ in range(2)]
        assert await subject.at(T + 16_000).store.renew(ours) == [ours[1]]
        assert await subject.store.renew([stopped]) == [stopped]
        assert not (await subject.acquire(cap)).allowed
        assert not (await subject.acquire(other)).allowed
        await subject.release(*theirs, *ours)
        state = (await subject.at(T + 25_999).acquire(cap)).states[0]
        assert state.used == 2
        assert (await subject.at(T + 26_000).acquire(cap)).states[0].used == 2

    subject.run(test())


def test_leases_after_the_clock_went_back(subject: Subject) -> None:
    """A cap that is full of leases far ahead of the clock is free again one lease later."""
    cap = concurrency(1, lease_ms=10_000)

    async def test() -> None:
        assert (await subject.at(T).acquire(cap)).allowed
        assert not (await subject.at(T - 3_600_000).acquire(cap)).allowed
        assert not (await subject.at(T - 3_590_001).acquire(cap)).allowed
        assert (await subject.at(T - 3_590_000).acquire(cap)).allowed

    subject.run(test())


def test_an_edited_lease_does_not_end_those_that_are_held(subject: Subject) -> None:
    """While instances with the old and the new file run side by side, each lease keeps its own length."""
    before, after = concurrency(1, lease_ms=60_000), concurrency(1, lease_ms=10_000)

    async def test() -> None:
        assert (await subject.at(T).acquire(before)).allowed
        for later in (0, 10_000, 59_999):
            assert not (await subject.at(T + later).acquire(after)).allowed
        assert (await subject.at(T + 60_000).acquire(after)).allowed
        assert not (await subject.at(T + 69_999).acquire(before)).allowed
        assert (await subject.at(T + 70_000).acquire(before)).allowed

    subject.run(test())


def test_a_longer_lease_after_the_clock_went_back(subject: Subject) -> None:
    """After the clock went back, a lease lasts its own length, also where the limit's is another one by now."""
    before, after = concurrency(1, lease_ms=60_000), concurrency(1, lease_ms=10_000)

    async def test() -> None:
        back = T - 3_600_000
        assert (await subject.at(T).acquire(before)).allowed
        assert not (await subject.at(back).acquire(after)).allowed
        assert not (await subject.at(back + 59_999).acquire(after)).allowed
        assert (await subject.at(back + 60_000).acquire(after)).allowed

    subject.run(test())


def test_in_parallel(subject: Subject) -> None:
    """Of requests that come at once no more pass than fit: who looks, waits and writes then lets all of them in."""
    limits = rate(10, 60_000), quota(5), concurrency(3)

    async def test() -> None:
        subject.at(T)
        seen = await asyncio.gather(*[subject.acquire(*limits) for _ in range(20)])
        given = [lease.id for decision in seen for lease in decision.leases]
        assert sum(decision.allowed for decision in seen) == len(set(given)) == len(given) == 3
        free = await subject.acquire(rate(10, 60_000, cost=0), quota(5, cost=0))
        assert [state.used for state in free.states] == [3, 3]

    subject.run(test())


def test_a_release_that_is_cancelled(subject: Subject) -> None:
    """It takes effect, also where who releases is cancelled at its first `await`: else the slot is lost for a lease."""
    cap = concurrency(1)

    async def test() -> None:
        taken = await subject.at(T).acquire(cap)
        releasing = asyncio.create_task(subject.release(*taken.leases))
        await asyncio.sleep(0)
        releasing.cancel()
        await asyncio.wait([releasing])
        tries = [(await subject.acquire(cap)).allowed for _ in range(100)]  # it may be on its way
        assert tries.count(True) == 1

    subject.run(test())


def test_closed(subject: Subject) -> None:
    """A store that was closed is used again, and has forgotten nothing."""

    async def test() -> None:
        await subject.at(T).acquire(rate(3, 60_000))
        for used in (2, 3):
            await subject.store.close()
            assert (await subject.acquire(rate(3, 60_000))).states[0].used == used

    subject.run(test())
