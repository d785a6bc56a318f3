"""The circuit breaker of one connection: whether a request need ask the store at all, and when to try it again.

up           Requests are sent, or wait within their timeout for the connection that is being made: the first one, or
             the one after a connection that was well.
unreachable  An attempt to connect has failed, or somebody has waited for it in vain. Attempts go on, one at a time,
             also where nobody asks, until one has made a connection that answers (see connection.py), or close().
stalled      There is a connection, and nothing has come over it for a timeout although a command waits for its reply as
             long, and somebody has waited for that long in vain. Any reply ends it at once. After STALL the connection
             is given up: then it is unreachable until another one is made.

Somebody is an alarm that has rung: it looks first whether a reply has arrived (alarm.py), so that a process which was
too busy to read is not taken for a store that says nothing. A store that is slow but says something in each timeout is
never stalled, however long its callers wait in line: theirs is a timeout each.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

# Attempts are counted from start to start: a server that is back is found within the longest of these waits and the
# time that a connection takes, or, where it swallowed the last attempt, within PATIENCE and that: both below a second.
FIRST_WAIT = 0.05  # seconds; most servers that went were restarted, or a failover has ended
LONGEST_WAIT = 0.5
# A connection is up to eight trips: TCP 1, TLS 2, then greeting, user, options, database and proof. It is given as many
# timeouts, as a store that a trip takes longer to could not decide in time anyway; 0.8 s with a timeout of 100 ms.
TRIPS = 8
PATIENCE = 0.8  # seconds at least
STALL = 1.0  # seconds without a word, and at least five timeouts, after which a connection is given up
NEARLY = 0.9  # of a timeout: what a request asks leaves this process a turn of the loop after the request came


class Breaker:
    """`down` is why the store was out of reach when it was last heard of; None: it was not. `timeout` in seconds, `now`
    is the loop's clock."""

    def __init__(self, timeout: float, now: Callable[[], float] = monotonic) -> None:
        self._timeout = timeout
        self._now = now
        self._told = float("-inf")  # when that was last seen
        self._wait = FIRST_WAIT
        self.down: str | None = None
        self.patience = max(PATIENCE, TRIPS * timeout)  # of an attempt to connect
        self.stall = max(STALL, 5 * timeout)
        self._memory = self.stall + self.patience + LONGEST_WAIT  # more than from one look to the next

    @property
    def refusal(self) -> str | None:
        """Why nobody need ask; None: ask. What was seen before a loop stood still is no reason."""
        return self.down if self.down and self._now() - self._told < self._memory else None

    def connected(self) -> None:
        self.down, self._wait = None, FIRST_WAIT

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
        at = began + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        return at
