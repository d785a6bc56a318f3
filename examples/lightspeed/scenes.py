"""What the demo does to the retail API."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from examples.lightspeed.keys import CORNER_ANA, CORNER_BEN, CORNER_BOOKS, CORNER_WEBSHOP, GALLERIA_WEBSHOP
from examples.wire import Api, Expected

DATE = "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT"
DENIED = '{"error":"Too Many Requests","message":"Rate limiting enforced"}'
NO_OTHERS = ("x-ratelimit-reset", "x-ratelimit-window")


def play(api: Api) -> None:
    _an_application(api)
    _other_sources(api)
    _the_token_endpoint(api)
    _without_a_token(api)


def _an_application(api: Api) -> None:
    sale = api.send("POST", "/api/2.0/sales", CORNER_WEBSHOP, json={"total_price": 12.5}).json()["data"]
    answer = api.send("GET", f"/api/2.0/sales/{sale['id']}", CORNER_WEBSHOP)
    what = "an application reads a sale, its second request: a retailer with 1 register has 300 x 1 + 50"
    api.show(what, answer, _answered(200, 350, 348))
    count, denied = api.send_until_denied("GET", "/api/2.0/products", CORNER_WEBSHOP)
    api.check("348 more requests let through", count == 348)
    api.show("it goes on, and its 351st request within 5 minutes is denied", denied, _denied(350))
    wait = (parsedate_to_datetime(denied.headers["retry-after"]) - datetime.now(UTC)).total_seconds()
    api.check("a Retry-After within the next 5 minutes and 6 seconds", 0 < wait <= 306)


def _other_sources(api: Api) -> None:
    answer = api.send("GET", "/api/2.0/products", CORNER_BOOKS)
    api.show("at the same moment another application of that retailer", answer, _answered(200, 350, 349))
    answer = api.send("GET", "/api/2.0/registers", CORNER_ANA)
    api.show("and Ana at its till: users are counted apart from applications", answer, _answered(200, 350, 349))
    answer = api.send("GET", "/api/2.0/registers", CORNER_BEN)
    api.show("and Ben at its till: all users of a retailer share one count", answer, _answered(200, 350, 348))
    answer = api.send("GET", "/api/2.0/customers", GALLERIA_WEBSHOP)
    what = "the first application at a retailer with 3 registers, 300 x 3 + 50"
    api.show(what, answer, _answered(200, 950, 949))


def _the_token_endpoint(api: Api) -> None:
    code = {"grant_type": "authorization_code", "code": "a-wrong-code"}
    answer = api.send("POST", "/api/1.0/token", data=code)
    what = "a wrong code for an access token: the authorization endpoint has a limit of its own"
    api.show(what, answer, _answered(400, 10, 9))
    count, denied = api.send_until_denied("POST", "/api/1.0/token", data=code)
    api.check("9 more codes let through", count == 9)
    api.show("the eleventh within a minute", denied, _denied(10))


def _without_a_token(api: Api) -> None:
    answer = api.send("GET", "/api/2.0/products")
    api.show("a request without a token, which the app refuses", answer, _answered(401, 30, 29))
    count, denied = api.send_until_denied("GET", "/api/2.0/products")
    api.show(f"{count + 1} more of these: limited by address", denied, _denied(30))


def _answered(status: int, limit: int, remaining: int) -> Expected:
    return Expected(status, has=_limits(limit, remaining), lacks=("retry-after", *NO_OTHERS))


def _denied(limit: int) -> Expected:
    return Expected(429, has=_limits(limit, 0) | {"retry-after": DATE}, lacks=NO_OTHERS, says=DENIED)


def _limits(limit: int, remaining: int) -> dict[str, str]:
    return {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(remaining)}
