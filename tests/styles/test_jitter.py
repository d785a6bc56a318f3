"""Waits that are a little longer: for rates alone, upwards, and the same in all forms of one answer."""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.config import parse_policy
from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders, WithJitter
from ratelimit.styles.jitter import jittered, steady
from ratelimit.styles.wire import most_of
from ratelimit.websockets.closing import closing
from tests.styles import ANA, LOG_ID, NOON, concurrency, decide, quota, rate, value

STYLES = [
    Facturapi(expose_limits=True),
    Lightspeed(reset_header=True),
    Lightspeed(reset_header=True, legacy_body=True, retry_after="seconds"),
    Lendworks(request_id=True),
    Ietf(),
    WithIetfHeaders(Lendworks()),
    WithIetfHeaders(Facturapi()),
]
every_style = pytest.mark.parametrize("style", STYLES, ids=repr)


def drawn(style, *parts, part=0.03):
    """A style with jitter that draws these, one after the other, and no more often."""
    return WithJitter(style, part, iter(parts).__next__)


def waits(answer):
    """Each form of the wait in an answer, in whole seconds from noon on."""
    noon = NOON // 1000
    header = value(answer.headers, "Retry-After")
    yield int(header) if header.isdecimal() else int(parsedate_to_datetime(header).timestamp()) - noon
    if reset := value(answer.headers, "X-RateLimit-Reset"):
        yield int(reset) - noon
    yield from map(int, re.findall(";t=([0-9]+)", value(answer.headers, "RateLimit") or ""))
    body = json.loads(answer.body)
    for text in (body.get("detail"), *[error["message"] for error in body.get("errors", ())]):
        yield from map(int, re.findall("in ([0-9]+) seconds", text or ""))
    for detail in [error["detail"] for error in body.get("errors", ())]:
        yield detail["retryAfter"]
        yield int(parsedate_to_datetime_of(detail["resetAt"])) - noon
    if "retry-after" in body:
        yield int(parsedate_to_datetime(body["retry-after"]).timestamp()) - noon


def parsedate_to_datetime_of(text):
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


@every_style
def test_all_forms_of_the_wait_agree(style):
    """The header, the body, `t` and the instants are of one draw: 1,000 s and 1.5 % of it."""
    answer = drawn(style, 0.5).denied(decide(rate(used=100, retry_ms=1_000_000)), ANA, LOG_ID)
    assert set(waits(answer)) == {1_015}


@every_style
def test_what_is_no_denial_by_a_rate_is_as_it_was(style):
    """A quota, a slot, what can never pass, allowed responses and a store out of reach: nothing is drawn for them."""
    with_jitter = drawn(style)
    for states in (
        [rate(), quota(used=100, retry_ms=86_400_000)],
        [rate(used=100, retry_ms=1_000), quota(used=100, retry_ms=86_400_000)],
        [rate(), concurrency(used=100, retry_ms=1_000)],
        [rate(max=3, cost=5, retry_ms=None)],
    ):
        decision = decide(*states)
        assert with_jitter.denied(decision, ANA, LOG_ID) == style.denied(decision, ANA, LOG_ID)
    allowed = decide(rate())
    assert with_jitter.headers(allowed, ANA, LOG_ID) == style.headers(allowed, ANA, LOG_ID)
    assert with_jitter.unavailable(LOG_ID) == style.unavailable(LOG_ID)
    assert with_jitter.log_id_header == style.log_id_header
    assert with_jitter.refused(400, "x", "y", LOG_ID) == style.refused(400, "x", "y", LOG_ID)
    assert jittered(allowed, with_jitter) is allowed


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.floats(0, 0.03), st.floats(0, 1))
def test_only_upwards_and_a_minute_at_most(one, other, part, draw):
    """Of all rates that deny, by one draw: the longest stays the longest, and what is in shadow stays as it was."""
    states = [rate(used=100, retry_ms=one), rate("b", used=100, retry_ms=other), quota()]
    decision = decide(*states, rate("c", used=100, retry_ms=7, shadow=True))
    later = WithJitter(Ietf(), part, lambda: draw).later(decision).states
    for before, after in zip(decision.states[:2], later[:2], strict=True):
        assert 0 <= after.retry_after_ms - before.retry_after_ms <= min(60_000, before.retry_after_ms * part)
    assert later[2:] == decision.states[2:]
    assert (one < other) is (later[0].retry_after_ms < later[1].retry_after_ms) or one == other or part or draw
    assert (one <= other) <= (later[0].retry_after_ms <= later[1].retry_after_ms)


def test_it_is_drawn_for_each_denial():
    """Who was denied by the same Decision in the same millisecond is told another wait."""
    style, decision = drawn(Ietf(), 0.0, 1.0), decide(rate(used=100, retry_ms=1_000_000), quota())
    assert [value(style.denied(decision, ANA, LOG_ID).headers, "Retry-After") for _ in range(2)] == ["1000", "1030"]


def test_a_connection_that_is_closed():
    """Its reason has the longer wait, too."""
    decision = decide(rate(used=100, retry_ms=1_000_000))
    assert closing(decision, drawn(WithIetfHeaders(Ietf()), 1.0)).reason.endswith("retry after 1030 s")
    assert closing(decision, Ietf()).reason.endswith("retry after 1000 s")


def test_what_is_within():
    """The longest wait is the inner style's; what is documented is without jitter."""
    style = WithIetfHeaders(Lendworks(max_retry_after=7))
    assert most_of(WithJitter(style, 0.01)) == 7
    assert steady(WithJitter(style, 0.01)) is style
    assert steady(style) is style
    answer = drawn(style, 1.0).denied(decide(rate(used=100, retry_ms=1_000_000)), ANA, LOG_ID)
    assert value(answer.headers, "Retry-After") == "7"


@pytest.mark.parametrize("part", [0.031, -0.01, "3%", float("nan"), True])
def test_a_part_that_is_none(part):
    """Above 3 % of a wait a client would wait for nothing."""
    with pytest.raises(ValueError, match=r"part is from 0 to 0\.03, 3 % of a wait at most; it is"):
        WithJitter(Ietf(), part)


def test_of_a_file():
    """`jitter` is outside of all that a style adds, so that it is drawn once."""
    text = 'tiers.anonymous.limits = []\nstyle = {{ name = "lendworks", ietf_headers = true{} }}'
    assert parse_policy(text.format(', jitter = "2.5 %"')).style == WithJitter(WithIetfHeaders(Lendworks()), 0.025)
    for none in ("", ', jitter = "0%"'):
        assert parse_policy(text.format(none)).style == WithIetfHeaders(Lendworks())
