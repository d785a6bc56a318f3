"""The wire: commands as the protocol writes them, replies however they come in, and a server that talks nonsense."""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores.connection.errors import (
    ClusterDown,
    NoScript,
    NotMaster,
    Refused,
    Replied,
    Unwritable,
    advised,
    error_of,
)
from ratelimit.stores.connection.socket import Socket, bulk, command
from ratelimit.stores.redis import RedisStore
from tests.stores import rate
from tests.stores.wires import WARM, FakeTransport, FakeWire, T, ask, connected, fake_store, read, run, turns


def socket() -> tuple[Socket, FakeTransport, list[Any], list[str]]:
    """A Socket, its transport, and what it said to its owner: replies, and why it was lost."""
    replies: list[Any] = []
    lost: list[str] = []
    transport = FakeTransport()
    return Socket(transport, replies.append, lost.append), transport, replies, lost


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (0, b"$1\r\n0\r\n"),
        (9, b"$1\r\n9\r\n"),
        (1_023, b"$4\r\n1023\r\n"),
        (1_024, b"$4\r\n1024\r\n"),
        (-1, b"$2\r\n-1\r\n"),
        (2**53 - 1, b"$16\r\n9007199254740991\r\n"),
        ("", b"$0\r\n\r\n"),
        ("EVALSHA", b"$7\r\nEVALSHA\r\n"),
        ("{user=zoë}", b"$11\r\n{user=zo\xc3\xab}\r\n"),
        ("a\r\n$1\r\nb", b"$8\r\na\r\n$1\r\nb\r\n"),
        (b"\x00\xff", b"$2\r\n\x00\xff\r\n"),
    ],
)
def test_a_part(part: bytes | str | int, written: bytes) -> None:
    """A part is its length in bytes and itself, whatever is in it."""
    assert bulk(part) == written
    assert command(part) == b"*1\r\n" + written


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(), st.binary()), min_size=1, max_size=5))
def test_a_command(sent: list[int | str | bytes]) -> None:
    """A server reads the parts that were written."""
    texts = [part if isinstance(part, bytes) else str(part).encode() for part in sent]
    assert read(command(*sent)) == [texts]


REPLIES = [
    (b":1772359200000\r\n", 1_772_359_200_000),
    (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
    (b"+OK\r\n", b"OK"),
    (b"*-1\r\n", None),
    (b"$-1\r\n", None),
    (b"*0\r\n", []),
    (b"*4\r\n:7\r\n:-2\r\n$9\r\nWRONGTYPE\r\n*1\r\n:1\r\n", [7, -2, b"WRONGTYPE", [1]]),
    (b"_\r\n", None),  # from here on RESP3
    (b"#t\r\n", True),
    (b"%1\r\n+a\r\n:1\r\n", {b"a": 1}),
]
PUSH = b">2\r\n+invalidate\r\n*1\r\n+key\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 10_000])
def test_replies_in_pieces(step: int) -> None:
    """However the bytes are cut, one reply comes of each, in their order; what the server pushes by itself is none."""
    text = PUSH.join(written for written, _ in REPLIES) + PUSH
    sock, transport, replies, lost = socket()
    for at in range(0, len(text), step):
        sock.data_received(text[at : at + step])
    assert replies == [reply for _, reply in REPLIES]
    assert (transport.protocol, transport.aborted, lost) == (sock, 0, [])


@pytest.mark.parametrize(("written", "reply"), REPLIES)
def test_a_reply_cut_anywhere(written: bytes, reply: object) -> None:
    """Cut at any byte, a reply is said when its last byte is there and not before."""
    for cut in range(len(written)):
        sock, _, replies, _ = socket()
        sock.data_received(written[:cut])
        assert replies == []
        sock.data_received(written[cut:])
        assert replies == [reply]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("NOSCRIPT No matching script.", NoScript),
        ("READONLY You can't write against a read only replica.", NotMaster),
        ("ERR unknown command", Replied),
        ("OOM command not allowed when used memory > 'maxmemory'.", Unwritable),
        ("MISCONF Redis is configured to save RDB snapshots", Unwritable),
        ("NOREPLICAS Not enough good replicas to write.", Unwritable),
        ("WRONGTYPE NOSCRIPT", Replied),
        ("LOADING Redis is loading the dataset in memory", Refused),
        ("BUSY Redis is busy running a script.", Refused),
        ("CLUSTERDOWN The cluster is down", ClusterDown),
        ("MASTERDOWN Link with MASTER is down", NotMaster),
    ],
)
def test_an_error_that_the_server_replies(text: str, kind: type[StoreUnavailable]) -> None:
    """An error is a reply like any other: it is told by its first word, and the connection goes on."""
    sock, transport, replies, lost = socket()
    sock.data_received(f"-{text}\r\n:1\r\n".encode())
    assert (type(replies[0]), str(replies[0]), replies[1]) == (kind, advised(text), 1)
    assert (transport.aborted, lost) == (0, [])
    assert type(error_of(text.encode())) is kind  # as a script hands it on


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x03\x00\x02\x02\x28", b"$x\r\n"])
def test_what_is_no_reply(garbage: bytes) -> None:
    """What is no reply ends the connection at once, and that is said once, after the replies that were before it."""
    sock, transport, replies, lost = socket()
    sock.data_received(b":1\r\n" + garbage)
    sock.connection_lost(None)
    assert replies == [1]
    assert transport.aborted == 1
    assert len(lost) == 1
    assert "what the server sent is no reply" in lost[0]


