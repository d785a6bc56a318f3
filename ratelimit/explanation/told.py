"""An explanation as plain data, for JSON: instants as RFC 3339, durations in milliseconds, no hash of a key whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratelimit.explanation.caller import Caller
from ratelimit.explanation.limits import Explained, steps
from ratelimit.explanation.verdict import Usage, Verdict
from ratelimit.explanation.whole import Explanation
from ratelimit.explanation.words import kind_of
from ratelimit.ground.times import instant, span
from ratelimit.model import Concurrency


def caller_as_json(caller: Caller) -> dict[str, Any]:
    identity = caller.identity
    names = {kind: getattr(identity, kind) for kind in ("organization", "user", "application", "ip")}
    return {
        **{kind: name for kind, name in names.items() if name is not None},
        **({} if identity.api_key is None else {"api_key": f"{identity.api_key[:8]}…"}),
        "tier": caller.tier,
        "attributes": dict(identity.attributes),
        "why": list(caller.why),
    }


def usage_as_json(usage: Usage, prefix: str) -> dict[str, Any]:
    limit = usage.charge.limit
    return {
        "name": limit.name,
        "kind": kind_of(limit),
        "max": usage.max,
        "used": usage.used,
        "left": usage.left,
        "whole_in_ms": None if isinstance(limit.kind, Concurrency) else usage.reset_after_ms,
        "shadow": usage.shadow,
        "counter": f"{prefix}:{usage.charge.key}",
    }


def as_json(explanation: Explanation, verdict: Verdict | None, prefix: str) -> dict[str, Any]:
    call = explanation.call
    usage = [None] * len(explanation.limits) if verdict is None else verdict.usage
    return {
        "at": instant(explanation.at_ms),
        "caller": caller_as_json(explanation.caller),
        "call": {
            "method": call.method,
            "path": call.path,
            "operation": call.operation,
            "source": call.source,
            "why": list(call.why),
            "readings": [
                {"path": one.path, "operation": one.operation, "rule": one.rule, "where": one.where}
                for one in call.readings
            ],
        },
        "limits": [_limit(one, used, prefix) for one, used in zip(explanation.limits, usage, strict=True)],
        "not_counted": [{"name": one.name, "why": one.why} for one in explanation.others],
        "decision": None if verdict is None else _decision(verdict),
    }


def _limit(one: Explained, usage: Usage | None, prefix: str) -> dict[str, Any]:
    return {
        "name": one.limit.name,
        "kind": kind_of(one.limit),
        "allows": one.allows,
        "max": one.max,
        "why": one.why,
        "mode": one.mode,
        "cost": one.charge.cost,
        "counter": f"{prefix}:{one.key}",
        "counted_without": list(one.without),
        "later": [{"from": instant(since), "allows": allows} for since, allows in steps(one)],
        **({} if usage is None else {"used": usage.used, "left": usage.left, "exceeded": usage.exceeded}),
    }


def _decision(verdict: Verdict) -> dict[str, Any]:
    return {
        "at": instant(verdict.now_ms),
        "allowed": verdict.allowed,
        "denied_by": verdict.denied_by,
        "retry_after_ms": verdict.retry_after_ms,
    }


def sentences(explanation: Explanation, verdict: Verdict | None) -> Sequence[str]:
    """What it comes to, in two or three of them."""
    call, caller = explanation.call, explanation.caller
    what = f"{call.method} {call.path}"
    if call.operation is None:
        return [f"{what} is exempt from every limit"]
    names = ", ".join(f"{one.limit.name} ({one.allows})" for one in explanation.limits) or "no limit"
    said = [f"{what} is {call.operation} for tier {caller.tier}: {names}"]
    if verdict is not None:
        said.append(decided(verdict))
    return said


def decided(verdict: Verdict) -> str:
    if verdict.allowed:
        return "now it would be allowed"
    wait = "can never pass" if verdict.retry_after_ms is None else f"would pass in {span(verdict.retry_after_ms)}"
    return f"now it would be denied by {verdict.denied_by}, and {wait}"
