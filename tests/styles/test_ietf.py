"""The two IETF fields and the quota-exceeded problem; fields are read back by an independent parser of RFC 9651."""

from __future__ import annotations

import http_sf
import pytest

from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders
from tests.styles import ANA, LOG_ID, NOBODY, body, concurrency, decide, lines, quota, rate, value

DRAFT_POLICY = 'RateLimit-Policy: "permin";q=50;w=60, "perhr";q=1000;w=3600'
DRAFT_LIMIT = 'RateLimit: "default";r=50;t=30'
DRAFT_PROBLEM = {
    "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
    "title": "Request cannot be satisfied as assigned quota has been exceeded",
    "violated-policies": ["daily", "bandwidth"],
}


def parsed(headers, name):
    """A List of Items as {name: parameters}; it must also be written the one way that RFC 9651 writes it."""
    field = value(headers, name).encode()
    members = http_sf.parse(field, tltype="list")
    assert http_sf.ser(members).encode() == field
    assert len(dict(members)) == len(members)
    return dict(members)


def test_the_fields_look_as_in_the_draft():
    """The draft's own examples come out byte for byte, but for the blank that RFC 9651 puts after a comma."""
    policies = decide(rate("permin", max=50), rate("perhr", max=1000, window_ms=3_600_000))
    assert Ietf().headers(policies, ANA, LOG_ID)[0] == lines(DRAFT_POLICY)[0]
    assert Ietf().headers(decide(rate("default", max=100, used=50)), ANA, LOG_ID)[1] == lines(DRAFT_LIMIT)[0]


def test_an_allowed_response_shows_all_enforced_limits_in_both_fields():
    """A quota's window is the length of its current period; concurrency is told by its unit and without times."""
    decision = decide(
        rate("requests", max=100, used=50),
        quota("monthly", max=50_000, used=50, reset_ms=1_036_800_000),
        concurrency("in flight", max=10, used=1, reset_ms=60_000),
        rate("tried out", max=1, used=1, shadow=True),
    )
    assert Ietf().headers(decision, NOBODY, LOG_ID) == lines("""
        RateLimit-Policy: "requests";q=100;w=60, "monthly";q=50000;w=2678400, "in flight";q=10;qu="concurrent-requests"
        RateLimit: "requests";r=50;t=30, "monthly";r=49950;t=1036800, "in flight";r=9
    """)


def test_a_denial_names_the_limits_that_deny_and_tells_each_its_own_wait():
    """`t` is a denying limit's own retry_after, Retry-After the longest of them, `violated-policies` all of them."""
    decision = decide(
        quota("daily", max=10, used=10, retry_ms=3_600_000, reset_ms=3_600_000),
        rate("requests", max=100, used=50),
        rate("bandwidth", max=5, used=5, retry_ms=1500, reset_ms=60_000),
        concurrency("in flight", max=2, used=2, retry_ms=1000),
        rate("tried out", max=1, used=1, retry_ms=9000, shadow=True),
    )
    answer = Ietf().denied(decision, ANA, LOG_ID)
    assert (answer.status, value(answer.headers, "Content-Type")) == (429, "application/problem+json")
    assert value(answer.headers, "Retry-After") == "3600"
    assert parsed(answer.headers, "RateLimit") == {
        "daily": {"r": 0, "t": 3600},
        "requests": {"r": 50, "t": 30},
        "bandwidth": {"r": 0, "t": 2},
        "in flight": {"r": 0, "t": 1},
    }
    assert body(answer) == DRAFT_PROBLEM | {
        "status": 429,
        "detail": "Try again in 3600 seconds.",
        "violated-policies": ["daily", "bandwidth", "in flight"],
    }


def test_the_problem_is_the_draft_s_own():
    """Type, title and extension member are spelled as in the draft's example."""
    limits = rate("daily", retry_ms=1000), rate("requests"), rate("bandwidth", retry_ms=1000)
    told = body(Ietf().denied(decide(*limits), ANA, LOG_ID))
    assert {member: told[member] for member in DRAFT_PROBLEM} == DRAFT_PROBLEM


