"""A policy file, table by table and field by field. The JSON Schema is generated from the same definitions.

What one value alone shows to be wrong is refused here; what takes two of them to see is in config/checks/.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from ratelimit.config.grammar.launches import LaunchTable as LaunchTable
from ratelimit.config.grammar.settings import AnyStyle, IdentityTable, IetfStyle, StoreTable, StyleName
from ratelimit.config.grammar.settings import RecordTable as RecordTable
from ratelimit.config.grammar.settings import ReloadTable as ReloadTable
from ratelimit.config.grammar.settings import WaitTable as WaitTable
from ratelimit.config.grammar.settings import WebSocketTable as WebSocketTable
from ratelimit.config.grammar.values import (
    AnchorDay,
    Attributes,
    ConcurrencyAmount,
    Counts,
    Lease,
    LimitsOfOverride,
    Mode,
    ModeOfOverride,
    Name,
    Precision,
    QuotaAmount,
    RateAmount,
    RuleText,
    Sha256,
    Status,
    Table,
    Text,
    TimeZone,
    Units,
    in_a_list,
    in_a_table,
    shape,
)

Texts = Annotated[list[Text], Field(min_length=1)]
MATCHED = ("organization", "user", "api_key", "application", "ip", "tier", "attributes")


class KeyTable(Table):
    """A known API key, by its hash."""

    name: Text | None = Field(default=None, description="For people, never counted by.")
    sha256: Sha256 = Field(description="Of the API key, in hexadecimal. The key itself is never written anywhere.")
    tier: Name | None = Field(default=None, description="One of the tiers; without it the default_tier.")
    organization: Text | None = None
    user: Text | None = None
    application: Text | None = None
    attributes: Attributes = Field(default={}, description="For formulas and `per`.", examples=[{"registers": 3}])


class LimitTable(Table):
    """One rule of a tier: exactly one of rate, quota and concurrency."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["rate"]}, {"required": ["quota"]}, {"required": ["concurrency"]}],
            "dependentRequired": {
                "precision": ["rate"],
                "timezone": ["quota"],
                "anchor_day": ["quota"],
                "lease": ["concurrency"],
            },
            "not": {
                "anyOf": [
                    {"required": ["concurrency", "reserve"]},
                    {"required": ["concurrency", "hold"]},
                    {"required": ["concurrency", "counts"]},
                    {"required": ["concurrency", "refund_on"]},
                    {"required": ["concurrency", "charge_on"]},
                    {"required": ["refund_on", "charge_on"]},
                    {"required": ["launch", "from"]},
                    {"required": ["launch", "mode"], "properties": {"mode": {"enum": ["shadow", "off"]}}},
                    {"required": ["reserve", "refund_on"], "properties": {"reserve": {"const": True}}},
                    {"required": ["reserve", "charge_on"], "properties": {"reserve": {"const": True}}},
                    {
                        "required": ["reserve", "hold"],
                        "properties": {"reserve": {"const": True}, "hold": {"const": True}},
                    },
                ]
            },
        }
    )

    name: Name = Field(description="Unique in its tier.")
    rate: RateAmount | None = Field(
        default=None,
        description="So many units in any window of that length.",
        examples=["100/minute", "(300 * registers + 50)/5 minutes"],
    )
    quota: QuotaAmount | None = Field(
        default=None, description="So many units in a calendar period.", examples=["50000/month"]
    )
    concurrency: ConcurrencyAmount | None = Field(
        default=None, description="So many requests at a time.", examples=[10, "2 * seats"]
    )
    per: Annotated[Texts, BeforeValidator(in_a_list, json_schema_input_type=Text | Texts)] = Field(
        default=["identity"],
        description="identity, organization, user, api_key, application, ip, or a list of these or of attributes.",
    )
    operations: list[Name] | None = Field(
        default=None,
        description="Those that it limits, counted together: all if not given; of [] it is charged by hand.",
    )
    cost: Annotated[
        Annotated[Units, Tag("(number)")] | Annotated[dict[Name, Units], Tag("(table)")], Discriminator(shape)
    ] = Field(
        default=1, description="Units a request takes, or a table of these by operation.", examples=[{"search": 5}]
    )
    mode: Mode = Field(default="enforce", description="shadow: only counted and reported.")
    enforce_from: AwareDatetime | None = Field(
        default=None, alias="from", description="Before it the limit is in shadow."
    )
    launch: LaunchTable | None = Field(default=None, description="Instead of from: in stages, and for some sooner.")
    reserve: bool = Field(
        default=False,
        description="Of a rate or a quota: a process may take units ahead for a very hot caller and spend them without"
        " asking the store. Has an effect where every limit of the request has it.",
    )
    hold: bool = Field(
        default=False,
        description="Of a rate or a quota, without reserve: the app may hold units before it knows how many it needs,"
        " and settle what it used.",
    )
    counts: Counts = Field(
        default="units",
        description="Of a rate or a quota: whether the units that an endpoint computes multiply its cost.",
    )
    refund_on: list[Status] | None = Field(
        default=None,
        min_length=1,
        description="Of a rate or a quota: what a request took goes back where its response has one of these statuses.",
        examples=[["5xx", "304"]],
    )
    charge_on: list[Status] | None = Field(
        default=None,
        min_length=1,
        description="Instead of refund_on: only a request whose response has one of these statuses counts.",
        examples=[["401", "403"]],
    )
    precision: Precision | None = Field(default=None, description="Of a rate: sub-windows. Default 60.")
    timezone: TimeZone | None = Field(default=None, description="Of a quota. Default UTC.", examples=["Europe/Berlin"])
    anchor_day: AnchorDay | None = Field(
        default=None, description="Of a monthly quota: its first day; 31 is the last of a short month."
    )
    lease: Lease | None = Field(
        default=None,
        description="Of concurrency: how long a process that died keeps its slots, 1s or more. Default 60s.",
    )


