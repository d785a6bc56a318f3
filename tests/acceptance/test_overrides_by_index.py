"""Thousands of overrides cost a new caller no more than ten do, whatever they match; nor are they slow to load."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ratelimit import parse_policy
from ratelimit.config.checks import callers
from ratelimit.model import IDENTITY_KINDS, Identity
from ratelimit.policy.overrides import Matched, Override

MANY = 2_000  # counted, not timed: of 20,000 there is no more to see
SHAPES: dict[str, Callable[[int], dict[str, str | int]]] = {
    "one field": lambda n: {"organization": f"o{n}"},
    "two fields": lambda n: {"organization": f"o{n % 100}", "user": f"u{n // 100}"},
    "two fields, one of all": lambda n: {"organization": "acme", "user": f"u{n}"},
    "two fields, the other of all": lambda n: {"organization": f"o{n}", "user": "ana"},
    "tier and address": lambda n: {"tier": "basic", "ip": f"10.0.{n >> 8}.{n & 255}"},
    "a field and an attribute": lambda n: {"organization": "acme", "mode": f"m{n}"},
    "a field and an attribute of all": lambda n: {"user": f"u{n}", "mode": "test"},
    "an attribute": lambda n: {"mode": n},
    "two attributes": lambda n: {"mode": f"m{n % 100}", "store": n // 100},
    "an attribute of its own each": lambda n: {f"a{n}": 1},
    "an attribute of all, and one of its own each": lambda n: {"mode": "test", f"a{n}": 1},
}


class Counted(str):
    """A text that counts how often it is compared."""

    compared = 0
    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)


class Looked(dict[str, Any]):
    """Attributes that count how often they are read."""

    times = 0

    def get(self, *args: Any) -> Any:
        Looked.times += 1
        return super().get(*args)


def overrides(make: Callable[[int], Mapping[str, str | int]], number: int) -> list[Override]:
    counted = [{kind: Counted(v) if isinstance(v, str) else v for kind, v in make(n).items()} for n in range(number)]
    return [Override(match, {"requests": lambda _, n=n: n}) for n, match in enumerate(counted)]  # type: ignore[misc]


def caller(match: Mapping[str, str | int]) -> Identity:
    """One whom the override is for: with everything else too."""
    fields: dict[str, Any] = dict.fromkeys(IDENTITY_KINDS, "x") | {"tier": "basic"}
    attributes = Looked({"mode": "x", "store": 0, "region": "eu"})
    for kind, value in match.items():
        (fields if kind in fields else attributes)[kind] = value
    return Identity(**fields, attributes=attributes)


def cost(make: Callable[[int], Mapping[str, str | int]], number: int) -> int:
    """Comparisons and look-ups to find the last override's caller."""
    matched, identity = Matched(overrides(make, number)), caller(make(number - 1))
    Counted.compared = Looked.times = 0
    (found,) = matched(identity, "basic")
    assert found.maxes["requests"]({}) == number - 1
    return Counted.compared + Looked.times


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
def test_thousands_cost_what_ten_do(make: Callable[[int], Mapping[str, str | int]]) -> None:
    """No more comparisons and look-ups, for who is found."""
    assert cost(make, MANY) <= cost(make, 10)


def test_every_one_that_matches_and_no_other() -> None:
    """Found by index are those that a reading of all of them finds, the last first."""
    dice = random.Random(7)
    kinds = (*IDENTITY_KINDS, "tier", "mode", "store")
    texts, values = ["a", "b", "1"], ["a", "b", 1, "1", True, 0, False]
    for _ in range(300):
        many = [
            Override({kind: dice.choice(values) for kind in dice.sample(kinds, dice.randint(1, 4))}, {})
            for _ in range(dice.randint(1, 30))
        ]
        has: dict[str, Any] = {kind: dice.choice([None, *texts]) for kind in kinds}
        has |= {name: dice.choice([None, *values]) for name in ("mode", "store")}
        attributes = {name: has[name] for name in ("mode", "store") if has[name] is not None}
        identity = Identity(**{kind: has[kind] for kind in IDENTITY_KINDS}, attributes=attributes)
        matching = [one for one in many if all(has[kind] == value for kind, value in one.match.items())]
        assert Matched(many)(identity, has["tier"]) == matching[::-1]


def test_a_value_that_no_override_can_have() -> None:
    """An attribute that has become a list matches nothing, and is no error."""
    attributes: dict[str, Any] = {"mode": "test"}
    identity = Identity(ip="x", attributes=attributes)
    matched = Matched([Override({"mode": "test"}, {})])
    assert len(matched(identity, "basic")) == 1
    attributes["mode"] = ["test"]
    assert matched(identity, "basic") == []


@pytest.mark.parametrize(
    "match",
    [
        'organization = "o{n}"\nuser = "u{n}"',
        'organization = "acme"\nattributes = {{ mode = "m{n}" }}',
        "attributes = {{ mode = {n}, store = {n} }}",
        'tier = "basic"\napplication = "{n}"',
    ],
)
def test_they_load(match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each override of a file the checks look at the limits of its name and at the keys that it matches alone."""
    looked_at = 0

    def looking(*args: Any) -> set[tuple[str, str | int]]:
        nonlocal looked_at
        looked_at += 1
        return of_key(*args)

    of_key = callers._pairs_of_key
    monkeypatch.setattr(callers, "_pairs_of_key", looking)
    number = 500
    keys = "".join(
        f'[[keys]]\nsha256 = "{n:064x}"\ntier = "basic"\norganization = "o{n}"\nuser = "u{n}"\napplication = "{n}"\n'
        f"attributes = {{ mode = {n}, store = {n} }}\n"
        for n in range(number)
    )
    amount = '{ requests = "mode/minute" }'
    many = "".join(f"[[overrides]]\n{match.format(n=n)}\nlimits = {amount}\n" for n in range(number))
    limits = 'limits = [ { name = "requests", rate = "1/minute" } ]'
    policy = parse_policy(f"[tiers.anonymous]\n{limits}\n[tiers.basic]\n{limits}\n{keys}{many}")
    assert len(policy.overrides) == number
    assert looked_at <= 3 * number
