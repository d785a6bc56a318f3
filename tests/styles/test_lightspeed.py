"""Lightspeed Retail answers as its page documents; the quoted texts are the page's own."""

from __future__ import annotations

import json

import pytest

from ratelimit.model import Identity
from ratelimit.styles import Lightspeed
from tests.styles import ANA, LOG_ID, body, concurrency, decide, lines, quota, rate, value

PAGE_HEADERS = """
x-ratelimit-limit: 100
x-ratelimit-remaining: 99
"""
PAGE_LIMITED = """
{
"error": "Too Many Requests",
"message": "Rate limiting enforced"
}
"""
PAGE_RETRY_AFTER = "Retry-After: Wed, 15 Jul 2020 15:04:05 GMT"


def limited():
    return decide(
        rate(max=350, used=350, window_ms=300_000, reset_ms=299_000, retry_ms=64_500), now="2020-07-15T15:03:00.500Z"
    )


def test_an_allowed_response_carries_the_two_headers_of_the_page():
    """Limit and Remaining, and nothing else, on every allowed response."""
    assert Lightspeed().headers(decide(rate(max=100, used=1)), ANA, LOG_ID) == lines(PAGE_HEADERS)


def test_a_limited_request_gets_the_page_s_body_and_an_http_date():
    """The 429: Retry-After is the instant the source may go on, and both headers are there too."""
    answer = Lightspeed().denied(limited(), ANA, LOG_ID)
    assert answer.status == 429
    assert body(answer) == json.loads(PAGE_LIMITED)
    assert answer.headers == lines(f"""
        Content-Type: application/json
        {PAGE_RETRY_AFTER}
        X-RateLimit-Limit: 350
        X-RateLimit-Remaining: 0
    """)


@pytest.mark.parametrize(
    ("limit", "date"),
    [
        (concurrency(max=10, used=10, retry_ms=1000), "Wed, 15 Jul 2020 15:04:01 GMT"),
        (quota(max=9, used=9, retry_ms=16 * 86_400_000), "Fri, 31 Jul 2020 15:04:00 GMT"),
    ],
    ids=["concurrency", "quota"],
)
def test_every_kind_of_limit_has_the_same_body_with_its_own_date(limit, date):
    """A quota or a concurrency cap says when by its date; the headers go on describing the rate."""
    answer = Lightspeed().denied(decide(rate(max=350, used=7), limit, now="2020-07-15T15:04:00Z"), ANA, LOG_ID)
    assert body(answer) == json.loads(PAGE_LIMITED)
    assert value(answer.headers, "Retry-After") == date
    assert value(answer.headers, "X-RateLimit-Remaining") == "343"


def test_reset_header_adds_the_instant_in_epoch_seconds():
    """On an allowed response when the window is whole again, on a 429 the same second as Retry-After."""
    style = Lightspeed(reset_header=True)
    allowed = style.headers(decide(rate(reset_ms=30_000), now=1_600_000_000_001), ANA, LOG_ID)
    assert value(allowed, "X-RateLimit-Reset") == "1600000031"
    assert value(style.denied(limited(), ANA, LOG_ID).headers, "X-RateLimit-Reset") == "1594825445"  # 15:04:05


@pytest.mark.parametrize(
    ("identity", "who"),
    [
        (Identity(organization="acme", user="ana", api_key="5e88" * 16), "acme"),
        (Identity(user="ana", api_key="5e88" * 16), "ana"),
        (Identity(api_key="5e88" * 16, ip="203.0.113.7"), "api key"),
        (Identity(ip="203.0.113.7"), "203.0.113.7"),
    ],
    ids=["organization", "user", "api key", "ip"],
)
def test_legacy_body_tells_usage_caller_and_date(identity, who):
    """The body that older clients parse, with the numeric zone of RFC 2822, and no trace of an API key."""
    decision = decide(rate(max=650, used=650, retry_ms=120_000), now="2016-08-28T06:03:00Z")
    answer = Lightspeed(legacy_body=True).denied(decision, identity, LOG_ID)
    assert body(answer) == {
        "error": "Too Many Requests",
        "limits": {"retailer": f"651 > 650 for {who}"},
        "retry-after": "Sun, 28 Aug 2016 06:05:00 +0000",
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_a_request_that_can_never_pass_is_told_so_without_any_date(legacy):
    """A cost above the max: both numbers in either body, in `error` where it is all there is, and no instant."""
    style = Lightspeed(reset_header=True, legacy_body=legacy)
    answer = style.denied(decide(rate(max=3, used=1, cost=5, retry_ms=None)), ANA, LOG_ID)
    message = "This request can never pass: it costs 5 and its limit allows 3."
    old = {"error": message, "limits": {"retailer": "6 > 3 for acme"}}
    assert answer.status == 403
    assert body(answer) == (old if legacy else {"error": "Forbidden", "message": message})
    assert answer.headers == lines("""
        Content-Type: application/json
        X-RateLimit-Limit: 3
        X-RateLimit-Remaining: 2
    """)


def test_an_unreachable_store_answers_in_the_same_envelope():
    """The 503 has `error` and `message` too."""
    assert body(Lightspeed().unavailable(LOG_ID)) == {
        "error": "Service Unavailable",
        "message": "Rate limits cannot be checked right now",
    }


def test_seconds_for_those_who_parse_whole_seconds():
    """`retry_after = "seconds"`: in the header of a 429 and of a 503. The older body goes on with its date."""
    style = Lightspeed(legacy_body=True, retry_after="seconds")
    answer = style.denied(limited(), ANA, LOG_ID)
    assert value(answer.headers, "Retry-After") == "65"
    assert body(answer)["retry-after"] == "Wed, 15 Jul 2020 15:04:05 +0000"
    assert value(style.unavailable(LOG_ID).headers, "Retry-After") == "1"


@pytest.mark.parametrize(("now", "date"), [(1_000, "00:00:02"), (1_001, "00:00:03"), (1_999, "00:00:03")])
def test_a_503_speaks_dates_too(now, date):
    """One second from now, rounded up: never a date that has passed when it arrives."""
    decide(now=now)
    assert value(Lightspeed().unavailable(LOG_ID).headers, "Retry-After") == f"Thu, 01 Jan 1970 {date} GMT"


def test_another_way_to_write_it_is_refused():
    """By hand as in a file."""
    with pytest.raises(ValueError, match=r'^retry_after is "date" or "seconds"; it is \'epoch\'$'):
        Lightspeed(retry_after="epoch")
