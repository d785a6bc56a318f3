"""One connection to Redis, shared by all requests of an event loop: commands go out at once, replies come in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial

from ratelimit.ground.loops import ends
from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.breaker import OF_A_MASTER, PAUSE, Breaker, Proof, Rest
from ratelimit.stores.connection.deadline import in_time, resolve
from ratelimit.stores.connection.dial import ConnectionPool, connect, reason
from ratelimit.stores.connection.inflight import Done, InFlight
from ratelimit.stores.connection.socket import Reply, Transport

GOODBYE = 1.0  # seconds at most that close() waits for what is in line

Command = tuple[bytes, asyncio.Future[Reply]]


class Link:
    """Of one event loop. Connects when it is used, and again after the connection was lost while somebody waits. Where
    no connection can be made it goes on trying; `breaker` says why nobody need wait meanwhile.

    Whoever keeps its own line uses `ready`, `connect` and `send`; it is told by `on_ready` when it may send, by
    `on_failure` that no connection could be made, and is asked by `wanted` whether it waits for one.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        timeout: float,
        *,
        on_ready: Callable[[], None],
        on_failure: Callable[[StoreUnavailable], None],
        wanted: Callable[[], bool],
        proof: Proof = OF_A_MASTER,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._pool, self._timeout, self._proof = pool, timeout, proof._replace(within=timeout)
        self._on_ready, self._on_failure, self._wanted = on_ready, on_failure, wanted
        self.breaker = Breaker(timeout, self._now)
        self._wire: Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self._waiting: list[Command] = []  # for a connection
        self._corked: list[Command] = []
        self._rest = Rest(self.drop, self._tell_if_ready)
        self._in_flight = InFlight(self.breaker, timeout, self.drop, self._rest.used, self._retry, self._tell_if_ready)
        self._idle: asyncio.Future[None] | None = None
        self._closed = self._cancelled = False
        self.number = 0  # of connections that were made

    @property
    def ready(self) -> bool:
        """Whether what is sent leaves this process at once."""
        return self._wire is not None and self._wire.drained is None

    def refusal(self) -> str | None:
        """Why nobody need ask for a decision; None: ask. A connection that said nothing before the loop stood still is
        not waited for."""
        if self.breaker.down and not self.breaker.refusal and self._wire:
            self.drop("it said nothing")
        return self.breaker.refusal

    def awake(self) -> bool:
        """Whether a decision that is asked for now will arrive, as far as can be known (Rest)."""
        return self.ready and self._rest.over()

    def connect(self) -> None:
        if self._closed:  # nobody would ever end a connection that is made now
            self._on_failure(StoreUnavailable("the store was closed"))
        elif self._task is None and not (self._cancelled and ends()):  # in a context of its own, not the request's
            self._task, self._cancelled = self._loop.create_task(self._run(), context=Context()), False

    def send(self, commands: bytes, *done: Done) -> None:
        """Send commands when the link is `ready`, a `done` for each. Sent once: after an error they may be applied."""
        wire = self._wire
        assert wire  # noqa: S101 - it is ready
        now = self._now()
        self._rest.used(now)
        self._in_flight.line.extend([(now, one) for one in done])
        wire.write(commands)
        if wire.drained:
            wire.drained.add_done_callback(lambda _: self._resume(wire))

    async def call(self, command: bytes, patience: float | None = None) -> Reply:
        """`cork` a command, and wait for its reply. Raises StoreUnavailable."""
        if why := self.breaker.refusal:
            raise StoreUnavailable(why)
        reply = self.cork(command)
        return await in_time(reply, self._timeout if patience is None else patience, lambda: self._too_late(reply))

    def submit(self, command: bytes) -> asyncio.Future[Reply]:
        """Send a command, now or when there is a connection: its reply or an error."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._submit([(command, reply)])
        return reply

    def cork(self, command: bytes) -> asyncio.Future[Reply]:
        """As `submit`, in one write with the others of this turn of the loop, in their order and with nothing in
        between. They go at its end, or with `flush`."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        if not self._corked:
            self._loop.call_soon(self.flush, context=Context())
        self._corked.append((command, reply))
        return reply

    def flush(self) -> None:
        corked, self._corked = self._corked, []
        if corked:
            self._submit(corked)

    async def wait_until_sent(self, deadline: float) -> None:
        """Wait until what was sent has left this process, or raise StoreUnavailable when the time is up. Not for a
        connection."""
        while self._wire and (drained := self._wire.drained):
            if self.breaker.down:
                raise StoreUnavailable(self.breaker.down)
            sent: asyncio.Future[Reply] = self._loop.create_future()
            drained.add_done_callback(lambda _, sent=sent: resolve(sent, None))  # type: ignore[misc]
            await in_time(sent, deadline - self._now(), partial(self._too_late, sent))

    async def close(self) -> None:
        """Have what is in line answered, also where the connection is only being made; then drop it for good."""
        self.flush()
        if (self._waiting or self._in_flight.line) and not self.breaker.down:
            self._idle = self._loop.create_future()
            self._in_flight.on_answer = self._tell_if_idle
            await asyncio.wait([self._idle], timeout=min(self._timeout, GOODBYE))
        self._closed = True
        if task := self._task:
            task.cancel()
            await asyncio.wait([task])
            if self._task:  # it had not even begun
                self._end_for_good()

    def notice_silence(self) -> None:
        if self._wire is None and self._task and not self.breaker.refusal:  # somebody has waited in vain
            self.breaker.unreachable(f"no connection within {self._timeout * 1000:.0f} ms")
        self._in_flight.notice_silence()

    def too_late(self) -> str:
        return f"no reply within {self._timeout * 1000:.0f} ms"

    async def _run(self) -> None:
        """Connect, and live with the connection until it ends, for as long as somebody waits. Where none can be made,
        go on trying until there is one: it is up then before the next request comes."""
        try:
            began = self._now()
            while await self._live(began) or self._waiting or self._wanted():
                if self.breaker.down:
                    await asyncio.sleep(self.breaker.next_attempt(began) - self._now())
                began = self._now()
            self._task = None
        except asyncio.CancelledError:
            self._end_for_good()
            raise

    async def _live(self, began: float) -> str | None:
        """The life of one connection, from the attempt to make it to its end. Why the store is down then, if it is."""
        self._lost = lost = self._loop.create_future()
        wire: Transport | None = None
        try:
            async with asyncio.timeout(self.breaker.patience) as patience:
                wire = await connect(self._pool, self._in_flight.answer, partial(self.drop, lost=lost), self._proof)
            if not lost.done():
                self._wire, self.number = wire, self.number + 1
                self.breaker.connected()
                self._rest.begin()
                self._resume(wire)
            self._end(why := await lost, useless=self.breaker.lost(why))
        except asyncio.CancelledError:
            for _ in range(0 if self._closed else 100):  # turns for who is cancelled with it and gives slots back:
                await asyncio.sleep(0)  # a loop that ends without close() cancels all its tasks at once
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, callers are told that the store is out of reach
            why = f"no connection within {self.breaker.patience:.1f} s" if patience.expired() else reason(error)
            failed = self._now() <= began + self.breaker.patience + PAUSE  # else the loop stood still
            if failed:
                self.breaker.unreachable(why)
            self._end(why, useless=failed)
        finally:
            if wire:
                wire.abort()
        return self.breaker.down

    def _retry(self) -> None:
        if self.ready and self.breaker.down and not self._in_flight.line:
            trial = self._proof.trials[-1]
            self.send(trial.written(), partial(trial.again, self.drop, self._tell_if_ready))
            self._in_flight.watch()

    def _resume(self, wire: Transport) -> None:
        """Send what is in line, if it leaves this process."""
        if self._wire is wire and self.ready:
            waiting, self._waiting = self._waiting, []
            if waiting := [one for one in waiting if not one[1].done()]:  # else it would be done for nothing
                self._submit(waiting)
            self._tell_if_ready()

    def _tell_if_ready(self) -> None:
        if self.ready:
            self._on_ready()

    def _end(self, why: str, *, useless: bool = False) -> None:
        """What was sent may have been applied; what was not waits for a new connection, unless this one was useless."""
        if useless:
            waiting, self._waiting = self._waiting, []
            for _, reply in waiting:
                resolve(reply, StoreUnavailable(why))
            self._on_failure(StoreUnavailable(why))
        self._wire = None
        self._in_flight.fail(why)
        self._tell_if_idle()

    def _end_for_good(self) -> None:
        self._task, self._cancelled = None, True
        self._end("the connection was closed", useless=True)

    def _submit(self, commands: Sequence[Command]) -> None:
        if self.ready:
            self.send(b"".join([command for command, _ in commands]), *[partial(resolve, one) for _, one in commands])
            return
        if why := self.breaker.refusal:
            for _, reply in commands:
                resolve(reply, StoreUnavailable(why))
        else:
            self._waiting += commands
        self.connect()

    def drop(self, why: str, lost: asyncio.Future[str] | None = None) -> None:
        """Write nothing more to this connection, where uvloop would raise; what it has not answered fails."""
        lost = lost or self._lost
        if lost is self._lost:
            self._wire = None
        if lost and not lost.done():
            lost.set_result(why)

    def _too_late(self, reply: asyncio.Future[Reply]) -> None:
        resolve(reply, StoreUnavailable(self.too_late()))
        self.notice_silence()

    def _tell_if_idle(self) -> None:
        if self._idle and not self._waiting and not self._in_flight.line:
            self._idle.set_result(None)
            self._idle = None
