"""What can never pass: a max of 0, or a cost above the max."""

from __future__ import annotations

import pytest

from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders
from tests.styles import ANA, LOG_ID, NOBODY, body, concurrency, decide, quota, rate, value

PLAIN = "This request can never pass: its limit is closed."
COUNTED = "This request can never pass: it costs 5 and its limit allows 3."
SECRET = "This request can never pass: it is larger than its limit. Retrying does not help."
LOWERED = "This request can never pass: before there is room for it, its limit is lowered."
CLOSED, LARGE = rate(max=0, used=0, retry_ms=None), rate(max=3, used=1, cost=5, retry_ms=None)
LATER = rate(max=3, used=3, retry_ms=None)  # it falls before it frees
MONTH, SLOTS = quota(max=0, used=0, retry_ms=None), concurrency(max=0, used=0, retry_ms=None)
ENVELOPES = {
    Facturapi: lambda status, text: {
        "message": text,
        "status": status,
        "ok": False,
        "code": "RATE_LIMIT_EXCEEDED",
    },
    Lightspeed: lambda status, text: {
        "error": "Forbidden" if status == 403 else "Too Many Requests",
        "message": text,
    },
    Lendworks: lambda _, text: {
        "errors": [{"code": "RATE_LIMIT_EXCEEDED", "message": text, "detail": {"limit": 0, "remaining": 0}}]
    },
    Ietf: lambda status, text: {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": status,
        "detail": text,
        "violated-policies": ["requests"],
    },
}


@pytest.mark.parametrize("never", [403, 429])
@pytest.mark.parametrize("style", ENVELOPES)
def test_a_closed_limit(style, never):
    """A max of 0: a 403 in the style's own envelope whose words fit, and with `never = 429` the same as a 429."""
    answer = style(never=never).denied(decide(CLOSED), ANA, LOG_ID)
    told = f"{PLAIN} Retrying does not help." if style is Facturapi else PLAIN
    assert answer.status == never
    assert body(answer) == ENVELOPES[style](never, told)
    assert WithIetfHeaders(style(never=never)).denied(decide(CLOSED), ANA, LOG_ID).status == never


@pytest.mark.parametrize("style", ENVELOPES)
def test_a_limit_that_is_lowered(style):
    """What would pass by today's max, and finds no room before it is lowered for good."""
    told = f"{LOWERED} Retrying does not help." if style is Facturapi else LOWERED
    assert told in style().denied(decide(LATER), ANA, LOG_ID).body.decode()


@pytest.mark.parametrize(
    "state", [CLOSED, LARGE, LATER, MONTH, SLOTS], ids=["closed", "larger", "later", "quota", "concurrency"]
)
@pytest.mark.parametrize("identity", [ANA, NOBODY], ids=["known", "by address"])
@pytest.mark.parametrize("style", [*ENVELOPES, lambda: Lightspeed(legacy_body=True, reset_header=True)])
def test_no_time_and_no_word_of_one(style, identity, state):
    """Nothing says when to come back, beside a limit that frees in a moment too."""
    answer = style().denied(decide(rate("burst", used=100, retry_ms=1000), state), identity, LOG_ID)
    assert answer.status == 403
    assert b"can never pass" in answer.body
    for name in ("Retry-After", "X-RateLimit-Reset"):
        assert value(answer.headers, name) is None
    assert not any(word in answer.body.lower() for word in (b"retryafter", b"retry-after", b"resetat", b"shortly"))


@pytest.mark.parametrize("never", [403, 429])
@pytest.mark.parametrize(
    ("state", "text"), [(CLOSED, PLAIN), (LARGE, COUNTED), (LATER, LOWERED)], ids=["closed", "larger", "later"]
)
def test_the_older_body_of_lightspeed(state, text, never):
    """It has no place for a message but `error`."""
    told = body(Lightspeed(legacy_body=True, never=never).denied(decide(state), ANA, LOG_ID))
    assert told == {"error": text, "limits": {"retailer": f"{state.used + state.charge.cost} > {state.max} for acme"}}


@pytest.mark.parametrize("style", ENVELOPES)
@pytest.mark.parametrize("never", [404, 200, "403", 403.0, True, None])
def test_another_status_is_refused(style, never):
    """By hand as in a file."""
    with pytest.raises(ValueError, match=f"^never is the status of what can never pass, 403 or 429; it is {never!r}$"):
        style(never=never)
