"""What a program makes by hand is refused where it is made, in the words of a policy file with the same mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from ratelimit import Concurrency, Identity, Limit, PolicyError, Quota, Rate, parse_policy
from ratelimit.model import FOREVER
from ratelimit.policy import Override, StoreSettings

Make = Callable[[], object]


def fixed(_: Any) -> int:
    return 5


def limit(kind: Any = Rate(60_000), /, name: Any = "a", max: Any = fixed, **fields: Any) -> Make:  # noqa: A002, B008
    return lambda: Limit(name, kind, max, **fields)


WHOLE = "is not a whole number"
TIME_ZONE = 'is not a time zone; write one of the IANA database, such as "UTC" or "Europe/Berlin"'
OF_A_NAME = "can't be used; a name is made of printable ASCII characters, at least one"
OF_PER = "write identity, organization, user, api_key, application, ip, the name of an attribute, or a list of these"

# What is made, the same in a file where a file can say it, and what both are told.
SAME: list[tuple[Make, str, str]] = [
    (limit(cost=-1), 'rate = "5/minute", cost = -1', "-1 is too small; the least is 0"),
    (limit(cost=2**53), f'rate = "5/minute", cost = {2**53}', f"{2**53} is too large; the most is {FOREVER}"),
    (limit(cost=True), 'rate = "5/minute", cost = true', f"true {WHOLE}"),
    (limit(cost=1.5), 'rate = "5/minute", cost = 1.5', f"1.5 {WHOLE}"),
    (limit(cost={"search": -1}), 'rate = "5/minute", cost = { search = -1 }', "-1 is too small; the least is 0"),
    (limit(cost={"search": "a"}), 'rate = "5/minute", cost = { search = "a" }', f'"a" {WHOLE}'),
    (
        limit(cost={"create": 1}, operations=frozenset({"search"})),
        'rate = "5/minute", cost = { create = 1 }, operations = ["search"]',
        '"create" is not one of the operations of this limit',
    ),
    (
        limit(cost={"exempt": 1}),
        'rate = "5/minute", cost = { exempt = 1 }',
        '"exempt" is what no limit applies to; write another operation',
    ),
    (
        limit(operations=frozenset({"exempt"})),
        'rate = "5/minute", operations = ["exempt"]',
        '"exempt" is what no limit applies to; write another operation',
    ),
    (limit(counts="bytes"), 'rate = "5/minute", counts = "bytes"', '"bytes" is not known; write "units" or "requests"'),
    (
        limit(Concurrency(), counts="requests"),
        'concurrency = 5, counts = "requests"',
        "is not for concurrency, where each request takes one slot, whatever its units",
    ),
    (limit(operations=frozenset({"é"})), 'rate = "5/minute", operations = ["é"]', f'"é" {OF_A_NAME}'),
    (limit(mode="OFF"), 'rate = "5/minute", mode = "OFF"', '"OFF" is not known; write "enforce", "shadow" or "off"'),
    (limit(reserve=1), 'rate = "5/minute", reserve = 1', "1 is not true or false"),
    (limit(hold="yes"), 'rate = "5/minute", hold = "yes"', '"yes" is not true or false'),
    (
        limit(Concurrency(), hold=True),
        "concurrency = 5, hold = true",
        "is not for concurrency, where each request holds its slot while it runs",
    ),
    (
        limit(reserve=True, hold=True),
        'rate = "5/minute", reserve = true, hold = true',
        "is not for a limit with reserve: units ahead are spent without asking the store; write one of the two",
    ),
    (
        limit(refund_on=("5XX",)),
        'rate = "5/minute", refund_on = ["5XX"]',
        '"5XX" is not a status; write three digits or a class in quotes: "401", "304", "5xx"',
    ),
    (
        limit(Concurrency(), charge_on=("401",)),
        'concurrency = 5, charge_on = ["401"]',
        "is not for concurrency: a slot comes back when its request ends, whatever the status",
    ),
    (
        limit(reserve=True, refund_on=("5xx",)),
        'rate = "5/minute", reserve = true, refund_on = ["5xx"]',
        "is not for a limit with reserve: units ahead are spent without asking the store; write one of the two",
    ),
    (
        limit(refund_on=("5xx",), charge_on=("401",)),
        'rate = "5/minute", refund_on = ["5xx"], charge_on = ["401"]',
        "is there beside charge_on, which says all that counts; write one of the two",
    ),
    (limit(name=""), 'rate = "5/minute", name = ""', f'"" {OF_A_NAME}'),
    (limit(name="é"), 'rate = "5/minute", name = "é"', f'"é" {OF_A_NAME}'),
    (limit(name=5), 'rate = "5/minute", name = 5', "5 is not a text in quotes"),
    (limit(per=("tier",)), 'rate = "5/minute", per = "tier"', f'"tier" can\'t be counted by; {OF_PER}'),
    (limit(per=("a b",)), 'rate = "5/minute", per = "a b"', f'"a b" can\'t be counted by; {OF_PER}'),
    (limit(per=("user", "user")), 'rate = "5/minute", per = ["user", "user"]', '"user" is there twice'),
    (
        limit(per=("organisation",)),
        'rate = "5/minute", per = "organisation"',
        '"organisation" can\'t be counted by; did you mean "organization"?',
    ),
    (
        limit(per=("apiKey",)),
        'rate = "5/minute", per = "apiKey"',
        '"apiKey" can\'t be counted by; did you mean "api_key"?',
    ),
    (limit(per=()), 'rate = "5/minute", per = []', "is empty"),
    (
        limit(Concurrency(), cost=2),
        "concurrency = 5, cost = 2",
        "is not for concurrency, where each request takes one slot",
    ),
    (
        limit(Concurrency(), reserve=True),
        "concurrency = 5, reserve = true",
        "is not for concurrency: a slot is held while a request runs, so there is nothing to take ahead",
    ),
    (lambda: Rate(60_000, 0), 'rate = "5/minute", precision = 0', "0 is too small; the least is 1"),
    (lambda: Rate(60_000, 1_001), 'rate = "5/minute", precision = 1001', "1001 is too large; the most is 1000"),
    (lambda: Rate(60_000, 100_000), 'rate = "5/minute", precision = 100000', "100000 is too large; the most is 1000"),
    (lambda: Quota("month", anchor_day=0), 'quota = "5/month", anchor_day = 0', "0 is too small; the least is 1"),
    (lambda: Quota("month", anchor_day=32), 'quota = "5/month", anchor_day = 32', "32 is too large; the most is 31"),
    (
        lambda: Quota("week", anchor_day=2),
        'quota = "5/week", anchor_day = 2',
        "is for quotas per month; this one is per week",
    ),
    (lambda: Quota("day", "Nowhere"), 'quota = "5/day", timezone = "Nowhere"', f'"Nowhere" {TIME_ZONE}'),
    (
        lambda: Quota("day", "Europe/Berlim"),
        'quota = "5/day", timezone = "Europe/Berlim"',
        '"Europe/Berlim" is not a time zone; did you mean "Europe/Berlin"?',
    ),
    (
        lambda: Quota("day", "localtime"),
        'quota = "5/day", timezone = "localtime"',
        '"localtime" is not the same on every machine; write one of the IANA database, such as "UTC" or'
        ' "Europe/Berlin"',
    ),
]


@pytest.mark.parametrize(("make", "written", "told"), SAME, ids=[row[1] for row in SAME])
def test_a_file_and_a_program_are_told_the_same(make: Make, written: str, told: str) -> None:
    """One check, two callers: only the place before the words is another."""
    name = "" if "name = " in written else 'name = "a", '
    with pytest.raises(PolicyError) as in_a_file:
        parse_policy(f"[tiers.anonymous]\nlimits = [ {{ {name}{written} }} ]")
    assert told in [problem.partition("]")[2].partition(": ")[2] for problem in in_a_file.value.problems]
    with pytest.raises(ValueError, match=r"^(Limit|Rate|Quota)") as by_hand:
        make()
    assert str(by_hand.value).endswith(f": {told}")


ALONE: list[tuple[Make, str]] = [
    (
        lambda: Rate(0),
        "Rate: window_ms: 0 is out of range; the shortest window is 1 millisecond, the longest 36500 days",
    ),
    (
        lambda: Rate(-60_000),
        "Rate: window_ms: -60000 is out of range; the shortest window is 1 millisecond, the longest 36500 days",
    ),
    (
        lambda: Rate(36_501 * 86_400_000),
        "Rate: window_ms: 3153686400000 is out of range; the shortest window is 1 millisecond, the longest 36500 days",
    ),
    (lambda: Rate(60_000.0), f"Rate: window_ms: 60000.0 {WHOLE}"),  # type: ignore[arg-type]
    (lambda: Rate("1m"), f'Rate: window_ms: "1m" {WHOLE}'),  # type: ignore[arg-type]
    (lambda: Rate(True), f"Rate: window_ms: true {WHOLE}"),
    (lambda: Rate(30), "Rate: precision: 60 is too large; a sub-window is a millisecond at least"),
    (
        lambda: Concurrency(0),
        "Concurrency: lease_ms: 0 is out of range; the shortest lease is 1s, the longest 36500d",
    ),
    (
        lambda: Concurrency(999),
        "Concurrency: lease_ms: 999 is out of range; the shortest lease is 1s, the longest 36500d",
    ),
    (lambda: Concurrency(None), f"Concurrency: lease_ms: a value of type NoneType {WHOLE}"),  # type: ignore[arg-type]
    (
        lambda: Quota("fortnight"),  # type: ignore[arg-type]
        'Quota: period: "fortnight" is not known; write "day", "week", "month" or "year"',
    ),
    (lambda: Quota("day", None), f"Quota: timezone: a value of type NoneType {TIME_ZONE}"),  # type: ignore[arg-type]
    (limit(Rate), 'Limit "a": kind: a value of type type limits nothing; write one of Rate, Quota, Concurrency'),
    (limit("rate"), 'Limit "a": kind: "rate" limits nothing; write one of Rate, Quota, Concurrency'),
    (
        limit(max=100),
        'Limit "a": max: 100 is not a function of the caller\'s attributes; write lambda attributes: 100',
    ),
    (
        limit(max="seats"),
        'Limit "a": max: "seats" is not a function of the caller\'s attributes;'
        ' write lambda attributes: attributes["seats"]',
    ),
    (limit(refund_on="5xx"), 'Limit "a": refund_on: "5xx" is not a tuple of texts; write ("5xx",)'),
    (limit(charge_on=[401]), 'Limit "a": charge_on: a list is not a tuple of texts; write ("5xx",)'),
    (limit(per="ip"), 'Limit "a": per: "ip" is not a tuple of texts; write ("ip",)'),
    (limit(per=["ip"]), 'Limit "a": per: a list is not a tuple of texts; write ("identity",)'),
    (limit(per=(1,)), 'Limit "a": per: 1 is not a text in quotes'),
    (
        limit(operations="search"),
        'Limit "a": operations: "search" is not a set of texts; write frozenset({"search"})',
    ),
    (
        limit(operations=["search"]),
        'Limit "a": operations: a list is not a set of texts; write frozenset({"search"})',
    ),
    (limit(cost={1: 1}), 'Limit "a": cost: 1 is not a text in quotes'),
    (limit(cost=None), f'Limit "a": cost: a value of type NoneType {WHOLE}'),
    (limit(cost={"search": 2**53}), f'Limit "a": cost: search: {2**53} is too large; the most is {FOREVER}'),
    (limit(enforce_from_ms=-1), 'Limit "a": enforce_from_ms: -1 is too small; the least is 0'),
    (limit(enforce_from_ms="now"), f'Limit "a": enforce_from_ms: "now" {WHOLE}'),
    (
        lambda: Override({"organization": "a"}, {"requests": 5}),  # type: ignore[dict-item]
        "Override: maxes: requests: 5 is not a function of the caller's attributes; write lambda attributes: 5",
    ),
    (
        lambda: Override({"organization": "a"}, 5),  # type: ignore[arg-type]
        "Override: maxes: 5 is not a table of maxes by name of limit",
    ),
    (
        lambda: Override({"organization": None}, {"a": fixed}),  # type: ignore[dict-item]
        "Override: organization: a value of type NoneType matches nobody; write a text or a whole number",
    ),
    (
        lambda: Override({"mode": " "}, {"a": fixed}),
        'Override: mode: " " matches nobody; write a text or a whole number',
    ),
    (lambda: Override({"user": "a"}, {"a": fixed}, 1.5), f"Override: until_ms: 1.5 {WHOLE}"),  # type: ignore[arg-type]
    (
        lambda: StoreSettings(on_failure="DENY"),  # type: ignore[arg-type]
        'StoreSettings: on_failure: "DENY" is not known; write "allow", "deny" or "local"',
    ),
    (
        lambda: StoreSettings(timeout_ms=0),
        "StoreSettings: timeout_ms: 0 is out of range; the shortest duration is 1ms, the longest 36500d",
    ),
    (
        lambda: StoreSettings(prefix="{a}"),
        'StoreSettings: prefix: "{a}" can\'t be used; a prefix is made of printable ASCII characters other than the'
        " space, { and }, at least one",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "told"), ALONE, ids=[row[1] for row in ALONE])
def test_what_a_file_can_not_say(make: Make, told: str) -> None:
    """What only a program can do wrong is told in the same way: where, what, and what to write."""
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - all of it below
        make()
    assert str(refusal.value) == told


def test_what_is_right() -> None:
    """The ends of each range, and what a program may do that a file may not."""
    assert Rate(1, 1).window_ms == 1
    assert Rate(36_500 * 86_400_000, 1_000).precision == 1_000
    assert Quota("month", "America/Mexico_City", 31) == Quota("month", "America/Mexico_City", 31)
    assert Concurrency(1_000).lease_ms == 1_000
    assert limit(cost=0)() != limit(cost=FOREVER, enforce_from_ms=FOREVER)()
    assert limit(cost={"of their own": 3}, operations={"of their own"}, per=("user", "seat"))()


def test_an_override_for_a_number() -> None:
    """Numbers of names match the text that an Identity makes of them, those of attributes stay numbers."""
    assert Override({"user": 42, "seats": 42}, {"a": fixed}).match == {"user": "42", "seats": 42}
    assert Identity(user=UUID(int=42)).user == str(UUID(int=42))


def test_an_attribute_that_is_named_nearly_as_a_kind() -> None:
    """A file that declares such an attribute may count by it, as ever."""
    policy = parse_policy(
        '[[keys]]\nsha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"\ntier = "anonymous"\n'
        'attributes = { organisation = "north" }\n'
        '[tiers.anonymous]\nlimits = [ { name = "a", rate = "5/minute", per = "organisation" } ]'
    )
    (charge,) = policy.charges(Identity(user="ana", tier="anonymous", attributes={"organisation": "n"}), "search")
    assert charge.key.endswith(":@organisation=n")
