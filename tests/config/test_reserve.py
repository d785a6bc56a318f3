"""Whether `reserve = true` is refused where it can't have an effect, and nowhere else."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ratelimit.config.build import build
from ratelimit.config.checks.whole import check
from ratelimit.config.grammar.messages import place
from ratelimit.config.grammar.valid import read_valid
from ratelimit.model import Concurrency, Identity

NOBODY = Identity(ip="192.0.2.7", tier="anonymous")
OPERATIONS = ("detail_read", "search", "create", "write", "connect", "heavy_write", "exports")


def a_limit(dice: random.Random, name: str) -> dict[str, Any]:
    limit: dict[str, Any] = {"name": name}
    if dice.random() < 0.2:
        limit["concurrency"] = 10
    else:
        limit["rate" if dice.random() < 0.5 else "quota"] = "1000/day"
        limit["reserve"] = dice.random() < 0.5
        if dice.random() < 0.2:
            limit["cost"] = dice.choice([0, 2])
    if dice.random() < 0.7:
        limit["operations"] = dice.sample(OPERATIONS, dice.randint(1, 6))
        if limit.get("reserve") and dice.random() < 0.3:
            limit["cost"] = {dice.choice(limit["operations"]): 0}
    if dice.random() < 0.2:
        limit["mode"] = dice.choice(["off", "shadow"])
    return limit


@pytest.mark.parametrize("seed", range(20))
def test_is_refused_where_no_request_has_it_throughout(seed: int) -> None:
    """A limit is refused if and only if it is charged, and each time beside one that has the store asked anyway."""
    dice = random.Random(seed)
    refused = 0
    for _ in range(50):
        limits = [a_limit(dice, f"l{number}") for number in range(dice.randint(1, 4))]
        tables = {"operations": {"exempt": [], "exports": []}, "tiers": {"anonymous": {"limits": limits}}}
        valid, problems = read_valid(tables)
        assert valid is not None
        assert not problems
        policy = build(valid.file, "x")
        requests = [
            [charge.limit for charge in policy.charges(NOBODY, operation) if charge.cost] for operation in OPERATIONS
        ]
        expected = []
        for number, limit in enumerate(policy.tiers["anonymous"]):
            own = [charged for charged in requests if limit in charged]
            trips = [any(isinstance(other.kind, Concurrency) or not other.reserve for other in o) for o in own]
            if limit.reserve and own and all(trips):
                expected.append(f"tiers.anonymous.limits[{number}].reserve")
        assert [place(problem.path) for problem in check(valid)] == expected
        refused += len(expected)
    assert refused > 5


@pytest.mark.parametrize("seed", range(20))
def test_one_message_is_enough(seed: int) -> None:
    """Who does what a message says hears no more of it: reserve on every limit that it names, or off on its own."""
    dice = random.Random(seed)
    for _ in range(50):
        limits = [a_limit(dice, f"l{number}") for number in range(dice.randint(2, 4))]
        tables = {"operations": {"exports": []}, "tiers": {"anonymous": {"limits": limits}}}
        valid, _ = read_valid(tables)
        assert valid is not None
        for problem in check(valid):
            wrong = limits[int(problem.path[3])]
            named = [limit for limit in limits if f'"{limit["name"]}" (limits[' in problem.message]
            assert named
            assert wrong not in named
            if "write reserve = true there too" in problem.message:
                mended = [{**limit, "reserve": True} if limit in named else limit for limit in limits]
            else:
                assert all("concurrency" in limit for limit in named)
                mended = [{**limit, "reserve": False} if limit is wrong else limit for limit in limits]
            again, _ = read_valid({**tables, "tiers": {"anonymous": {"limits": mended}}})
            assert again is not None
            assert problem.path not in [other.path for other in check(again)]
