"""What holds for every style, each with all its options on and off."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.model import Decision, Identity
from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders, wire
from tests.styles import ANA, CLOCK, LOG_ID, NOBODY, NOON, body, concurrency, decide, millis, quota, rate, utc, value

STYLES = [
    Facturapi(),
    Facturapi(expose_limits=True),
    Lightspeed(),
    Lightspeed(reset_header=True, legacy_body=True),
    Lightspeed(retry_after="seconds", never=429),
    Lendworks(),
    Lendworks(request_id=True, max_retry_after=3600),
    Lendworks(never=429),
    Ietf(),
    WithIetfHeaders(Lendworks()),
]
DENIALS = {
    "rate": [rate(max=100, used=100, retry_ms=2500), quota()],
    "quota": [rate(), quota(used=100, retry_ms=86_400_000)],
    "concurrency": [rate(), concurrency(used=100, retry_ms=1000)],
    "never": [rate(max=3, used=1, cost=5, retry_ms=None), quota()],
    "never, by a quota": [rate(), quota(max=3, used=1, cost=5, retry_ms=None)],
    "never, with another that frees soon": [rate(retry_ms=1000), rate("uploads", max=3, cost=5, retry_ms=None)],
}
every_style = pytest.mark.parametrize("style", STYLES, ids=repr)
every_denial = pytest.mark.parametrize("states", DENIALS.values(), ids=DENIALS)


def never_of(style):
    return never_of(style.style) if isinstance(style, WithIetfHeaders) else style.never


@every_style
@every_denial
def test_every_denial_is_well_formed(style, states):
    """Header names in lower case and in bytes, each once, in visible ASCII; a compact JSON body of the type it says."""
    answer = style.denied(decide(*states), ANA, LOG_ID)
    assert answer.status == (429 if all(state.retry_after_ms is not None for state in states) else never_of(style))
    names = [name for name, _ in answer.headers]
    assert len(set(names)) == len(names)
    for name, text in answer.headers:
        assert name == name.lower()
        assert text.decode("ascii").isprintable()
    assert value(answer.headers, "Content-Type") in ("application/json", "application/problem+json")
    assert answer.body == json.dumps(json.loads(answer.body), separators=(",", ":")).encode()


@every_style
@pytest.mark.parametrize("states", [v for k, v in DENIALS.items() if k.startswith("never")])
def test_a_request_that_can_never_pass_is_told_so_and_given_no_instant(style, states):
    """A cost above the max: the message says it, and no header or member gives a time to come back."""
    answer = style.denied(decide(*states), ANA, LOG_ID)
    assert "can never pass" in answer.body.decode()
    assert value(answer.headers, "Retry-After") is None
    assert value(answer.headers, "X-RateLimit-Reset") is None
    assert ";t=" not in (value(answer.headers, "RateLimit") or "")
    assert not any(word in answer.body.lower() for word in (b"retryafter", b"retry-after", b"resetat", b"shortly"))


@every_style
def test_a_shadow_limit_never_shows(style):
    """An answer is the same with and without shadow limits, however far they are exceeded."""
    shadows = [
        rate("trial", max=1, used=9, retry_ms=59_000, shadow=True),
        quota("trial quota", max=1, cost=2, retry_ms=None, shadow=True),
    ]
    allowed, denied = [rate(used=40), quota()], [rate(used=100, retry_ms=1000), quota()]
    assert style.headers(decide(*shadows, *allowed), ANA, LOG_ID) == style.headers(decide(*allowed), ANA, LOG_ID)
    assert style.denied(decide(*shadows, *denied), ANA, LOG_ID) == style.denied(decide(*denied), ANA, LOG_ID)


@every_style
def test_without_a_rate_there_are_no_x_ratelimit_headers(style):
    """A quota or a concurrency cap alone says nothing in headers that speak of rates."""
    allowed = style.headers(decide(quota(), concurrency()), ANA, LOG_ID)
    denied = style.denied(decide(quota(retry_ms=1000)), ANA, LOG_ID).headers
    assert not any(name.startswith(b"x-ratelimit") for name, _ in allowed + denied)


def test_the_rate_that_headers_speak_of():
    """Of several rates one that denies, then the longer wait, then the smaller share that remains, then the first."""
    roomy, tight, tighter = rate("roomy", used=1), rate("tight", used=50), rate("tighter", max=10, used=9)
    now, soon, late = (
        rate(name)._replace(exceeded=True, retry_after_ms=ms) for name, ms in (("now", 0), ("soon", 5), ("late", 6))
    )
    shadow = rate("shadow", used=100, retry_ms=9, shadow=True)
    for states, told in (
        ([roomy], roomy),
        ([shadow, quota(), roomy], roomy),
        ([roomy, tight, tighter], tighter),
        ([tight, tight._replace(window_ms=1)], tight),
        ([tighter, now, roomy], now),
        ([now, late, soon], late),
        ([quota(), concurrency(), shadow], None),
    ):
        assert decide(*states).binding is told


@every_style
def test_a_request_let_through_without_the_store_claims_nothing(style):
    """With no states there is nothing to tell, but for the log id."""
    headers = style.headers(Decision(allowed=True, now_ms=0, unavailable=True), ANA, LOG_ID)
    assert [name for name, _ in headers if name != style.log_id_header] == []


@every_style
def test_an_unreachable_store_is_a_503_with_retry_after_1(style):
    """Never a 429: the caller has done nothing wrong."""
    decide()  # it is noon
    answer = style.unavailable(LOG_ID)
    in_a_second = wire.http_date(NOON + 1000) if getattr(style, "retry_after", "") == "date" else "1"
    assert (answer.status, value(answer.headers, "Retry-After")) == (503, in_a_second)
    assert not any(b"ratelimit" in name for name, _ in answer.headers)
    assert answer.body == json.dumps(json.loads(answer.body), separators=(",", ":")).encode()


@every_style
@every_denial
def test_no_form_of_an_api_key_is_in_an_answer(style, states):
    """Not even the hash by which the caller is counted."""
    identity = Identity(api_key="5e884898da28" * 5 + "0000", ip="203.0.113.7", tier="basic")
    denied = style.denied(decide(*states), identity, LOG_ID)
    assert "5e88" not in repr((denied, style.headers(decide(rate()), identity, LOG_ID)))


@every_style
def test_a_caller_s_name_can_hold_anything(style):
    """Not even half a surrogate pair in a name turns a 429 into a 500."""
    answer = style.denied(decide(rate(retry_ms=1)), Identity(organization="caf\udce9 ☕", tier="b\udce9"), LOG_ID)
    assert body(answer)


@every_style
def test_an_answer_is_the_caller_s_to_change(style):
    """The middleware adds headers to an answer; the next answer does not have them."""
    decision = decide(rate(retry_ms=1000))
    for make in (lambda: style.denied(decision, ANA, LOG_ID), lambda: style.unavailable(LOG_ID)):
        before = list(make().headers)
        make().headers.append((b"content-length", b"2"))
        assert make().headers == before
    style.headers(decision, ANA, LOG_ID).append((b"vary", b"origin"))
    assert (b"vary", b"origin") not in style.headers(decision, ANA, LOG_ID)


def test_a_denial_that_is_told_again(monkeypatch):
    """Of one Decision the denial is made once for each style and each caller, and is never somebody else's."""
    made = []
    monkeypatch.setattr(wire, "compact_json", lambda document: made.append(document) or b"{}")
    decision, other = decide(rate(retry_ms=1000)), decide(rate(retry_ms=2000))
    styles = Lightspeed(), Lightspeed(reset_header=True)
    told = [style.denied(d, ANA, LOG_ID) for d in (decision, other) for style in styles for _ in range(3)]
    assert len(made) == 4
    assert told == [answer for answer in told[::3] for _ in range(3)]
    assert len({(*answer.headers,) for answer in told}) == 4
    lendworks = Lendworks()
    known, anonymous = (lendworks.denied(decision, who, LOG_ID) for who in (ANA, NOBODY))
    assert dict(known.headers).keys() - dict(anonymous.headers) == {
        b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"x-ratelimit-window"
    }  # fmt: skip


