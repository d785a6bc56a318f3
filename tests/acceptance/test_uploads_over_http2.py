"""An upload over HTTP/2 that is denied before its body was read: its caller reads the 429, and other requests on the
connection go on. in hypercorn 0.18 they are lost when more of the body comes: docs/promises.md says so."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx2
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from ratelimit import RateLimitMiddleware
from ratelimit.model import Receive, Scope, Send
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import ANA, plain, policy
from tests.acceptance.serving import served_by

LIMITS = '{ name = "uploads", rate = "1/day", operations = ["create"] }'
SLOW, UPLOAD = 1, 3  # streams
LARGE = 1_000_000  # bytes: more than the windows of flow control let through at once


class Client:
    """One connection, with a slow request under way."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.initiate_connection()
        self.statuses: dict[int, str] = {}
        self.ended: set[int] = set()
        self.alive = True
        self.ask(SLOW, "GET", "/slow", end_stream=True)

    def ask(self, stream: int, method: str, path: str, *, end_stream: bool = False) -> None:
        fields = {":method": method, ":path": path, ":scheme": "http", ":authority": "a"}
        self._h2.send_headers(stream, [*fields.items(), ("authorization", f"Bearer {ANA}")], end_stream=end_stream)
        self._flush()

    def upload(self, size: int) -> None:
        """As much of a body as flow control lets through, and more when it lets more through."""
        while size and self.alive and UPLOAD not in self.ended:
            room = min(self._h2.local_flow_control_window(UPLOAD), self._h2.max_outbound_frame_size, size)
            if room:
                size -= room
                self._h2.send_data(UPLOAD, b"x" * room, end_stream=not size)
                self._flush()
            else:
                self.read()

    def read(self) -> None:
        """What has come."""
        try:
            data = self._socket.recv(65_536)
        except OSError:
            data = b""
        self.alive = self.alive and bool(data)
        for event in self._h2.receive_data(data):
            if isinstance(event, ResponseReceived):
                self.statuses[event.stream_id] = dict(event.headers)[":status"]
            elif isinstance(event, DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded | StreamReset):
                self.ended.add(event.stream_id)
        self._flush()

    def until_ended(self, stream: int) -> None:
        while self.alive and stream not in self.ended:
            self.read()

    def close(self) -> None:
        self._socket.close()

    def _flush(self) -> None:
        with suppress(OSError):  # the server has hung up: what it has said before can still be read
            self._socket.sendall(self._h2.data_to_send())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    await plain(scope, receive, send)


@pytest.fixture(scope="module", params=["granian", "hypercorn"])
def site(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    name = request.param
    with served_by(name, RateLimitMiddleware(app, policy(LIMITS), store=MemoryStore())) as url:
        httpx2.post(f"{url}/uploads", headers={"Authorization": f"Bearer {ANA}"})  # the one of this day
        yield name, int(url.rpartition(":")[2])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of hypercorn, which ends in the middle
@pytest.mark.parametrize("size", [10, 50_000, LARGE])
@pytest.mark.parametrize("waits", [False, True])
def test_a_denied_upload(site: tuple[str, int], size: int, waits: bool) -> None:
    """Whether its body is short or long, and comes before the answer or after it."""
    name, port = site
    client = Client(port)
    client.ask(UPLOAD, "POST", "/uploads")
    if waits:
        while UPLOAD not in client.statuses:
            client.read()
    client.upload(size)
    client.until_ended(UPLOAD)
    assert client.statuses[UPLOAD] == "429"
    if name != "hypercorn":
        client.until_ended(SLOW)
        assert client.statuses[SLOW] == "200"
    client.close()
