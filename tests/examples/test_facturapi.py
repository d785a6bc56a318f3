"""The invoicing example does what Facturapi's page "Rate limits" says; the quoted texts are the page's own."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import httpx2
import pytest
from starlette.testclient import TestClient

from examples.facturapi import app as facturapi
from examples.facturapi.keys import ANA, LUNA_LIVE, LUNA_LIVE_TILL, LUNA_TEST, MAYOREO_LIVE
from ratelimit import MemoryStore
from tests.examples import Example

pytestmark = pytest.mark.repeated

INVOICES = "/v2/invoices"
PAGE_CODE = "RATE_LIMIT_EXCEEDED"


@pytest.fixture
def api() -> Iterator[Example]:
    with Example(facturapi.create_app, "2026-06-01T12:00:00Z") as example:
        yield example


@pytest.mark.parametrize(
    ("method", "path", "admitted"),
    [
        ("GET", "/v2/customers/5f1", 300),
        ("GET", "/v2/invoices/5f1", 300),
        ("GET", "/v2/invoices/5f1/pdf", 300),
        ("GET", "/v2/invoices/5f1/xml", 300),
        ("GET", "/v2/invoices/5f1/zip", 300),
        ("GET", "/v2/products", 120),
        ("GET", "/v2/invoices?q=ada", 120),
        ("POST", "/v2/customers", 60),
        ("POST", "/v2/receipts", 60),
        ("PUT", "/v2/customers/5f1", 60),
        ("DELETE", "/v2/products/5f1", 60),
        ("POST", "/v2/invoices", 10),
        ("DELETE", "/v2/invoices/5f1", 10),
        ("POST", "/v2/receipts/5f1/invoice", 10),
        ("POST", "/v2/receipts/global-invoice", 10),
    ],
)
def test_each_kind_of_operation_has_a_rate_of_its_own(api, method, path, admitted):
    """The page: "The API applies different policies depending on the operation type": five kinds, by method and
    path."""
    count, _ = api.send_until_denied(method, path, LUNA_TEST, json={})
    assert count == admitted


def test_one_kind_that_is_used_up_leaves_the_others_alone(api):
    """Stamping too much denies stamping, and no read, search, creation or write."""
    api.send_until_denied("POST", INVOICES, LUNA_TEST, json={})
    for method, path in [("GET", INVOICES), ("GET", "/v2/customers/5f1"), ("POST", "/v2/customers")]:
        assert api.send(method, path, LUNA_TEST, json={}).status_code != 429


def test_limits_are_counted_by_organization_or_user(api):
    """The page: "Limits are evaluated by authenticated identity (organization or user)": not by key, and each alone."""
    for _ in range(5):
        assert api.send("POST", INVOICES, LUNA_LIVE, json={}).status_code == 200
    assert api.send_until_denied("POST", INVOICES, LUNA_LIVE_TILL, json={})[0] == 5
    assert api.send_until_denied("POST", INVOICES, ANA, json={})[0] == 10
    assert api.status("POST", INVOICES, LUNA_LIVE) == 429


def test_a_key_is_read_from_bearer_and_from_the_user_name_of_basic(api):
    """Both ways of presenting a key are the same caller."""
    api.send_until_denied("POST", INVOICES, LUNA_LIVE, json={})
    assert api.send("POST", INVOICES, auth=(LUNA_LIVE, ""), json={}).status_code == 429


def test_without_an_identity_the_address_is_limited(api):
    """The page: "If a request does not include an authenticated identity, IP-based limiting is applied". A key that is
    not known is no identity."""
    assert api.statuses(15, "GET", "/v2/products") == [401] * 15
    assert api.statuses(15, "GET", "/v2/products", "sk_live_made_up") == [401] * 15
    assert api.status("GET", "/v2/products") == 429
    assert api.status("GET", "/v2/products", "sk_live_made_up_too") == 429
    assert api.status("GET", "/v2/products", LUNA_LIVE) == 200
    elsewhere = TestClient(api.app, client=("203.0.113.8", 4711))
    assert elsewhere.get("/v2/products").status_code == 401


def test_test_and_live_have_one_policy_and_two_counts(api):
    """The page: "We apply the same rate-limit policy in test and live mode": what one uses up, the other still has."""
    assert api.send_until_denied("POST", INVOICES, LUNA_TEST, json={})[0] == 10
    assert api.send_until_denied("POST", INVOICES, LUNA_LIVE, json={})[0] == 10


def test_thresholds_are_not_published(api):
    """The page: "We do not publish exact per-endpoint thresholds": no answer carries one, allowed or denied."""
    for answer in (api.send("GET", "/v2/products", LUNA_TEST), api.send_until_denied("GET", "/v2/products")[1]):
        assert not [name for name in answer.headers if "ratelimit" in name]


def test_an_exceeded_limit_is_answered_as_documented(api):
    """The page: "429 Too Many Requests", a "Retry-After header (recommended seconds before retrying)" and the error
    code."""
    _, denied = api.send_until_denied("POST", INVOICES, LUNA_TEST, json={})
    assert (denied.status_code, denied.reason_phrase) == (429, "Too Many Requests")
    assert denied.headers["Retry-After"] == "3"
    assert denied.headers["Content-Type"] == "application/json"
    assert json.loads(denied.text) == {
        "message": "Too many requests. Please retry shortly.",
        "status": 429,
        "ok": False,
        "code": PAGE_CODE,
    }


def test_a_client_that_honors_retry_after_is_let_through(api):
    """The page: "Always honor Retry-After": so many seconds later the request passes, a second earlier it does not."""
    _, denied = api.send_until_denied("POST", INVOICES, LUNA_TEST, json={})
    wait = int(denied.headers["Retry-After"])
    api.wait(wait - 1)
    assert api.send("POST", INVOICES, LUNA_TEST, json={}).status_code == 429
    api.wait(1)
    assert api.send("POST", INVOICES, LUNA_TEST, json={}).status_code == 200


def test_limits_take_effect_on_the_announced_day(api):
    """The page: "Rate limits will take effect starting May 19, 2026": nobody is denied a millisecond before."""
    api.at("2026-05-18T23:59:59.999Z")
    assert {api.send("POST", INVOICES, LUNA_TEST, json={}).status_code for _ in range(30)} == {200}
    assert set(api.statuses(60, "GET", "/v2/products")) == {401}
    api.at("2026-05-19T00:00:00Z")
    assert api.status("POST", INVOICES, LUNA_TEST) == 429
    assert api.status("GET", "/v2/products") == 429


def test_the_log_id_is_on_every_answer_and_in_the_log(api, caplog):
    """The page: "Include and preserve X-Facturapi-Log-Id": 200, 401, 404 and 429 have one each, and the log names the
    429's."""
    caplog.set_level(logging.INFO, logger="ratelimit")
    answers = [
        api.send("GET", "/v2/products", LUNA_TEST),
        api.send("GET", "/v2/products"),
        api.send("GET", "/v2/products/5f1", LUNA_TEST),
        *[api.send("POST", INVOICES, LUNA_TEST, json={}) for _ in range(11)][10:],
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 404, 429]
    ids = [answer.headers["X-Facturapi-Log-Id"] for answer in answers]
    assert len(set(ids)) == 4
    assert f"log_id={ids[3]}" in caplog.messages[-1]
    assert LUNA_TEST not in caplog.text


