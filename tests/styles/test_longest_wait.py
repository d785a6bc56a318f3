"""A wait is told as `max_retry_after` seconds at most, in whatever form; an instant is not cut."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

import http_sf
import pytest

from ratelimit.model import Decision
from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders
from tests.styles import ANA, CLOCK, LOG_ID, NOON, body, decide, quota, rate, utc, value

DAY = 86_400
STYLES = [Facturapi, Lightspeed, Lendworks, Ietf]
WEEKS, MONTH, YEAR = 30 * DAY, 31 * DAY, 365 * DAY


def exhausted(wait: int, *others) -> Decision:
    return decide(rate(used=40), quota(used=100, retry_ms=1000 * wait, reset_ms=1000 * wait), *others)


def waits(answer) -> set[int]:
    """Every wait that an answer tells, in seconds from noon."""
    header = value(answer.headers, "Retry-After")
    told = {int(header) if header.isdigit() else int(parsedate_to_datetime(header).timestamp()) - NOON // 1000}
    told |= {int(number) for number in re.findall(r"[Tt]ry again in (\d+) seconds", answer.body.decode())}
    document = body(answer)
    if "retry-after" in document:
        told.add(int(parsedate_to_datetime(document["retry-after"]).timestamp()) - NOON // 1000)
    told |= {error["detail"].get("retryAfter", min(told)) for error in document.get("errors", ())}
    fields = value(answer.headers, "RateLimit")
    if fields:
        told.add(dict(http_sf.parse(fields.encode(), tltype="list"))["monthly"]["t"])
    return told


@pytest.mark.parametrize(
    ("style", "wait", "told"),
    [
        (Facturapi(), WEEKS, 24 * DAY),
        (Lightspeed(), WEEKS, 24 * DAY),
        (Lightspeed(), 23 * DAY, 23 * DAY),
        (Lightspeed(retry_after="seconds", legacy_body=True), WEEKS, 24 * DAY),
        (Lightspeed(max_retry_after=60, legacy_body=True), WEEKS, 60),
        (Lendworks(), WEEKS, DAY),
        (Lendworks(), DAY - 1, DAY - 1),
        (Lendworks(max_retry_after=2_147_000), YEAR, 2_147_000),
        (Ietf(), WEEKS, 24 * DAY),
        (Ietf(max_retry_after=1), WEEKS, 1),
        (WithIetfHeaders(Facturapi()), WEEKS, 24 * DAY),
        (WithIetfHeaders(Lendworks()), WEEKS, DAY),
        (WithIetfHeaders(Lightspeed(max_retry_after=7)), WEEKS, 7),
    ],
    ids=repr,
)
def test_one_wait_in_every_form(style, wait, told):
    """Seconds, message, HTTP-date, retryAfter and the `t` of the limit that denies all say the same, cut alike."""
    assert waits(style.denied(exhausted(wait), ANA, LOG_ID)) == {told}


@pytest.mark.parametrize("style", STYLES)
def test_the_timers_of_javascript_hold_what_is_told(style):
    """With whatever option, after any wait, a date rounded up included: below 2**31 milliseconds."""
    for most in (style().max_retry_after, 2_147_000):
        decision = exhausted(YEAR)
        CLOCK[0] += 1  # a date is rounded up
        assert max(waits(style(max_retry_after=most).denied(decision, ANA, LOG_ID))) * 1000 < 2**31


def test_instants_stay_true():
    """`resetAt` and X-RateLimit-Reset tell when it is, also where nobody is asked to wait for so long."""
    told = Lendworks().denied(exhausted(WEEKS), ANA, LOG_ID)
    assert utc(body(told)["errors"][0]["detail"]["resetAt"]).timestamp() == NOON // 1000 + WEEKS
    month = decide(rate(max=9, used=9, window_ms=1000 * MONTH, retry_ms=1000 * MONTH, reset_ms=1000 * MONTH))
    for style in (Lendworks(), Lightspeed(reset_header=True), Facturapi(expose_limits=True)):
        denied = style.denied(month, ANA, LOG_ID)
        assert int(value(denied.headers, "X-RateLimit-Reset")) == NOON // 1000 + MONTH
        assert max(waits(denied)) < MONTH
    (error,) = body(Lendworks().denied(month, ANA, LOG_ID))["errors"]
    assert utc(error["detail"]["resetAt"]).timestamp() == NOON // 1000 + MONTH


def test_t_of_a_limit_that_does_not_deny_is_no_wait():
    """It says when the limit is whole again, and stays true; of several that deny none says more than Retry-After."""
    decision = exhausted(WEEKS, quota("yearly", reset_ms=1000 * YEAR), rate("weekly", used=100, retry_ms=5000 * DAY))
    answer = WithIetfHeaders(Lendworks()).denied(decision, ANA, LOG_ID)
    told = {
        name: parameters["t"]
        for name, parameters in http_sf.parse(value(answer.headers, "RateLimit").encode(), tltype="list")
    }
    assert told == {"requests": 30, "monthly": DAY, "yearly": YEAR, "weekly": DAY}
    assert value(answer.headers, "Retry-After") == str(DAY)
    allowed = decide(quota("yearly", reset_ms=1000 * YEAR))
    assert ";t=31536000" in value(Ietf().headers(allowed, ANA, LOG_ID), "RateLimit")


def test_a_style_of_ones_own_without_a_longest_wait():
    """Beside it `t` is at most 24 days."""

    class Own:
        log_id_header = None

        def denied(self, decision, identity, log_id):
            return Ietf().denied(decision, identity, log_id)._replace(headers=[])

    answer = WithIetfHeaders(Own()).denied(exhausted(WEEKS), ANA, LOG_ID)
    assert ";t=2073600" in value(answer.headers, "RateLimit")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("wrong", [0, -1, 2_147_001, 1.5, True, "60", None])
def test_another_longest_wait_is_refused(style, wrong):
    """By hand as in a file, with both bounds."""
    with pytest.raises(
        ValueError, match="max_retry_after is a whole number of seconds, at least 1 and at most 2147000"
    ):
        style(max_retry_after=wrong)
