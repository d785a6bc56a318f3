"""The types that the tables of a policy file are made of, each with its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from ratelimit.config import amounts, fields
from ratelimit.config.amounts import Amount
from ratelimit.config.words import shown
from ratelimit.model import FOREVER

NAME = "^[ -~]+$"
PREFIX = "^[!-z|~]+$"
SHA256 = "^[0-9A-Fa-f]{64}$"
ATTRIBUTE = "^[A-Za-z_][A-Za-z0-9_]*$"

# What the patterns mean, for messages.
PATTERNS = {
    NAME: "a name is made of printable ASCII characters, at least one",
    PREFIX: "a prefix is made of printable ASCII characters other than the space, { and }, at least one",
}

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
Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=SHA256), AfterValidator(str.lower)]
Units = Annotated[int, Field(ge=0, le=FOREVER)]
Duration = Annotated[int, PlainValidator(fields.duration), _DURATION]
Lease = Annotated[int, PlainValidator(fields.lease), _DURATION]
RateAmount = Annotated[Amount, PlainValidator(amounts.rate), _RATE]
QuotaAmount = Annotated[Amount, PlainValidator(amounts.quota), _QUOTA]
ConcurrencyAmount = Annotated[Amount, PlainValidator(amounts.concurrency), _CONCURRENCY]
AnyAmount = Annotated[Amount, PlainValidator(amounts.of_any_kind), _ANY_AMOUNT]
TimeZone = Annotated[str, PlainValidator(fields.timezone), WithJsonSchema({"type": "string"})]
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
