"""Policies that are made up at random say of a log what the middleware says that is driven over HTTP on its clock."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratelimit import Identity
from ratelimit.config.load import examine, parse_policy
from ratelimit.model import Scope
from ratelimit.policy import Policy
from ratelimit.simulate.logs.guess import looked_at
from ratelimit.simulate.logs.own import mapping_of
from ratelimit.simulate.logs.sources import Source
from ratelimit.simulate.run import PolicyText, Share, Task
from tests.simulate.driven import Call, drive, simulated

BEGINS = (1_772_409_590_000, 1_774_745_990_000, 1_772_323_190_000)  # a week ends, a clock goes forward, a month ends
ADDRESSES = ("10.0.0.1", "10.9.0.1", "2001:db8:1:2::1", "2001:db8:1:2:3::1", "::ffff:10.0.0.1")
CALLS = ("GET /v2/invoices", "POST /v2/invoices", "GET /v2/invoices/7?a=b", "DELETE /v2/invoices/1", "GET /health")
READINGS = ("GET /v2/heavy/%2e%2e/x", "GET /v2//invoices", "HEAD /v2/invoices/", "POST /v2/customers/search")
OPERATIONS = ("heavy", "detail_read", "search", "create", "write")
FIELDS = {"organization": "org", "user": "usr", "application": "app", "tier": "plan", "registers": "registers"}


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def limit_of(dice: random.Random, name: str, tier: str, begin: int, end: int, calendar: str) -> str:
    some = f"{dice.randrange(2, 14)}"
    if dice.random() < 0.3 and tier != "anonymous":
        some = "(3 * registers + 1)"
    kind = dice.choice(["rate", "rate", "quota", "concurrency"])
    said = {
        "rate": f'rate = "{some}/{dice.choice(["second", "10 seconds", "minute"])}", precision = {dice.choice([1, 7])}',
        "quota": f'quota = "{some}/{dice.choice(["day", "week"])}", {calendar}',
        "concurrency": f"concurrency = {dice.randrange(1, 4)}",
    }[kind]
    more = [f"per = {json.dumps(dice.choice(['user', 'ip', 'application', 'registers']))}"] * (dice.random() < 0.4)
    if kind != "concurrency":
        more += [f"cost = {{ {dice.choice(OPERATIONS)} = {dice.choice([0, 3])} }}"] * (dice.random() < 0.3)
        more += [dice.choice(['charge_on = ["404", "5xx"]', 'refund_on = ["4xx"]'])] * (dice.random() < 0.3)
    at = sorted(dice.randrange(begin, end) for _ in range(3))
    stages = (
        f"launch = {{ shadow_until = {iso(at[2])}, cohorts = [{{ share = '50%', from = {iso(at[0])} }},"
        f" {{ organization = 'o1', from = {iso(at[1])} }}] }}"
    )
    more += [dice.choice(['mode = "shadow"', f"from = {iso(at[0])}", stages])] * (dice.random() < 0.4)
    return f'{{ name = "{name}", {", ".join([said, *more])} }}'


def policy_of(dice: random.Random, begin: int, end: int) -> str:
    """One that is right: what is not is made up anew."""
    while True:
        calendar = f'timezone = "{dice.choice(["Asia/Tokyo", "America/New_York", "Europe/Madrid"])}"'
        text = f'[identity]\ndefault_tier = "gold"\nipv6_prefix = {dice.choice([48, 64, 128])}\n'
        text += dice.choice(["", 'trusted_proxies = ["10.9.0.0/16"]\n'])
        text += '[operations]\nexempt = ["GET /health"]\nheavy = ["POST /v2/invoices", "GET /v2/heavy/**"]\n'
        for tier in ("anonymous", "gold", "silver"):
            names = dice.sample(["a", "b", "c"], dice.randrange(1, 4))
            limits = [limit_of(dice, name, tier, begin, end, calendar) for name in names]
            text += f"[tiers.{tier}]\nlimits = [{', '.join(limits)}]\n"
        for whose in dice.sample(['organization = "o1"', 'user = "u1"', 'ip = "10.0.0.1"'], dice.randrange(3)):
            max_of = dice.choice(['"5/minute"', '"7/day"', "1"])
            text += f"[[overrides]]\n{whose}\nlimits = {{ {dice.choice('abc')} = {max_of} }}\n"
            text += f"until = {iso(dice.randrange(begin, end))}\n" * (dice.random() < 0.5)
        if examine(text, "made up").policy is not None:
            return text


def asked_of(dice: random.Random, begin: int, end: int) -> tuple[list[str], list[Call]]:
    """The lines of a log, in the order in which requests ended, and the same as calls."""
    made = []
    for _ in range(200):
        said: dict[str, str | int] = {}
        if dice.random() < 0.6:
            said = {"org": dice.choice(["o1", "o2 ü{x}"])} if dice.random() < 0.7 else {"usr": "u2"}
            said |= {"usr": dice.choice(["u1", "é"])} if dice.random() < 0.5 else {}
            said |= {"app": "a1"} if dice.random() < 0.3 else {}
            said |= {"plan": dice.choice(["gold", "silver"]), "registers": dice.randrange(1, 4)}
        at, took = dice.randrange(begin, end), dice.choice([0, 1, 200, 9_000])
        call, status = dice.choice(CALLS + READINGS), dice.choice([200, 200, 404, 500])
        made.append((at + took, at, dice.choice(ADDRESSES), said, call.split(" "), status))
    lines, calls = [], []
    for number, (over, at, ip, said, (method, path), status) in enumerate(sorted(made, key=lambda one: one[0]), 1):
        line = {"time": iso(over), "client_ip": ip, **said, "method": method, "path": path, "status": status}
        lines.append(json.dumps({**line, "duration_ms": over - at}))
        headers = {f"x-{name}": quote(str(value)) for name, value in said.items()}
        calls.append(Call(number, at, over - at, ip, headers, method, path, status))
    return lines, calls


def held_against(seed: int, folder: Path) -> int:
    """How many were denied."""
    dice = random.Random(seed)
    begin = dice.choice(BEGINS)
    end = begin + dice.choice([20_000, 60_000, 3_600_000])
    text = policy_of(dice, begin, end)
    lines, calls = asked_of(dice, begin, end)
    policy: Policy = parse_policy(text)

    def identify(scope: Scope) -> Identity | None:
        said = {name.decode(): unquote(value.decode()) for name, value in scope["headers"]}
        if "x-plan" not in said:
            return None
        names = {kind: said.get(f"x-{field}") for kind, field in FIELDS.items() if kind != "registers"}
        return Identity(**names, ip=policy.address(scope), attributes={"registers": int(said["x-registers"])})

    log, out = folder / "app.jsonl", folder / "verdicts.jsonl"
    log.write_text("\n".join(lines))
    mapped = mapping_of([f"{kind}=$.{field}" for kind, field in FIELDS.items()])
    with closing(Source(str(log))) as source:
        formats = looked_at([source], mapped).formats
    task = Task(PolicyText(text, "policy"), (str(log),), formats, mapped=mapped, verdicts=str(out))
    summary = Share(task).run().summary
    ours, theirs = simulated(out.read_text()), asyncio.run(drive(policy, calls, identify))
    assert ours == theirs, text
    return summary.denied


def test_some_policies(tmp_path: Path) -> None:
    """Limits per user of callers without one, overrides that end, stages, quotas, slots, statuses, prefixes of IPv6:
    there is no difference, and some are denied."""
    assert sum(held_against(seed, tmp_path) for seed in range(8)) > 100


@pytest.mark.proof
@pytest.mark.repeated
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_policy(seed: int, tmp_path: Path) -> None:
    """The same of whatever policy."""
    held_against(seed, tmp_path)
