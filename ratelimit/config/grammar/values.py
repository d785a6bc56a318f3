"""The types that the tables of a policy file are made of, each with its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from ratelimit.checks import durations
from ratelimit.checks import values as checks
from ratelimit.checks.values import NAME
from ratelimit.config.grammar import amounts, fields
from ratelimit.config.grammar.amounts import Amount
from ratelimit.ground.words import shown
from ratelimit.model import FOREVER

SHA256 = "^[0-9A-Fa-f]{64}$"
ATTRIBUTE = "^[A-Za-z_][A-Za-z0-9_]*$"


def _whole(least: int, most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})


_MAX = "[-A-Za-z0-9_+*() ]+"
_DURATION = WithJsonSchema({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"})
_RATE = WithJsonSchema({"type": "string", "pattern": f"^{_MAX}/ *([0-9]+ *)?(second|minute|hour|day)s? *$"})
_QUOTA = WithJsonSchema({"type": "string", "pattern": f"^{_MAX}/ *(day|week|month|year) *$"})
_NUMBER = {"type": ["integer", "string"], "minimum": 0, "maximum": FOREVER}
_CONCURRENCY = WithJsonSchema({**_NUMBER, "pattern": f"^{_MAX}$"})
_ANY_AMOUNT = WithJsonSchema({**_NUMBER, "pattern": f"^{_MAX}(/[0-9a-z ]+)?$"})
_ATTRIBUTE_NAME = WithJsonSchema({"type": "string", "pattern": ATTRIBUTE})
_ATTRIBUTE = WithJsonSchema({"type": ["string", "integer"], "minimum": -FOREVER, "maximum": FOREVER})
_URL = WithJsonSchema(  # in any case, for which a pattern of JSON Schema has no flag
    {
        "type": "string",
        "pattern": "^([Mm][Ee][Mm][Oo][Rr][Yy]://$|[Uu][Nn][Ii][Xx]://"
        "|([Rr][Ee][Dd][Ii][Ss]|[Vv][Aa][Ll][Kk][Ee][Yy])[Ss]?"
        "(\\+([Cc][Ll][Uu][Ss][Tt][Ee][Rr]|[Ss][Ee][Nn][Tt][Ii][Nn][Ee][Ll]))?://)",
    }
)

Name = Annotated[str, Field(pattern=NAME)]
Text = Annotated[str, Field(min_length=1), AfterValidator(checks.not_blank)]
Sha256 = Annotated[str, Field(pattern=SHA256), AfterValidator(fields.sha256)]
Units = Annotated[int, PlainValidator(checks.units), _whole(0, FOREVER)]
Precision = Annotated[int, PlainValidator(checks.precision), _whole(1, checks.MOST_SUB_WINDOWS)]
AnchorDay = Annotated[int, PlainValidator(checks.anchor_day), _whole(1, 31)]
Mode = Annotated[
    Literal["enforce", "shadow", "off"], PlainValidator(checks.mode), WithJsonSchema({"enum": [*checks.MODES]})
]
ModeOfOverride = Annotated[
    Literal["enforce", "shadow"], PlainValidator(checks.mode_of_override), WithJsonSchema({"enum": [*checks.MODES[:2]]})
]
Counts = Annotated[
    Literal["units", "requests"],
    PlainValidator(lambda value: checks.one_of_these(value, checks.COUNTS)),
    WithJsonSchema({"enum": [*checks.COUNTS]}),
]
Duration = Annotated[int, PlainValidator(durations.duration), _DURATION]
Lease = Annotated[int, PlainValidator(durations.lease), _DURATION]
UpTo = Annotated[int, PlainValidator(fields.wait), _DURATION]
RateAmount = Annotated[Amount, PlainValidator(amounts.rate), _RATE]
QuotaAmount = Annotated[Amount, PlainValidator(amounts.quota), _QUOTA]
ConcurrencyAmount = Annotated[Amount, PlainValidator(amounts.concurrency), _CONCURRENCY]
OfOverride = Annotated[  # None: the limit's own; a file has no such value
    Amount | None, PlainValidator(lambda value: None if value is None else amounts.of_any_kind(value)), _ANY_AMOUNT
]
Status = Annotated[
    str, PlainValidator(checks.status), WithJsonSchema({"type": "string", "pattern": f"^{checks.STATUS}$"})
]
_JITTER = WithJsonSchema({"type": "string", "pattern": "^([0-2]([.][0-9]{1,4})?|3([.]0{1,4})?) *%$"})
Jitter = Annotated[float, PlainValidator(fields.jitter), _JITTER]
TimeZone = Annotated[str, PlainValidator(checks.timezone), WithJsonSchema({"type": "string"})]
StoreUrl = Annotated[str, PlainValidator(fields.store_url), _URL]
Proxy = Annotated[str, AfterValidator(fields.trusted_proxy)]
RuleText = Annotated[str, AfterValidator(fields.rule)]
Source = Annotated[
    str, AfterValidator(fields.api_key_source), Field(json_schema_extra={"pattern": "^(bearer|basic|header:.+)$"})
]
Attributes = dict[
    Annotated[str, AfterValidator(fields.attribute_name), _ATTRIBUTE_NAME],
    Annotated[str | int, PlainValidator(fields.attribute), _ATTRIBUTE],
]


def names_in_a_table(value: Any) -> Any:
    """Of a list of names, each without an amount."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value)
    return value


_Maxes = Annotated[dict[Name, OfOverride], Field(min_length=1)]
LimitsOfOverride = Annotated[
    _Maxes,
    BeforeValidator(names_in_a_table, json_schema_input_type=_Maxes | Annotated[list[Name], Field(min_length=1)]),
]


class Table(BaseModel):
    """What all tables have in common: no unknown keys, no guessing of types, no values in pydantic's own messages."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def shape(value: Any) -> str:
    """The tag of a number or a table. The brackets tell it from the keys of a table."""
    return "(table)" if isinstance(value, dict) else "(number)"


def in_a_list(value: Any) -> Any:
    if isinstance(value, str | list):
        return [value] if isinstance(value, str) else value
    raise ValueError(f"{shown(value)} is neither a text nor a list of texts")


def in_a_table(value: Any) -> Any:
    if isinstance(value, str | dict):
        return {"name": value} if isinstance(value, str) else value
    raise ValueError(f"{shown(value)} is neither the name of a style nor a table with its name")