@pytest.mark.parametrize("style", [Lightspeed(), Lendworks()], ids=repr)
def test_a_denial_that_is_told_again_later(style):
    """An instant is that of the moment at which it is told: of a Decision that is a second old it is a second later."""
    decision = decide(rate(retry_ms=2000))
    told = [style.denied(decision, ANA, LOG_ID)]
    CLOCK[0] += 1000
    told.append(style.denied(decision, ANA, LOG_ID))
    assert told[0] != told[1]
    assert told[1] == style.denied(decide(rate(retry_ms=2000), now=CLOCK[0]), ANA, LOG_ID)


def test_more_denials_than_are_remembered():
    """Each is its own, also those of Decisions that are gone and whose place in memory is another's."""
    style = Lightspeed()
    for ms in range(1_000, 1_000 * (2 * wire.TOLD), 1_000):
        answer = style.denied(decide(rate(retry_ms=ms)), ANA, LOG_ID)
        assert value(answer.headers, "Retry-After") == wire.http_date(millis(NOON) + ms)


@every_style
def test_a_denial_in_which_nothing_denies_is_refused(style):
    """An answer about no limit at all would be made up."""
    with pytest.raises(ValueError, match="needs a Decision in which an enforced limit is exceeded"):
        style.denied(decide(rate(), rate(retry_ms=1000, shadow=True)), ANA, LOG_ID)


@given(now=st.integers(NOON, NOON + 10_000), wait=st.integers(1, 10_000))
def test_whatever_a_client_waits_for_it_is_let_through_and_not_kept_long(now, wait):
    """Retry-After, the HTTP-date, Reset and resetAt are all at or after the true instant, by less than a second."""
    decision = decide(rate(retry_ms=wait), now=now)
    lendworks = Lendworks().denied(decision, ANA, LOG_ID)
    lightspeed = Lightspeed(reset_header=True).denied(decision, ANA, LOG_ID)
    (error,) = body(lendworks)["errors"]
    resets = {
        int(value(lendworks.headers, "X-RateLimit-Reset")),
        int(value(lightspeed.headers, "X-RateLimit-Reset")),
        utc(error["detail"]["resetAt"]).timestamp(),
        parsedate_to_datetime(value(lightspeed.headers, "Retry-After")).timestamp(),
    }
    assert len(resets) == 1
    assert now + wait <= resets.pop() * 1000 < now + wait + 1000
    waits = {
        int(value(lendworks.headers, "Retry-After")),
        int(value(Facturapi().denied(decision, ANA, LOG_ID).headers, "Retry-After")),
        int(value(Ietf().denied(decision, NOBODY, LOG_ID).headers, "Retry-After")),
        error["detail"]["retryAfter"],
    }
    assert len(waits) == 1
    assert wait <= waits.pop() * 1000 < wait + 1000
