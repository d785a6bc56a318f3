"""What the demo does to the invoicing API."""

from __future__ import annotations

import time
from dataclasses import replace

from examples.facturapi.keys import ANA, LUNA_LIVE, LUNA_TEST, MAYOREO_LIVE
from examples.wire import ANYTHING, LIMIT_HEADERS, Api, Expected

LOG_ID = "x-facturapi-log-id"
ALLOWED = Expected(200, has={LOG_ID: ANYTHING}, lacks=("retry-after", *LIMIT_HEADERS))  # thresholds are not published
DENIED = Expected(
    429,
    has={"retry-after": "[1-9][0-9]*", LOG_ID: ANYTHING, "content-type": "application/json"},
    lacks=LIMIT_HEADERS,
    says='"status":429,"ok":false,"code":"RATE_LIMIT_EXCEEDED"',
)
TOO_MANY_AT_A_TIME = replace(DENIED, has={"retry-after": "1", LOG_ID: ANYTHING})
PDF = Expected(200, {"content-type": "application/pdf", "transfer-encoding": "chunked", LOG_ID: ANYTHING}, says="%PDF")
INVOICE = {"customer": "Ada Lovelace", "total": 1160}


def play(api: Api) -> None:
    _within_the_limits(api)
    _stamping(api)
    _a_raised_customer(api)
    _downloads_at_once(api)
    _without_a_key(api)


def _within_the_limits(api: Api) -> None:
    customer = api.send("POST", "/v2/customers", LUNA_TEST, json={"legal_name": "Ada Lovelace"}).json()
    answer = api.send("GET", f"/v2/customers/{customer['id']}", LUNA_TEST)
    api.show("a customer is read, within the limits", answer, ALLOWED)
    answer = api.send("GET", "/v2/products", auth=(ANA, ""))
    api.show("a user without organization, with the key as the user name of Basic", answer, ALLOWED)


def _stamping(api: Api) -> None:
    count, denied = api.send_until_denied("POST", "/v2/invoices", LUNA_TEST, json=INVOICE)
    api.show(f"invoices are stamped in test mode until one is denied, after {count}", denied, DENIED)
    answer = api.send("GET", "/v2/invoices?limit=1", LUNA_TEST)
    api.show("at the same moment a search with the same key: another kind of operation", answer, ALLOWED)
    answer = api.send("POST", "/v2/invoices", LUNA_LIVE, json=INVOICE)
    api.show("and an invoice of the same organization in live mode: counted apart", answer, ALLOWED)
    wait = int(denied.headers["retry-after"])
    time.sleep(wait)
    answer = api.send("POST", "/v2/invoices", LUNA_TEST, json=INVOICE)
    api.show(f"the invoice that was denied, after the {wait} s of Retry-After", answer, ALLOWED)


def _a_raised_customer(api: Api) -> None:
    answers = [api.send("POST", "/v2/invoices", MAYOREO_LIVE, json=INVOICE) for _ in range(40)]
    api.check("40 stamped invoices in a row", all(answer.status_code == 200 for answer in answers))
    api.show("a customer with raised limits stamps 40 invoices in a row, the last", answers[-1], ALLOWED)


def _downloads_at_once(api: Api) -> None:
    invoice = api.send("POST", "/v2/invoices", LUNA_LIVE, json=INVOICE).json()
    pdf = f"/v2/invoices/{invoice['id']}/pdf"
    answers = api.send_at_once(10, "GET", pdf, LUNA_LIVE)
    denied = [answer for answer in answers if answer.status_code == 429]
    api.check("some of 10 downloads at a time denied, and 4 or more let through", 1 <= len(denied) <= 6)
    what = f"a PDF is downloaded 10 times at once, and {len(denied)} of them are denied: too many at a time"
    api.show(what, denied[0], TOO_MANY_AT_A_TIME)
    answer = api.send("GET", pdf, LUNA_LIVE)
    api.show("the PDF once more when they have ended: a stream", answer, PDF)


def _without_a_key(api: Api) -> None:
    answer = api.send("GET", "/v2/products")
    api.show("a request without an API key, which the app refuses", answer, replace(ALLOWED, status=401))
    count, denied = api.send_until_denied("GET", "/v2/products")
    api.show(f"{count + 1} more of these: limited by address", denied, DENIED)
    answer = api.send("GET", "/health")
    api.show("the exempt health check at the same moment", answer, Expected(200, lacks=(LOG_ID,)))
