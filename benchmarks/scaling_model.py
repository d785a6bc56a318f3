"""What follows from the measurements: costs of shared calls, the busiest of some shards, blocks, a slower network.

Arithmetic and a seeded simulation; no input but the arguments. Times are in seconds, costs in microseconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

SEED = 17
DRAWS = 40  # ways to spread organizations over shards; the number of shards must do for all but one in twenty
HEAVY = 500  # organizations that are placed one by one; the rest, all small, spread evenly
BLOCK_SHARE = 8  # a block is at most this part of what is left


@dataclass(frozen=True, slots=True)
class Cost:
    """Of Redis's one thread: for each decision, and for each call whatever is in it."""

    decision: float
    call: float

    def at(self, shared: float) -> float:
        """Microseconds a decision where so many share a call."""
        return self.decision + self.call / max(1.0, shared)

    def rate(self, shared: float) -> float:
        """Decisions a second that fill a core."""
        return 1e6 / self.at(shared)


def cost(alone: float, together: float, shared: int, spent: float, shared_there: float) -> Cost:
    """From the script's time alone and with `shared` decisions in a call, and the processor time `spent` on a request
    where `shared_there` decisions shared a call: that one has sockets and parsing in it too."""
    of_call = (alone - together) / (1 - 1 / shared)
    decision = alone - of_call
    return Cost(decision, max(of_call, (spent - decision) * shared_there))


def zipf(organizations: int, exponent: float) -> list[float]:
    """Shares of the traffic, the largest first: the n-th is 1 / n ** exponent of the largest."""
    weights = [1 / number**exponent for number in range(1, organizations + 1)]
    total = sum(weights)
    return [weight / total for weight in weights]


def busiest(loads: Sequence[float], shards: int, draws: int = DRAWS) -> float:
    """The load of the busiest shard that all but one in twenty ways to spread the organizations stay under.

    `loads` are in falling order. An organization is on one shard: the hash tag of its keys is its name.
    """
    dice = random.Random(SEED)  # noqa: S311 - the same draws in every run
    rest = sum(loads[HEAVY:]) / shards
    worst = []
    for _ in range(draws):
        placed = [rest] * shards
        for load in loads[:HEAVY]:
            placed[dice.randrange(shards)] += load
        worst.append(max(placed))
    return sorted(worst)[ceil(draws * 0.95) - 1]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Processes in front of shards: how fast each is, and how long a call is under way."""

    processes: int
    rate: float  # requests a second of one process
    trip: float
    cost: Cost
    headroom: float  # the part of a core that may be used

    def shared(self, shards: int) -> float:
        """Decisions in a call: what arrives for one shard at one process while a call to it is under way."""
        return max(1.0, self.rate / shards * self.trip)

    def capacity(self, shards: int) -> float:
        return self.headroom * self.cost.rate(self.shared(shards))

    def shards(self, loads: Sequence[float]) -> int | None:
        """The least number that does; None if the largest organization is too much for any shard."""
        fewest = max(1, ceil(sum(loads) / self.capacity(1)))
        for number in range(fewest, 20 * fewest):
            capacity = self.capacity(number)
            if max(loads) > capacity:
                return None
            if sum(loads) / number <= capacity and busiest(loads, number) <= capacity:
                return number
        return None

    def reserved(self, load: float, sub_window: float) -> float:
        """Calls a second for an organization with reservations: a block and what is left of it, by each process."""
        return min(load, 2 * self.processes / sub_window)


def blocks(left: int, demand: int, processes: int) -> int:
    """Trips of one sub-window in which `processes` take `demand` units out of `left`: as much as each needs, but never
    more than an eighth of what is left; where that is nothing, one at a time. A denial is one more trip, then known."""
    needs = [demand // processes + (number < demand % processes) for number in range(processes)]
    trips = 0
    while any(needs) and left:
        for number, need in enumerate(needs):
            if need and left:
                taken = max(1, min(need, left // BLOCK_SHARE))
                needs[number] -= taken
                left -= taken
                trips += 1
    return trips + sum(1 for need in needs if need)


@dataclass(frozen=True, slots=True)
class Loop:
    """A process and its clients, each of which sends the next request when it has the answer to the last."""

    rate: float  # requests a second, the processor being all that limits them
    trip: float

    @property
    def added(self) -> float:
        """On average: half of the call that is under way, then one's own."""
        return 1.5 * self.trip if self.rate * self.trip > 1 else self.trip

    @property
    def connections(self) -> int:
        """As many keep the processor busy while calls are under way (the law of interactive response times)."""
        return ceil((1 / self.rate + self.added) * self.rate)

    def rate_with(self, connections: int) -> float:
        return min(self.rate, connections / (1 / self.rate + self.added))
