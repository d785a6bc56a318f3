"""The control of a request, injected: `async def rows(rate_limit: RateLimit)`, in WebSocket endpoints too."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.requests import HTTPConnection

from ratelimit.answers.inside import DeniedInside
from ratelimit.control.control import Control, control_of


class Denied(HTTPException, DeniedInside):
    """A request that is denied from inside: the client gets the style's whole answer, whatever handles this."""

    def __init__(self, why: str) -> None:
        super().__init__(429, why)


async def control(connection: HTTPConnection) -> Control:
    """The Control of the request. Of one that is exempt, one without limits; RuntimeError where there is no limiter.

    `async`, as FastAPI calls what is not in a thread.
    """
    found = control_of(connection.scope)
    found.raises = Denied
    return found


RateLimit = Annotated[Control, Depends(control)]