class TierTable(Table):
    limits: list[LimitTable]
    wait: WaitTable | None = Field(default=None, description="Instead of a denial at once, where that is short.")


class OverrideTable(Table):
    """A raised or lowered limit for the callers that have every value given here."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [kind]} for kind in MATCHED]})

    organization: Text | None = None
    user: Text | None = None
    api_key: Sha256 | None = Field(default=None, description="The SHA-256 of the API key, in hexadecimal.")
    application: Text | None = None
    ip: Text | None = Field(default=None, examples=["192.0.2.7", "2001:db8:1:2::/64"])
    tier: Name | None = None
    attributes: Attributes = Field(default={}, min_length=1, examples=[{"mode": "test"}])
    limits: LimitsOfOverride = Field(
        description="By name of limit, each in the limit's own kind and period; with mode a list of names, too.",
        examples=[{"requests": "5000/minute"}, ["requests"]],
    )
    mode: ModeOfOverride | None = Field(default=None, description="Of these limits, whatever they and launches say.")
    starts: AwareDatetime | None = Field(default=None, alias="from", description="When the override begins.")
    until: AwareDatetime | None = Field(default=None, description="When the override ends.")
    reason: Text | None = Field(default=None, description="For people.")


class PolicyFile(Table):
    """Who may call an API how often: a policy of `ratelimit`."""

    model_config = ConfigDict(title="ratelimit policy")

    style: Annotated[AnyStyle, BeforeValidator(in_a_table, json_schema_input_type=StyleName | AnyStyle)] = Field(
        default=IetfStyle(name="ietf"), description="How denials are told to clients. Default ietf."
    )
    store: StoreTable = StoreTable()
    identity: IdentityTable = IdentityTable()
    operations: dict[Name, list[RuleText]] = Field(
        default={},
        description="Rules by operation, the first that matches wins; what is `exempt` is not limited.",
        examples=[{"exempt": ["GET /health"], "search": ["GET /v2/catalogs/*"]}],
    )
    websocket: WebSocketTable = WebSocketTable()
    record: RecordTable | None = None
    reload: ReloadTable = ReloadTable()
    keys: list[KeyTable] = Field(default=[], description="Known API keys.")
    tiers: dict[Name, TierTable] = Field(
        description="Limits by tier; `anonymous` is for callers without a known key.",
        json_schema_extra={"required": ["anonymous"]},
    )
    overrides: list[OverrideTable] = Field(default=[], description="The last that matches wins, limit by limit.")
