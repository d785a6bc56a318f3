"""Limits that are declared in code, at the endpoints that they are for."""

# No `from __future__ import annotations`: of an object FastAPI does not find what an annotation in text means.

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from fastapi.requests import HTTPConnection

from ratelimit.config.declared import declared_limit
from ratelimit.fastapi.unseen import Unseen
from ratelimit.routes.marks import Declares, declares, where


class DeclaredLimit(Declares):
    """A dependency: the middleware sees it at the route and charges it. Where it could not, as the app hides its routes
    from it, it is charged when it is called."""

    def __init__(self, table: Mapping[str, Any], written_at: str) -> None:
        self.limit = declared_limit(table)
        self.where = written_at
        self._unseen = Unseen(self)
        declares(self)

    async def __call__(self, connection: HTTPConnection) -> None:
        await self._unseen.check(connection.scope)


def limit(
    rate: str | None = None,
    /,
    *,
    name: str,
    quota: str | None = None,
    concurrency: int | str | None = None,
    per: str | Sequence[str] | None = None,
    cost: int | None = None,
    counts: Literal["units", "requests"] | None = None,
    mode: Literal["enforce", "shadow", "off"] | None = None,
    enforce_from: datetime | None = None,
    reserve: bool | None = None,
    hold: bool | None = None,
    refund_on: Sequence[str] | None = None,
    charge_on: Sequence[str] | None = None,
    precision: int | None = None,
    timezone: str | None = None,
    anchor_day: int | None = None,
    lease: str | None = None,
) -> DeclaredLimit:
    """A limit of the endpoints that depend on it: `Depends(limit("5/hour", name="exports", per="user"))`, or
    `limit(quota="100/month", name=…)`, or `limit(concurrency=3, name=…)`.

    It is charged in the same atomic step as the limits of the caller's tier, after them, and told as they are. The
    fields are those of a limit in a policy file and are written as there; `enforce_from` is its `from`. One name is one
    counter, also of several endpoints. Raises a PolicyError, which is a ValueError, with everything that is wrong.
    """
    fields = {
        "name": name,
        "rate": rate,
        "quota": quota,
        "concurrency": concurrency,
        "per": per,
        "cost": cost,
        "counts": counts,
        "mode": mode,
        "from": enforce_from,
        "reserve": reserve,
        "hold": hold,
        "refund_on": refund_on,
        "charge_on": charge_on,
        "precision": precision,
        "timezone": timezone,
        "anchor_day": anchor_day,
        "lease": lease,
    }
    given = {field: value for field, value in fields.items() if value is not None}
    table = {field: list(value) if isinstance(value, tuple) else value for field, value in given.items()}
    return DeclaredLimit(table, where())
