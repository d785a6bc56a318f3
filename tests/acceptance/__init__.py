"""What a user is promised, one promise a file: apps that are limited, asked as a server would ask them."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from ratelimit import Policy, RateLimitMiddleware, hash_api_key, parse_policy
from ratelimit.model import ASGIApp, Message, Scope
from ratelimit.stores.memory import MemoryStore

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z

ANA, BEN, SLOW = "sk_live_ana", "sk_live_ben", "sk_live_slow"


def policy(
    limits: str = '{ name = "requests", rate = "3/minute" }',
    more: str = "",
    style: str = "lendworks",
    anonymous: str = "2/minute",
) -> Policy:
    """A policy with `limits` for two known callers, and two requests a minute for anybody else."""
    keys = "".join(
        f'[[keys]]\nsha256 = "{hash_api_key(api_key)}"\ntier = "basic"\nuser = "{name}"\n'
        for name, api_key in (("ana", ANA), ("ben", BEN))
    )
    others = f'[tiers.anonymous]\nlimits = [ {{ name = "ip", rate = "{anonymous}" }} ]\n'
    basic = f"[tiers.basic]\nlimits = [ {limits} ]\n"
    return parse_policy(f'style = "{style}"\n{more}\n{keys}\n{others}\n{basic}', "test.toml")


def limited(app: ASGIApp, limits: str = '{ name = "requests", rate = "3/minute" }', **rest: Any) -> RateLimitMiddleware:
    """`app` behind a policy, on a clock that stands still."""
    more = {name: rest.pop(name) for name in ("more", "style") if isinstance(rest.get(name), str)}
    return RateLimitMiddleware(app, policy(limits, **more), store=MemoryStore(clock=lambda: T), **rest)


def scope_of(path: str = "/items/7", method: str = "GET", api_key: str | None = ANA, **headers: str) -> Scope:
    """An HTTP scope as a server makes it. Header names are written with underscores."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if api_key:
        raw.append((b"authorization", f"Bearer {api_key}".encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": ("192.0.2.7", 50_000),
        "server": ("127.0.0.1", 80),
    }


async def ask(app: ASGIApp, *arguments: Any, scope: Scope | None = None, **keywords: Any) -> list[Message]:
    """Send one request; returns the messages that the app has sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope or scope_of(*arguments, **keywords), receive, send)
    return sent


@types.coroutine
def driven(call: Coroutine[Any, Any, None], end: str) -> Generator[Any, None, None]:
    """Awaited as a server's own task, which closes or drops a call when it is cancelled itself, or cancels it."""
    error: BaseException | None = None
    while True:
        try:
            waits_for = call.throw(error) if error else call.send(None)
        except StopIteration:
            return
        try:
            yield waits_for
            error = None
        except asyncio.CancelledError as cancelled:
            error = cancelled
            if end == "close":
                call.close()
                return
            if end == "drop":
                del call, waits_for
                gc.collect(0)
                return
        except BaseException as thrown:  # noqa: BLE001 - it goes to the call
            error = thrown


def in_order(value: object) -> str:
    """The id of a parameter, the same in both processes of `make test`: of a set, in order."""
    return f"{{{', '.join(sorted(map(repr, value)))}}}" if isinstance(value, set | frozenset) else repr(value)


def names(message: Message) -> list[str]:
    return sorted(name.decode() for name, _ in message["headers"])


def header(message: Message, name: str) -> str | None:
    """The one value of a header; fails if it is there twice."""
    values = [value.decode() for found, value in message["headers"] if found.lower() == name.encode()]
    assert len(values) <= 1, f"{name} is there {len(values)} times"
    return values[0] if values else None


async def plain(
    scope: Scope, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """An app that answers 200 to everything."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"here you are"})


@contextmanager
def served(app: ASGIApp, **config: Any) -> Iterator[str]:
    """`app` on uvicorn in a thread of its own, on a free port of loopback; yields its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", **config))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "uvicorn did not start"
        time.sleep(0.005)
    try:
        name = server.servers[0].sockets[0].getsockname()
        yield f"http://127.0.0.1:{name[1]}" if isinstance(name, tuple) else "http://localhost"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def workers(count: int, target: str, environment: dict[str, str]) -> Iterator[list[str]]:
    """`count` processes of uvicorn, each with the app `target` on a port of its own; yields their URLs."""
    from tests.servers import free_port

    ports = [free_port() for _ in range(count)]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "uvicorn",
                target,
                "--port",
                str(port),
                "--log-level",
                "warning",
                "--backlog",
                "4096",
            ],
            env={**os.environ, **environment},
            cwd=Path(__file__).parents[2],
        )
        for port in ports
    ]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    try:
        for process, url in zip(processes, urls, strict=True):
            _wait_until_up(process, url)
        yield urls
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(1_000):
        if process.poll() is not None:
            pytest.fail(f"a worker ended with status {process.returncode}")
        try:
            httpx2.get(f"{url}/health")
        except httpx2.TransportError:
            time.sleep(0.02)
        else:
            return
    pytest.fail("a worker did not answer within 20 s")


def run(test: Awaitable[None]) -> None:
    asyncio.run(test)
