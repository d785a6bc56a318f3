"""Holders of unknown numbers of units, of which some die: no window is above its max but by what nobody could know."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from ratelimit.model import Charge, Hold
from ratelimit.stores.counting.window import Window
from tests.stores import Subject, quota, rate
from tests.stores.conftest import lasting_subject_of
from tests.stores.steps import index

pytestmark = [pytest.mark.repeated, pytest.mark.usefixtures("lasting_memory")]

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
DAY = 86_400_000
LEASE = 5_000
HOLDERS = 8


@dataclass
class Use:
    """What was counted at one instant, and of it what was used: None while that is not known."""

    at_ms: int
    held: int
    used: int | None = None

    @property
    def units(self) -> int:
        return self.held if self.used is None else min(self.used, self.held)


@dataclass
class World:
    """A log of every unit. A holder that dies has used nothing: what it held is back a lease after its last renewal."""

    subject: Subject
    limit: Charge
    maximum: int
    dice: random.Random
    admitted: list[Use] = field(default_factory=list)
    above: list[Use] = field(default_factory=list)  # what settle had to count above what was held, and late
    dead: list[tuple[Use, int]] = field(default_factory=list)  # and when its units are back
    denials: int = 0

    def units(self, begin: int, end: int) -> int:
        """By the log, in an interval that `begin` is not in."""
        return sum(use.units for use in (*self.admitted, *self.above) if begin < use.at_ms <= end)

    def begins(self, now: int) -> int:
        kind = self.limit.limit.kind
        return now - kind.window_ms if hasattr(kind, "window_ms") else now - now % DAY - 1

    async def run(self, steps: int) -> None:
        queue = [(T + n, n, None) for n in range(HOLDERS)]
        numbers = count(HOLDERS)
        for _ in range(steps):
            now, _, step = heapq.heappop(queue)
            self.subject.at(now)
            for use, back in self.dead:
                if now >= back and use.used is None:
                    use.used = 0
            following = await (step(now) if step else self.holds(now))
            heapq.heappush(queue, (now + following[0], next(numbers), following[1]))
        self.now = now

    async def holds(self, now: int) -> tuple[int, object]:
        dice = self.dice
        asked = dice.choice([1, 2, 3, 5, self.maximum // 2])
        before = self.units(self.begins(now), now)
        decision = await self.subject.store.hold([self.limit], asked, LEASE)
        if not decision.allowed:
            self.denials += 1
            return dice.choice([1, 500, decision.denying.retry_after_ms or 1]), None
        assert before + asked <= self.maximum  # the excess of others is paid by who comes next
        use = Use(now, asked)
        self.admitted.append(use)
        if dice.random() < 0.1:  # kill -9
            self.dead.append((use, now + LEASE))
            return dice.choice([1, 5_000]), None
        used = dice.choice([0, asked // 2, asked, asked, asked + 1, 2 * asked])
        return self.works(decision.hold, use, used, now, dice.choice([0, 100, 3_000, 12_000, 70_000]))

    def works(self, hold: Hold, use: Use, used: int, now: int, rest: int) -> tuple[int, object]:
        wait = min(rest, LEASE // 2)

        async def step(later: int) -> tuple[int, object]:
            if rest > wait:
                if self.dice.random() < 0.02:  # dies in the middle
                    self.dead.append((use, later - wait + LEASE))
                    return 1, None
                if self.dice.random() < 0.02:  # stands still for longer than its lease
                    return self.late(hold, use, used, wait)
                assert await self.subject.store.renew([hold.lease]) == []
                return self.works(hold, use, used, later, rest - wait)
            await self.settle(hold, use, used, later)
            return self.dice.choice([1, 100, 3_000]), None

        return wait, step

    def late(self, hold: Hold, use: Use, used: int, waited: int) -> tuple[int, object]:
        self.dead.append((use, self.subject.now_ms - waited + LEASE))

        async def step(later: int) -> tuple[int, object]:
            await self.subject.acquire(self.limit_of_nothing())  # what is over has gone back
            for _ in range(2):
                await self.subject.store.settle(hold, used)
            self.above.append(Use(later, used, used))
            return 1, None

        return 2 * LEASE, step

    async def settle(self, hold: Hold, use: Use, used: int, now: int) -> None:
        for _ in range(self.dice.choice([1, 1, 2])):  # also one that is sent again
            await self.subject.store.settle(hold, used)
        use.used = used
        if used > use.held:
            self.above.append(Use(now, used - use.held, used - use.held))

    def limit_of_nothing(self) -> Charge:
        return Charge(self.limit.limit, self.limit.key, 0, self.limit.maxes)


ON = [("memory", 0), ("memory", 1), ("valkey", 0)]
PROOFS = [*[("memory", seed) for seed in range(2, 20)], *[("valkey", n) for n in (1, 2)], ("redis", 3), ("redis", 4)]


@pytest.mark.parametrize(("name", "seed"), [*ON, *[pytest.param(*one, marks=pytest.mark.proof) for one in PROOFS]])
@pytest.mark.parametrize("kind", ["rate", "long rate", "quota"])
def test_never_above_but_by_what_was_not_known(kind: str, name: str, seed: int, request: pytest.FixtureRequest) -> None:
    """Eight holders that settle fewer, equal or more, some twice, some after their lease, some never: by a log of every
    unit nobody is admitted above the max, also where others used more than they held; what the dead held is back within
    a lease; and in the end the sum is that of the log."""
    subject = lasting_subject_of(name, request)
    make = {"rate": lambda n: rate(n, 10_000, 20, hold=True), "long rate": lambda n: rate(n, 60_000, hold=True)}
    limit = make.get(kind, lambda n: quota(n, "day", hold=True))(200 if kind == "quota" else 20)
    maximum = limit.maxes[-1][1]
    world = World(subject, limit, maximum, random.Random(seed))

    async def test() -> None:
        await world.run(1_500)
        assert min(len(world.admitted), world.denials) > 50
        assert min(len(world.above), len(world.dead)) > 10
        end = world.now + LEASE  # by then whoever still works has not renewed for a lease
        for use in world.admitted:
            use.used = use.used or 0
        lasts = getattr(limit.limit.kind, "precision", 0)
        counted = [
            use for use in (*world.admitted, *world.above) if index(limit, use.at_ms) >= index(limit, end) - lasts
        ]
        assert (await subject.at(end).store.peek([limit], 0)).states[0].used == sum(use.units for use in counted)

    subject.run(test())


@pytest.mark.parametrize(
    "broken",
    [
        lambda window, units, at, _: None,  # nothing goes back
        lambda window, units, at, _: setattr(window, "total", max(0, window.total - units)),  # to whatever is there
    ],
)
def test_the_log_notices(broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that gives back nothing, or what is somebody else's, is found."""
    monkeypatch.setattr(Window, "give_back", broken)
    with pytest.raises(AssertionError):
        test_never_above_but_by_what_was_not_known("rate", "memory", 0, None)  # type: ignore[arg-type]
