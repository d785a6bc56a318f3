"""An event loop whose clock is not the machine's."""

from __future__ import annotations

import asyncio

TURN = 2e-5  # seconds


class Clocked(asyncio.SelectorEventLoop):
    """Its clock jumps to the next timer when there is nothing else to do: nobody waits. A turn takes 20 µs of it,
    however long the machine takes: timeouts pass in the order that a test says, also where one turns the loop until
    they do. Not for what really takes time: a server, a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0
        self._began = super().time()
        select = self._selector.select

        def jump(timeout: float | None) -> object:
            self.jumped += (timeout or 0.0) + TURN
            return select(0)

        self._selector.select = jump

    def time(self) -> float:
        return self._began + self.jumped
