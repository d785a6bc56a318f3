"""What a middleware records of a request: noted when it is decided, put to be written when its slots are given back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from time import monotonic, time
from weakref import WeakKeyDictionary

from ratelimit.answers.awaited import awaited
from ratelimit.control.control import Control
from ratelimit.model import ASGIApp, Charge, Decision, Identity, Message, Receive, Scope, Send
from ratelimit.policy import Policy
from ratelimit.policy.settings import RecordSettings
from ratelimit.recording.file import LogFile
from ratelimit.recording.line import Recorded, path_of
from ratelimit.recording.writer import Writer
from ratelimit.routes.routed import Routed
from ratelimit.slots.holding import is_last

Noted = Callable[[Identity, str, Sequence[Charge], Decision], None]

FAILED = 500  # what an exception comes to that is raised before a response has begun

_NOTED = "ratelimit.noted"  # in the scope of a request that is recorded
_of: WeakKeyDictionary[Policy, Recording] = WeakKeyDictionary()


class Recording:
    """Of one policy."""

    def __init__(self, settings: RecordSettings) -> None:
        self.writer = Writer(LogFile(settings.file, settings.max_bytes, settings.keep))
        self._below = round(settings.sample * 2**64)

    def noted(
        self, scope: Scope, send: Send, operation: str, identity: Identity, decision: Decision, *, deferred: bool
    ) -> Send:
        """The `send` of a request that was decided; the same where its caller is not among the sample. With `deferred`
        it is known at its end only who that is."""
        if not (deferred or self.has(operation, identity)):
            return send
        self.writer.begin()
        note = Note(self, scope, send, operation, identity, decision, deferred=deferred)
        scope[_NOTED] = note
        return note.send

    def has(self, operation: str, identity: Identity) -> bool:
        if isinstance(operation, Routed) and operation.endpoint.own_usage:
            charged = identity.anonymous and operation.operations
            if not charged:  # which a line could not say
                return False
        return self._below == 2**64 or share_of(identity) < self._below

    def waited(self, scope: Scope, decision: Decision) -> None:
        """A request that was denied, and is admitted after all: it is as if it had come now."""
        note: Note | None = scope.get(_NOTED)
        if note is not None:
            note.decided(decision)

    def close(self) -> None:
        self.writer.close()


def recording_of(policy: Policy) -> Recording | None:
    """Middlewares of one policy share one."""
    if policy.record is None:
        return None
    if policy not in _of:
        _of[policy] = Recording(policy.record)
    return _of[policy]


def always(heard: Callable[[Noted | None], Noted | None]) -> Callable[[Noted | None], Noted]:
    """What makes one of all who hear of a decision, where what is recorded is asked for with them: somebody hears."""
    return lambda noted: heard(noted) or _nobody


def _nobody(*_: object) -> None: ...


def share_of(identity: Identity) -> int:
    """Where a caller stands among all, below 2^64: the same in every process, by its root, so that a sample has whole
    callers."""
    kind, name = identity.root
    return int.from_bytes(blake2b(f"{kind}={name}".encode(errors="surrogatepass"), digest_size=8).digest())


class Note:
    """Of one request. `control` says who is calling, where that is decided later."""

    __slots__ = (
        "_asked",
        "_at_ms",
        "_began",
        "_deferred",
        "_identity",
        "_operation",
        "_recording",
        "_send",
        "_status",
        "control",
    )

    def __init__(
        self,
        recording: Recording,
        scope: Scope,
        send: Send,
        operation: str,
        identity: Identity,
        decision: Decision,
        *,
        deferred: bool,
    ) -> None:
        self.decided(decision)
        self._identity = identity
        self._deferred = deferred
        self._operation = operation
        method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
        self._asked = method, path_of(scope)
        self._send = send
        self._status: int | None = None
        self._recording: Recording | None = recording
        self.control: Control | None = None

    def decided(self, decision: Decision) -> None:
        self._at_ms = round(time() * 1000) if decision.unavailable else decision.now_ms
        self._began = monotonic()

    @awaited
    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif is_last(message):
            self.end()
        return self._send(message)

    def failed(self) -> None:
        """The app has raised."""
        if self._status is None:
            self._status = FAILED

    def end(self) -> None:
        """Its slots are given back."""
        recording, self._recording = self._recording, None
        if recording is not None:
            control, self.control = self.control, None
            identity = self._identity if control is None else control.identity
            duration_ms = round((monotonic() - self._began) * 1000)
            if not self._deferred or recording.has(self._operation, identity):
                line = Recorded(self._at_ms, duration_ms, *self._asked, self._status, self._operation, identity)
                recording.writer.put(line)


class RecordedApp:
    """The app of a middleware that records: however its call ends, the request does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        note: Note | None = scope.pop(_NOTED, None)  # a middleware within would take it for its own
        if note is None:
            return await self.app(scope, receive, send)
        note.control = scope.get("ratelimit.control")
        try:
            await self.app(scope, receive, send)
        except Exception:
            note.failed()
            raise
        finally:
            note.end()
