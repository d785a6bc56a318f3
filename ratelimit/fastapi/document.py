"""The answers of the limiter in the OpenAPI document of a FastAPI app."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from inspect import iscoroutine
from typing import Any, NamedTuple

from fastapi import FastAPI

from ratelimit.checks.values import EXEMPT
from ratelimit.fastapi.control import control
from ratelimit.fastapi.inference import Schema, response
from ratelimit.fastapi.samples import Answers, answers
from ratelimit.middleware import RateLimitMiddleware
from ratelimit.model import Classify, Readings, Style
from ratelimit.opening import loaded
from ratelimit.operations import classify_for
from ratelimit.policy import Policy
from ratelimit.routes.declared import included
from ratelimit.styles.jitter import steady

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_PARAMETER = re.compile(r"\{[^{}]*\}")
_NAMES = {400: "TwoCallers", 403: "NeverPasses", 429: "TooManyRequests", 503: "LimitsUnavailable"}


class _Limiter(NamedTuple):
    policy: Policy
    style: Style
    classify: Classify


def document(app: FastAPI, policy: Policy | str | os.PathLike[str] | None = None) -> None:
    """Have the OpenAPI document of an app tell the answers that the limiter may give in its place: of each operation
    the 429, and where they can occur the 403 of what can never pass, the 503 of a policy that denies without its store,
    the 400 of a request with the API keys of two callers, or without a number of units. Headers, schema and example are
    of the style. What an endpoint holds may deny it where it takes a RateLimit, or the limit lists its operation.

    An operation that is exempt has none, and what the app documents itself under one of these statuses stays. `policy`
    is that of the app's own RateLimitMiddleware unless it is given, as for an app that is limited from outside: then it
    is a Policy or a path. The document is made when it is first asked for, so that this may come before the routes and
    the middleware; it raises ValueError then where there is no policy. To call it twice is to call it once.
    """
    given = loaded(policy) if policy is not None and not isinstance(policy, Policy) else policy
    known: Callable[[], dict[str, Any]] = app.openapi
    if getattr(known, "of_the_limiter", False):
        return
    done: list[dict[str, Any]] = []  # the document that has the answers already

    def openapi() -> dict[str, Any]:
        made = known()
        if not done or done[0] is not made:
            limiters = [_Limiter(given, given.style, given.classify)] if given else list(_limiters(app))
            if not limiters:
                raise ValueError(
                    "document(app) finds no RateLimitMiddleware among the middlewares of this app: add it with "
                    "app.add_middleware, or give the policy that limits the app from outside, document(app, policy)"
                )
            for limiter in limiters:
                _add(made, limiter, app)
            done[:] = [made]
        return made

    openapi.of_the_limiter = True  # type: ignore[attr-defined]
    app.openapi = openapi  # type: ignore[method-assign]


def _limiters(app: FastAPI) -> Iterator[_Limiter]:
    for added in app.user_middleware:
        if isinstance(added.cls, type) and issubclass(added.cls, RateLimitMiddleware):
            given: dict[str, Any] = {**dict(zip(("policy",), added.args, strict=False)), **added.kwargs}
            policy = given["policy"] if isinstance(given["policy"], Policy) else loaded(given["policy"])
            yield _Limiter(policy, given.get("style") or policy.style, given.get("classify") or policy.classify)


def _add(made: dict[str, Any], limiter: _Limiter, app: FastAPI) -> None:
    classify = classify_for(limiter.classify, app)
    by_operation: dict[tuple[str | None, bool], Answers] = {}
    holding = frozenset(_holding(app))
    shared = made.get("components", {}).get("responses", {})
    for path, methods in made.get("paths", {}).items():
        for method in methods.keys() & _METHODS:
            operation = _operation(classify, _request(method.upper(), path, app))
            if operation == EXEMPT:
                continue
            what = operation, (method.upper(), path) in holding
            if what not in by_operation:
                by_operation[what] = answers(limiter.policy, steady(limiter.style), operation, holds=what[1])
            responses = methods[method].setdefault("responses", {})
            for status, of_status in sorted(by_operation[what].items()):
                if str(status) not in responses:
                    one = response(status, of_status, limiter.style.log_id_header)
                    responses[str(status)] = {"$ref": f"#/components/responses/{_shared(shared, status, one)}"}
    if shared:
        made.setdefault("components", {})["responses"] = shared


def _holding(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Methods and paths of the endpoints that take a RateLimit, themselves or by a dependency."""
    for route in (answering for written in app.routes for _, answering in included(written)):
        dependant = getattr(route, "dependant", None)
        if dependant is not None and _takes_control(dependant):
            yield from ((method, route.path_format) for method in route.methods or ())


def _takes_control(dependant: Any) -> bool:
    gives = dependant.call is control or getattr(dependant.call, "gives_control", False)
    return gives or any(map(_takes_control, dependant.dependencies))


def _operation(classify: Classify, scope: dict[str, Any]) -> str | None:
    """EXEMPT too; None where an own `classify` says nothing without a real request, or is async."""
    own: Classify | None = getattr(classify, "own", None)  # what wraps it would never await what that returned
    try:
        said = own(scope) if own else None
        said = said if iscoroutine(said) else classify(scope)
    except Exception:  # noqa: BLE001 - it is made for requests, and this is none
        return None
    if said is None or isinstance(said, str):
        exempt = said is None or (isinstance(said, Readings) and not said.operations)
        return EXEMPT if exempt else said if isinstance(said, Readings) else str(said)
    if iscoroutine(said):
        said.close()
    return None


def _shared(shared: dict[str, Schema], status: int, one: Schema) -> str:
    """The name of a response among those that operations share."""
    name = of_status = _NAMES.get(status, f"Limited{status}")
    number = 1
    while name in shared and shared[name] != one:
        number += 1
        name = f"{of_status}{number}"
    shared[name] = one
    return name


def _request(method: str, path: str, app: FastAPI) -> dict[str, Any]:
    """One that the route of a path of the document takes, as nearly as can be told from its path."""
    scope = {"type": "http", "method": method, "path": _PARAMETER.sub("1", path), "root_path": ""}
    return {**scope, "query_string": b"", "headers": [], "app": app}
