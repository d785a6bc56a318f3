"""Decisions whose states are made when they are asked for: what they say, and what they keep alive."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from dataclasses import replace
from unittest.mock import ANY

import pytest

from ratelimit.model import FOREVER, Charge, Decision, State
from ratelimit.stores.batching.allotments import Allotment, AllotmentDecision
from ratelimit.stores.counting.allowed import AllowedDecision, TermSet, admitted
from tests import servers
from tests.stores import Subject, quota, rate
from tests.stores.wires import T, ask, connected, fake_store, run, turns

MINUTE = State(rate(9, 60_000), 9, 3, 61_000, 60_000)
ONE = Decision(True, T, (MINUTE,))


def charges_of(number: int) -> tuple[Charge, ...]:
    return rate(99, 60_000, key=f"r{number}"), quota(99, key=f"q{number}")


def test_equal_is_what_says_the_same() -> None:
    """Decisions are compared by all that they say, however they were made."""
    spent = AllotmentDecision(Decision(True, T, (MINUTE._replace(used=5),)), 0, 2)
    assert spent == ONE
    for other in (
        Decision(False, T, (MINUTE,)),
        Decision(True, T + 1, (MINUTE,)),
        Decision(True, T),
        Decision(True, T, (MINUTE,), unavailable=True),
    ):
        assert other != ONE
    assert ONE != (True, T, (MINUTE,), (), False)
    assert ONE == ANY
    assert hash(spent) == hash(ONE)
    assert len({spent, ONE}) == 1


def test_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied or pickled is a Decision with all its states, wherever it came from."""
    limit = replace(MINUTE.limit, max=int)  # a lambda can't be pickled
    charge = replace(MINUTE.charge, limit=limit)
    term_set = TermSet((charge,), T)
    plain = admitted((charge,), term_set, T, (), (3,))
    assert plain.states == (State(charge, 9, 3, 61_000, 60_000),)
    for one in (plain, AllotmentDecision(plain, 0, 0), Decision(True, T, plain.states)):
        for copied in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):  # noqa: S301 - ours
            assert type(copied) is Decision
            assert copied == one


def test_a_decision_shows_all_that_it_says() -> None:
    said = f"(allowed=True, now_ms={T}, states=({MINUTE!r},), leases=(), unavailable=False, "
    said += "units=1, counted_ms=(), hold=None)"
    assert (repr(ONE), repr(AllotmentDecision(ONE, 0, 0))) == (f"Decision{said}", f"AllotmentDecision{said}")


def test_exceeded_also_in_shadow() -> None:
    assert not ONE.exceeded
    assert Decision(True, T, (MINUTE, MINUTE._replace(exceeded=True, shadow=True))).exceeded


def test_states_are_of_the_instant_of_the_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same whenever they are asked for: after other decisions, in other sub-windows, on other callers."""
    store = fake_store(monkeypatch)

    async def test() -> None:
        wire = await connected(store)
        asked = [ask(store, rate(9, 60_000, key=key)) for key in "ab"]
        await turns(2)
        wire.reply([T, 1, 3, 1, 4])
        first, second = await asyncio.gather(*asked)
        assert isinstance(first, AllowedDecision)
        expected = [State(d.states[0].charge, 9, used, 61_000, 60_000) for d, used in ((first, 3), (second, 4))]
        again = ask(store, rate(9, 60_000, key="a"))
        await turns(2)
        wire.reply([T + 30_500, 1, 5])
        assert (await again).states[0].reset_after_ms == 60_500
        assert [first.states, second.states] == [(expected[0],), (expected[1],)]
        assert (first.exceeded, first.leases, first.unavailable) == (False, (), False)

    run(store, test())


def test_tiers_with_the_same_numbers_keep_their_names(subject: Subject) -> None:
    """What callers share goes by their limits, not by the numbers of these: a style tells the right names."""
    subject.at(T)
    tiers = {
        tier: (Charge(rate(9, 60_000, key=tier).limit, f"{{user={tier}}}:r", 1, ((FOREVER, 9),)),) for tier in "ab"
    }

    async def test() -> None:
        for tier, charges in tiers.items():
            for used in (1, 2, 3):
                decision = await subject.store.acquire(charges)
                assert [state.limit.name for state in decision.states] == [tier]
                if decision.numbers:
                    _, limits, said, _ = decision.numbers
                    assert (limits.limits, [*said]) == ((charges[0].limit,), [used])
            assert isinstance(decision, AllowedDecision)

    subject.run(test())


def kept(decision: Decision) -> list[object]:
    """The tuples and lists that a decision keeps alive."""
    return [one for one in gc.get_referents(decision) if isinstance(one, tuple | list) and one]


def test_a_decision_keeps_two_objects(server: servers.Server) -> None:
    """A connection keeps the decision of its last request: the Decision and its own numbers, for the garbage collector
    to look at; no State, and nothing of the 63 others that were decided with it. Python collects after 700 objects, of
    which Starlette and uvicorn have some 500 at 64 connections."""
    subject = Subject(server.name, server.unix_url)
    everyone = [charges_of(number) for number in range(64)]

    async def test() -> None:
        decisions = await asyncio.gather(*map(subject.store.acquire, everyone))
        for charges, decision in zip(everyone, decisions, strict=True):
            assert [one for one in kept(decision) if one is not charges] == [(1, 1)]

    subject.run(test())


def test_units_taken_ahead_share_their_decision() -> None:
    """Of a caller that is too hot for a trip a request a decision is one object."""
    allotment = Allotment(3, ONE, 800, sent=7.0, arrived=7.1)
    spent = allotment.spend(7.1)
    assert spent
    assert kept(spent) == []
    assert spent.states == (MINUTE._replace(used=1),)
