"""What a line of a log asks for: its operation, by the policy's own classify, remembered by method and path."""

from __future__ import annotations

from urllib.parse import unquote

from ratelimit.endpoints.start import limiting
from ratelimit.ground.memo import Recent
from ratelimit.model import Readings, Scope
from ratelimit.policy import Policy
from ratelimit.routes.routed import Endpoint, Routed
from ratelimit.simulate.events import Said

REMEMBERED = 16_384  # of a generation: with paths of 100 bytes some 8 MB
LONGEST = 256  # bytes of a call that is remembered
UPGRADED = 101  # the status of a handshake of a WebSocket
_EXEMPT = ""
_PREFLIGHT = ((b"origin", b"null"), (b"access-control-request-method", b"GET"))


class Operations:
    """Of one policy, and of one app where it is given: its routes, and what is said at its endpoints, count then.
    That what they declare goes with the policy was seen by who gives the app.

    A log has no headers: OPTIONS is taken for a preflight. `preflights` and `computed` have how many calls there were
    of these, and of endpoints that compute their units.
    """

    def __init__(self, policy: Policy, app: object = None) -> None:
        self.preflights = self.computed = 0
        self._classify = policy.classify if app is None else limiting(policy.classify, app, policy, lambda limit: None)
        self._known: Recent[bytes, str] = Recent(REMEMBERED)
        self._recorded: Recent[Said, str] = Recent()

    def of(self, call: bytes, status: int) -> str | None:
        """None is exempt."""
        known = self._known.young.get(call)
        if known is not None and status != UPGRADED:
            return known or None
        return self._found(call, status)

    def facts(self) -> dict[str, int]:
        return {"preflights": self.preflights, "computed": self.computed}

    def said(self, said: Said) -> str | None:
        """As a log of our own has it."""
        operation, units = said
        if operation is None:
            return None
        known = self._recorded.get(said)
        if known is None:
            names = tuple(operation.split("·"))
            plain = operation if len(names) == 1 else Readings(names)
            known = plain if units == 1 else Routed(names, Endpoint(None, "recorded"), units)
            self._recorded.put(said, known)
        return known

    def _found(self, call: bytes, status: int) -> str | None:
        if status == UPGRADED:
            return self._classified(call, "websocket")
        known = self._known.get(call)
        if known is None:
            known = self._classified(call, "http") or _EXEMPT
            if len(call) <= LONGEST and not call.startswith(b"OPTIONS "):
                self._known.put(call, known)
        return known or None

    def _classified(self, call: bytes, kind: str) -> str | None:
        scope = scope_of(call, kind)
        if scope.get("method") == "OPTIONS":
            self.preflights += 1
        found = self._classify(scope)
        operation = found if found is None or isinstance(found, str) else str(found)
        if isinstance(operation, Routed):
            self.computed += operation.endpoint.units_of is not None
            return operation
        return operation if operation is None or isinstance(operation, Readings) else str.__str__(operation)


def scope_of(call: bytes, kind: str = "http") -> Scope:
    """As uvicorn makes it of a request line: `raw_path` as it was sent, `path` decoded."""
    method, _, target = call.partition(b" ")
    if b"://" in target and not target.startswith(b"/"):
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    text = target.decode("latin-1")
    scope: Scope = {
        "type": kind,
        "path": unquote(text) if "%" in text else text,
        "raw_path": target,
        "root_path": "",
        "query_string": b"",
        "headers": _PREFLIGHT if method == b"OPTIONS" else (),
    }
    return scope if kind == "websocket" else {**scope, "method": method.decode("latin-1")}
