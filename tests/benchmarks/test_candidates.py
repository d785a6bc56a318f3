"""Who is compared: what they are made of is fixed, and ours works."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from importlib import import_module, reload
from typing import Any

import pytest
from starlette.testclient import TestClient

from benchmarks import environments, floors, guard_paths, limited, load, policy
from benchmarks.candidates import BARE, BOTH, DEFAULT, FLOORS, OURS, PEERS, Candidate, Framework
from ratelimit import parse_policy
from ratelimit.policy import StoreSettings
from tests.servers import Server

EVERYONE = (BARE, *FLOORS, *OURS, *PEERS)
ON_MEMORY = [floor for floor in FLOORS if floor.needs == "nothing"]
ONE_TIER = '[tiers.anonymous]\nlimits = [ { name = "ip", rate = "1/minute" } ]\n'
SHARED = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "redis", "hiredis", "pydantic")


@pytest.fixture(autouse=True)
def apps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder of the apps on the path, as in the server's process, and none of its modules left behind."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(load.APPS)
    yield
    for name in set(sys.modules) - before:
        if (load.APPS / f"{name}.py").exists():
            del sys.modules[name]


@pytest.mark.parametrize("name", sorted({candidate.requirements for candidate in EVERYONE}))
def test_pins(name: str) -> None:
    """Every package of every environment has one exact version, and what all have in common is the same everywhere."""
    lines = environments.requirements(name).splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line)] == []
    pins, ours = environments.versions(name), environments.versions(environments.OURS)
    assert {package: pins[package] for package in SHARED} == {package: ours[package] for package in SHARED}
    assert name in pins or name == environments.OURS


def test_every_requirements_file_is_used() -> None:
    """No environment is pinned for nobody."""
    assert {path.stem for path in environments.REQUIREMENTS.iterdir()} == {who.requirements for who in EVERYONE}


@pytest.mark.parametrize("candidate", EVERYONE, ids=lambda candidate: candidate.name)
def test_every_app_is_there(candidate: Candidate) -> None:
    """The module of a candidate is there and has an app for each of its frameworks."""
    text = (load.APPS / f"{candidate.app}.py").read_text()
    assert all(re.search(rf"^in_{framework} = ", text, re.MULTILINE) for framework in candidate.frameworks)


@pytest.mark.parametrize("framework", BOTH)
@pytest.mark.parametrize("candidate", [BARE, *ON_MEMORY, *OURS], ids=lambda candidate: candidate.name)
def test_our_apps_answer(candidate: Candidate, framework: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bare app and ours answer the request of callers.lua, with limits in headers where a style is named."""
    for name, value in candidate.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RATELIMIT_STORE_URL", "memory://")
    app = getattr(
        reload(import_module(candidate.app)), f"in_{framework}"
    )  # its environment is read when it is imported
    with TestClient(app) as client:
        answer = client.get("/items/7", headers={"X-API-Key": policy.api_key(99)})
    assert (answer.status_code, answer.json()["id"]) == (200, 7)
    limited = [name for name in answer.headers if "ratelimit" in name]
    assert bool(limited) is candidate.headers


def test_no_answer_without_the_store() -> None:
    """Whatever the style, our policy refuses what the store did not decide: a run with that in it is thrown away."""
    limits = parse_policy(policy.text(style="ietf", reserve=True))
    assert limits.store.on_failure == "deny"
    assert parse_policy(policy.text()).style != limits.style


def test_what_is_installed_comes_first() -> None:
    """The first of ours is a policy that names neither a store nor a style, and it has headers on."""
    assert OURS[0] is DEFAULT
    assert DEFAULT.headers
    assert DEFAULT.environment["RATELIMIT_STORE_URL"] == StoreSettings().url
    assert DEFAULT.environment["BENCH_STYLE"] == limited.DEFAULT_STYLE
    assert type(parse_policy(policy.text(style=limited.DEFAULT_STYLE)).style) is type(parse_policy(ONE_TIER).style)


@pytest.mark.parametrize("candidate", [one for one in OURS if not one.headers], ids=lambda candidate: candidate.name)
def test_it_is_said_where_there_are_no_headers(candidate: Candidate) -> None:
    """The reader of the tables is told which of ours have no headers, by the name and by the configuration."""
    assert candidate.name.endswith("no headers")
    assert "no headers on allowed responses" in candidate.how


@pytest.mark.parametrize("number", [1, 2, 5, 10])
def test_so_many_limits(number: int) -> None:
    """All of them count, each by itself, and all are in the headers of the default style."""
    limits = parse_policy(policy.text(style="ietf", limits=number))
    headers = [(b"x-api-key", policy.api_key(0).encode())]
    identity = limits.identify({"type": "http", "headers": headers, "client": ("192.0.2.1", 1)})
    assert len({charge.key for charge in limits.charges(identity, "detail_read")}) == number  # type: ignore[arg-type]


@pytest.mark.parametrize("floor", FLOORS, ids=lambda floor: floor.name)
def test_floors(floor: Candidate, valkey: Server) -> None:
    """Each answers with the answer of the app, also those who wait together; headers as in the ietf style, or none."""
    from plain import starlette_app

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def ask() -> None:
        app = floors.floor(floor.environment["BENCH_FLOOR"], starlette_app(), valkey.unix_url)
        for _ in range(2):
            await asyncio.gather(*(app(guard_paths.request(number), guard_paths.receive, send) for number in range(3)))
        outermost = app.middleware_stack.app
        if isinstance(outermost, floors.Pinged):
            outermost.batches.close()
            await asyncio.sleep(0)

    asyncio.run(ask())
    heads = [message for message in sent if message["type"] == "http.response.start"]
    assert [head["status"] for head in heads] == [200] * 6
    assert [dict(head["headers"]).get(b"ratelimit-policy", b"").count(b'"') for head in heads] == [
        4 * floor.headers
    ] * 6


def test_callers_are_known() -> None:
    """Each API key of callers.lua is a caller of its own in our policy, with both limits."""
    limits = parse_policy(policy.text(rate=7, long=70))
    keys = set()
    for number in range(policy.CALLERS):
        headers = [(b"x-api-key", policy.api_key(number).encode())]
        identity = limits.identify({"type": "http", "headers": headers, "client": ("192.0.2.1", 1)})
        charges = limits.charges(identity, "detail_read")  # type: ignore[arg-type]
        assert [charge.limit.name for charge in charges] == ["requests", "monthly"]
        keys |= {charge.key for charge in charges}
    assert len(keys) == 2 * policy.CALLERS