def test_a_request_that_can_never_pass_leaves_out_every_time():
    """A cost above the max: no `t` at all, also not of a limit that frees in a moment, for waiting is no use."""
    limits = rate("requests", max=3, used=1, cost=5, retry_ms=None), rate("burst", max=9, used=9, retry_ms=1000)
    answer = Ietf().denied(decide(*limits), ANA, LOG_ID)
    assert body(answer)["detail"] == "This request can never pass: it costs 5 and its limit allows 3."
    assert parsed(answer.headers, "RateLimit") == {"requests": {"r": 2}, "burst": {"r": 0}}


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("in flight", "in flight"),
        ('the "big" one', 'the "big" one'),
        ("back\\slash", "back\\slash"),
        ("ends in \\", "ends in \\"),
        ("a,b;c=d", "a,b;c=d"),
        ("día\r\nSet-Cookie: a=b", "d?a??Set-Cookie: a=b"),
    ],
)
def test_any_name_is_a_well_formed_string(name, read):
    """Quotes and backslashes are escaped; what a String can't hold, a line break above all, becomes a question mark."""
    named = rate()
    object.__setattr__(named.limit, "name", name)  # not that it could be made
    headers = Ietf().headers(decide(named), ANA, LOG_ID)
    assert list(parsed(headers, "RateLimit-Policy")) == list(parsed(headers, "RateLimit")) == [read]


def test_numbers_stay_within_the_fifteen_digits_of_an_integer():
    """The largest max has 16 digits; sent as it is, a client would have to ignore the whole field."""
    headers = Ietf().headers(decide(rate(max=2**53 - 1, used=0, window_ms=1, reset_ms=2**63)), ANA, LOG_ID)
    most = 999_999_999_999_999
    assert parsed(headers, "RateLimit-Policy") == {"requests": {"q": most, "w": 1}}
    assert parsed(headers, "RateLimit") == {"requests": {"r": most, "t": most}}


def test_no_enforced_limit_no_fields():
    """A List that is sent may not be empty."""
    assert Ietf().headers(decide(), ANA, LOG_ID) == []
    assert Ietf().headers(decide(rate(shadow=True)), ANA, LOG_ID) == []


def test_an_unreachable_store_is_a_problem_of_its_own():
    """The 503 is problem+json too, and blames no policy."""
    answer = Ietf().unavailable(LOG_ID)
    assert value(answer.headers, "Content-Type") == "application/problem+json"
    assert body(answer) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "Rate limits cannot be checked right now. Try again in 1 seconds.",
    }


@pytest.mark.parametrize("style", [Facturapi(), Lightspeed(), Lendworks()], ids=lambda s: type(s).__name__)
def test_ietf_headers_adds_both_fields_to_any_style_and_changes_nothing_else(style):
    """`ietf_headers = true`: the style's own answer, then the two fields; a 503 has none."""
    both = WithIetfHeaders(style)
    allowed, denied = decide(rate(), quota()), decide(rate(retry_ms=1000), quota())
    fields = Ietf().headers(allowed, ANA, LOG_ID)
    assert both.headers(allowed, ANA, LOG_ID) == style.headers(allowed, ANA, LOG_ID) + fields
    own, told = style.denied(denied, ANA, LOG_ID), both.denied(denied, ANA, LOG_ID)
    assert (told.status, told.body) == (own.status, own.body)
    assert told.headers == own.headers + Ietf().headers(denied, ANA, LOG_ID)
    assert both.unavailable(LOG_ID) == style.unavailable(LOG_ID)
    assert both.log_id_header == style.log_id_header


def test_ietf_headers_beside_the_ietf_style_sends_each_field_once():
    """A List field sent twice would list every limit twice."""
    both, allowed, denied = WithIetfHeaders(Ietf()), decide(rate()), decide(rate(retry_ms=1000))
    assert both.headers(allowed, ANA, LOG_ID) == Ietf().headers(allowed, ANA, LOG_ID)
    assert both.denied(denied, ANA, LOG_ID) == Ietf().denied(denied, ANA, LOG_ID)
