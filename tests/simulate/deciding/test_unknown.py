"""What a log can't tell of a policy is said, and nothing else."""

from __future__ import annotations

import pytest

from ratelimit import parse_policy
from ratelimit.simulate.deciding.unknown import unknown
from ratelimit.simulate.events import Summary

PLAIN = "[tiers.anonymous]\nlimits = []\n"


def of_limits(*limits: str, timed: bool = False) -> list[str]:
    policy = parse_policy(f"[tiers.anonymous]\nlimits = [{', '.join(limits)}]\n")
    return unknown(policy, Summary(timed=timed), with_app=True)


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ('{ name = "a", rate = "1/s", hold = true }', '"a": what the app holds and settles is in no log'),
        ('{ name = "a", rate = "1/s", operations = [] }', '"a": charged by hand alone'),
        ('{ name = "a", concurrency = 1 }', '"a": the log has no durations'),
        ('{ name = "a", rate = "1/s", charge_on = ["401"] }', '"a": by the status in the log'),
    ],
)
def test_limits(limit: str, says: str) -> None:
    """Those of which a log does not say enough are named; of those that are off nothing is said."""
    limit = limit.replace("1/s", "1/second")
    [said] = of_limits(limit)
    assert said.startswith(says)
    assert of_limits(limit.replace(" }", ', mode = "off" }')) == []


def test_quotas_of_two_calendars() -> None:
    """Where two tiers share a quota whose periods begin at other instants, it is told; not where they are the same."""

    def said(zone: str) -> list[str]:
        tiers = [
            f'[tiers.{tier}]\nlimits = [{{ name = "a", quota = "9/week", timezone = "{of}" }}]\n'
            for tier, of in (("anonymous", "Asia/Tokyo"), ("basic", zone))
        ]
        return unknown(parse_policy("".join(tiers)), Summary(), with_app=True)

    assert said("Asia/Tokyo") == []
    assert [text.partition(";")[0] for text in said("UTC")] == ['"a": counted in periods of several calendars']


def test_a_field_that_no_line_has() -> None:
    """What `--map` names and no line has is told: it may be misspelt, and everybody would count as one."""
    summary = Summary(facts={"mapped organization": 0, "mapped tier": 7})
    [said] = unknown(parse_policy(PLAIN), summary, with_app=True)
    assert said == '--map "organization": no line has it, so that all count as without it'


def test_many_limits() -> None:
    """No more than some are named."""
    [said] = of_limits(*[f'{{ name = "n{number}", concurrency = 1 }}' for number in range(9)])
    assert said.startswith('"n0", "n1", "n2", "n3", "n4" and 4 more: ')
    assert of_limits('{ name = "a", concurrency = 1 }', timed=True) == []


def test_the_policy() -> None:
    """What may wait, and what is charged for messages of WebSockets."""
    wait = parse_policy(PLAIN + 'wait = { up_to = "5s" }\n[websocket]\nmessages = "message"\n')
    said = unknown(wait, Summary(), with_app=True)
    assert [text[:30] for text in said] == ['tiers with wait ("anonymous"): '[:30], "messages of WebSockets are in "]


def test_the_log() -> None:
    """How it was read, what in it is cut off, and what it does not say."""
    facts = {"preflights": 1, "computed": 1, "untiered": 1_000, "declared": 2, "lost": 3, "folded": 1}
    summary = Summary(
        files=["a\x1b", "b", "c"], formats=["json", "nginx", "nginx"], guessed=True, cut=["b"], facts=facts
    )
    said = unknown(parse_policy(PLAIN), summary, with_app=False)
    assert [text.partition(" ")[0] for text in said] == [
        *("a\\x1b", "2", "b", "units", "some", "2", "OPTIONS", "1,000", "times", "3"),
    ]
    facts["untiered"] = 1
    assert unknown(parse_policy(PLAIN), summary, with_app=False)[-3].startswith("one caller names no tier")
