"""What the APIs have in common: who is calling, and things in memory by kind and id."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException

from ratelimit import Identity

Item = dict[str, Any]
Things = dict[str, dict[str, Item]]  # by kind, such as "customers", and by id

# What the routes of each API document besides their own answers and the limiter's.
ERRORS: dict[int | str, Item] = {
    401: {"description": "No valid API key was presented"},
    404: {"description": "There is nothing with this id"},
}


def caller(request: Request) -> Identity:
    """Who was counted, and so the same for the limits and for the app; 401 without a known API key."""
    identity: Identity = request.scope["ratelimit.identity"]
    if identity.anonymous:
        raise HTTPException(401, "No valid API key was presented.", {"WWW-Authenticate": "Bearer"})
    return identity


def known(things: Things, kind: str, item_id: str) -> Item:
    try:
        return things[kind][item_id]
    except KeyError:
        raise HTTPException(404, f"There is nothing with this id in {kind}.") from None


async def health() -> Item:
    return {"ok": True}
