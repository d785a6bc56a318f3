"""A test client runs each request on an event loop of its own, which ends with it: no task is destroyed while it is
pending, no connection is left, and no warning comes of it."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import fastapi
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.ground.loops import ends
from ratelimit.stores.routing import nodes as cluster_module
from tests import clusters, servers

NAME = "a-loop-a-request"  # of our connections
LIMITS = '{ name = "ip", rate = "100000/minute" }, { name = "in flight", concurrency = 50 }'
POLICY = '[store]\ntimeout = "5s"\non_failure = "%s"\n[tiers.anonymous]\nlimits = [ %s ]'


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What Python complains of where nobody can catch it."""
    said: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: said.append(f"{what.exc_value!r} in {what.object!r}"))
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    caplog.set_level(logging.ERROR, "asyncio")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield said
        gc.collect()
    records = [record for when in ("call", "teardown") for record in caplog.get_records(when)]
    said += [record.getMessage() for record in records if record.name == "asyncio"]
    assert said == []


def connections(nodes: list[servers.Server]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(one["name"] == NAME for node in nodes for one in node.client().client_list())


def with_starlette() -> Any:
    async def plain(_: Request) -> PlainTextResponse:
        return PlainTextResponse("fine")

    async def stream(_: Request) -> StreamingResponse:
        async def body() -> Any:
            for _ in range(2):
                await asyncio.sleep(0)
                yield b"x"

        return StreamingResponse(body())

    async def fails(_: Request) -> None:
        raise ValueError("the app's own")

    return Starlette(routes=[Route("/", plain), Route("/stream", stream), Route("/fails", fails)])


def with_fastapi() -> Any:
    app = fastapi.FastAPI()
    app.get("/")(lambda: "in a thread")

    @app.get("/stream")
    async def stream() -> str:
        return "fine"

    return app


def use(app: Any, url: str, on_failure: str, times: int, limits: str = LIMITS, **options: Any) -> None:
    app.add_middleware(RateLimitMiddleware, policy=parse_policy(POLICY % (on_failure, limits), "p"), store=url)
    client = TestClient(app, raise_server_exceptions=False, backend_options=options)  # no `with`: a loop a request
    for _ in range(times):
        assert [client.get(path).status_code for path in ("/", "/stream")] == [200, 200]
        client.get("/fails")


@pytest.mark.parametrize(
    ("make", "on_failure", "uvloop"),
    [(with_starlette, "allow", False), (with_starlette, "local", True), (with_fastapi, "local", False)],
)
def test_hundreds_of_requests(
    make: Callable[[], Any], on_failure: str, uvloop: bool, valkey: servers.Server, heard: list[str]
) -> None:
    """A store on a server, with slots that are held, whatever `on_failure` says."""
    use(make(), f"{valkey.url}?client_name={NAME}", on_failure, 4, use_uvloop=uvloop)
    assert connections([valkey]) == 0


@pytest.mark.parametrize("on_failure", ["allow", "local"])
def test_on_a_cluster(
    on_failure: str, valkey_cluster: clusters.Cluster, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that ends cancels what it runs, and nobody looks then where the slots of the nodes are that it left."""
    monkeypatch.setattr(cluster_module, "REST", 0.0)  # between two looks
    use(with_starlette(), f"{valkey_cluster.url}/0?client_name={NAME}", on_failure, 3)
    assert connections(list(valkey_cluster.nodes)) == 0


@pytest.mark.parametrize("limits", [LIMITS, '{ name = "ip", rate = "1000/minute", reserve = true }'])
def test_without_a_server(limits: str, heard: list[str]) -> None:
    """One that can't be reached is tried again by nobody when the loop has ended."""
    use(with_starlette(), "redis://127.0.0.1:1/0", "local", 3, limits)


def test_who_is_cancelled() -> None:
    """It is the task that runs, from when it was cancelled on."""
    seen: list[bool] = []

    async def test() -> None:
        try:
            seen.append(ends())
            await asyncio.sleep(10)
        finally:
            seen.append(ends())

    async def main() -> None:
        task = asyncio.create_task(test())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        asyncio.get_running_loop().call_soon(lambda: seen.append(ends()))  # no task runs there
        await asyncio.sleep(0)

    asyncio.run(main())
    assert seen == [False, True, False]
