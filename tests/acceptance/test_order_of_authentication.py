"""An authentication that runs after the limiter, where nobody is ever known, is told once with the order to write."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ratelimit import Identity, RateLimitMiddleware, identify_user
from tests.acceptance import ask, policy, run, scope_of

ORDER = (
    'the request has no scope["user"], so that identify_user takes the caller for anonymous: the authentication has to '
    "run before the limiter. app.add_middleware puts what is added last outside: add RateLimitMiddleware first, and "
    "AuthenticationMiddleware after it. This is logged once."
)


class ByHeader(AuthenticationBackend):
    async def authenticate(self, conn: Any) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.headers.get("x-user")
        return None if name is None else (AuthCredentials(["read"]), SimpleUser(name))


async def who(request: Request) -> PlainTextResponse:
    return PlainTextResponse("=".join(request.scope["ratelimit.identity"].root))


def app(*, limiter_first: bool) -> Starlette:
    identify = identify_user(lambda user, auth: Identity(user=user.username, tier="basic"))
    layers = [
        Middleware(AuthenticationMiddleware, backend=ByHeader()),
        Middleware(RateLimitMiddleware, policy=policy(), store="memory://", identify=identify),
    ]
    return Starlette(routes=[Route("/who", who)], middleware=layers[::-1] if limiter_first else layers)


@pytest.mark.parametrize("limiter_first", [True, False])
def test_the_order(caplog: pytest.LogCaptureFixture, limiter_first: bool) -> None:
    """Outside of the authentication a user is anonymous: that is said once. Inside of it nothing is, to nobody."""
    caplog.set_level(logging.WARNING, "ratelimit")
    limited = app(limiter_first=limiter_first)

    async def test() -> None:
        for headers in ({"x_user": "ana"}, {}):
            _, body = await ask(limited, scope=scope_of("/who", api_key=None, **headers))
            anonymous = limiter_first or not headers
            assert body["body"] == (b"ip=192.0.2.7" if anonymous else b"user=ana")

    run(test())
    assert [record.getMessage() for record in caplog.records].count(ORDER) == limiter_first
    assert ("scope" in caplog.text) == limiter_first


def test_a_user_who_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """A `user` that is None, or not authenticated, is an answer: nothing is said of the order."""
    caplog.set_level(logging.WARNING, "ratelimit")
    identify = identify_user(lambda user, auth: Identity(user=user.username))
    assert identify({**scope_of(), "user": None}) is None
    assert caplog.records == []
