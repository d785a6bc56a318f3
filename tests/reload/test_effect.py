"""Whom a new policy would deny that was let through."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit import Policy, hash_api_key, parse_policy
from ratelimit.model import Identity
from ratelimit.reload import effect as of_edits
from ratelimit.reload.callers import Callers
from ratelimit.reload.effect import Effect, Example, effect
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import T, run
from tests.reload import rate, text


class Before:
    """A policy, and what callers have asked under it."""

    def __init__(self, old: str) -> None:
        self.old = parse_policy(old, "old")
        self.callers = Callers()
        self.store = MemoryStore(clock=lambda: T)

    def ask(self, times: int, number: int = 0, operation: str = "search", **of: Any) -> None:
        named = of or {"organization": f"o{number}", "api_key": hash_api_key(f"key{number}"), "ip": "192.0.2.1"}
        identity = Identity(**{"tier": "basic", **named})
        charges = self.old.charges(identity, operation)

        async def test() -> None:
            for _ in range(times):
                self.callers.note(identity, operation, charges, await self.store.acquire(charges))

        run(test())

    def under(self, new: str | Policy) -> Effect:
        made = parse_policy(new, "new") if isinstance(new, str) else new
        return effect(self.callers.of_late(), self.old, made, self.callers.now_ms)


def asked(old: str, *times: int, **rest: Any) -> Before:
    before = Before(old)
    for number, of in enumerate(times):
        before.ask(of, number, **rest)
    return before


def test_ten_for_a_thousand() -> None:
    """Of each caller it is known how near it came: who needed more than the new max is denied by it."""
    found = asked(rate(1000), 5, 9, 10, 11, 400).under(rate(10))
    assert (found.callers, found.denied, found.share) == (5, 2, 0.4)
    assert found.limits == {"requests": 2}
    assert found.example == Example("organization=o4", "requests", 400, 10)


def test_others_run_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at thousands of callers lets the other threads run after each few of them."""
    pauses: list[float] = []
    monkeypatch.setattr(of_edits.time, "sleep", pauses.append)
    assert asked(rate(1000), *[5] * (2 * of_edits.AT_ONCE)).under(rate(10)) == Effect(2 * of_edits.AT_ONCE)
    assert pauses == [of_edits.PAUSE] * 2


@pytest.mark.parametrize("number", [950, 1050])
def test_five_percent(number: int) -> None:
    """Who is not at the limit does not notice."""
    assert asked(rate(1000), 5, 900).under(rate(number)) == Effect(2)


def test_nobody() -> None:
    """Of nobody nobody is denied."""
    assert asked(rate(10)).under(rate(1)).share == 0


@pytest.mark.parametrize(
    ("new", "demand"),
    [
        ('{ name = "calls", rate = "20/minute" }', 30),  # another name is another counter
        ('{ name = "requests", rate = "20/5 minutes" }', 30),  # in a longer window there is at least as much
        ('{ name = "requests", rate = "20/30 seconds" }', None),  # of a shorter one it may be a half
        ('{ name = "requests", rate = "10/30 seconds" }', 15),
        ('{ name = "requests", quota = "20/day" }', 30),
        ('{ name = "requests", rate = "20/minute", per = "ip" }', None),  # it is not known how much each has
        ('{ name = "requests", rate = "20/minute", operations = ["create"] }', None),
        ('{ name = "requests", rate = "20/minute", operations = ["search"] }', 30),  # the counter goes on
        ('{ name = "calls", rate = "20/minute", operations = ["search"] }', None),  # others were in the one before
        ('{ name = "requests", rate = "50/minute", cost = 2 }', 60),
        ('{ name = "requests", rate = "1/minute", cost = 0 }', None),
        ('{ name = "requests", rate = "20/minute", mode = "shadow" }', None),
        ('{ name = "requests", rate = "20/minute", from = 2027-01-01T00:00:00Z }', None),
        ('{ name = "requests", rate = "20/minute", from = 2025-01-01T00:00:00Z }', 30),
        ('{ name = "in flight", concurrency = 1 }', None),
    ],
)
def test_counters(new: str, demand: int | None) -> None:
    """What is known of a counter that goes on is what counts; of one that starts anew, what it has at least."""
    found = asked(rate(1000), 30).under(text(new))
    assert (found.example.demand if found.example else None) == demand