@pytest.mark.parametrize(
    ("error", "why"),
    [(None, "the server closed the connection"), (ConnectionResetError("by peer"), "ConnectionResetError: by peer")],
)
def test_a_connection_that_ends(error: Exception | None, why: str) -> None:
    """The end of a connection is told with its reason, and whoever waits for what was written goes on."""

    async def test() -> None:
        sock, _, _, lost = socket()
        sock.pause_writing()
        drained = sock.drained
        sock.connection_lost(error)
        sock.connection_lost(error)
        assert lost == [why]
        assert drained
        assert drained.done()
        assert sock.drained is None

    asyncio.run(test())


class Liar:
    """A server that greets like Redis and answers scripts as it is told: with bytes, in the order of the calls."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        commands = hiredis.Reader()
        while data := await reader.read(65_536):
            commands.feed(data)
            while sent := commands.gets():
                if not sent[0].startswith(b"EVAL"):
                    writer.write(b"+OK\r\n")
                elif sent[2] == b"0":  # the proof of a new connection: it can decide, for nobody
                    writer.write(b"*1\r\n:%d\r\n" % T)
                elif len(sent) == 6:  # what its user may do: all
                    writer.write(b"*0\r\n")
                else:
                    writer.write(self.answers.pop(0))
        writer.close()


GOOD = b"*3\r\n:%d\r\n:1\r\n:1\r\n" % T
NONSENSE = {
    "an integer": b":1\r\n",
    "nothing": b"$-1\r\n",
    "no list": b"*-1\r\n",
    "text": bulk("much text, of which each byte can be read as a number"),
    "a status": b"+OK, and as much behind it\r\n",
    "an empty list": b"*0\r\n",
    "a short list": b"*2\r\n:%d\r\n:1\r\n" % T,
    "a list that ends within a denial": b"*4\r\n:%d\r\n:0\r\n:1\r\n:1\r\n" % T,
    "a word for the time": b"*3\r\n+noon\r\n:1\r\n:1\r\n",
    "a map": b"%1\r\n+now\r\n:1\r\n",
    "no protocol": b"\x00\x01\x02\r\n",
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_reply_that_is_no_decision(name: str) -> None:
    """Whatever a server makes of the script, all of the call fail with StoreUnavailable, and the next connect anew."""
    liar = Liar(GOOD, NONSENSE[name], GOOD)

    async def test() -> None:
        server = await asyncio.start_server(liar.serve, "127.0.0.1", 0)
        store = RedisStore(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}?protocol=2", timeout=10)
        try:
            assert (await store.acquire(WARM)).allowed
            together = await asyncio.gather(*(store.acquire(WARM) for _ in range(3)), return_exceptions=True)
            assert [type(outcome) for outcome in together] == [StoreUnavailable] * 3
            assert (await store.acquire(WARM)).allowed
            assert liar.connections == 2
        finally:
            await store.close()
            server.close()
            await server.wait_closed()

    asyncio.run(test())


def test_more_replies_than_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that nobody asked for can only be out of step: the connection is used no more."""
    store = fake_store(monkeypatch)

    async def test() -> None:
        wire = await connected(store)
        wire.reply([T, 1, 1])
        wire.reply([T, 1, 1])
        await turns()
        assert wire.aborted
        call = ask(store, *WARM)
        await turns()
        FakeWire.made[1].reply([T, 1, 5])
        assert (await call).states[0].used == 5

    run(store, test())


def test_a_script_that_is_missing_where_nobody_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """READONLY for one command and NOSCRIPT for the next, read at once: the next connection is asked for both, once."""
    store = fake_store(monkeypatch)

    async def test() -> None:
        wire = await connected(store)
        await store.release([Lease("key", "id", 60_000)])
        call = ask(store, rate(9, 60_000))
        await turns()
        wire.reply(NotMaster("READONLY"))
        wire.reply(NoScript("NOSCRIPT"))
        await turns()
        FakeWire.made[1].reply(1)  # what was refused is sent again
        FakeWire.made[1].reply([T, 1, 1])
        assert (await call).states[0].used == 1
        assert len(FakeWire.made) == 2

    run(store, test())
