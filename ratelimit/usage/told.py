"""Usage as JSON, in the way of GitHub's `GET /rate_limit`:

    {"resources": {
      "requests": {"kind": "rate", "limit": 100, "used": 2, "remaining": 98, "reset": 1772445661, "window": 60},
      "monthly": {"kind": "quota", "limit": 500, "used": 7, "remaining": 493, "reset": 1775001600, "period": "month"},
      "in flight": {"kind": "concurrency", "limit": 10, "used": 1, "remaining": 9, "reset": null}}}

`reset` is the first second since 1970 at which the limit is whole again if nothing more is called: null where it is
whole, and of concurrency, where nobody knows. `window` is in seconds. A limit in shadow is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from ratelimit.model import Concurrency, Quota, Rate, Scope, State
from ratelimit.styles import wire
from ratelimit.usage.reading import Read

JSON = wire.CONTENT_TYPE_JSON


def document(reads: Sequence[Read]) -> tuple[bytes, bytes]:
    """And its ETag. Of a name that two policies on one request have, the one of which the smaller share is left, as in
    headers.

    The tag is weak: it goes by the store's clock, on which an instant stays where it is, while `reset` goes by this
    process's, as the Date beside it does, and may come out a second later in another reading.
    """
    tightest: dict[str, tuple[State, Read]] = {}
    for read in reads:
        for state in read.states:
            name = state.limit.name
            if not state.shadow and (name not in tightest or state.share < tightest[name][0].share):
                tightest[name] = state, read
    told = {name: _resource(state, read.now_ms, read.store_ms) for name, (state, read) in tightest.items()}
    same = {name: _resource(state, read.store_ms, read.store_ms) for name, (state, read) in tightest.items()}
    tag = sha256(wire.compact_json(same)).hexdigest()[:32]
    return wire.compact_json({"resources": told}), b'W/"%b"' % tag.encode()


def _resource(state: State, now_ms: int, store_ms: int) -> dict[str, Any]:
    """A quota ends by the calendar and the store's clock; a rate is whole after a wait, by this process's clock."""
    kind = state.limit.kind
    told: dict[str, Any] = {
        "kind": type(kind).__name__.lower(),
        "limit": state.max,
        "used": state.used,
        "remaining": state.remaining,
        "reset": None,
    }
    if not isinstance(kind, Concurrency) and state.used:
        told["reset"] = wire.epoch((store_ms if isinstance(kind, Quota) else now_ms) + state.reset_after_ms)
    if isinstance(kind, Rate):
        whole, rest = divmod(kind.window_ms, 1000)
        told["window"] = kind.window_ms / 1000 if rest else whole
    if isinstance(kind, Quota):
        told["period"] = kind.period
    return told


def is_known(tag: bytes, scope: Scope) -> bool:
    """Whether If-None-Match has it: compared weakly, as RFC 9110 has it in section 13.1.2."""
    given = b",".join(value for name, value in scope["headers"] if name == b"if-none-match")
    return any(one.strip().removeprefix(b"W/") in {tag.removeprefix(b"W/"), b"*"} for one in given.split(b","))
