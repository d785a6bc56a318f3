"""The lending example does what LendWorks' page "Rate Limits" says; the quoted texts are the page's own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from examples.lendworks import app as lendworks
from examples.lendworks.keys import ATLAS, MERIDIAN, NORTHBANK, NORTHBANK_REPORTS, SAMPLER
from ratelimit import Identity
from tests.examples import Example, ms

pytestmark = pytest.mark.repeated

LOANS = "/api/v1/loans"
HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Window")
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


@pytest.fixture
def api() -> Iterator[Example]:
    with Example(lendworks.create_app, "2026-06-01T12:00:00Z") as example:
        yield example


def shown(answer) -> tuple[int, ...]:
    return tuple(int(answer.headers[name]) for name in HEADERS)


def errors(answer) -> object:
    """The body without `meta.requestId`, which has to be there."""
    body = json.loads(answer.text)
    assert body.pop("meta")["requestId"]
    return body


@pytest.mark.parametrize(("api_key", "limit"), [(NORTHBANK, 100), (MERIDIAN, 1_000), (ATLAS, 10_000)])
def test_each_tier_has_its_requests_a_minute(api, api_key, limit):
    """100, 1,000 and 10,000 in the header; the first two are used up, and exactly so many pass."""
    assert shown(api.send("GET", LOANS, api_key))[:2] == (limit, limit - 1)
    if limit < 10_000:
        assert api.send_until_denied("GET", LOANS, api_key)[0] == limit - 1


def test_the_limit_is_scoped_per_api_key(api):
    """The page: "A sliding window rate limiter scoped per API key": the second key of an organization has its own
    minute."""
    api.send_until_denied("GET", LOANS, NORTHBANK)
    assert shown(api.send("GET", LOANS, NORTHBANK_REPORTS))[:2] == (100, 99)


def test_the_window_slides(api):
    """100 requests at the end of a minute leave none for the beginning of the next."""
    api.at("2026-06-01T12:00:59.500Z")
    assert api.statuses(100, "GET", LOANS, NORTHBANK) == [200] * 100
    api.at("2026-06-01T12:01:00Z")
    assert api.status("GET", LOANS, NORTHBANK) == 429
    api.at("2026-06-01T12:01:59.499Z")
    assert api.status("GET", LOANS, NORTHBANK) == 429
    api.at("2026-06-01T12:02:00Z")
    assert shown(api.send("GET", LOANS, NORTHBANK))[:2] == (100, 99)


def test_every_authenticated_response_has_the_four_headers(api):
    """The page: "Every authenticated response includes rate limit headers": also errors and what has no body; Reset is
    in epoch seconds, and Window is "always 60"."""
    loan = api.send("POST", LOANS, MERIDIAN, json={}).json()["data"]
    answers = [
        api.send("GET", f"{LOANS}/{loan['id']}", MERIDIAN),
        api.send("POST", LOANS, MERIDIAN, content="no json"),
        api.send("GET", f"{LOANS}/none", MERIDIAN),
        api.send("GET", "/api/v1/nothing", MERIDIAN),
        api.send("DELETE", f"{LOANS}/{loan['id']}", MERIDIAN),
    ]
    assert [answer.status_code for answer in answers] == [200, 422, 404, 404, 204]
    reset = api.now_ms // 1000 + 61
    assert [shown(answer) for answer in answers] == [(1000, left, reset, 60) for left in (998, 997, 996, 995, 994)]


def test_responses_without_a_key_have_none_of_them(api):
    """The headers are for authenticated callers; an address that asks too often gets a Retry-After."""
    refused = api.send("GET", LOANS)
    count, denied = api.send_until_denied("GET", LOANS)
    assert (refused.status_code, count) == (401, 19)
    assert denied.headers["Retry-After"] == "61"
    for answer in (refused, denied):
        assert not [name for name in HEADERS if name in answer.headers]


def test_a_throttled_request_gets_the_page_s_answer(api):
    """The page: "429 Too Many Requests" with the page's body to the letter, and "the Retry-After header is also set
    with the number of seconds to wait": 1,000 requests on the standard tier, 45 seconds before the first of them
    leaves."""
    api.at("2025-01-15T10:28:59Z")
    assert api.status("GET", LOANS, MERIDIAN) == 200
    api.at("2025-01-15T10:29:10Z")
    assert set(api.statuses(999, "GET", LOANS, MERIDIAN)) == {200}
    api.at("2025-01-15T10:29:15Z")
    denied = api.send("GET", LOANS, MERIDIAN)
    assert denied.status_code == 429
    assert errors(denied) == json.loads(PAGE_THROTTLED)
    assert denied.headers["Retry-After"] == "45"
    assert shown(denied) == (1000, 0, ms("2025-01-15T10:30:00Z") // 1000, 60)
    api.at("2025-01-15T10:29:59Z")
    assert api.status("GET", LOANS, MERIDIAN) == 429
    api.at("2025-01-15T10:30:00Z")
    assert api.status("GET", LOANS, MERIDIAN) == 200


def test_a_monthly_quota_that_is_used_up_gets_the_page_s_answer(api):
    """The page: "Retry-After: 86400" on the last day of January, the page's body to the letter, and the headers go on
    with the minute; in February the organization has its month again."""
    api.at("2025-01-30T23:00:00Z")
    assert api.statuses(5, "GET", LOANS, SAMPLER) == [200] * 5
    api.at("2025-01-31T00:00:00Z")
    denied = api.send("GET", LOANS, SAMPLER)
    assert denied.status_code == 429
    assert denied.headers["Retry-After"] == "86400"
    assert errors(denied) == json.loads(PAGE_QUOTA)
    assert shown(denied)[:2] == (100, 100)
    api.at("2025-01-31T23:59:59.999Z")
    assert api.status("GET", LOANS, SAMPLER) == 429
    api.at("2025-02-01T00:00:00Z")
    assert api.status("GET", LOANS, SAMPLER) == 200


@pytest.mark.parametrize(("tier", "quota"), [("basic", 50_000), ("standard", None), ("premium", None)])
def test_some_plans_have_a_monthly_quota(tier, quota):
    """The page: "Some plans enforce monthly API quotas": basic does, for all keys of an organization together."""
    charges = [
        charge
        for api_key in ("a", "b")
        for charge in lendworks.POLICY.charges(Identity(organization="acme", api_key=api_key, tier=tier), "search")
        if charge.limit.name == "monthly"
    ]
    assert {charge.maxes[-1][1] for charge in charges} == ({quota} if quota else set())
    assert len({charge.key for charge in charges}) == (1 if quota else 0)


def test_the_request_id_of_a_denial_is_in_the_log(api, caplog):
    """`meta.requestId` leads support to the line that says which limit it was, and the line holds no API key."""
    caplog.set_level(logging.INFO, logger="ratelimit")
    api.statuses(5, "GET", LOANS, SAMPLER)
    denied = api.send("GET", LOANS, SAMPLER)
    assert f"limit=monthly wait=2548800.000s log_id={denied.json()['meta']['requestId']}" in caplog.text
    assert SAMPLER not in caplog.text


def test_a_bulk_request_counts_once(api):
    """The page: "Use bulk endpoints where available instead of individual requests": many loans take one request."""
    answer = api.send("POST", f"{LOANS}/bulk", NORTHBANK, json=[{"amount": 1}, {"amount": 2}])
    assert (answer.status_code, shown(answer)[:2]) == (201, (100, 99))
    assert len(api.send("GET", LOANS, NORTHBANK_REPORTS).json()["data"]) == 2


def test_a_loan_is_made_and_changed(api):
    """The app is an app: what it stores comes back, to its own organization, and its errors have its envelope."""
    loan = api.send("POST", LOANS, NORTHBANK, json={"amount": 5}).json()["data"]
    path = f"{LOANS}/{loan['id']}"
    assert api.send("PATCH", path, NORTHBANK, json={"amount": 6}).json()["data"]["amount"] == 6
    assert api.send("GET", path, headers={"X-API-Key": NORTHBANK}).json()["data"]["amount"] == 6
    nothing = {"errors": [{"code": "NOT_FOUND", "message": "There is nothing with this id in loans."}]}
    assert api.send("GET", path, ATLAS).json() == nothing


def test_health_is_exempt(api):
    """The health check takes nothing."""
    assert "X-RateLimit-Limit" not in api.send("GET", "/health").headers
