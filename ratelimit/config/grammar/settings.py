"""The tables of a policy file that are there once: [style], [store], [identity], [websocket], [record], [reload]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema

from ratelimit.checks import recording
from ratelimit.checks import values as checks
from ratelimit.checks.values import LONGEST_QUEUE, PREFIX
from ratelimit.config.grammar import fields
from ratelimit.config.grammar.values import Duration, Jitter, Name, Proxy, Source, StoreUrl, Table, Text, UpTo
from ratelimit.identity import SOURCES
from ratelimit.identity.address import MAX_HOPS
from ratelimit.policy import OnExcess, OnFailure
from ratelimit.styles import wire


class StyleTable(Table):
    ietf_headers: bool = Field(default=False, description="Add RateLimit and RateLimit-Policy to the style's headers.")
    max_retry_after: int | None = Field(
        default=None,
        ge=1,
        le=wire.LARGEST_MAX_RETRY_AFTER,
        description="A wait is told as so many seconds at most. Timers of JavaScript fire at once above 2147483.",
    )
    jitter: Jitter | None = Field(
        default=None,
        description="The wait for a rate is so much longer at most, drawn each time.",
        examples=["3%"],
    )
    never: Literal[403, 429] | None = Field(default=None, description="The status of what can never pass.")


class FacturapiStyle(StyleTable):
    name: Literal["facturapi"]
    code: Text | None = Field(default=None, description="Of a 429.", examples=["rate_limit_exceeded"])
    message: Text | None = Field(default=None, description="Of a 429.")
    expose_limits: bool | None = Field(default=None, description="Add X-RateLimit headers; this API has none.")


class LightspeedStyle(StyleTable):
    name: Literal["lightspeed"]
    reset_header: bool | None = Field(default=None, description="Add X-RateLimit-Reset.")
    legacy_body: bool | None = Field(default=None, description="The body that older clients of this API parse.")
    retry_after: Literal["date", "seconds"] | None = Field(default=None, description="How Retry-After is written.")


class LendworksStyle(StyleTable):
    name: Literal["lendworks"]
    request_id: bool | None = Field(default=None, description="Add meta.requestId to the body.")


class IetfStyle(StyleTable):
    name: Literal["ietf"]


StyleName = Literal["facturapi", "lightspeed", "lendworks", "ietf"]
AnyStyle = Annotated[FacturapiStyle | LightspeedStyle | LendworksStyle | IetfStyle, Field(discriminator="name")]
STYLES: dict[StyleName, type[StyleTable]] = {
    "facturapi": FacturapiStyle,
    "lightspeed": LightspeedStyle,
    "lendworks": LendworksStyle,
    "ietf": IetfStyle,
}


class StoreTable(Table):
    """Where counters live."""

    url: StoreUrl = Field(default="memory://", repr=False, examples=["redis://127.0.0.1:6379/0"])
    prefix: str = Field(default="ratelimit", pattern=PREFIX, description="Of every key in Redis.")
    timeout: Duration = Field(default=100, description="The longest a request waits for the store.", examples=["100ms"])
    on_failure: Annotated[
        OnFailure, PlainValidator(fields.on_failure), WithJsonSchema({"enum": list(checks.ON_FAILURE)})
    ] = Field(default="allow", description="What happens to requests while the store can't be reached.")
    max_callers: int = Field(
        default=checks.MAX_CALLERS,
        ge=1,
        le=checks.LARGEST,
        description="How many callers memory:// counts at a time. Of more, the anonymous one that was unseen for the"
        " longest time is dropped, and no known one.",
    )


class IdentityTable(Table):
    """How callers are told apart."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["trusted_hops", "trusted_proxies"],
                "properties": {"trusted_proxies": {"minItems": 1}},
            }
        }
    )

    api_key: list[Source] = Field(
        default=list(SOURCES),
        description="Where a key may be presented; of several known ones of one caller the first counts.",
    )
    trusted_proxies: list[Proxy] = Field(
        default=[],
        description='Networks of the proxies whose header counts; "unix" is a proxy on a Unix socket.',
        examples=[["10.0.0.0/8"]],
    )
    trusted_hops: int | None = Field(
        default=None,
        ge=1,
        le=MAX_HOPS,
        description="Instead of trusted_proxies, where these have no fixed addresses: how many proxies there are, each"
        " of which appends to the header; the client is that hop from the right. Then nobody may reach the app around"
        " them.",
    )
    forwarded: Literal["x-forwarded-for", "forwarded"] = Field(
        default="x-forwarded-for", description="The one header that the proxy writes."
    )
    ipv6_prefix: int = Field(
        default=64, ge=1, le=128, description="IPv6 clients are counted by networks of so many bits."
    )
    default_tier: Name | None = Field(default=None, description="Of an identity that names no tier.")


class WaitTable(Table):
    """A denied request that could soon be admitted waits for that, in the order in which its caller's came."""

    up_to: UpTo = Field(description="From its arrival on; 60s at most.", examples=["2s"])
    queue: int = Field(
        default=100, ge=1, le=LONGEST_QUEUE, description="So many wait in a process; of one caller a tenth of them."
    )


class ReloadTable(Table):
    """An edited file is in force within 2 s, in every process."""

    watch: bool = Field(default=True, description="false: an edit waits for a restart.")
    refuse_above: Annotated[float, PlainValidator(checks.part), WithJsonSchema(fields.PART)] = Field(
        default=0.01,
        description="An edit that would newly deny more than this part of the callers of the last 5 minutes is refused;"
        ' "100%" lets any edit through.',
        examples=["1%"],
    )


class WebSocketTable(Table):
    """Messages of WebSockets. Handshakes are requests: rules of the method WEBSOCKET take them."""

    messages: Name | None = Field(
        default=None,
        description="The operation that each received message is charged as; not limited where it is not given.",
        examples=["message"],
    )
    on_excess: Annotated[
        OnExcess, PlainValidator(fields.on_excess), WithJsonSchema({"enum": list(checks.ON_EXCESS)})
    ] = Field(
        default="close",
        description="What becomes of a message that is too much: the connection is closed (1008), the message is"
        " dropped, or it waits, 10 s at most.",
    )


class RecordTable(Table):
    """A log of requests that the middleware writes itself, for `ratelimit simulate`."""

    file: Annotated[str, PlainValidator(recording.file), WithJsonSchema({"type": "string", "minLength": 1})] = Field(
        description="Lines of JSON. A relative path is one of the process's own folder.",
        examples=["/var/log/ratelimit.jsonl"],
    )
    sample: Annotated[
        float, PlainValidator(recording.sample), WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1})
    ] = Field(default=1.0, description="The share of the callers that are recorded, each whole.", examples=[0.1])
    max_bytes: Annotated[
        int,
        PlainValidator(recording.size),
        WithJsonSchema({"type": "string", "pattern": f"^{recording.SIZE}$", "default": "100MB"}),
    ] = Field(
        default=100_000_000,
        alias="max_size",
        description="A file of that size becomes FILE.1, that one FILE.2 and so on.",
        examples=["100MB"],
    )
    keep: Annotated[
        int,
        PlainValidator(recording.keep),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": recording.MOST_KEPT}),
    ] = Field(default=5, description="So many of these are kept.")


TABLES: Mapping[str, type[Table]] = {
    "store": StoreTable,
    "identity": IdentityTable,
    "websocket": WebSocketTable,
    "record": RecordTable,
    "reload": ReloadTable,
}
