"""What was decided about one response, as a test expects it. Where it is otherwise, the message shows what was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NoReturn

from ratelimit.ground.words import did_you_mean, kind_of, listed
from ratelimit.model import State
from ratelimit.policy.keys import caller
from ratelimit.styles import wire
from ratelimit.testing.recorded import HEADER, Recorded, Recorder, Request, request_of

ANY: Final = "any"


def assert_denied(
    response: Any, *, limit: str | None = None, retry_after: float | Literal["any"] | None = ANY
) -> Recorded:
    """That a limiter has denied the request of this response; of `limit`, if it is given, and with that `retry_after`,
    in seconds as clients are told it, or exactly, such as 29.5; None for what can never pass.

    AssertionError says what was decided instead. Returns it, for more to look at.
    """
    request = _request_of(response)
    latest = _latest(request)
    denying = latest.decision.denying
    if latest.decision.allowed or denying is None:
        _fail("was allowed, and a denial is expected", request)
    if limit is not None and denying.limit.name != limit:
        _fail(f'was denied by "{denying.limit.name}"{_instead(limit, latest.decision.states)}', request)
    if retry_after != ANY and not _waits(denying, retry_after):
        _fail(
            f'is denied by "{denying.limit.name}" for {_wait(denying)}, and {_seconds(retry_after)} expected', request
        )
    return latest


def assert_left(of: Any, /, **left: int) -> None:
    """That so many units are left of each limit, by name, after the request of this response, with what it has charged
    and held by hand, but not what was given back or settled since; of a client, after its latest request.

    `assert_left(response, requests=3, **{"in flight": 9})`.
    """
    request = _request_of(of)
    _latest(request)
    states = {state.limit.name: state for one in request.decisions for state in one.decision.states}
    wrong = []
    for name, expected in left.items():
        if name not in states:
            hint = did_you_mean(name, states) or f"; there are {listed(states)}" if states else ""
            wrong.append(f'no limit "{name}" applied to it{hint}')
        elif (remaining := states[name].remaining) != expected:
            wrong.append(f'{remaining:,} of "{name}" are left, and {expected:,} expected')
    if wrong:
        _fail("; ".join(wrong), request)


def _request_of(of: Any) -> Request:
    decisions = getattr(of, "decisions", None)
    if decisions is not None:
        if not decisions:
            raise AssertionError("nothing was decided yet: no request of this client came to a limiter")
        recorder: Recorder = of.ratelimit_recorder
        return next(one for one in recorder.requests.values() if any(decisions[-1] is made for made in one.decisions))
    number = getattr(of, "headers", {}).get(HEADER)
    if number is None:
        raise TypeError(f"{kind_of(of)} is no response of a limited_client, nor such a client")
    return request_of(number)


def _latest(request: Request) -> Recorded:
    """Of several policies it is the last that decided: where one denies, no other is asked."""
    if not request.decisions:
        raise AssertionError(
            f"{request.method} {request.path} came to no limit: it is exempt by [operations], or classify returned None"
            " for it, or what answered it is outside of the limiter, or RATELIMIT_MODE is off"
        )
    return request.decisions[-1]


def _fail(what: str, request: Request) -> NoReturn:
    told = [line for one in request.decisions for line in _lines(one)]
    raise AssertionError("\n".join([f"{request.method} {request.path} {what}", *told]))


def _lines(one: Recorded) -> list[str]:
    verdict = "allowed" if one.decision.allowed else "denied"
    head = f"  {verdict} as the operation {one.operation}, of {caller(one.identity)}:"
    return (
        [head, *[f"    {_line(state)}" for state in one.decision.states]]
        if one.decision.states
        else [f"{head} no limit"]
    )


def _line(state: State) -> str:
    said = f"{state.limit.name}: {state.used:,} of {state.max:,} used, {state.remaining:,} left"
    shadow = " (in shadow)" if state.shadow else ""
    return f"{said}{shadow}, exceeded for {_wait(state)}" if state.exceeded else f"{said}{shadow}"


def _instead(expected: str, states: Sequence[State]) -> str:
    exceeded = [state.limit.name for state in states if state.exceeded and not state.shadow]
    names = [state.limit.name for state in states]
    if expected in exceeded:
        return f', which waits longer; "{expected}" is exceeded too'
    if expected in names:
        return f', and "{expected}" is not exceeded'
    return f', and no limit "{expected}" applied to it{did_you_mean(expected, names)}'


def _waits(state: State, expected: float | str | None) -> bool:
    wait = state.retry_after_ms
    if wait is None or expected is None:
        return wait is expected
    return expected in (wire.seconds(wait), wait / 1000)


def _wait(state: State) -> str:
    wait = state.retry_after_ms
    return "ever" if wait is None else f"{wire.seconds(wait):,} s ({wait:,} ms)"


def _seconds(expected: float | str | None) -> str:
    return "for ever is" if expected is None else f"{expected} s are"
