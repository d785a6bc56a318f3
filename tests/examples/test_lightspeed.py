"""The retail example does what Lightspeed's page "Rate limiting" says; the quoted texts are the page's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

from examples.lightspeed import app as lightspeed
from examples.lightspeed.keys import CORNER_ANA, CORNER_BEN, CORNER_BOOKS, CORNER_WEBSHOP, GALLERIA_WEBSHOP
from tests.examples import Example

pytestmark = pytest.mark.repeated

SALES, TOKEN = "/api/2.0/sales", "/api/1.0/token"
PAGE_DENIED = """
{
  "error": "Too Many Requests",
  "message": "Rate limiting enforced"
}
"""
PAGE_DATE = "Wed, 15 Jul 2020 15:04:05 GMT"


@pytest.fixture
def api() -> Iterator[Example]:
    with Example(lightspeed.create_app, "2026-06-01T12:00:00Z") as example:
        yield example


def shown(answer) -> tuple[int, int]:
    return int(answer.headers["X-RateLimit-Limit"]), int(answer.headers["X-RateLimit-Remaining"])


@pytest.mark.parametrize(("api_key", "limit"), [(CORNER_WEBSHOP, 350), (CORNER_ANA, 350), (GALLERIA_WEBSHOP, 950)])
def test_the_limit_goes_by_the_number_of_registers(api, api_key, limit):
    """The page: "300 x <number of registers> + 50": 350 for a single register, 950 for three, and exactly so many
    pass."""
    assert len(api.send("GET", "/api/2.0/registers", api_key).json()["data"]) == (limit - 50) // 300
    assert api.send_until_denied("GET", SALES, api_key)[0] == limit - 1


def test_every_response_says_the_limit_and_what_is_left(api):
    """The page: "Two new headers which are included in every response": reads, writes, errors and denials."""
    answers = [
        api.send("GET", SALES, CORNER_WEBSHOP),
        api.send("POST", SALES, CORNER_WEBSHOP, json={}),
        api.send("GET", f"{SALES}/none", CORNER_WEBSHOP),
        api.send("POST", SALES, CORNER_WEBSHOP, content="no json"),
        api.send("GET", "/api/2.0/nothing", CORNER_WEBSHOP),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 422, 404]
    assert [shown(answer) for answer in answers] == [(350, left) for left in (349, 348, 347, 346, 345)]
    assert shown(api.send_until_denied("GET", SALES, CORNER_WEBSHOP)[1]) == (350, 0)


def test_a_request_source_is_limited_by_itself(api):
    """The page: "API integration (application) requests cannot rate limit any of your in store requests": nor the other
    way, nor one application another, nor one retailer another."""
    api.send_until_denied("GET", SALES, CORNER_WEBSHOP)
    assert shown(api.send("GET", SALES, CORNER_BOOKS)) == (350, 349)
    assert shown(api.send("GET", SALES, CORNER_ANA)) == (350, 349)
    assert shown(api.send("GET", SALES, GALLERIA_WEBSHOP)) == (950, 949)
    api.send_until_denied("GET", SALES, CORNER_ANA)
    assert shown(api.send("GET", SALES, CORNER_BOOKS)) == (350, 348)


def test_all_users_of_a_retailer_share_one_limit(api):
    """The page: "Rate limit per retailer for all users": what Ana uses, Ben does not have."""
    assert shown(api.send("GET", SALES, CORNER_ANA)) == (350, 349)
    assert shown(api.send("GET", SALES, CORNER_BEN)) == (350, 348)
    api.send_until_denied("GET", SALES, CORNER_ANA)
    assert api.status("GET", SALES, CORNER_BEN) == 429


def test_an_exceeded_limit_is_answered_as_documented(api):
    """The page's body, and Retry-After as "an 'HTTP date' format (RFC1123)"."""
    _, denied = api.send_until_denied("GET", SALES, CORNER_WEBSHOP)
    assert denied.status_code == 429
    assert json.loads(denied.text) == json.loads(PAGE_DENIED)
    retry_after = denied.headers["Retry-After"]
    form = "%a, %d %b %Y %H:%M:%S GMT"
    assert datetime.strptime(retry_after, form).strftime(form) == retry_after
    assert re.sub("[A-Za-z0-9]", "x", retry_after) == re.sub("[A-Za-z0-9]", "x", PAGE_DATE)


def test_the_limiter_resets_at_the_date_and_not_before(api):
    """The page: "The rate limiter is currently based on a 5 minute (300 seconds) window". At the date a request passes
    again, one second earlier it does not."""
    _, denied = api.send_until_denied("GET", SALES, CORNER_WEBSHOP)
    date = parsedate_to_datetime(denied.headers["Retry-After"])
    wait = date - datetime.fromtimestamp(api.now_ms / 1000, UTC)
    assert timedelta(seconds=300) <= wait <= timedelta(seconds=306)
    api.wait(wait.total_seconds() - 1)
    assert api.status("GET", SALES, CORNER_WEBSHOP) == 429
    api.wait(1)
    assert shown(api.send("GET", SALES, CORNER_WEBSHOP)) == (350, 349)


def test_authorization_has_a_limit_of_its_own(api):
    """The page: "The API's authorization endpoints have their own rate limiting settings". 10 a minute for an address
    take nothing from the API, and a retailer that is out of requests still gets its tokens."""
    assert api.send_until_denied("POST", TOKEN)[0] == 10
    assert shown(api.send("GET", SALES, CORNER_WEBSHOP)) == (350, 349)
    api.wait(61)
    api.send_until_denied("GET", SALES, CORNER_WEBSHOP)
    for api_key in (None, CORNER_WEBSHOP):
        answer = api.send("POST", TOKEN, api_key, data={"code": "code-of-corner"})
        assert (answer.status_code, shown(answer)) == (200, (10, 9))
        assert answer.json()["access_token"] == CORNER_WEBSHOP


def test_a_wrong_code_gets_no_token(api):
    """The error of RFC 6749, section 5.2."""
    answer = api.send("POST", TOKEN, data={"code": "guessed"})
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})


def test_without_a_token_the_app_refuses_and_the_address_is_limited(api):
    """Calls without a token are answered 401 thirty times a minute; tokens can still be asked for then."""
    assert api.send_until_denied("GET", SALES)[0] == 30
    assert api.status("POST", TOKEN) == 400


def test_a_sale_is_made_changed_listed_and_removed(api):
    """The app is an app: what it stores comes back, to its own retailer, and with a version that counts up."""
    sale = api.send("POST", SALES, CORNER_WEBSHOP, json={"total_price": 12.5}).json()["data"]
    path = f"{SALES}/{sale['id']}"
    assert api.send("PUT", path, CORNER_ANA, json={"total_price": 10}).json()["data"]["version"] == sale["version"] + 1
    assert api.send("GET", path, CORNER_BOOKS).json()["data"]["total_price"] == 10
    assert len(api.send("GET", f"{SALES}?after=1", CORNER_BOOKS).json()["data"]) == 1
    assert api.send("GET", path, GALLERIA_WEBSHOP).json() == {"error": "There is nothing with this id in sales."}
    removed = api.send("DELETE", path, CORNER_ANA)
    assert (removed.status_code, shown(removed)) == (204, (350, 348))
    assert api.send("GET", SALES, CORNER_ANA).json() == {"data": [], "version": {"min": 0, "max": 0}}


def test_health_is_exempt(api):
    """The health check has no limit and no headers."""
    assert "X-RateLimit-Limit" not in api.send("GET", "/health").headers
