"""Servers that an app may run on, each in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import granian.server.embed
import hypercorn.asyncio
import pytest

from ratelimit.model import ASGIApp
from tests.acceptance import served
from tests.servers import free_port

SERVERS = ("uvicorn-h11", "uvicorn-httptools", "hypercorn", "granian")

PATIENCE = 3.0  # seconds: from Python 3.12 on hypercorn waits for connections that an error of its own left open

End = Callable[[], None]


@contextmanager
def served_by(name: str, app: ASGIApp) -> Iterator[str]:
    """`app` on one of SERVERS; yields its URL. The lifespan of the app has ended when this has."""
    server, _, parser = name.partition("-")
    if server == "uvicorn":
        with served(app, http=parser, proxy_headers=False) as url:
            yield url
        return
    serve = {"hypercorn": _hypercorn, "granian": _granian}[server]
    port, ends, begun = free_port(), list[End](), threading.Event()

    async def run() -> None:
        running, end = serve(app, port)
        loop = asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(end))
        task = asyncio.ensure_future(running)
        ends.append(lambda: loop.call_soon_threadsafe(task.cancel))
        begun.set()
        await asyncio.wait([task])
        assert task.cancelled() or task.result() is None

    thread = threading.Thread(target=asyncio.run, args=[run()])
    thread.start()
    begun.wait(20)
    try:
        _wait_until_up(thread, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        end, cancel = ends
        end()
        thread.join(PATIENCE)
        if thread.is_alive():
            cancel()
        thread.join()


def _hypercorn(app: ASGIApp, port: int) -> tuple[Coroutine[Any, Any, None], End]:
    config, end = hypercorn.Config(), asyncio.Event()
    config.bind, config.loglevel = [f"127.0.0.1:{port}"], "WARNING"
    config.graceful_timeout = 0.1
    return hypercorn.asyncio.serve(app, config, shutdown_trigger=end.wait), end.set


def _granian(app: ASGIApp, port: int) -> tuple[Coroutine[Any, Any, None], End]:
    server = granian.server.embed.Server(app, port=port, interface="asgi", log_enabled=False)
    return server.serve(), server.stop


def _wait_until_up(thread: threading.Thread, port: int) -> None:
    for _ in range(2_000):
        assert thread.is_alive(), "the server did not start"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    pytest.fail("the server did not answer within 20 s")