@pytest.mark.parametrize(
    ("cost", "demand"),
    [
        ("{ create = 20 }", 65),  # 45 searches, and one create that costs twice as much
        ("{ create = 20, search = 3 }", 110),  # all of them cost twice as much at least
        ("{ create = 1 }", None),
        ("{ search = 0 }", None),
    ],
)
def test_costs_of_some_operations(cost: str, demand: int | None) -> None:
    """Of what is used of a counter it is not known which operations used it: the least that it may come to counts."""
    before = Before(text('{ name = "requests", rate = "1000/minute", cost = { create = 10 } }'))
    before.ask(45)
    before.ask(1, operation="create")
    found = before.under(text(f'{{ name = "requests", rate = "60/minute", cost = {cost} }}'))
    assert (found.example.demand if found.example else None) == demand


def test_slots() -> None:
    """So many requests at a time are so many, whatever the limit is called."""
    before = asked(text('{ name = "in flight", concurrency = 10 }'), 7)
    assert before.under(text('{ name = "in flight", concurrency = 7 }')).denied == 0
    assert before.under(text('{ name = "at once", concurrency = 6 }')).denied == 1
    assert before.under(text('{ name = "requests", rate = "1/minute" }')).denied == 0


def test_a_quota() -> None:
    """A day's share of a month is not more than that."""
    before = asked(text('{ name = "monthly", quota = "5000/month" }'), 90)
    assert before.under(text('{ name = "monthly", quota = "90/month" }')).denied == 0
    assert before.under(text('{ name = "monthly", quota = "89/month" }')).denied == 1
    assert before.under(text('{ name = "daily", quota = "3/day" }')).denied == 0
    assert before.under(text('{ name = "daily", quota = "2/day" }')).denied == 1


def test_an_override() -> None:
    """What holds for one caller now counts, and not what holds for it next year."""
    before = asked(rate(1000), 50, 50)
    low = '[[overrides]]\norganization = "o1"\nlimits = { requests = "10/minute" }\n'
    assert before.under(rate(1000) + low).denied == 1
    assert before.under(rate(10) + low.replace("10/", "1000/") + "until = 2020-01-01T00:00:00Z\n").denied == 2


def test_who_was_denied_before() -> None:
    """A caller at its limit is not newly denied by one that is a little lower, and is by one that is below a half: or
    among callers who all are at their limits any edit would pass."""
    before = asked(rate(100), 120)
    assert before.under(rate(60)) == Effect(1)
    assert before.under(rate(49)).denied == 1


def test_another_tier() -> None:
    """Whose key is in another tier now is looked at there."""
    before = asked(rate(1000), 50, 50)
    low = '[tiers.low]\nlimits = [ { name = "few", rate = "10/minute" } ]\n'
    moved = rate(1000).replace('tier = "basic"', 'tier = "low"', 1) + low
    assert before.under(moved).denied == 1


def test_keys_that_are_gone() -> None:
    """A file that has lost its keys makes everybody anonymous, and is held against what they need."""
    before = asked(rate(1000), *8 * [150])
    assert before.under(rate(1000, callers=2)).denied == 6


def test_callers_of_ones_own() -> None:
    """Whom the file does not know is who the app says, also where the file has never known anybody."""
    before = Before(rate(1000))
    before.ask(50, api_key="a" * 64)
    before.ask(50, user="ana")
    assert before.under(rate(10)).denied == 2

    def nobody(scope: object) -> Identity:
        raise AssertionError

    made = parse_policy(rate(10), "new")
    own = Policy(made.tiers, nobody, made.classify, made.style, made.address)
    assert before.under(own).denied == 2


def test_no_tier() -> None:
    """A policy without a tier for somebody who asks can't be used."""
    before = Before(text(more='[identity]\ndefault_tier = "basic"\n'))
    before.ask(1, user="ana", tier=None)
    with pytest.raises(ValueError, match=r"^user=ana: "):
        before.under(text())


def test_in_shadow_before() -> None:
    """A limit that was in shadow denies from now on whom it would have denied."""
    shadow = text('{ name = "requests", rate = "5/minute", mode = "shadow" }')
    found = asked(shadow, 5, 6, 20).under(shadow.replace("shadow", "enforce"))
    assert found.denied == 2
    assert found.example == Example("organization=o1", "requests", 6, 5)


def test_no_cost_before() -> None:
    """What cost nothing was not counted."""
    free = text('{ name = "requests", rate = "5/minute", cost = 0 }')
    assert asked(free, 20).under(rate(1)).denied == 0


def test_other_limits_of_an_operation() -> None:
    """Each operation of a caller is looked at, and the caller counted once."""
    before = Before(rate(1000))
    before.ask(30, operation="search")
    before.ask(30, operation="create")
    found = before.under(rate(10))
    assert (found.callers, found.denied) == (1, 1)


def test_only_denied() -> None:
    """Of who was only denied there is nothing to hold a policy against."""
    before = Before(rate(0))
    before.ask(3)
    assert before.under(rate(0)) == Effect(1)
