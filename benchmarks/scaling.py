"""docs/scaling.md, computed from results.json: `python -m benchmarks.scaling` writes it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median

from benchmarks.candidates import REDIS
from benchmarks.lone import DECISION
from benchmarks.plots import number
from benchmarks.report import markdown
from benchmarks.scaling_model import Cost, Fleet, Loop, blocks, cost, zipf
from benchmarks.section import Section, from_json

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
PAGE = FOLDER.parent / "docs" / "scaling.md"
TEMPLATE = FOLDER / "scaling.template.md"

OURS = REDIS.name
TOGETHER = 32  # decisions in a call where script.py measured shared ones
TARGET = 1_000_000  # decisions a second
HEADROOM = 0.6  # of a core: peaks, and the load of a shard whose replica takes over
NETWORK = 0.0005  # seconds of a round trip
CONNECTIONS = 64
ORGANIZATIONS = 100_000
EXPONENTS = (0.6, 0.8, 1.0)  # of Zipf's law: how uneven organizations are
SUB_WINDOW = 1.0  # seconds: of a rate a minute
SHARED = (1, 4, 16, TOGETHER)  # none above what was measured
LEFT = (100.0, 10.0, 2.0, 1.1, 1.0, 0.5)  # units left when a sub-window begins, by what it asks for


@dataclass(frozen=True, slots=True)
class Measured:
    """What the page is computed from. Requests a second and script calls a request are by framework."""

    cost: Cost
    rates: dict[str, float]
    calls: dict[str, float]
    lone: float  # seconds


def measured(sections: Sequence[Section]) -> Measured:
    """Raises LookupError where results.json has not all that is needed."""
    by_name = {section.name: section for section in sections}
    missing = {"script", "throughput", "latency"} - by_name.keys()
    if missing:
        raise LookupError(f"results.json has no {', '.join(sorted(missing))}: run `python -m benchmarks` as a whole")
    runs = {framework: by_name["throughput"].raw[framework][OURS] for framework in ("fastapi", "starlette")}
    rates, calls, spent = (
        {framework: median(float(run[name]) for run in of) for framework, of in runs.items()}
        for name in ("rate", "scripts", "redis_us")
    )
    script = by_name["script"].raw["valkey"]
    lone = next(row for table in by_name["latency"].tables for row in table.rows if row[0] == DECISION)
    of_redis = cost(script["1"], script[str(TOGETHER)], TOGETHER, spent["fastapi"], 1 / calls["fastapi"])
    return Measured(of_redis, rates, calls, float(lone[1]) / 1e6)


def page(seen: Measured) -> str:
    """The template with its names filled in: {like_this}."""
    processes = ceil(TARGET / (HEADROOM * seen.rates["fastapi"]))
    fleet = Fleet(processes, HEADROOM * seen.rates["fastapi"], NETWORK + seen.lone, seen.cost, HEADROOM)
    largest = zipf(ORGANIZATIONS, max(EXPONENTS))[0] * TARGET
    reserved = fleet.reserved(largest, SUB_WINDOW)
    core = seen.cost.at(1) / 1e6
    values = {
        "cost_decision": f"{seen.cost.decision:.1f}",
        "cost_call": f"{seen.cost.call:.1f}",
        "core": core_table(seen.cost),
        "shards": shard_table(fleet),
        "blocks": block_table(fleet, largest),
        "network": network_table(seen),
        "target": f"{TARGET:,}",
        "headroom": f"{HEADROOM:.0%}",
        "processes": f"{processes:,}",
        "rate": f"{seen.rates['fastapi']:,.0f}",
        "organizations": f"{ORGANIZATIONS:,}",
        "exponent": f"{max(EXPONENTS):g}",
        "largest": f"{largest:,.0f}",
        "largest_cores": f"{largest * core:.2g}",
        "reserved": f"{reserved:,.0f}",
        "reserved_cores": f"{reserved * core:.2g}",
        "rtt": f"{NETWORK * 1e3:g}",
        "lone": f"{seen.lone * 1e3:.2f}",
        "lone_far": f"{(seen.lone + NETWORK) * 1e3:.2f}",
        "connections": str(CONNECTIONS),
    }
    return TEMPLATE.read_text().format(**values)


def core_table(of: Cost) -> str:
    rows = [(shared, round(of.at(shared), 1), round(of.rate(shared), -2)) for shared in SHARED]
    return markdown(
        ("decisions in a call", "µs of a core a decision", "decisions a second"), [_whole(row) for row in rows]
    )


def shard_table(fleet: Fleet) -> str:
    """By how uneven organizations are: without reservations, and with them where they save calls."""
    rows: list[Sequence[str | int | float]] = []
    for exponent in EXPONENTS:
        loads = [share * TARGET for share in zipf(ORGANIZATIONS, exponent)]
        hot = sum(1 for load in loads if fleet.reserved(load, SUB_WINDOW) < load)
        spared = sorted((fleet.reserved(load, SUB_WINDOW) for load in loads), reverse=True)
        plain, reserving = fleet.shards(loads), fleet.shards(spared)
        rows.append((exponent, f"{loads[0] / TARGET:.1%}", plain or "no number is enough", hot, reserving or "none"))
    columns = (
        *("exponent", "the largest organization", "shards"),
        *("organizations that would save calls with `reserve`", "shards if those have it"),
    )
    return markdown(columns, rows)


def block_table(fleet: Fleet, load: float) -> str:
    demand = round(load * SUB_WINDOW)
    rows = []
    for left in LEFT:
        trips = blocks(round(left * demand), demand, fleet.processes)
        rows.append((f"{left:g} x", trips, number(trips / demand)))
    return markdown(("left, by what the sub-window asks for", "trips in it", "trips a request"), rows)


def network_table(seen: Measured) -> str:
    rows = []
    for framework, rate in seen.rates.items():
        far = Loop(rate, NETWORK + seen.lone)
        near, arriving = 1 / seen.calls[framework], rate * far.trip
        kept = far.rate_with(CONNECTIONS) / rate
        here = (framework, round(rate), round(near, 1))
        rows.append((*here, round(arriving, 1), round(far.added * 1e3, 2), far.connections, round(kept, 2)))
    columns = (
        *("app", "requests a second", "decisions a call, measured", "that arrive while a call is under way"),
        *("ms that a request waits on average", "connections that hide it", "throughput, of what it was"),
    )
    return markdown(columns, rows)


def _whole(row: tuple[int, float, float]) -> tuple[int, float, int]:
    return row[0], row[1], int(row[2])


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(measured(from_json(RESULTS.read_text()))))


if __name__ == "__main__":
    main()
