"""What a decision costs Redis: the time that it says its script calls took, over the decisions that they made.

Redis handles one command at a time, so that this is also what a core of it can decide: see docs/scaling.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import uvloop

from benchmarks import load
from benchmarks.charges import Charges, charges_of, costing, policy, use_up
from benchmarks.policy import WINDOWS
from benchmarks.section import Figure, Section, Table
from ratelimit import RedisStore
from tests.servers import Server
from tests.stores import Subject

GOALS = {"valkey": 6.0, "redis": 6.5}  # microseconds a decision at most: a rate and a quota, 32 callers at once
OF_TEN = 20.0  # of nine rates and a quota
CALLERS = 512  # different ones; each decides once a turn
TOGETHER = 32
ROUNDS = 9  # medians are taken over them
PLENTY = 1_000_000
LEAST = 60  # the cost of the first denial of a used-up limit of 100; that of each further one is one more
COLUMNS = ("server", "limits", "max", "callers at once", "decisions", "µs a decision", "script calls a decision")


@dataclass(frozen=True, slots=True)
class Case:
    """Which decisions are measured; those that are denied are for a rate that was used up over a whole minute."""

    limits: str
    max: int = PLENTY
    together: int = TOGETHER
    denied: bool = False

    @property
    def name(self) -> str:
        return f"{self.limits}, denied by the rate" if self.denied else self.limits

    def charges(self) -> Sequence[Charges]:
        if self.limits == TEN:
            return charges_of(policy(*(f'rate = "{self.max}/{window}"' for window in RATES), QUOTA), CALLERS)
        maxes = {
            "rate": f'rate = "{self.max}/minute"',
            "quota": f'quota = "{PLENTY if self.denied else self.max}/month"',
        }
        limits = [maxes.get(kind, "concurrency = 1000") for kind in self.limits.split(", ")]
        return charges_of(policy(*limits), CALLERS)


TEN = "nine rates, quota"
RATES = ("45 seconds", *WINDOWS)
QUOTA = f'quota = "{PLENTY}/month"'
GOAL = Case("rate, quota")
GOAL_OF_TEN = Case(TEN)
SCALED = (GOAL, Case("rate, quota", together=1))  # what a decision costs in a large call and in a call of its own
CASES = (
    *SCALED,
    Case("rate, quota", max=100),
    Case("rate, quota", max=100, denied=True),
    Case("rate"),
    Case("quota"),
    Case("rate, quota, concurrency"),
    GOAL_OF_TEN,
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one case: microseconds and script calls a decision, medians over the rounds."""

    decisions: int
    microseconds: float
    calls: float


def measure(*, short: bool) -> Section:
    """The cost of each case on each server."""
    rows: list[Sequence[str | int | float]] = []
    figures = []
    raw: dict[str, dict[str, float]] = {name: {} for name in GOALS}
    for name, goal in GOALS.items():
        with load.store(name) as server:
            label = f"{name} {version(server)}"
            for case in CASES:
                # At most 91 decisions a caller, so that a limit of 100 holds them; a denial has another cost each time.
                cost = uvloop.run(cost_of(case, server, turns=2 if short or case.denied else 10))
                shown = round(cost.microseconds, 2)
                rows.append((label, case.name, case.max, case.together, cost.decisions, shown, round(cost.calls, 3)))
                if case in SCALED:
                    raw[name][str(case.together)] = cost.microseconds
                if case in (GOAL, GOAL_OF_TEN):
                    most = goal if case is GOAL else OF_TEN
                    what = f"Redis time a decision in µs, {case.limits}, {TOGETHER} callers at once, {label}"
                    figures.append(Figure(what, f"<= {most:g}", shown, shown <= most))
    text = (
        f"{CALLERS} callers decide in turn through the store, in one process and without HTTP. The time is that of "
        "`INFO commandstats`: what Redis spent in script calls, without parsing and sockets, and without the command "
        f"that gives a concurrency slot back. Medians of {ROUNDS} rounds; a first turn, in which counters are new, is "
        "not counted."
    )
    return Section("script", "Redis time a decision", text, [Table("Script calls", COLUMNS, rows)], [], figures, raw)


def version(server: Server) -> str:
    with server.client() as client:
        info = client.info("server")
    return str(info.get("valkey_version") or info["redis_version"])


async def cost_of(case: Case, server: Server, turns: int) -> Cost:
    """Decide `turns` times for each caller in each round."""
    callers = case.charges()
    subject = Subject(server.name, server.unix_url)
    if case.denied:
        await use_up(subject, callers, case.max, time.time_ns() // 1_000_000)
    store = RedisStore(server.unix_url, prefix=subject.prefix, timeout=10.0)
    if not case.denied:
        await decide(store, callers, case)
    microseconds, calls = [], []
    with server.client() as client:
        for number in range(ROUNDS):
            # Remembered denials would be answered here, so that each is for a cost that was not asked for before.
            costs = [LEAST + number * turns + turn if case.denied else 1 for turn in range(turns)]
            before = load.commands(client)
            for cost in costs:
                await decide(store, callers if cost == 1 else [costing(charges, cost) for charges in callers], case)
            spent = load.spent(before, load.commands(client))
            microseconds.append(spent.script_microseconds / turns / CALLERS)
            calls.append(spent.scripts / turns / CALLERS)
    await subject.store.close()
    await store.close()
    return Cost(ROUNDS * turns * CALLERS, median(microseconds), median(calls))


async def decide(store: RedisStore, callers: Sequence[Charges], case: Case) -> None:
    """One decision for each caller, which must come out as the case says."""
    for first in range(0, len(callers), case.together):
        decisions = await asyncio.gather(*map(store.acquire, callers[first : first + case.together]))
        if any(decision.allowed == case.denied for decision in decisions):
            raise RuntimeError(f"a decision of {case} came out the wrong way")
        await store.release([lease for decision in decisions for lease in decision.leases])
