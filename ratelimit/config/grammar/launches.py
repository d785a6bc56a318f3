"""How a launch is written in a limit: `{ warn = 0.8, shadow_until = …, brownouts = [...], cohorts = [...] }`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, PlainValidator, WithJsonSchema

from ratelimit.checks.durations import duration
from ratelimit.config.grammar.values import Attributes, Sha256, Table, Text
from ratelimit.ground.times import EPOCH
from ratelimit.ground.words import shown
from ratelimit.launches.stages import wrong
from ratelimit.launches.stages.launch import Brownout

IN_COHORT = ("organization", "user", "api_key", "application", "ip", "attributes")  # the limit is in a tier already

_SHARE = "([0-9]{1,3}(?:[.][0-9]{1,4})?) *%"
_EXAMPLE = '"2027-01-12T09:00Z/3h"'


def milliseconds(instant: datetime) -> int:
    """Since 1970; what is before that is as long ago."""
    return max(0, (instant - EPOCH) // timedelta(milliseconds=1))


def share(value: Any) -> float:
    """`10%`: 0.1"""
    match = re.fullmatch(_SHARE, value) if isinstance(value, str) else None
    if match is None or not 0 < float(match[1]) <= 100:
        raise ValueError(f'{shown(value)} is not a share; write a percentage above 0, 100 at most, in quotes: "10%"')
    return float(match[1]) / 100


def brownout(value: Any) -> Brownout:
    """`2027-01-12T09:00Z/3h`: from nine o'clock in UTC for three hours"""
    begins, slash, lasts = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not slash:
        raise ValueError(f"{shown(value)} is not a window; write an instant with an offset and a duration: {_EXAMPLE}")
    try:
        instant = datetime.fromisoformat(begins)
    except ValueError:
        raise ValueError(f"{shown(begins)} is not an instant; write it with an offset, as in {_EXAMPLE}") from None
    if instant.tzinfo is None:
        raise ValueError(f"{shown(begins)} has no offset; write Z, or such as +01:00, behind the time: {_EXAMPLE}")
    since_ms = milliseconds(instant)
    return Brownout(since_ms, since_ms + duration(lasts))


Warn = Annotated[
    float, PlainValidator(wrong.part), WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1})
]
Share = Annotated[float, PlainValidator(share), WithJsonSchema({"type": "string", "pattern": f"^{_SHARE}$"})]
Window = Annotated[
    Brownout, PlainValidator(brownout), WithJsonSchema({"type": "string", "pattern": "^.+T.+/[0-9]+(ms|s|m|h|d)$"})
]


class CohortTable(Table):
    """Callers for whom the limit is enforced before it is for all: those who have every value given here."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [kind]} for kind in ("share", *IN_COHORT)]})

    starts: AwareDatetime = Field(alias="from", description="From then on the limit is enforced for them.")
    share: Share | None = Field(
        default=None, description="So many of them, by a hash of the caller.", examples=["10%", "0.5%"]
    )
    organization: Text | None = None
    user: Text | None = None
    api_key: Sha256 | None = Field(default=None, description="The SHA-256 of the API key, in hexadecimal.")
    application: Text | None = None
    ip: Text | None = None
    attributes: Attributes = Field(default={}, min_length=1)


class LaunchTable(Table):
    """From when on a limit is enforced, and for whom; before that it is in shadow. Instead of `from`."""

    warn: Warn | None = Field(
        default=None,
        description="The part of the max from which on responses have the header Upcoming-RateLimit, while the limit is"
        " in shadow.",
        examples=[0.8],
    )
    shadow_until: AwareDatetime | None = Field(
        default=None, description="From then on the limit is enforced for all. Without it that never comes."
    )
    brownouts: list[Window] = Field(
        default=[],
        max_length=wrong.MOST,
        description="Windows in which it is enforced for all.",
        examples=[["2027-01-12T09:00Z/3h"]],
    )
    cohorts: list[CohortTable] = Field(default=[], max_length=wrong.MOST, description="For whom it is enforced sooner.")
