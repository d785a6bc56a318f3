"""A CORSMiddleware inside of the limiter is warned of once, when a script of another origin is denied."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient

from ratelimit import RateLimitMiddleware
from ratelimit.answers.cors import is_inside
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ANA, T, ask, limited, plain, policy, run

CORS = Middleware(CORSMiddleware, allow_origins=["*"])
HEADERS = {"Authorization": f"Bearer {ANA}", "Origin": "https://a.example"}


def added_first(make):
    app = make()
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    app.add_middleware(GZipMiddleware)
    app.add_middleware(RateLimitMiddleware, policy(), store=MemoryStore(clock=lambda: T))
    return app


def added_last(make):
    app = make()
    app.add_middleware(RateLimitMiddleware, policy(), store=MemoryStore(clock=lambda: T))
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    return app


class Own(CORSMiddleware):
    """One of somebody's own making."""


class Stacking(Starlette):
    """Makes its stack in its own way."""

    def build_middleware_stack(self):
        return CORSMiddleware(super().build_middleware_stack(), allow_origins=["*"])


@pytest.mark.parametrize(
    ("app", "inside"),
    [
        (added_first(Starlette), True),
        (added_first(FastAPI), True),
        (added_last(Starlette), False),
        (added_last(FastAPI), False),
        (limited(CORSMiddleware(plain, allow_origins=["*"])), True),
        (limited(GZipMiddleware(Own(plain, allow_origins=["*"]))), True),
        (limited(Starlette(middleware=[CORS])), True),
        (limited(GZipMiddleware(Starlette(middleware=[Middleware(GZipMiddleware), CORS]))), True),
        (limited(Stacking()), True),
        (limited(Starlette(middleware=[Middleware(GZipMiddleware)])), False),
        (limited(plain), False),
        (CORSMiddleware(limited(plain), allow_origins=["*"]), False),
    ],
    ids=range(12),
)
def test_said_once(app, inside: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing where a request passes or has no Origin; one line at the first 429 that no script can read."""
    client = TestClient(app, raise_server_exceptions=False)
    for _ in range(4):
        client.get("/", headers=HEADERS)
        client.get("/", headers={**HEADERS, "Authorization": ""})
    said = [record for record in caplog.records if "CORSMiddleware" in record.getMessage()]
    assert [record.levelname for record in said] == ["WARNING"] * inside


def test_when_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """It needs a denial and an Origin; each middleware says it for itself, with the line to write."""

    async def test() -> None:
        limiter = limited(CORSMiddleware(plain, allow_origins=["*"]))
        for _ in range(3):
            await ask(limiter, origin="https://a.example")
        await ask(limiter)
        assert caplog.records == []
        await ask(limiter, origin="https://a.example")
        await ask(limiter, origin="https://a.example")
        (record,) = caplog.records
        assert "CORSMiddleware(RateLimitMiddleware(app, ...), ...)" in record.getMessage()

    run(test())


def test_apps_of_any_make() -> None:
    """What has no end, or breaks when it is looked at, costs nobody an answer."""

    class Endless:
        @property
        def app(self):
            return Endless()

    class Broken:
        @property
        def app(self):
            raise RuntimeError("out of context")

    class Factory:
        user_middleware = (Middleware(lambda app: app),)

    assert [is_inside(app) for app in (Endless(), Broken(), Factory(), None)] == [False] * 4