def test_a_customer_of_high_volume_has_raised_limits(api):
    """The page: "For high-volume use cases, you can contact support": one organization stamps 200 where others stamp
    10."""
    assert api.send_until_denied("POST", INVOICES, MAYOREO_LIVE, json={})[0] == 200
    assert api.send_until_denied("POST", "/v2/customers", MAYOREO_LIVE, json={})[0] == 60


def test_downloads_at_a_time_are_limited(monkeypatch):
    """The page: "Facturapi applies request rate and concurrency limits": of ten streams at a time four run; then others
    may."""
    app = facturapi.create_app(MemoryStore())

    async def test() -> None:
        running = []
        may_end = asyncio.Event()

        async def held(document):
            running.append(document)
            yield document[:1]
            await may_end.wait()
            yield document[1:]

        monkeypatch.setattr(facturapi, "in_pieces", held)
        headers = {"Authorization": f"Bearer {LUNA_LIVE}"}
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
            invoice = (await client.post(INVOICES, json={})).json()
            pdf = f"{INVOICES}/{invoice['id']}/pdf"
            downloads = [asyncio.create_task(client.get(pdf)) for _ in range(10)]
            while len(running) + sum(download.done() for download in downloads) < 10:  # noqa: ASYNC110 - a turn each
                await asyncio.sleep(0)
            may_end.set()
            answers = await asyncio.gather(*downloads)
            denied = [answer for answer in answers if answer.status_code != 200]
            assert (len(running), len(denied)) == (4, 6)
            for answer in denied:
                assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
                assert answer.json()["code"] == PAGE_CODE
            assert (await client.get(pdf)).status_code == 200

    asyncio.run(test())


