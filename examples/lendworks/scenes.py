"""What the demo does to the lending API."""

from __future__ import annotations

from examples.lendworks.keys import ATLAS, MERIDIAN, NORTHBANK, NORTHBANK_REPORTS, SAMPLER
from examples.wire import LIMIT_HEADERS, Api, Expected

RETRY_AFTER = {"retry-after": "[1-9][0-9]*"}
THROTTLED = '{"errors":[{"code":"RATE_LIMIT_EXCEEDED","message":"Rate limit exceeded. Try again in '
USED_UP = (
    '{"errors":[{"code":"MONTHLY_QUOTA_EXCEEDED",'
    '"message":"Monthly API quota exceeded. Upgrade your plan for higher limits.",'
    '"detail":{"currentPlan":"basic","resetAt":"'
)


def play(api: Api) -> None:
    _tiers(api)
    _a_minute(api)
    _a_month(api)
    _without_a_key(api)


def _tiers(api: Api) -> None:
    loan = api.send("POST", "/api/v1/loans", MERIDIAN, json={"amount": 250_000}).json()["data"]
    answer = api.send("GET", f"/api/v1/loans/{loan['id']}", MERIDIAN)
    api.show("a loan is read on the standard tier, its second request", answer, _answered(200, 1_000, 998))
    answer = api.send("GET", "/api/v1/borrowers", ATLAS)
    api.show("the first request on the premium tier", answer, _answered(200, 10_000, 9_999))
    answer = api.send("GET", "/api/v1/loans/none", MERIDIAN)
    api.show("a loan that is not there: errors carry the headers too", answer, _answered(404, 1_000, 997))


def _a_minute(api: Api) -> None:
    count, denied = api.send_until_denied("GET", "/api/v1/loans", NORTHBANK)
    api.check("100 requests let through", count == 100)
    expected = Expected(429, has=RETRY_AFTER | _limits(100, 0), says=THROTTLED)
    api.show("the 101st request within a minute on the basic tier", denied, expected)
    detail, wait = denied.json()["errors"][0]["detail"], int(denied.headers["retry-after"])
    api.check("the same wait in Retry-After and in the body", detail["retryAfter"] == wait <= 61)
    answer = api.send("GET", "/api/v1/loans", NORTHBANK_REPORTS)
    what = "at the same moment the second key of that organization: each key has a minute of its own"
    api.show(what, answer, _answered(200, 100, 99))


def _a_month(api: Api) -> None:
    count, denied = api.send_until_denied("GET", "/api/v1/documents", SAMPLER)
    api.check("5 requests let through", count == 5)
    what = "the sixth request in a month of an organization that has 5; the headers go on describing the minute"
    api.show(what, denied, Expected(429, has=RETRY_AFTER | _limits(100, 95), says=USED_UP))


def _without_a_key(api: Api) -> None:
    answer = api.send("GET", "/api/v1/loans")
    what = "a request without an API key, which the app refuses: the headers are for callers with one"
    api.show(what, answer, Expected(401, lacks=("retry-after", *LIMIT_HEADERS)))
    count, denied = api.send_until_denied("GET", "/api/v1/loans")
    what = f"{count + 1} more of these: limited by address, with Retry-After alone"
    api.show(what, denied, Expected(429, has=RETRY_AFTER, lacks=LIMIT_HEADERS, says=THROTTLED))


def _answered(status: int, limit: int, remaining: int) -> Expected:
    return Expected(status, has=_limits(limit, remaining), lacks=("retry-after",))


def _limits(limit: int, remaining: int) -> dict[str, str]:
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": "[0-9]{10}",
        "x-ratelimit-window": "60",
    }
