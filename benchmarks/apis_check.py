"""Whether each answer of an API under load was right: by its status, its headers, and how many were let through.

Pure functions over what a client saw. A counter is one caller's use of one limit; a decision was made at some time from
when the request was sent to when it was answered, and nothing more is known of it: what contradicts every such time is
wrong. All times are seconds since 1970, by the clock of the one machine.
"""

from __future__ import annotations

import json
from calendar import timegm
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate
from itertools import pairwise
from math import ceil, floor
from typing import Any


@dataclass(frozen=True, slots=True)
class Limit:
    """What a counter allows: `max` in `window` seconds of `sub_windows`, and with a `cap` so many at a time."""

    max: int
    window: float
    cap: int = 0
    sub_windows: int = 60

    @property
    def step(self) -> float:
        return self.window / self.sub_windows

    def whole_again(self, at: float) -> float:
        """When what was let through at an instant counts no more."""
        return (floor(at / self.step) + 1) * self.step + self.window


@dataclass(frozen=True, slots=True)
class Answer:
    sent: float
    answered: float
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def allowed(self) -> bool:
        return self.status == 200


def parsed(sent: float, answered: float, raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(sent, answered, int(first.split(" ")[1]), headers, json.loads(body))


Answers = Mapping[str, Sequence[Answer]]  # by counter, in the order of the answers
Limits = Mapping[str, Limit]


def wrong(api: str, limits: Limits, answers: Answers, in_flight: Mapping[str, int]) -> dict[str, int]:
    """How many answers were wrong, by what was wrong with them. `in_flight` is the most that the app saw at a time."""
    found: Counter[str] = Counter()
    for name, limit in limits.items():
        every = answers.get(name, ())
        seen = [one for one in every if one.status in {200, 429}]
        found.update(f"status {one.status}" for one in every if one.status not in {200, 429})
        found.update(let_through(limit, seen))
        if any(one.allowed for one in seen):
            found.update(HEADERS[api](limit, seen))
        if limit.cap:
            found.update(at_a_time(limit, in_flight.get(name, 0)))
            found.update(denied_for_nothing(limit, seen))
    return dict(found)


def let_through(limit: Limit, answers: Sequence[Answer]) -> Iterator[str]:
    """Never more than the max within a window, and no less than it where more was asked for."""
    allowed = sorted((one for one in answers if one.allowed), key=lambda one: one.sent)
    if not allowed:
        yield "nothing let through"
        return
    yield from ["more than the max in a window"] * max(0, most_in_a_window(limit, allowed) - limit.max)
    began, ended = answers[0].sent, max(one.answered for one in answers)
    if ended - began < limit.window:
        least = min(limit.max, len(answers)) if any(not one.allowed for one in answers) else len(answers)
    else:  # of a short window, that ends some times: it is filled again some requests after it ended
        sent = sorted(one.sent for one in answers)
        pause = max(later - sooner for sooner, later in pairwise(sent))
        least = limit.max * floor((ended - began) / (limit.window + limit.step + FILLED_IN * pause))
    yield from ["less than the max where more was asked for"] * max(0, least - len(allowed))


ON_ITS_WAY = 0.1  # seconds at most: the timeout
FILLED_IN = 8  # pauses between the requests of a counter in which it is used up again


def most_in_a_window(limit: Limit, allowed: Sequence[Answer]) -> int:
    """Those that were surely decided within one window, by when they were sent and answered."""
    most = 0
    for number, first in enumerate(allowed):
        end = first.sent + limit.window
        inside = 0
        for one in allowed[number:]:
            if one.sent >= end:
                break
            inside += one.answered <= end
        most = max(most, inside)
        if number and allowed[-1].answered <= end:
            break  # all later ones are in fewer
    return most


def at_a_time(limit: Limit, most: int) -> Iterator[str]:
    if most > limit.cap:
        yield from ["more than the cap at a time"] * (most - limit.cap)
    if most < limit.cap:
        yield "the cap was never reached"


def denied_for_nothing(limit: Limit, answers: Sequence[Answer]) -> Iterator[str]:
    """A denial for which neither the window nor the slots were full at any time at which it may have been decided."""
    allowed = [one for one in answers if one.allowed]
    for one in answers:
        if not one.allowed:
            counted = sum(
                1
                for other in allowed
                if one.sent - limit.window - limit.step < other.answered and other.sent < one.answered
            )
            beside = sum(1 for other in allowed if other.answered > one.sent and other.sent < one.answered)
            if counted < limit.max and beside < limit.cap:
                yield "denied with room left"


def of_lendworks(limit: Limit, answers: Sequence[Answer]) -> Iterator[str]:
    yield from remaining(limit, answers)
    first = earliest(answers)
    for one in answers:
        told = one.headers
        if told.get("x-ratelimit-window") != f"{limit.window:g}":
            yield "X-RateLimit-Window"
        reset = int(told.get("x-ratelimit-reset", 0))
        if one.allowed:
            if not floor(limit.whole_again(one.sent)) <= reset <= ceil(limit.whole_again(one.answered)) + 1:
                yield "X-RateLimit-Reset"
            continue
        if not between(limit, first, reset):
            yield "X-RateLimit-Reset of a denial"
        error = one.body["errors"][0]
        wait = int(told.get("retry-after", 0))
        if not waits(limit, first, one, wait):
            yield "Retry-After"
        instant = timegm(parsed_iso(error["detail"]["resetAt"]))
        if (error["code"], error["detail"]["retryAfter"], instant) != ("RATE_LIMIT_EXCEEDED", wait, reset):
            yield "body of a denial"


def of_lightspeed(limit: Limit, answers: Sequence[Answer]) -> Iterator[str]:
    yield from remaining(limit, answers)
    first = earliest(answers)
    for one in answers:
        if not one.allowed:
            date = parsedate(one.headers.get("retry-after", ""))
            if date is None or not between(limit, first, timegm(date)):
                yield "Retry-After"
            if one.body != {"error": "Too Many Requests", "message": "Rate limiting enforced"}:
                yield "body of a denial"


def of_facturapi(limit: Limit, answers: Sequence[Answer]) -> Iterator[str]:
    """Its thresholds are not told; a log id is, with every answer."""
    log_ids = [one.headers.get("x-facturapi-log-id", "") for one in answers]
    yield from ["X-Facturapi-Log-Id"] * (len(answers) - len({log_id for log_id in log_ids if log_id}))
    for one in answers:
        if any(name.startswith("x-ratelimit") for name in one.headers):
            yield "thresholds told"
        if one.allowed:
            continue
        wait = one.headers.get("retry-after", "")
        if not (wait.isdecimal() and 1 <= int(wait) <= limit.window + limit.step + 1):
            yield "Retry-After"
        if one.body.get("code") != "RATE_LIMIT_EXCEEDED":
            yield "body of a denial"


HEADERS = {"lendworks": of_lendworks, "lightspeed": of_lightspeed, "facturapi": of_facturapi}


def remaining(limit: Limit, answers: Sequence[Answer]) -> Iterator[str]:
    """Each of those that were let through was told another number, from the max less one down by one."""
    yield from ["X-RateLimit-Limit"] * sum(one.headers.get("x-ratelimit-limit") != str(limit.max) for one in answers)
    told = Counter(int(one.headers.get("x-ratelimit-remaining", -1)) for one in answers if one.allowed)
    expected = Counter(limit.max - number for number in range(1, told.total() + 1))
    yield from ["X-RateLimit-Remaining"] * (told - expected).total()
    denied = [one for one in answers if not one.allowed]
    yield from ["X-RateLimit-Remaining"] * sum(one.headers.get("x-ratelimit-remaining") != "0" for one in denied)


def earliest(answers: Iterable[Answer]) -> tuple[float, float]:
    """Between which instants the first of those that were let through was decided."""
    allowed = [one for one in answers if one.allowed]
    return min(one.sent for one in allowed), min(one.answered for one in allowed)


def between(limit: Limit, first: tuple[float, float], instant: float) -> bool:
    """Whether it is when the first unit is free again, in whole seconds, rounded up."""
    soonest, latest = (limit.whole_again(at) for at in first)
    return floor(soonest) <= instant <= ceil(latest) + 1


def waits(limit: Limit, first: tuple[float, float], one: Answer, wait: int) -> bool:
    """Whether who waits so long comes when the first unit is free again, and no second later than it has to.

    A denial that is told again counts from when its reply arrived, lest somebody comes too early: it may be as much too
    long as the decision was on its way.
    """
    soonest, latest = (limit.whole_again(at) for at in first)
    return wait >= 1 and one.answered + wait >= soonest and one.sent + wait <= latest + 1 + ON_ITS_WAY


def parsed_iso(text: str) -> tuple[int, ...]:
    """Of an instant such as 2025-01-15T10:30:00Z."""
    date, _, clock = text.removesuffix("Z").partition("T")
    return (*map(int, date.split("-")), *map(int, clock.split(":")))


def grouped(counters: Sequence[str], answers: Iterable[tuple[int, Answer]]) -> Answers:
    """By counter; each answer has the index of its request."""
    by_counter: defaultdict[str, list[Answer]] = defaultdict(list)
    for index, answer in answers:
        by_counter[counters[index]].append(answer)
    return by_counter
