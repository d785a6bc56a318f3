"""LendWorks answers as its page documents; the quoted texts are the page's own."""

from __future__ import annotations

import json

import pytest

from ratelimit.styles import Lendworks
from tests.styles import ANA, LOG_ID, NOBODY, body, concurrency, decide, lines, quota, rate, value

PAGE_HEADERS = """
X-RateLimit-Limit: 1000
X-RateLimit-Remaining: 987
X-RateLimit-Reset: 1709510400
X-RateLimit-Window: 60
"""
PAGE_THROTTLED = """
{
  "errors": [
    {
      "code": "RATE_LIMIT_EXCEEDED",
      "message": "Rate limit exceeded. Try again in 45 seconds.",
      "detail": {
        "retryAfter": 45,
        "limit": 1000,
        "remaining": 0,
        "resetAt": "2025-01-15T10:30:00Z"
      }
    }
  ]
}
"""
PAGE_QUOTA_HEADER = "Retry-After: 86400"
PAGE_QUOTA = """
{
  "errors": [
    {
      "code": "MONTHLY_QUOTA_EXCEEDED",
      "message": "Monthly API quota exceeded. Upgrade your plan for higher limits.",
      "detail": {
        "currentPlan": "basic",
        "resetAt": "2025-02-01T00:00:00Z"
      }
    }
  ]
}
"""


def throttled():
    return decide(rate(max=1000, used=1000, reset_ms=58_000, retry_ms=45_000), now="2025-01-15T10:29:15Z")


@pytest.mark.parametrize("reset_ms", [60_000, 59_001])
def test_an_allowed_response_carries_the_four_headers_of_the_page(reset_ms):
    """Every authenticated response says limit, remaining, window, and in epoch seconds when the window is whole."""
    decision = decide(rate(max=1000, used=13, reset_ms=reset_ms), now=1_709_510_340_000)
    assert Lendworks().headers(decision, ANA, LOG_ID) == lines(PAGE_HEADERS)


def test_a_throttled_request_gets_the_page_s_body_and_its_headers():
    """The 429 of a rate: one instant in Reset and resetAt, one wait in Retry-After, retryAfter and the message."""
    answer = Lendworks().denied(throttled(), ANA, LOG_ID)
    assert answer.status == 429
    assert body(answer) == json.loads(PAGE_THROTTLED)
    assert answer.headers == lines("""
        Content-Type: application/json
        Retry-After: 45
        X-RateLimit-Limit: 1000
        X-RateLimit-Remaining: 0
        X-RateLimit-Reset: 1736937000
        X-RateLimit-Window: 60
    """)


def test_an_exhausted_quota_gets_the_page_s_body_while_the_headers_describe_the_rate():
    """The 429 of a monthly quota: its own code, the plan, its reset; the X-RateLimit headers stay the rate's."""
    minute = rate(max=100, used=40, reset_ms=20_500)
    monthly = quota(max=50_000, used=50_000, retry_ms=86_400_000, reset_ms=86_400_000)
    answer = Lendworks().denied(decide(minute, monthly, now="2025-01-31T00:00:00Z"), ANA, LOG_ID)
    assert body(answer) == json.loads(PAGE_QUOTA)
    assert answer.headers == lines(f"""
        Content-Type: application/json
        {PAGE_QUOTA_HEADER}
        X-RateLimit-Limit: 100
        X-RateLimit-Remaining: 60
        X-RateLimit-Reset: 1738281621
        X-RateLimit-Window: 60
    """)


@pytest.mark.parametrize(
    ("period", "code", "message"),
    [
        ("day", "DAILY_QUOTA_EXCEEDED", "Daily API quota exceeded. Upgrade your plan for higher limits."),
        ("week", "WEEKLY_QUOTA_EXCEEDED", "Weekly API quota exceeded. Upgrade your plan for higher limits."),
        ("month", "MONTHLY_QUOTA_EXCEEDED", "Monthly API quota exceeded. Upgrade your plan for higher limits."),
        ("year", "YEARLY_QUOTA_EXCEEDED", "Yearly API quota exceeded. Upgrade your plan for higher limits."),
    ],
)
def test_a_quota_of_another_period_is_named_by_that_period(period, code, message):
    """A daily quota never calls itself monthly."""
    answer = Lendworks().denied(decide(quota("calls", period=period, retry_ms=1000)), ANA, LOG_ID)
    assert (body(answer)["errors"][0]["code"], body(answer)["errors"][0]["message"]) == (code, message)


def test_too_many_at_a_time_is_told_apart_from_too_many_a_minute():
    """The 429 of a concurrency cap has its own code, Retry-After: 1 and no instant, for nobody knows one."""
    slots = concurrency(max=10, used=10, reset_ms=60_000, retry_ms=1000)
    answer = Lendworks().denied(decide(rate(max=100, used=40), slots), ANA, LOG_ID)
    (error,) = body(answer)["errors"]
    assert error["code"] == "CONCURRENCY_LIMIT_EXCEEDED"
    assert error["message"] == "Concurrency limit exceeded. Try again when one of your requests has finished."
    assert error["detail"] == {"retryAfter": 1, "limit": 10, "remaining": 0}
    assert value(answer.headers, "Retry-After") == "1"
    assert value(answer.headers, "X-RateLimit-Limit") == "100"
    assert value(answer.headers, "X-RateLimit-Reset") is not None


