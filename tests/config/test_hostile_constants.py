"""Whatever number stands in any place of a file, it is refused, or it is what the policy has and can be meant."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import Policy, PolicyError, parse_policy
from ratelimit.identity.address import MAX_HOPS, ClientAddress
from ratelimit.model import FOREVER, Concurrency, Identity, Quota, Rate
from ratelimit.stores.memory import MemoryStore
from tests.fuzz import fuzzed
from tests.fuzz.test_formula import NAMES, reference

pytestmark = pytest.mark.repeated

T = 1_772_359_200_000
DAY = 86_400_000
UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY}
WRITTEN = re.compile(r"([0-9]*) *(ms|s|m|h|d)[a-z]* *")  # 60s, 10 seconds, minute

HUGE = (2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 10**20, 10**400)
NUMBERS = [
    *("0", "1", "5", "05", "007", "00", "1_000", "1__0", "_1", "1_", "-1", "-0", "--5", "+5", "+0", "0x10", "0b1"),
    *("0o7", "1e3", "1.5", ".5", "5.", "", " ", " 5 ", "5 5", "5,000", "inf", "nan", "true", "\u0665", "\u096b"),
    *("\u00b2", "\uff11", "\u2164", "\u221e", "5\u00a0"),
    *(str(number) for number in HUGE),
    *(f"-{number}" for number in HUGE),
]
ARITHMETIC = [
    *("10 - 20", "20 - 10", "(3 - 5) * 2", "(3 - 5) * -2", "2 * -3 + 10", "0 * 5", "-(5)", "5 - 5", "5 - 6", "0 - 0"),
    *("registers", "registers * 2", "registers * (5 - 10)", "registers * 0", "-registers", "registers - 3"),
    *("3 - registers", f"{2**53 - 1} + 1", f"{2**53 - 1} * {2**53 - 1}", f"registers * {2**53}", f"0 * {2**53}"),
    *(f"registers + {2**53 - 1}", f"{2**53 - 1} - {2**53 - 1} - 1", f"registers - {2**53 - 1}"),
]
WINDOWS = ["", "s", "s "] + [f"{number} seconds" for number in NUMBERS] + ["36500 days", "36501 days", "1 month"]
DURATIONS = [f"{number}{unit}" for number in [*NUMBERS, "1000", "36500", "36501"] for unit in ("s", "d")]

# Of each place, what good is there, and what else is tried.
GOOD = {
    "rate": "60",
    "window": "minute",
    "precision": "60",
    "quota": "50000",
    "anchor": "1",
    "slots": "10",
    "slots in text": "2 * 5",
    "lease": "60s",
    "timeout": "100ms",
    "cost": "2",
    "cost of search": "2",
    "cost of a quota": "1",
    "attribute": "3",
    "override": "60",
    "override of a quota": "50000",
    "override of slots": "10",
    "matched": "7",
    "prefix": "64",
    "hops": "1",
    "database": "0",
    "option": "1",
}
IN_TEXT = ("rate", "quota", "slots in text", "override", "override of a quota")
TRIED: dict[str, list[str]] = {place: NUMBERS + ARITHMETIC if place in IN_TEXT else NUMBERS for place in GOOD} | {
    "window": WINDOWS,
    "lease": DURATIONS,
    "timeout": DURATIONS,
}

FILE = """
[store]
url = "redis://h/{database}?socket_timeout={option}"
timeout = "{timeout}"
[identity]
ipv6_prefix = {prefix}
trusted_hops = {hops}
[[keys]]
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
tier = "basic"
organization = "acme"
attributes = {{ registers = {attribute} }}
[tiers.anonymous]
limits = []
[tiers.basic]
limits = [
  {{ name = "rate", rate = "{rate}/{window}", precision = {precision}, cost = {cost} }},
  {{ name = "rates", rate = "60/minute", cost = {{ search = {cost of search} }}, operations = ["search", "create"] }},
  {{ name = "quota", quota = "{quota}/month", anchor_day = {anchor}, cost = {cost of a quota} }},
  {{ name = "slots", concurrency = {slots}, lease = "{lease}" }},
  {{ name = "text", concurrency = "{slots in text}" }},
]
[[overrides]]
organization = "acme"
attributes = {{ registers = {matched} }}
limits = {{ rate = "{override}/{window}", quota = "{override of a quota}/month", slots = {override of slots} }}
"""


def read(values: dict[str, str]) -> Policy | None:
    with suppress(PolicyError):
        return parse_policy(FILE.format(**values), "x")
    return None


def number(text: str) -> int:
    """A whole number as TOML has it."""
    return int(text, 0)


def milliseconds(text: str) -> int:
    found = WRITTEN.fullmatch(text.strip())
    assert found, text
    return int(found[1] or 1) * UNITS[found[2]]


def has(most: Callable[[Mapping[str, str | int]], int], text: str) -> bool:
    """The max is what is written: a constant to the unit, a formula within its bounds."""
    exact = reference(text)
    found = most({"registers": NAMES["registers"]})
    return found == (min(max(exact, 0), FOREVER) if "registers" in text else exact) and 0 <= found <= FOREVER


def check(policy: Policy, values: dict[str, str]) -> None:
    rate, rates, quota, slots, text = policy.tiers["basic"]
    assert isinstance(rate.kind, Rate)
    assert isinstance(quota.kind, Quota)
    assert isinstance(slots.kind, Concurrency)
    assert has(rate.max, values["rate"])
    assert has(quota.max, values["quota"])
    assert has(text.max, values["slots in text"])
    assert slots.max({}) == number(values["slots"]) >= 0
    assert rate.kind.window_ms == milliseconds(values["window"])
    assert 1_000 <= rate.kind.window_ms <= 36_500 * DAY
    assert rate.kind.precision == number(values["precision"]) in range(1, 1_001)
    assert quota.kind.anchor_day == number(values["anchor"]) in range(1, 32)
    assert slots.kind.lease_ms == milliseconds(values["lease"])
    assert 1_000 <= slots.kind.lease_ms <= 36_500 * DAY
    assert 0 < policy.store.timeout_ms == milliseconds(values["timeout"])
    assert (rate.cost, quota.cost) == (number(values["cost"]), number(values["cost of a quota"]))
    assert rates.cost == {"search": number(values["cost of search"])}
    assert isinstance(policy.address, ClientAddress)
    assert policy.address.trusted_hops == number(values["hops"]) in range(1, MAX_HOPS + 1)
    assert policy.address.ipv6_prefix == number(values["prefix"]) in range(1, 129)
    (override,) = policy.overrides
    assert abs(number(values["matched"])) <= FOREVER
    assert override.match["registers"] == number(values["matched"])
    assert has(override.maxes["rate"], values["override"])
    assert has(override.maxes["quota"], values["override of a quota"])
    assert override.maxes["slots"]({}) == number(values["override of slots"]) >= 0
    assert values["database"].isdecimal() or values["database"] == ""
    for registers in (number(values["attribute"]), number(values["matched"])):
        assert abs(registers) <= FOREVER
        caller = Identity("acme", tier="basic", attributes={"registers": registers})
        for operation in ("search", "create", "export"):
            charges = policy.charges(caller, operation)
            decision = asyncio.run(MemoryStore(clock=lambda: T).acquire(charges))
            maxes = [charge.maxes[0][1] for charge in charges]
            assert all(0 <= most <= FOREVER for most in maxes)
            assert all(0 <= charge.cost <= FOREVER for charge in charges)
            if "registers" not in "".join(values.values()):  # a max of 0 is closed; no other constant is
                assert decision.allowed or 0 in maxes


@pytest.mark.parametrize("place", GOOD)
def test_a_number_in_its_place(place: str) -> None:
    """Each hostile constant in each place: what is accepted is what is written, in range, and lets a request pass."""
    accepted = 0
    for tried in [GOOD[place], *TRIED[place]]:
        values = {**GOOD, place: tried}
        policy = read(values)
        if policy is not None:
            check(policy, values)
            accepted += 1
    assert accepted > 1


@st.composite
def some(draw: st.DrawFn) -> dict[str, str]:
    places = draw(st.lists(st.sampled_from(sorted(GOOD)), min_size=2, max_size=4, unique=True))
    return {**GOOD, **{place: draw(st.sampled_from(TRIED[place])) for place in places}}


@fuzzed
@given(some())
def test_several_at_once(values: dict[str, str]) -> None:
    """What two places say of each other, a cost and a max, an override and a cost, is no way around that."""
    logging.getLogger("ratelimit").disabled = True  # of attributes that are missing
    try:
        policy = read(values)
    finally:
        logging.getLogger("ratelimit").disabled = False
    if policy is not None:
        check(policy, values)


def test_what_is_good_is_accepted() -> None:
    """The file in which the constants stand is one."""
    policy: Any = read(GOOD)
    check(policy, GOOD)
