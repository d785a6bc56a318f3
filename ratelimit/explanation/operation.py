"""What a call is taken for, and what tells: a rule, its endpoint, or its shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import iscoroutine
from typing import Any
from urllib.parse import unquote

from ratelimit.checks.values import EXEMPT
from ratelimit.endpoints.start import limiting
from ratelimit.model import Classify, Readings, Scope
from ratelimit.operations import ClassifyByRules, Rule
from ratelimit.operations.readings import readings
from ratelimit.policy import Policy
from ratelimit.routes.paths import WEBSOCKET, split_path
from ratelimit.routes.routed import Endpoint, Routed

_METHOD = re.compile(r"[A-Z][A-Z-]{0,39}")


class WrongCall(ValueError):
    """No request has such a method or path. No message shows it: it may be an API key in the wrong place."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read the path. `operation` is None where it is exempt; `rule` is there where one takes it."""

    path: str
    operation: str | None
    rule: str | None = None  # "POST /v2/invoices"
    where: str | None = None  # "operations.heavy_write[0]"


@dataclass(frozen=True, slots=True)
class Classified:
    """`operation` is as the log has it, None where the call is exempt; `charged_as` is what it is charged as."""

    method: str
    path: str
    operation: str | None
    operations: tuple[str, ...]
    source: str  # "rule", "decorator", "dependency", "shape", "guess", "readings" or "classify"
    why: tuple[str, ...]
    readings: tuple[Reading, ...]
    charged_as: str | None
    units: str | None = None  # what multiplies the cost, where that is more than one


def classified(policy: Policy, method: str, path: str, app: Any = None) -> Classified:
    """The call as a server would hand it on. `app` is the app whose routes are known. WrongCall for what no client can
    send."""
    method = method.upper()
    if not _METHOD.fullmatch(method):
        raise WrongCall("the method is one word of letters, such as GET, or WEBSOCKET for a handshake")
    if not path.startswith("/") or not path.isprintable():
        raise WrongCall("the path begins with a slash, such as /v2/invoices/7; its query is not looked at")
    scope = _scope(method, path)
    endpoint, known = None, False
    if app is None:
        said = _asked(policy.classify, scope)
    else:
        by_routes = limiting(policy.classify, app, policy, lambda _: None)
        said, endpoint = _asked(by_routes, scope), by_routes.routes.endpoint(scope)
        known = isinstance(by_routes, ClassifyByRules) and by_routes._items.know(scope)
    found = tuple(_readings(policy.classify, scope)) if isinstance(policy.classify, ClassifyByRules) else ()
    names = said.operations if isinstance(said, Readings) else () if said is None else (said,)
    source, why = _why(method, scope["path"], names, found, endpoint, known=known, app=app is not None)
    units = _units(said)
    if units:
        why = (*why, f"its cost is times {units}")
    shown = "·".join(names) or None
    return Classified(method, scope["path"], shown, names, source, why, found, said, units)


def _scope(method: str, path: str) -> Scope:
    plain = re.split(r"[?#]", path, maxsplit=1)[0]
    websocket = method == WEBSOCKET
    return {
        "type": "websocket" if websocket else "http",
        **({} if websocket else {"method": method}),
        "path": unquote(plain),
        "raw_path": plain.encode(errors="surrogatepass"),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": None,
    }


def _asked(classify: Classify, scope: Scope) -> str | None:
    said = classify({**scope})
    if iscoroutine(said):
        said.close()
        raise WrongCall("this policy has a classify of its own that is async: it can only be asked by the app itself")
    assert said is None or isinstance(said, str)  # noqa: S101 - what it returns otherwise is an error of the app
    return said


def _readings(rules: ClassifyByRules, scope: Scope) -> Iterator[Reading]:
    """The path as it is, and as what is behind may read it."""
    method = scope.get("method", WEBSOCKET)
    paths = readings(scope["path"], "", scope["raw_path"]) or [scope["path"]]
    seen = set()
    for path in paths:
        segments = tuple(split_path(path))
        if segments in seen:
            continue
        seen.add(segments)
        rule = rules.rule_of(method, list(segments))
        if rule is not None:
            yield Reading(path, rule.operation, f"{rule.method} {rule.path}", _where(rules, rule))
        else:
            yield Reading(path, _asked(rules, {**scope, "path": path, "raw_path": b""}))


def _where(rules: ClassifyByRules, rule: Rule) -> str:
    same = [other for other in rules.rules if other.operation == rule.operation]
    return f"operations.{rule.operation or EXEMPT}[{same.index(rule)}]"


def _why(
    method: str,
    path: str,
    names: tuple[str, ...],
    found: tuple[Reading, ...],
    endpoint: Endpoint | None,
    *,
    known: bool,
    app: bool,
) -> tuple[str, tuple[str, ...]]:
    if len(names) > 1 or len({reading.operation for reading in found}) > 1:
        charged = "each limit that one of them reaches is charged, at its highest cost" if names else "all are exempt"
        return "readings", (f"its path may be read in several ways: {charged}", *map(_of_reading, found))
    if not found:
        return "classify", ("the policy has a classify of its own, which says so",)
    (first, *_) = found
    if first.rule is not None:
        return "rule", (_of_reading(first),)
    if endpoint is not None and endpoint.operation is not None:
        return endpoint.why, (f"no rule takes it, and its endpoint says so, by a {endpoint.why}",)
    if method not in {"GET", "HEAD"}:
        what = "a handshake" if method == WEBSOCKET else method
        return "shape", (f"no rule takes it, and {what} is {' or '.join(names) or EXEMPT}",)
    what = "an item" if names == ("detail_read",) else "a collection"
    by = "by the routes of the app"
    if not known:
        by = f"by a guess at its path: {'no route of the app says' if app else 'with --app its routes would tell'}"
    return "shape" if known else "guess", (f"no rule takes it, and a {method} of {what} is {'·'.join(names)}, {by}",)


def _of_reading(reading: Reading) -> str:
    operation = reading.operation or EXEMPT
    if reading.rule is None:
        return f"{reading.path} is {operation} by its shape"
    return f'{reading.path} is {operation} by the rule "{reading.rule}", {reading.where}'


def _units(said: str | None) -> str | None:
    if not isinstance(said, Routed):
        return None
    if said.endpoint.units_of is not None:
        return "the units that its endpoint computes, 1 here"
    return None if said.units == 1 else str(said.units)
