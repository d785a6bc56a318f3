"""What a policy says of WebSockets beyond their handshakes, which are requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ratelimit.checks import made

OnExcess = Literal["close", "drop", "wait"]


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


ONLY_HANDSHAKES = WebSocketSettings()
