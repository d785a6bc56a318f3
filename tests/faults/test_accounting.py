"""What was admitted and what was charged, by four processes whose store goes away and comes back at random moments."""

from __future__ import annotations

import os
import random

import pytest

from tests.faults import field
from tests.faults.accounting import Accounts, Outage, account, owed
from tests.faults.counted import Line
from tests.faults.matrix import SERVERS

SEED = int(os.environ.get("RATELIMIT_SEED") or random.SystemRandom().randrange(10**6))
FULL = bool(os.environ.get("RATELIMIT_FULL"))  # make accounts: 10,000 requests and 20 outages, which takes a minute
REQUESTS, OUTAGES = (10_000, 20) if FULL else (2_000, 5)


def accounts(on_failure: str, server: str = "valkey", **how: int) -> Accounts:
    """Told with the seed: RATELIMIT_SEED gives the same outages again."""
    seen = account(on_failure, seed=SEED, name=server, **how)
    print(f"seed {SEED}, {server}, {on_failure}: {seen}")  # noqa: T201 - pytest shows it where a test fails
    return seen


@pytest.mark.proof
@pytest.mark.parametrize("server", SERVERS)
def test_nothing_is_lost_to_outages(server: str) -> None:
    """Requests that were admitted while the store was away are charged when it is back, each once."""
    seen = accounts("local", server, requests=REQUESTS, outages=OUTAGES)
    assert seen.without_store
    assert seen.met >= OUTAGES / 2
    assert seen.admitted == REQUESTS
    assert seen.charged == seen.admitted


@pytest.mark.proof
def test_a_killed_process_loses_what_it_owed() -> None:
    """kill -9 loses at most what that process had admitted since the outage began, and nothing of any other."""
    seen = accounts("local", requests=REQUESTS, outages=OUTAGES, kills=max(2, OUTAGES // 4))
    assert seen.without_store
    assert seen.killed
    assert -seen.in_flight <= seen.admitted - seen.charged <= seen.owed


@pytest.mark.proof
def test_who_is_admitted_is_charged() -> None:
    """With "deny" nobody is admitted who was not charged, whatever was lost on the way; what was charged in vain is in
    the requests that were refused."""
    seen = accounts("deny", requests=REQUESTS, outages=OUTAGES, kills=1)
    assert seen.without_store == 0
    assert seen.admitted < REQUESTS
    assert seen.admitted <= seen.charged <= sum(worker.orders.requests for worker in seen.workers)


def test_without_outages_the_accounts_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes and nothing wrong: as many are charged as were admitted, and as asked."""
    monkeypatch.setattr(field, "TIMEOUT", 5.0)  # beside other tests a tenth of a second is an outage
    seen = accounts("deny", requests=400, outages=0)
    assert (seen.admitted, seen.charged) == (400, 400)


def lines(*said: tuple[float, str]) -> list[Line]:
    return [Line(at, by == "store") for at, by in said]


HERE, STORE = "here", "store"
TWO = [Outage("cut", 10, 11), Outage("cut", 20, 21)]


@pytest.mark.parametrize(
    ("killed", "seen", "expected"),
    [
        (20.5, lines((1, STORE), (10.1, HERE), (11.1, STORE), (20.1, HERE), (20.2, HERE)), 2),
        (20.5, lines((1, STORE), (10.1, HERE), (11.1, HERE), (20.1, HERE)), 3),  # it never saw the store between them
        (21.5, lines((11.1, STORE), (20.1, HERE), (21.2, STORE)), 1),  # perhaps it had paid, perhaps not yet
        (15, lines((10.1, HERE), (11.1, STORE)), 1),
        (9, lines((1, STORE)), 0),
    ],
)
def test_what_a_killed_process_may_have_owed(killed: float, seen: list[Line], expected: int) -> None:
    """All that it admitted by itself since the outage began, or since the first of those that were one to it."""
    assert owed(killed, seen, TWO) == expected


def test_a_line_of_the_log() -> None:
    """What is written is what is read."""
    for line in lines((1.5, HERE), (2.000001, STORE)):
        assert Line.read(str(line)) == line