@pytest.mark.parametrize(("file", "begins"), [("pdf", b"%PDF"), ("xml", b"<?xml"), ("zip", b"PK")])
def test_downloads_are_whole(api, monkeypatch, file, begins):
    """A streamed file arrives as it is, with its type and the log id."""
    monkeypatch.setattr("examples.facturapi.documents.PAUSE", 0)
    invoice = api.send("POST", INVOICES, LUNA_LIVE, json={"total": 1160}).json()
    answer = api.send("GET", f"{INVOICES}/{invoice['id']}/{file}", LUNA_LIVE)
    assert answer.status_code == 200
    assert answer.content.startswith(begins)
    assert answer.headers["Content-Type"].startswith(f"application/{file}")
    assert "X-Facturapi-Log-Id" in answer.headers


def test_health_and_docs_are_exempt(api):
    """An address that is denied everything else still gets the health check and the documentation."""
    api.send_until_denied("GET", "/v2/products")
    for path in ("/health", "/docs", "/openapi.json"):
        answer = api.send("GET", path)
        assert answer.status_code == 200
        assert "X-Facturapi-Log-Id" not in answer.headers


def test_an_invoice_is_stamped_changed_found_and_canceled(api):
    """The app is an app: what it stores comes back, in the mode it was stored in, and its errors have its envelope."""
    receipt = api.send("POST", "/v2/receipts", LUNA_TEST, json={"total": 5}).json()
    invoice = api.send("POST", f"/v2/receipts/{receipt['id']}/invoice", LUNA_TEST, json={"to": "Ada"}).json()
    whole = api.send("POST", "/v2/receipts/global-invoice", LUNA_TEST).json()
    assert (invoice["status"], invoice["receipts"]) == ("valid", [receipt["id"]])
    assert whole["receipts"] == [receipt["id"]]
    path = f"{INVOICES}/{invoice['id']}"
    assert api.send("PUT", path, LUNA_TEST, json={"to": "Eve"}).json()["to"] == "Eve"
    assert api.send("GET", f"{INVOICES}?q=eve", LUNA_TEST).json()["total_results"] == 1
    assert api.send("DELETE", path, LUNA_TEST).json()["status"] == "canceled"
    assert api.send("GET", path, LUNA_TEST).json()["status"] == "canceled"
    assert api.send("DELETE", f"/v2/receipts/{receipt['id']}", LUNA_TEST).json() == receipt
    assert api.send("GET", path, LUNA_LIVE).json() == {
        "message": "There is nothing with this id in invoices.",
        "status": 404,
        "ok": False,
    }
