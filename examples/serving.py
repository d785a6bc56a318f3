"""Serving an app with uvicorn in a thread, on a free port of the loopback interface."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from fastapi import FastAPI

START = 10.0  # seconds that a server may take to start


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The URL of the app; its server is stopped at the end, whatever happens."""
    # The peer of the socket is the client: nobody else may say who is calling, so uvicorn reads no X-Forwarded-For.
    config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_run, args=(server, listening), daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    with suppress(SystemExit):  # uvicorn ends its process where an app does not start; here it is only a thread
        server.run([listening])


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the server did not start; what is wrong stands above")
        time.sleep(0.01)
