"""What a policy says besides its limits: where counters live, who may wait, what messages of WebSockets are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ratelimit.checks import made, recording
from ratelimit.checks.values import MAX_CALLERS

OnFailure = Literal["allow", "deny", "local"]
OnExcess = Literal["close", "drop", "wait"]


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where counters live, and how long a request waits for them. The URL may hold a password, so no repr shows it.
    `said` are those of these that a policy's file has, be it with the default."""

    url: str = field(default="memory://", repr=False)
    prefix: str = "ratelimit"  # of every key in Redis
    timeout_ms: int = 100  # the longest a request waits for the store
    on_failure: OnFailure = "allow"  # local: this process enforces the limits until the store is back
    max_callers: int = MAX_CALLERS  # of memory://
    said: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    def __post_init__(self) -> None:
        made.store_settings(self.prefix, self.timeout_ms, self.on_failure, self.max_callers)


@dataclass(frozen=True, slots=True)
class Wait:
    """A denied request that could be admitted within `up_to_ms` of its arrival waits for that, `queue` of a tier at a
    time in each process, and a tenth of them of one caller."""

    up_to_ms: int
    queue: int = 100

    def __post_init__(self) -> None:
        made.wait(self.up_to_ms, self.queue)


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """`messages` is the operation that each received message is charged as; None: they are not limited.

    What is too much closes the connection (code 1008, with the wait in the reason), is dropped (and counted in
    `scope["ratelimit.dropped"]`), or waits until there is room for it, 10 s at most.
    """

    messages: str | None = None
    on_excess: OnExcess = "close"

    def __post_init__(self) -> None:
        made.websocket_settings(self.messages, self.on_excess)


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """The middleware writes a line of JSON to `file` for each request that it decides, of a `sample` of the callers: of
    these all. A file of `max_bytes` becomes `file.1`, and so on; `keep` of these are kept."""

    file: str
    sample: float = 1.0
    max_bytes: int = 100_000_000
    keep: int = 5

    def __post_init__(self) -> None:
        recording.settings(self)


@dataclass(frozen=True, slots=True)
class ReloadSettings:
    """Of a policy that is a file: whether an edit of it is taken while the process runs. An edit that would newly deny
    more than the part `refuse_above` of the callers of late is refused."""

    watch: bool = True
    refuse_above: float = 0.01  # from 0 to 1; of 1 nothing is refused

    def __post_init__(self) -> None:
        made.reload_settings(self.watch, self.refuse_above)


IN_MEMORY = StoreSettings()
RELOADED = ReloadSettings()
ONLY_HANDSHAKES = WebSocketSettings()
