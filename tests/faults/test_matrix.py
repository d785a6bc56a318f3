"""What the callers of an API see while its store fails, for each fault and each policy of failure, on real servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.faults import page
from tests.faults.catalog import FAULTS, Fault
from tests.faults.field import Field, laid_out
from tests.faults.matrix import POLICIES, SERVERS, Observation, broken, observe

Observe = Callable[[str, Fault], dict[str, Observation]]


@pytest.fixture(scope="module")
def observed() -> Iterator[Observe]:
    """Each fault is done once, and seen through all policies of failure at the same time."""
    done: dict[tuple[str, Fault], dict[str, Observation]] = {}
    fields: dict[tuple[str, str], Field] = {}
    with ExitStack() as stack:

        def observations(server: str, fault: Fault) -> dict[str, Observation]:
            if (server, fault.route) not in fields:
                faults = [one.name for one in FAULTS if one.route == fault.route]
                fields[server, fault.route] = stack.enter_context(laid_out(fault.route, server, POLICIES, faults))
            if (server, fault) not in done:
                done[server, fault] = observe(server, fault, fields[server, fault.route])
            return done[server, fault]

        yield observations
    if os.environ.get("RATELIMIT_FAULTS"):  # make faults
        page.write([cell for cells in done.values() for cell in cells.values()])


@pytest.mark.proof
@pytest.mark.parametrize("on_failure", POLICIES)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("server", SERVERS)
def test_fault(server: str, fault: Fault, on_failure: str, observed: Observe) -> None:
    """No answer but the promised ones, none late, never past a limit that is kept, and the store is found back."""
    cell = observed(server, fault)[on_failure]
    assert broken(fault, cell) == [], cell


GOOD = Observation(
    server="valkey",
    fault="killed",
    on_failure="deny",
    statuses={"200": 50, "429": 20, "503": 30},
    unanswered=[],
    without_store=30,
    waiting=3,
    longest_wait_ms=102.0,
    over_timeout_ms=-3.0,
    admitted=24,
    admitted_by_store=24,
    limit=24,
    timeout_ms=100.0,
    recovery_ms=30.0,
)
KILLED, FLUSHED, FORGETFUL = (
    next(fault for fault in FAULTS if fault.name == name) for name in ("killed", "SCRIPT FLUSH", "FLUSHALL")
)


@pytest.mark.parametrize(
    ("fault", "changed", "expected"),
    [
        (KILLED, {}, []),
        (KILLED, {"statuses": {"200": 70, "500": 1}}, ["500"]),
        (KILLED, {"statuses": {"0": 1}, "unanswered": ["no answer within 5 s"]}, ["no answer within 5 s"]),
        (KILLED, {"on_failure": "allow"}, ["503"]),
        (KILLED, {"on_failure": "local"}, ["503"]),
        (KILLED, {"on_failure": "allow", "statuses": {"200": 1}, "admitted": 99}, []),
        (KILLED, {"without_store": 0}, ["decided without the store"]),
        (FLUSHED, {}, ["decided without the store"]),
        (FLUSHED, {"without_store": 0}, []),
        (KILLED, {"waiting": 10}, ["10 requests waited"]),
        (KILLED, {"over_timeout_ms": 51.0}, ["timeout"]),
        (KILLED, {"admitted": 25}, ["25 were admitted"]),
        (KILLED, {"on_failure": "allow", "statuses": {"200": 1}, "admitted_by_store": 25}, ["25 were admitted"]),
        (FORGETFUL, {"without_store": 0, "admitted": 48}, []),
        (FORGETFUL, {"without_store": 0, "admitted": 49}, ["49 were admitted"]),
        (KILLED, {"recovery_ms": None}, ["found back"]),
        (KILLED, {"recovery_ms": 1501.0}, ["found back"]),
    ],
)
def test_what_is_broken_is_seen(fault: Fault, changed: dict[str, object], expected: list[str]) -> None:
    """Each promise that a cell can break is told by it, and a cell that keeps them all tells nothing."""
    told = broken(fault, replace(GOOD, **changed))
    assert len(told) == len(expected)
    assert all(part in one for part, one in zip(expected, told, strict=True)), told
