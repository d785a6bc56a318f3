"""`decide(current_identity)`: the decision for who the app's own authentication says is calling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, params
from fastapi.requests import HTTPConnection

from ratelimit.control.control import Control
from ratelimit.fastapi.control import control


def decide(current_identity: Callable[..., Any]) -> Callable[..., Awaitable[Control]]:
    """A dependency: `Charged = Annotated[Control, Depends(decide(current_identity))]`.

    `current_identity` is a dependency of the app that returns an Identity, or None for who is not known, who stays the
    address's; or what `Security(…)` makes of one. The limiter is made with `identify=deferred()`. A request is decided
    once, however often it is asked for. One that does not pass gets the style's whole 429; an exempt one stays exempt.
    """
    # As a default: FastAPI reads annotations by the names of the module, where this one has none.
    identity_of: Any = current_identity if isinstance(current_identity, params.Depends) else Depends(current_identity)

    async def decided(connection: HTTPConnection, identity: Any = identity_of) -> Control:
        found = await control(connection)
        await found.decide(identity)
        return found

    decided.gives_control = True  # type: ignore[attr-defined]
    return decided
