"""One fault, while callers keep on asking: what each policy of failure made of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tests.faults.catalog import Fault
from tests.faults.field import LIMIT, TIMEOUT, Field, Pair, pair
from tests.faults.load import EVERY, Load, Seen

SERVERS = ("valkey", "redis")
POLICIES = ("allow", "deny", "local")
PROMISED = {"allow": {"200", "429"}, "deny": {"200", "429", "503"}, "local": {"200", "429"}}
# Connections to an app, each with a request under way when the store goes; a late reply may make it look well, twice.
CONNECTIONS = 3
WAITING = 3 * CONNECTIONS
MARGIN_MS = 50  # beyond the timeout, for a machine with more to do than this; what the process stood still is taken off
FOUND_MS = 1_000  # the store is found back within a second
BUSY_MS = 500  # and what a busy machine may add to it
BEFORE, AFTER = 0.5, 0.4  # seconds of load with nothing wrong
PATIENCE = 6.0  # seconds at most that are waited for the store to be found back


@dataclass(frozen=True)
class Observation:
    """A cell of the matrix. Times are in milliseconds; `recovery_ms` is from the end of the fault to the first answer
    that the store decided, None if there was none in `PATIENCE` seconds."""

    server: str
    fault: str
    on_failure: str
    statuses: dict[str, int]
    unanswered: list[str]
    without_store: int
    waiting: int  # requests that waited for half of the timeout or longer
    longest_wait_ms: float
    over_timeout_ms: float  # of the request that was the most over it, without the time that its process stood still
    admitted: int  # of a caller who is at its limit all the time
    admitted_by_store: int
    limit: int
    timeout_ms: float
    recovery_ms: float | None


def observe(server: str, fault: Fault, field: Field) -> dict[str, Observation]:
    """A cell for each policy, of one and the same fault."""
    return asyncio.run(_observe(server, fault, field))


async def _observe(server: str, fault: Fault, field: Field) -> dict[str, Observation]:
    callers = pair(fault.name)
    await field.settle(callers)
    api_keys = [*[callers.roomy] * (CONNECTIONS - 1), callers.strict]
    loads = {on_failure: Load(url, api_keys) for on_failure, url in field.apps.items()}
    try:
        await asyncio.sleep(BEFORE)
        ended = await asyncio.to_thread(_do, fault, field, callers)
        deadline = ended + PATIENCE
        while time.monotonic() < deadline and not all(_found(load.seen, ended) for load in loads.values()):  # noqa: ASYNC110
            await asyncio.sleep(EVERY)
        await asyncio.sleep(AFTER)
    finally:
        seen = {on_failure: await load.stop() for on_failure, load in loads.items()}
    return {
        on_failure: _observed((server, fault.name, on_failure), callers, seen[on_failure], ended)
        for on_failure in loads
    }


def _do(fault: Fault, field: Field, callers: Pair) -> float:
    """When it was over."""
    with fault.over(field, callers):
        time.sleep(fault.held)
    return time.monotonic()


def _found(seen: Sequence[Seen], ended: float) -> list[Seen]:
    """What the store decided of what was sent since."""
    return [one for one in seen if one.by_store and one.sent >= ended]


def _observed(cell: tuple[str, str, str], callers: Pair, seen: Sequence[Seen], ended: float) -> Observation:
    admitted = [one for one in seen if one.api_key == callers.strict and one.status == 200]
    found = _found(seen, ended)
    return Observation(
        *cell,
        statuses={str(status): count for status, count in sorted(Counter(one.status for one in seen).items())},
        unanswered=sorted({one.why for one in seen if one.why}),
        without_store=sum(one.status in (200, 503) and not one.by_store for one in seen),
        waiting=sum(one.waited - 2 * one.stalled >= TIMEOUT / 2 for one in seen),
        longest_wait_ms=round(1000 * max(one.waited for one in seen), 1),
        over_timeout_ms=round(1000 * max(one.waited - TIMEOUT - 2 * one.stalled for one in seen), 1),
        admitted=len(admitted),
        admitted_by_store=sum(one.by_store for one in admitted),
        limit=LIMIT,
        timeout_ms=1000 * TIMEOUT,
        recovery_ms=round(1000 * (min(one.got for one in found) - ended), 1) if found else None,
    )


def broken(fault: Fault, cell: Observation) -> list[str]:
    """The promises that a cell has not kept, a sentence each."""
    told = []
    if unpromised := set(cell.statuses) - PROMISED[cell.on_failure]:
        told.append(f"callers saw {sorted(unpromised)} {cell.unanswered}, which {cell.on_failure} does not promise")
    if fault.felt is not None and bool(cell.without_store) != fault.felt:
        told.append(f"{cell.without_store} requests were decided without the store")
    if cell.waiting > WAITING:
        told.append(f"{cell.waiting} requests waited for a store that was known to be down")
    if cell.over_timeout_ms > MARGIN_MS:
        told.append(f"a request waited {cell.over_timeout_ms} ms longer than the timeout")
    kept = cell.admitted_by_store if cell.on_failure == "allow" else cell.admitted
    if kept > cell.limit * (2 if fault.forgets else 1):
        told.append(f"{kept} were admitted at a limit of {cell.limit}")
    if cell.recovery_ms is None or cell.recovery_ms > FOUND_MS + BUSY_MS:
        told.append(f"the store was found back after {cell.recovery_ms} ms")
    return told


def as_json(observation: Observation) -> dict[str, object]:
    return asdict(observation)
