"""A store is well when it decides, not when it shakes hands: attempts are few, and meanwhile nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import hiredis
import pytest

from ratelimit.model import StoreUnavailable
from ratelimit.stores import open_store
from ratelimit.stores.lua.scripts import Scripts
from ratelimit.stores.redis import RedisStore
from tests.stores import rate
from tests.stores.wires import T

TIMEOUT = 0.1
CHARGES = (rate(9, 60_000),)
TIME, ALLOWED = b"*1\r\n:%d\r\n" % T, b"*3\r\n:%d\r\n:1\r\n:1\r\n" % T
DECIDING, RESOLVING = ((script.sha.encode(), script.text.encode()) for script in (Scripts().acquire, Scripts().resolve))
SLOW = 0.25  # seconds that a busy machine may take by itself


class Server:
    """On loopback. It greets like Redis; what it says to a script that decides, `says` tells: to one for nobody, by
    which a connection proves to be of use, and to one for a request. None: it closes; b"": it says nothing."""

    def __init__(
        self, says: Callable[[bool], bytes | None], late: float = 0.0, greeting: bytes | None = b"+OK\r\n"
    ) -> None:
        self.says, self.late, self.greeting = says, late, greeting
        self.at: list[float] = []  # when it was connected to

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at.append(asyncio.get_running_loop().time())
        commands = hiredis.Reader()
        try:
            while data := await reader.read(65_536):
                commands.feed(data)
                while sent := commands.gets():
                    script = sent[0].startswith(b"EVAL") and len(sent) > 3
                    tried = script and sent[1] == Scripts().trial.text.encode()
                    said = self.says(tried or sent[2] == b"0") if script else self.greeting
                    if said == TIME and tried:
                        said = b"*0\r\n"
                    if said == ALLOWED and sent[1] not in DECIDING:  # of what is settled with a store that is back
                        said = b"$-1\r\n" if sent[1] in RESOLVING else settled(int(sent[2]) - 1)
                    if said is None:
                        return
                    await asyncio.sleep(self.late)
                    writer.write(said)
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()


def settled(items: int) -> bytes:
    return b"*%d\r\n:%d\r\n" % (1 + items, T) + b":1\r\n" * items


def to_all(said: bytes | None) -> Callable[[bool], bytes | None]:
    return lambda _: said


def but_for_nobody(said: bytes) -> Callable[[bool], bytes]:
    return lambda nobody: TIME if nobody else said


USELESS: dict[str, Callable[[], Server]] = {
    "an empty list": lambda: Server(to_all(b"*0\r\n")),
    "a status": lambda: Server(to_all(b"+OK\r\n")),
    "NOSCRIPT to EVAL": lambda: Server(to_all(b"-NOSCRIPT no\r\n")),
    "an error": lambda: Server(to_all(b"-ERR no\r\n")),
    "an error to everything": lambda: Server(to_all(b"-ERR no\r\n"), greeting=b"-ERR no\r\n"),
    "silence": lambda: Server(to_all(b"")),
    "silence from the beginning": lambda: Server(to_all(b""), greeting=b""),
    "the end": lambda: Server(to_all(None)),
    "the end at once": lambda: Server(to_all(None), greeting=None),
    "too late": lambda: Server(but_for_nobody(ALLOWED), late=0.12),
    "an empty list to requests": lambda: Server(but_for_nobody(b"*0\r\n")),
    "a status to requests": lambda: Server(but_for_nobody(b"+OK\r\n")),
}


@pytest.mark.proof
@pytest.mark.parametrize("local", [False, True], ids=["allow or deny", "local"])
def test_a_server_that_does_not_decide(local: bool) -> None:
    """It is tried after 50 ms and then ever less often, after four failures twice a second at most; a request waits its
    timeout at first, and nobody does later. When it decides it is found within a second, by an attempt."""

    async def test() -> None:
        await asyncio.gather(*[decides_at_last(name, local) for name in USELESS])

    asyncio.run(test())


async def decides_at_last(name: str, local: bool) -> None:
    fake, loop = USELESS[name](), asyncio.get_running_loop()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    store = open_store(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}?protocol=2", timeout=TIMEOUT)
    assert isinstance(store, RedisStore)
    if local:
        store.keep_account()
    waits: list[tuple[float, float]] = []

    async def ask() -> bool:
        began = loop.time()
        try:
            return (await store.acquire(CHARGES)).allowed
        except StoreUnavailable:
            return False
        finally:
            waits.append((began, loop.time() - began))

    begun = loop.time()
    while loop.time() < begun + 3.0:
        assert not any(await asyncio.gather(*[ask() for _ in range(3)])), name
        await asyncio.sleep(0.02)
    assert len(fake.at) > 2, name
    later = fake.at[4:]
    assert not later or later[-1] - later[0] > 0.45 * (len(later) - 1) - SLOW, name  # one may have been seen late
    assert max(wait for _, wait in waits) < 2 * TIMEOUT + 0.1 + SLOW, name
    late = sorted(wait for began, wait in waits if began > begun + 1)
    assert late[-len(late) // 10] < 0.5 * TIMEOUT, name  # the others are of a machine that is busy
    fake.says, fake.late, fake.greeting = but_for_nobody(ALLOWED), 0.0, b"+OK\r\n"
    well = loop.time()
    while not await ask():
        await asyncio.sleep(0.02)
        assert loop.time() < well + 1.0 + 2 * SLOW, name
    await store.close()
    server.close()
