"""The contract of a store, as timelines: what each of the four answers at each instant, to the millisecond."""

from __future__ import annotations

from ratelimit.testing.contract.changes import *  # noqa: F403
from ratelimit.testing.contract.limits import *  # noqa: F403
from ratelimit.testing.contract.slots import *  # noqa: F403
from tests.stores import Subject, concurrency

T = 1_773_136_800_000  # 2026-03-10T10:00:00Z


def test_ids_of_leases(subject: Subject) -> None:
    """Each has 128 random bits."""

    async def test() -> None:
        given = [(await subject.at(T).acquire(concurrency(9))).leases[0].id for _ in range(3)]
        assert len(set(given)) == 3
        assert [len(one.partition("/")[0]) * 4 for one in given] == [128] * 3

    subject.run(test())
