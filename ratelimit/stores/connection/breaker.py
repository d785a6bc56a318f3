"""Whether a request need ask the store at all, and when to try it again: the circuit breaker of one connection.

up           Requests are sent, or wait within their timeout for the connection that is being made: the first one, or
             the one after a connection that was well: over which somebody was decided for, or which lasted a while.
unreachable  An attempt to connect has failed, or a connection ended before it was well, or somebody has waited for one
             in vain. Attempts go on, one at a time, also where nobody asks, until one has made a connection over which
             a decision was answered in time (dial.py), or close().
stalled      There is a connection, and nothing has come over it in time for a timeout although a command waits for its
             reply as long, and somebody has waited for that long in vain. A reply in time ends it at once, also to what
             is asked after a late one. After STALL the connection is given up: then it is unreachable until another one
             is made.

Somebody is a timer that has rung: it looks first whether a reply has arrived (deadline.py), so that a process which was
too busy to read is not taken for a store that says nothing. A store that is slow but answers something in time is never
stalled, however long its callers wait in line: theirs is a timeout each.

And whether what is asked would arrive: a connection at rest was not used for a while. An event loop that runs only
during a request (adapters for functions, `run_until_complete`) does not see that a server has closed the connection in
between, and no loop sees that a firewall has forgotten it. A decision that is lost on it is not asked for again, as it
may have been made. So before the first one after a pause the loop reads what has come meanwhile, perhaps the end; and
after a long pause the connection is made anew.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from time import monotonic
from typing import NamedTuple

from ratelimit.model import StoreUnavailable
from ratelimit.stores.connection.deadline import in_time, resolve
from ratelimit.stores.connection.errors import Refused
from ratelimit.stores.connection.socket import Reply, Transport, command

# Attempts are counted from start to start: a server that is back is found within the longest of these waits and the
# time that a connection takes, or, where it swallowed the last attempt, within PATIENCE and that: both below a second.
FIRST_WAIT = 0.05  # seconds; most servers that went were restarted, or a failover has ended
LONGEST_WAIT = 0.5  # seconds, and from one to the next a little more, so that many processes do not come together
JITTER = 1.2  # times as long at most
# A connection is up to eight trips: TCP 1, TLS 2, then greeting, user, options, database and proof. It is given as many
# timeouts, as a store that a trip takes longer to could not decide in time anyway; 0.8 s with a timeout of 100 ms.
TRIPS = 8
PATIENCE = 0.8  # seconds at least
STALL = 1.0  # seconds without a word, and at least five timeouts, after which a connection is given up
NEARLY = 0.9  # of a timeout: what a request asks leaves this process a turn of the loop after the request came
PAUSE = 0.1  # seconds without a command and without a reply. It costs the next decision some turns of the loop
TURNS = 6  # what came, the end behind it, and what TLS makes of both; fewer than the turns after which an alarm rings
LONG = 30.0  # seconds after which it is made anew: hardly anything forgets connections sooner without a word


class Breaker:
    """`down` is why the store was out of reach when it was last heard of; None: it was not. `timeout` in seconds, `now`
    is the loop's clock."""

    def __init__(self, timeout: float, now: Callable[[], float] = monotonic) -> None:
        self._timeout = timeout
        self._now = now
        self._told = float("-inf")  # when that was last seen
        self._wait = FIRST_WAIT
        self._connected = float("-inf")  # when it was last; -inf: that connection was well
        self.down: str | None = None
        self.patience = max(PATIENCE, TRIPS * timeout)  # of an attempt to connect
        self.stall = max(STALL, 5 * timeout)
        self._memory = self.stall + self.patience + JITTER * LONGEST_WAIT  # more than from one look to the next

    @property
    def refusal(self) -> str | None:
        """Why nobody need ask; None: ask. What was seen before a loop stood still is no reason."""
        return self.down if self.down and self._now() - self._told < self._memory else None

    def connected(self) -> None:
        self.down, self._connected = None, self._now()

    def answered(self) -> None:
        self.down = None  # a reply has come in time, over a connection that said nothing

    def well(self) -> None:
        """A decision was answered."""
        self._connected, self._wait = float("-inf"), FIRST_WAIT

    def lost(self, why: str) -> bool:
        """The connection has ended. Whether that speaks against the store: it was made, and was of no use."""
        if self._now() - self._connected >= LONGEST_WAIT:
            self._wait = FIRST_WAIT
            return False
        self.unreachable(why)
        return True

    def unreachable(self, why: str) -> None:
        self.down, self._told = why, self._now()

    def stalled(self, silent: float) -> bool:
        """Somebody has waited in vain; nothing has come for so long. Whether that is news."""
        if self.down or silent < NEARLY * self._timeout:
            return False
        self.unreachable(f"no reply within {self._timeout * 1000:.0f} ms, and none since")
        return True

    def next_attempt(self, began: float) -> float:
        """When to try again after an attempt that began then."""
        at = began + self._wait * random.uniform(1.0, JITTER)  # noqa: S311 - no secret
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        return at