def test_remaining_is_the_true_number_where_a_request_costs_several():
    """A request that costs 5 with 3 left is denied with Remaining 3, in the header and in the body."""
    answer = Lendworks().denied(decide(rate(max=100, used=97, cost=5, retry_ms=2000)), ANA, LOG_ID)
    assert value(answer.headers, "X-RateLimit-Remaining") == "3"
    assert body(answer)["errors"][0]["detail"]["remaining"] == 3


def test_of_two_rates_that_deny_equally_long_body_and_headers_speak_of_the_same():
    """Limit and remaining in the body are those of the headers, also where two limits wait for the same instant."""
    roomy = rate("all", max=100, used=99, cost=2, retry_ms=5000)
    full = rate("searches", max=20, used=20, cost=2, retry_ms=5000)
    answer = Lendworks().denied(decide(roomy, full), ANA, LOG_ID)
    detail = body(answer)["errors"][0]["detail"]
    assert (detail["limit"], detail["remaining"]) == (20, 0)
    assert (value(answer.headers, "X-RateLimit-Limit"), value(answer.headers, "X-RateLimit-Remaining")) == ("20", "0")


def test_a_quota_that_resets_this_very_moment_is_still_what_denies():
    """A wait of 0 ms does not turn the blame on a rate that has room; Retry-After is 1 all the same."""
    monthly = quota(used=100)._replace(exceeded=True, retry_after_ms=0)
    answer = Lendworks().denied(decide(rate(used=1), monthly), ANA, LOG_ID)
    assert body(answer)["errors"][0]["code"] == "MONTHLY_QUOTA_EXCEEDED"
    assert value(answer.headers, "Retry-After") == "1"


def test_a_caller_without_a_key_gets_retry_after_alone():
    """The X-RateLimit headers are on authenticated responses only; an anonymous 429 still says when to come back."""
    assert Lendworks().headers(decide(rate()), NOBODY, LOG_ID) == []
    answer = Lendworks().denied(throttled(), NOBODY, LOG_ID)
    assert answer.headers == lines("Content-Type: application/json\nRetry-After: 45")
    assert body(answer) == json.loads(PAGE_THROTTLED)


@pytest.mark.parametrize(("cap", "told"), [(86_400, 45), (45, 45), (44, 44), (1, 1)])
def test_max_retry_after_caps_the_wait_and_no_instant(cap, told):
    """Header, message and retryAfter are one number; Reset and resetAt tell the true instant, whatever it is cut to."""
    answer = Lendworks(max_retry_after=cap).denied(throttled(), ANA, LOG_ID)
    assert value(answer.headers, "Retry-After") == str(told)
    assert value(answer.headers, "X-RateLimit-Reset") == "1736937000"
    assert body(answer) == json.loads(PAGE_THROTTLED.replace("45", str(told)))


def test_request_id_puts_the_log_id_into_every_error():
    """`meta.requestId` is the id of the request in the log, on a 429 and on a 503."""
    style = Lendworks(request_id=True)
    meta = {"requestId": "01JH2Z"}
    assert body(style.denied(throttled(), ANA, LOG_ID)) == json.loads(PAGE_THROTTLED) | {"meta": meta}
    assert body(style.unavailable(LOG_ID))["meta"] == meta


def test_an_unreachable_store_answers_in_the_same_envelope():
    """The 503 is a list of errors too, and names itself."""
    assert body(Lendworks().unavailable(LOG_ID)) == {
        "errors": [
            {
                "code": "SERVICE_UNAVAILABLE",
                "message": "Rate limits cannot be checked right now. Try again in 1 seconds.",
                "detail": {"retryAfter": 1},
            }
        ]
    }


@pytest.mark.parametrize(
    ("limit", "code", "detail"),
    [
        (rate(max=3, used=1, cost=5, retry_ms=None), "RATE_LIMIT_EXCEEDED", {"limit": 3, "remaining": 2}),
        (quota(max=3, used=1, cost=5, retry_ms=None), "MONTHLY_QUOTA_EXCEEDED", {"currentPlan": "basic"}),
        (
            concurrency(max=3, used=0, cost=5, retry_ms=None),
            "CONCURRENCY_LIMIT_EXCEEDED",
            {"limit": 3, "remaining": 3},
        ),
    ],
    ids=["rate", "quota", "concurrency"],
)
def test_a_request_that_can_never_pass_is_told_so_without_any_time(limit, code, detail):
    """A cost above the max: the kind's own code, both numbers, and neither retryAfter nor resetAt."""
    (error,) = body(Lendworks().denied(decide(limit), ANA, LOG_ID))["errors"]
    message = "This request can never pass: it costs 5 and its limit allows 3."
    assert error == {"code": code, "message": message, "detail": detail}
