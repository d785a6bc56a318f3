"""One request as it is recorded: a line of JSON, in ASCII, without an API key in it.

    {"at":1772359200123,"took":12,"method":"GET","path":"/loans/7","status":200,"operation":"detail_read",
     "organization":"acme","api_key":"#9f86d0...","ip":"192.0.2.7","tier":"basic","attributes":{"registers":3},"units":5}

`at` is the instant of the decision by the store's clock in milliseconds since 1970, `took` how long the request then
held its slots. A part that is not known is left out, and so are no attributes and units of 1. `{"lost":12}` stands
where so many requests could not be written.
"""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.parse import quote

from ratelimit.model import Identity, Readings, Scope
from ratelimit.policy.keys import escaped
from ratelimit.routes.routed import Routed

LONGEST = 65_536  # bytes: simulate reads no longer lines
LONGEST_PATH = 16_000  # characters

_NAMES = ("organization", "user", "api_key", "application", "ip")
_AS_IT_IS = "".join(map(chr, range(0x21, 0x7F)))
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Recorded(NamedTuple):
    at_ms: int
    duration_ms: int
    method: str
    path: str
    status: int | None  # None: nothing was answered
    operation: str
    identity: Identity


def line_of(request: Recorded) -> bytes:
    at_ms, duration_ms, method, path, status, operation, identity = request
    line: dict[str, object] = {"at": at_ms, "took": duration_ms, "method": method, "path": path}
    if status is not None:
        line["status"] = status
    line["operation"] = "·".join(operation.operations) if isinstance(operation, Readings) else operation
    for kind, name in zip(_NAMES, identity, strict=False):
        if isinstance(name, str):
            line[kind] = escaped(kind, name) if kind == "api_key" else name
    if identity.tier is not None:
        line["tier"] = identity.tier
    if identity.attributes:
        line["attributes"] = dict(identity.attributes)
    if isinstance(operation, Routed):
        if operation.units != 1:
            line["units"] = operation.units
        if operation.limits:
            line["declared"] = [limit.name for limit in operation.limits]
    return _encode(line).encode("ascii") + b"\n"


def lost(count: int) -> bytes:
    return _encode({"lost": count}).encode("ascii") + b"\n"


def path_of(scope: Scope) -> str:
    """As it came, without what may hold a key: the query, and the user of a URL that is asked for as a proxy is."""
    raw = scope.get("raw_path")
    if isinstance(raw, bytes):
        path, safe = raw.split(b"?", 1)[0], _AS_IT_IS
    else:
        path, safe = scope["path"].encode("utf-8", "surrogatepass"), "/"
    if not path.startswith(b"/") and b"://" in path:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    return quote(path[:LONGEST_PATH], safe=safe)[:LONGEST_PATH]