class Rest:
    """Of one link: `drop` ends its connection with a reason, `on_end` is told when it may send."""

    def __init__(self, drop: Callable[[str], None], on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._drop = drop
        self._on_end = on_end
        self._used = float("-inf")  # when it was last used, by the loop's clock
        self._look: asyncio.Handle | None = None  # that is under way

    def begin(self) -> None:
        """The connection is there: it has been made, or what came in the pause was read."""
        if self._look:
            self._look.cancel()
            self._look = None
        self._used = self._loop.time()

    def used(self, now: float) -> None:
        """Something was sent, or has come. After a pause that proves nothing: the end may come behind it."""
        if now - self._used < PAUSE:
            self._used = now

    def over(self) -> bool:
        """Whether to send now. Else `on_end` is called in time, unless the connection ends before."""
        pause = self._loop.time() - self._used
        if pause < PAUSE:
            return True
        if pause > LONG:
            self._drop(f"it was not used for {pause:.0f} s")
        elif self._look is None:
            self._turn(TURNS)
        return False

    def _turn(self, turns: int) -> None:
        if turns:
            self._look = self._loop.call_soon(self._turn, turns - 1, context=Context())
        else:
            self.begin()
            self._on_end()


class Trial(NamedTuple):
    """A command, and who reads its reply: raises StoreUnavailable where the server is of no use."""

    written: Callable[[], bytes]
    read: Callable[[Reply], None]

    def again(self, drop: Callable[[str], None], passed: Callable[[], None], reply: Reply) -> None:
        try:
            self.read(reply)
            passed()
        except StoreUnavailable as error:
            drop(str(error))


class Proof(NamedTuple):
    """What a server that was connected to has to do, each within so many seconds. The last of it is asked again of one
    that was slow. `single`: it has to be no sentinel, and no node of a cluster without a word."""

    trials: tuple[Trial, ...]
    single: bool = False
    within: float = 10.0

    def and_also(self, trial: Trial) -> Proof:
        return self._replace(trials=(*self.trials, trial))


def _check(reply: Reply) -> None:
    """Raises what the server says if it is what it would say to every request. Another error is no proof of the
    contrary: a server that does not know the first line of a script (fakeredis) may run ours."""
    if isinstance(reply, Refused) or str(reply).startswith("NOAUTH "):
        raise reply


# A script that says what it is (by its first line) is refused at once where it could not write: by a replica, while
# data is loaded, while another script runs. PING would be answered by a replica.
OF_A_MASTER = Proof((Trial(lambda: command("EVAL", "#!lua\nreturn 1", 0), _check),), single=True)
OF_A_NODE = Proof((Trial(lambda: command("PING"), _check),))  # a replica knows as well who has which slots


class Proving:
    """A server that is tried. After that its replies are somebody else's."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof
        self._replies: list[Reply] = []
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended: str | None = None

    def heard(self, reply: Reply) -> None:
        self._replies.append(reply)
        if len(self._replies) == len(self._proof.trials):
            resolve(self._over, None)

    def lost(self, why: str) -> None:
        self._ended = why
        resolve(self._over, None)

    async def proved(self, wire: Transport) -> None:
        trials, within = self._proof.trials, self._proof.within
        wire.write(b"".join([trial.written() for trial in trials]))
        late = f"connected, but no decision within {within * 1000:.0f} ms"
        await in_time(self._over, within, lambda: resolve(self._over, StoreUnavailable(late)))
        for trial, reply in zip(trials, self._replies, strict=False):
            trial.read(reply)
        if self._ended or len(self._replies) > len(trials):
            raise StoreUnavailable(self._ended or "a reply that nobody asked for")
