"""A simulation says of each line of a log what the middleware says that is driven over HTTP on the clock of the log."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.access_logs import FORMATS, Request, requests, written
from ratelimit import hash_api_key
from ratelimit.config.load import parse_policy
from ratelimit.simulate.logs.guess import looked_at
from ratelimit.simulate.logs.own import mapping_of
from ratelimit.simulate.logs.sources import Source
from ratelimit.simulate.run import PolicyText, Share, Task
from tests.simulate.driven import Call, basic, drive, of_headers, simulated

RATES = """
style = "ietf"
[identity]
default_tier = "basic"
ipv6_prefix = 56
[operations]
exempt = ["GET /health"]
heavy_write = ["POST /v2/invoices", "DELETE /v2/invoices/{id}"]
[tiers.anonymous]
limits = [
  { name = "requests", rate = "30/minute", cost = { heavy_write = 5, search = 2 } },
  { name = "burst", rate = "6/second", precision = 7 },
  { name = "daily", quota = "300/day", timezone = "Asia/Tokyo" },
]
[tiers.basic]
limits = [
  { name = "requests", rate = "40/minute", per = "user" },
  { name = "searches", rate = "10/10 seconds", operations = ["search"] },
  { name = "addresses", rate = "20/minute", per = "ip", mode = "shadow" },
  { name = "monthly", quota = "2000/month", anchor_day = 2 },
]
"""
# Slots, whose requests take their time; keys, overrides that end in the middle of the log, and a formula.
SLOTS = f"""
style = "lightspeed"
[identity]
default_tier = "anonymous"
[[keys]]
name = "till"
sha256 = "{hash_api_key("u0")}"
tier = "retail"
organization = "acme"
attributes = {{ registers = 2 }}
[[keys]]
name = "other till"
sha256 = "{hash_api_key("u7")}"
tier = "retail"
organization = "acme"
application = "till"
attributes = {{ registers = 2 }}
[tiers.anonymous]
limits = [
  {{ name = "at once", concurrency = 2 }},
  {{ name = "requests", rate = "60/minute" }},
]
[tiers.retail]
limits = [
  {{ name = "registers", rate = "(15 * registers + 5)/minute" }},
  {{ name = "at once", concurrency = 3, operations = ["detail_read", "create"] }},
]
[[overrides]]
organization = "acme"
limits = {{ registers = "20/minute", "at once" = 1 }}
until = 2026-03-02T00:01:00Z
[[overrides]]
ip = "10.0.0.1"
limits = {{ requests = "5/minute" }}
"""
# What counts by its status, what is in shadow until the middle of the log, what is launched in it, and what closes.
STATUSES = """
style = "lendworks"
[identity]
default_tier = "anonymous"
[tiers.anonymous]
limits = [
  { name = "failures", rate = "3/minute", charge_on = ["404", "5xx"] },
  { name = "successes", quota = "40/day", refund_on = ["4xx", "500"] },
  { name = "all", rate = "20/10 seconds", from = 2026-03-02T00:01:00Z },
  { name = "new", rate = "12/10 seconds", LAUNCH },
  { name = "at once", concurrency = 4 },
  { name = "deletions", rate = "0/minute", operations = ["write"], mode = "shadow" },
]
""".replace(
    "LAUNCH",
    'launch = { shadow_until = 2026-03-02T00:00:20Z, brownouts = ["2026-03-02T00:00:05Z/3s"],'
    ' cohorts = [{ share = "50%", from = 2026-03-02T00:00:10Z }] }',
)
POLICIES = {"rates": RATES, "slots": SLOTS, "statuses": STATUSES}
NAMES = ("nginx", "traefik", "caddy", "json")
MAPPED = ("organization=$.org", "tier=$.plan")


def call(line: int, one: Request, name: str, policy: str) -> Call:
    """What the log tells of a request: nginx and Traefik write whole seconds."""
    at_ms = {
        "nginx": (one.at_ms + one.took_ms) // 1_000 * 1_000 - one.took_ms,
        "traefik": one.at_ms // 1_000 * 1_000,
    }.get(name, one.at_ms)
    if name == "json":
        said = json.loads(FORMATS["json"](one))
        headers = {"x-org": said["org"], "x-tier": said["plan"]}
    elif one.user == "-":
        headers = {}
    else:
        headers = basic(one.user) if policy == "slots" else {"x-user": one.user}
    return Call(line, at_ms, one.took_ms, one.ip, headers, one.method, one.target, one.status)


def differences(folder: Path, policy: str, name: str, count: int) -> tuple[list[Any], int, int]:
    """Lines of which they do not say the same; and how many were allowed, and denied."""
    text = POLICIES[policy]
    mapped = mapping_of(MAPPED if name == "json" else ())
    if name == "json":  # its tiers are those of the log
        text += "".join(_renamed(text, tier) for tier in ("basic", "standard") if f"[tiers.{tier}]" not in text)
    made = [*written(requests(count, 60, seed=hash_of(policy, name), per_second=20.0), name)]
    log, out = folder / "access.log", folder / "verdicts.jsonl"
    log.write_text("".join(FORMATS[name](one) + "\n" for one in made))
    with closing(Source(str(log))) as source:
        formats = looked_at([source], mapped).formats
        assert formats[0].name == name
        task = Task(PolicyText(text, "policy"), (str(log),), formats, mapped=mapped, verdicts=str(out))
        summary = Share(task, sources=[source]).run().summary
    assert (summary.understood, summary.late) == (count, 0)
    calls = [call(number, one, name, policy) for number, one in enumerate(made, 1)]
    identify = None if policy == "slots" and name != "json" else of_headers
    ours, theirs = simulated(out.read_text()), asyncio.run(drive(parse_policy(text), calls, identify))
    wrong = [(theirs.get(n), ours.get(n)) for n in range(1, count + 1) if theirs.get(n) != ours.get(n)]
    return wrong, summary.requests - summary.denied, summary.denied


def hash_of(policy: str, name: str) -> int:
    return [*POLICIES].index(policy) * 10 + NAMES.index(name)


def _renamed(text: str, tier: str) -> str:
    """The limits of the anonymous tier, for one more."""
    table = text.partition("[tiers.anonymous]")[2].partition("\n[")[0]
    return f"\n[tiers.{tier}]{table}\n"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_few_lines(tmp_path: Path, policy: str, name: str) -> None:
    """On 500 lines of each format under each policy there is no difference, and some are denied."""
    wrong, allowed, denied = differences(tmp_path, policy, name, 500)
    assert wrong == []
    assert min(allowed, denied) > 20


@pytest.mark.proof
@pytest.mark.repeated
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", POLICIES)
def test_many_lines(tmp_path: Path, policy: str, name: str) -> None:
    """On 20,000 lines of each format under each policy there is no difference."""
    wrong, allowed, denied = differences(tmp_path, policy, name, 20_000)
    assert wrong == []
    assert min(allowed, denied) > 1_000
