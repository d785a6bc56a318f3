"""`python -m examples.demo`: it prints every kind of answer, says so where one is wrong, and no API key leaks."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from fastapi import FastAPI

from examples import demo
from examples.serving import serving
from examples.wire import Api, Expected, Unexpected, as_received
from tests.examples import NAMES, api_keys
from tests.servers import Monitor, free_port

ROOT = Path(demo.__file__).parent.parent
# The demo with everything that the middleware ever logs.
WITH_LOG = """
import logging, sys
logging.basicConfig(format="%(name)s %(message)s")
logging.getLogger("ratelimit").setLevel(logging.DEBUG)
from examples.demo import main
sys.exit(main())
"""
KINDS = [
    ("facturapi: a customer is read", "200 OK"),
    ("facturapi: a user without organization", "200 OK"),
    ("facturapi: invoices are stamped in test mode until one is denied", "429 Too Many Requests"),
    ("facturapi: at the same moment a search", "200 OK"),
    ("facturapi: and an invoice of the same organization in live mode", "200 OK"),
    ("facturapi: the invoice that was denied, after", "200 OK"),
    ("facturapi: a customer with raised limits", "200 OK"),
    ("facturapi: a PDF is downloaded 10 times at once", "429 Too Many Requests"),
    ("facturapi: the PDF once more", "200 OK"),
    ("facturapi: a request without an API key", "401 Unauthorized"),
    ("facturapi: 30 more of these: limited by address", "429 Too Many Requests"),
    ("facturapi: the exempt health check", "200 OK"),
    ("lightspeed: an application reads a sale", "200 OK"),
    ("lightspeed: it goes on, and its 351st request", "429 Too Many Requests"),
    ("lightspeed: at the same moment another application", "200 OK"),
    ("lightspeed: and Ana at its till", "200 OK"),
    ("lightspeed: and Ben at its till", "200 OK"),
    ("lightspeed: the first application at a retailer with 3 registers", "200 OK"),
    ("lightspeed: a wrong code for an access token", "400 Bad Request"),
    ("lightspeed: the eleventh within a minute", "429 Too Many Requests"),
    ("lightspeed: a request without a token", "401 Unauthorized"),
    ("lightspeed: 30 more of these: limited by address", "429 Too Many Requests"),
    ("lendworks: a loan is read on the standard tier", "200 OK"),
    ("lendworks: the first request on the premium tier", "200 OK"),
    ("lendworks: a loan that is not there", "404 Not Found"),
    ("lendworks: the 101st request within a minute", "429 Too Many Requests"),
    ("lendworks: at the same moment the second key", "200 OK"),
    ("lendworks: the sixth request in a month", "429 Too Many Requests"),
    ("lendworks: a request without an API key", "401 Unauthorized"),
    ("lendworks: 20 more of these: limited by address", "429 Too Many Requests"),
    ("completions: 1,000 tokens are held, 16 are used", "200 OK"),
    ("completions: another key of that organization", "200 OK"),
    ("completions: a stream, which settles as it goes", "200 OK"),
    ("completions: a model that fails", "503 Service Unavailable"),
    ("completions: an answer that may take more tokens than are left", "429 Too Many Requests"),
    ("completions: one that may take more than a minute has", "403 Forbidden"),
    ("completions: a stream has sent its 200 by then", "200 OK"),
    ("completions: a request without an API key", "401 Unauthorized"),
]
API_KEYS = [api_key for name in NAMES for api_key in api_keys(import_module(f"examples.{name}.keys"))]


def run(store_url: str) -> subprocess.CompletedProcess[str]:
    unwatched = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment = {**unwatched, "RATELIMIT_STORE_URL": store_url}
    command = [sys.executable, "-c", WITH_LOG]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False)


def assert_complete(ran: subprocess.CompletedProcess[str], counters: str) -> None:
    assert ran.returncode == 0, ran.stderr
    summary = ran.stdout.splitlines()[-1]
    shown = [answer.splitlines()[:2] for answer in ran.stdout.split("\n--- ")[1:]]
    assert [(what[: len(kind)], status) for (what, status), (kind, _) in zip(shown, KINDS, strict=True)] == [
        (kind, f"HTTP/1.1 {status}") for kind, status in KINDS
    ]
    assert summary.startswith("38 answers as documented, 6")
    assert summary.endswith(f" s, counters in {counters}.")
    assert ran.stderr.count("ratelimit denied operation=") >= 10
    assert not [api_key for api_key in API_KEYS if api_key in ran.stdout + ran.stderr]


@pytest.mark.proof
def test_the_demo_in_memory():
    """Without a store it counts in memory, prints each kind once and ends with 0; the log has no API key."""
    assert_complete(run(""), "memory")


def test_the_demo_on_redis(valkey):
    """The same on a server; neither commands nor keys nor values hold an API key in clear."""
    with Monitor(valkey) as monitor:
        assert_complete(run(valkey.url), "redis")
    assert sum("EVALSHA" in command for command in monitor.commands) > 600
    with valkey.client() as client:
        keys = list(client.scan_iter("demo-*"))
        kept = b"\n".join([*keys, *(client.dump(key) or b"" for key in keys)])
        assert len(keys) > 20
        assert all(client.pttl(key) != -1 for key in keys)
    sent = "\n".join(monitor.commands)
    assert not [api_key for api_key in API_KEYS if api_key in sent or api_key.encode() in kept]


def test_the_demo_without_its_store_fails():
    """A store out of reach is said, with the reason and status 1, before anything is driven."""
    ran = run(f"redis://:secret@127.0.0.1:{free_port()}/0")
    assert ran.returncode == 1
    assert "The demo has failed. StoreUnavailable: ConnectionError" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "secret" not in ran.stderr


def test_a_wrong_answer_fails_the_demo(monkeypatch, capsys):
    """An API without limits is found out: what was wrong is said, the status is 1, and the server is stopped."""
    seen = []

    def play(api: Api) -> None:
        answer = api.send("GET", "/openapi.json")
        seen.append(str(answer.url))
        api.show("an app without limits", answer, Expected(200, has={"x-ratelimit-limit": "5"}))

    apps = SimpleNamespace(create_app=lambda _: FastAPI())
    monkeypatch.setattr(demo, "EXAMPLES", {"unlimited": (apps, SimpleNamespace(play=play))})
    assert demo.main() == 1
    assert "an app without limits: the header x-ratelimit-limit is not 5" in capsys.readouterr().err
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(seen[0])


@pytest.mark.parametrize(
    ("expected", "wrong"),
    [
        (Expected(200), []),
        (Expected(200, {"retry-after": "[0-9]+"}, ["x-other"], "slow"), []),
        (Expected(429), ["the status is not 429"]),
        (Expected(200, {"retry-after": "[0-8]+"}), ["the header retry-after is not [0-8]+"]),
        (Expected(200, {"x-other": ".+"}), ["the header x-other is not .+"]),
        (Expected(200, lacks=["Retry-After"]), ["the header Retry-After is there"]),
        (Expected(200, says="fast"), ["the body does not say fast"]),
    ],
)
def test_what_is_wrong_with_an_answer(expected, wrong):
    """Status, headers that have to be there or not, and the body are each checked and named."""
    answer = httpx2.Response(200, headers={"Retry-After": "9"}, text="slow down")
    assert list(expected.wrong(answer)) == wrong


def test_an_answer_is_printed_as_it_was_received():
    """Status line, headers in their order and case, an empty line and the body."""
    answer = httpx2.Response(
        200, headers=[("B", "2"), ("a", "1")], content=b"{}", extensions={"http_version": b"HTTP/1.1"}
    )
    assert as_received(answer).startswith("HTTP/1.1 200 OK\nB: 2\na: 1\n")
    assert as_received(answer).endswith("\n\n{}")


def test_an_api_that_never_denies_is_found_out():
    """Driving ends after 2,000 requests, and a check that fails says what was expected."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200))
    with httpx2.Client(transport=transport, base_url="http://api") as client:
        api = Api("x", client)
        with pytest.raises(Unexpected, match="2,000 requests GET / in a row, and none of them was denied"):
            api.send_until_denied("GET", "/")
        with pytest.raises(Unexpected, match="x: expected two of them, and it was not so"):
            api.check("two of them", is_so=False)


def test_an_app_that_does_not_start_is_said():
    """A server that ends before it is up is an error, not a wait."""

    async def broken(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="the server did not start"), serving(broken):
        pass
