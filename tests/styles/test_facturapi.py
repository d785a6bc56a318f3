"""Facturapi answers as its page documents: 429 Too Many Requests, Retry-After, RATE_LIMIT_EXCEEDED, the log id."""

from __future__ import annotations

import pytest

from ratelimit.styles import Facturapi
from tests.styles import ANA, LOG_ID, NOBODY, body, concurrency, decide, lines, quota, rate, value

PAGE_STATUS = "429 Too Many Requests"
PAGE_CODE = "RATE_LIMIT_EXCEEDED"
PAGE_LOG_ID_HEADER = "X-Facturapi-Log-Id"
SHORTLY = "Too many requests. Please retry shortly."
LATER = "Too many requests. Please retry after as many seconds as Retry-After says."
LIMITED = {"message": SHORTLY, "status": 429, "ok": False, "code": PAGE_CODE}


@pytest.mark.parametrize("identity", [ANA, NOBODY], ids=["known", "by address"])
def test_an_allowed_response_carries_the_log_id_and_no_threshold(identity):
    """Exact thresholds are not published, to anyone."""
    headers = Facturapi().headers(decide(rate(), quota(), concurrency()), identity, LOG_ID)
    assert headers == lines(f"{PAGE_LOG_ID_HEADER}: 01JH2Z")


@pytest.mark.parametrize(
    ("limit", "retry_after", "message"),
    [
        (rate(used=100, retry_ms=2001), 3, SHORTLY),
        (rate(used=100, retry_ms=3_599_999), 3600, SHORTLY),
        (rate(used=100, retry_ms=3_600_000), 3600, LATER),
        (concurrency(used=100, retry_ms=1000), 1, SHORTLY),
        (quota(used=100, retry_ms=86_400_000), 86400, LATER),
        (quota(used=100, retry_ms=30 * 86_400_000), 2_073_600, LATER),
    ],
    ids=["rate", "an hour less a moment", "an hour", "concurrency", "quota", "month"],
)
def test_every_exceeded_limit_gets_the_page_s_429(limit, retry_after, message):
    """Status, Retry-After in seconds and code are the page's, whatever the kind of limit; the log id is there too.
    Only who has to wait for a quota, or for an hour, is not told to retry shortly."""
    answer = Facturapi().denied(decide(rate("other"), limit), ANA, LOG_ID)
    assert PAGE_STATUS.startswith(str(answer.status))
    assert body(answer) == LIMITED | {"message": message}
    assert answer.headers == lines(f"""
        Content-Type: application/json
        Retry-After: {retry_after}
        {PAGE_LOG_ID_HEADER}: 01JH2Z
    """)


def test_the_page_s_example_client_waits_long_enough():
    """`Number(err?.response?.headers?.['retry-after'] || 1) * 1000` milliseconds is never less than the true wait."""
    for wait_ms in (1, 999, 1000, 1001, 44_200):
        answer = Facturapi().denied(decide(rate(retry_ms=wait_ms)), ANA, LOG_ID)
        assert float(value(answer.headers, "Retry-After") or 1) * 1000 >= wait_ms


def test_code_and_message_are_options():
    """The live API has since written its code in lower case. A message of one's own is that of every 429."""
    style = Facturapi(code="rate_limit_exceeded", message="Demasiadas solicitudes. Inténtalo más tarde.")
    told = body(style.denied(decide(rate(retry_ms=1000)), ANA, LOG_ID))
    assert told == body(style.denied(decide(quota(retry_ms=86_400_000)), ANA, LOG_ID))
    assert told == LIMITED | {"code": "rate_limit_exceeded", "message": "Demasiadas solicitudes. Inténtalo más tarde."}


def test_expose_limits_adds_the_rate_s_headers():
    """With `expose_limits` an integrator sees limit, remaining and reset, on allowed responses and on a 429."""
    style = Facturapi(expose_limits=True)
    allowed = style.headers(decide(rate(max=100, used=40, reset_ms=30_000), now=1_600_000_000_000), ANA, LOG_ID)
    assert allowed == lines("""
        X-Facturapi-Log-Id: 01JH2Z
        X-RateLimit-Limit: 100
        X-RateLimit-Remaining: 60
        X-RateLimit-Reset: 1600000030
    """)
    limited = style.denied(decide(rate(max=100, used=100, retry_ms=3000), now=1_600_000_000_000), ANA, LOG_ID)
    assert limited.headers == lines("""
        Content-Type: application/json
        Retry-After: 3
        X-Facturapi-Log-Id: 01JH2Z
        X-RateLimit-Limit: 100
        X-RateLimit-Remaining: 0
        X-RateLimit-Reset: 1600000003
    """)


def test_a_request_that_can_never_pass_is_told_so_without_the_threshold():
    """A cost above the max: a 403 in the same envelope, no Retry-After, and not a digit of the limit."""
    answer = Facturapi().denied(decide(rate(max=3, used=1, cost=5, retry_ms=None)), ANA, LOG_ID)
    message = "This request can never pass: it is larger than its limit. Retrying does not help."
    assert (answer.status, body(answer)) == (403, LIMITED | {"message": message, "status": 403})
    assert answer.headers == lines("Content-Type: application/json\nX-Facturapi-Log-Id: 01JH2Z")


def test_an_unreachable_store_answers_in_the_same_envelope():
    """The 503 carries the log id too: the code that a client logs leads to the line that says why."""
    answer = Facturapi().unavailable(LOG_ID)
    assert body(answer) == {
        "message": "Service temporarily unavailable. Please retry shortly.",
        "status": 503,
        "ok": False,
        "code": "SERVICE_UNAVAILABLE",
    }
    assert answer.headers == lines("""
        Content-Type: application/json
        Retry-After: 1
        X-Facturapi-Log-Id: 01JH2Z
    """)


def test_the_log_id_header_is_announced():
    """The middleware learns from the style which header of the app holds the log id."""
    assert Facturapi().log_id_header == PAGE_LOG_ID_HEADER.lower().encode()
