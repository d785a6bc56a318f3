"""Every kind of wrong answer is noticed, and right ones are not taken for wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import apis, apis_check, apis_run
from benchmarks.apis_check import Answer, Limit, let_through, most_in_a_window, parsed, wrong
from tests import servers

NOW = 1_800_000_000.25  # within a sub-window of a minute's limit that ends at .000
FREE = 1_800_000_061  # when it is free again
LIMIT = Limit(2, 60)
TOO_FEW = "less than the max where more was asked for"
BODY = {
    "errors": [
        {
            "code": "RATE_LIMIT_EXCEEDED",
            "detail": {"retryAfter": 61, "limit": 2, "remaining": 0, "resetAt": "2027-01-15T08:01:01Z"},
        }
    ]
}


def told(remaining: int, reset: int = FREE, **more: str) -> dict[str, str]:
    limits = {"x-ratelimit-limit": "2", "x-ratelimit-remaining": str(remaining), "x-ratelimit-reset": str(reset)}
    return {**limits, "x-ratelimit-window": "60", **more}


def lendworks() -> list[Answer]:
    """Two of two are let through, and a third is denied."""
    denied = Answer(NOW, NOW + 0.01, 429, told(0, **{"retry-after": "61"}), BODY)
    return [*(Answer(NOW, NOW + 0.01, 200, told(remaining), {}) for remaining in (1, 0)), denied]


def found(
    answers: Sequence[Answer], api: str = "lendworks", limit: Limit = LIMIT, in_flight: int = 0
) -> dict[str, int]:
    return wrong(api, {"one": limit}, {"one": answers}, {"one": in_flight})


def test_right() -> None:
    """What is as it should be is not wrong; whose decision was a second before it was answered, neither."""
    assert found(lendworks()) == {}
    assert found([replace(one, sent=one.sent - 1) for one in lendworks()]) == {}


@pytest.mark.parametrize(
    ("index", "changes", "expected"),
    [
        (0, {"status": 503}, "status 503"),
        (2, {"status": 200}, "more than the max in a window"),
        (1, {"status": 429, "headers": told(0, **{"retry-after": "61"}), "body": BODY}, TOO_FEW),
        (1, {"headers": told(1)}, "X-RateLimit-Remaining"),
        (2, {"headers": told(1, **{"retry-after": "61"})}, "X-RateLimit-Remaining"),
        (0, {"headers": told(1) | {"x-ratelimit-limit": "3"}}, "X-RateLimit-Limit"),
        (0, {"headers": told(1) | {"x-ratelimit-window": "61"}}, "X-RateLimit-Window"),
        (0, {"headers": told(1, FREE + 2)}, "X-RateLimit-Reset"),
        (0, {"headers": told(1, FREE - 1)}, "X-RateLimit-Reset"),
        (2, {"headers": told(0, FREE - 1, **{"retry-after": "61"})}, "X-RateLimit-Reset of a denial"),
        (2, {"headers": told(0, **{"retry-after": "59"})}, "Retry-After"),
        (2, {"headers": told(0, **{"retry-after": "63"})}, "Retry-After"),
        (2, {"headers": told(0)}, "Retry-After"),
        (2, {"body": {"errors": [{**BODY["errors"][0], "code": "OTHER"}]}}, "body of a denial"),
    ],
)  # fmt: skip
def test_wrong(index: int, changes: dict[str, Any], expected: str) -> None:
    """One answer that is changed in one thing is found by that."""
    answers = lendworks()
    answers[index] = replace(answers[index], **changes)
    assert expected in found(answers)


@pytest.mark.parametrize(("late", "expected"), [(0.0001, {}), (0.15, {"Retry-After": 1})])
def test_a_denial_that_is_told_again(late: float, expected: dict[str, int]) -> None:
    """Its wait counts from when its reply arrived: it may be longer by a trip, and so a second where it is rounded."""
    again = Answer(FREE - 60 + late, FREE - 60 + late, 429, told(0, **{"retry-after": "61"}), BODY)
    assert found([*lendworks(), again]) == expected


def test_nothing_let_through() -> None:
    """A limiter that denies everything is as wrong as one that lets everything through."""
    assert list(let_through(LIMIT, [])) == ["nothing let through"]


def test_a_window_in_the_middle() -> None:
    """Three within two seconds anywhere are three, however many came before and later."""
    at = [0.0, 5.0, 6.0, 6.9, 9.0]
    allowed = [Answer(NOW + second, NOW + second + 0.05, 200, {}, {}) for second in at]
    assert most_in_a_window(Limit(2, 2), allowed) == 3
    assert most_in_a_window(Limit(2, 1), allowed) == 2


def test_a_short_window_is_filled_again() -> None:
    """Two in each of five windows are too few where one of the windows stayed empty."""
    limit = Limit(2, 1, sub_windows=10)
    at = [number / 20 for number in range(110)]
    allowed = {second * 1.15 + part for second in range(5) for part in (0, 0.05)}
    answers = [
        Answer(NOW + each, NOW + each, 200 if round(each, 2) in {round(one, 2) for one in allowed} else 429, {}, {})
        for each in at
    ]
    few = [replace(one, status=429) if one.sent > NOW + 2 else one for one in answers]
    assert list(let_through(limit, answers)) == []
    assert set(let_through(limit, few)) == {TOO_FEW}


def facturapi() -> list[Answer]:
    denied = {"retry-after": "1", "x-facturapi-log-id": "b"}
    return [
        Answer(NOW, NOW + 0.01, 200, {"x-facturapi-log-id": "a"}, {}),
        Answer(NOW, NOW + 0.01, 429, denied, {"code": "RATE_LIMIT_EXCEEDED"}),
    ]


def test_at_a_time() -> None:
    """More than the cap are wrong, and a cap that nobody reached tells nothing; a denial beside a full cap is right."""
    limit = Limit(5, 60, cap=1)
    about_the_cap = {TOO_FEW: 1}
    assert found(facturapi(), "facturapi", limit, in_flight=1) == about_the_cap
    assert found(facturapi(), "facturapi", limit, in_flight=3)["more than the cap at a time"] == 2
    assert found(facturapi(), "facturapi", limit, in_flight=0)["the cap was never reached"] == 1
    later = [facturapi()[0], replace(facturapi()[1], sent=NOW + 1, answered=NOW + 1.01)]
    assert found(later, "facturapi", limit, in_flight=1)["denied with room left"] == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-facturapi-log-id": "a"}, "X-Facturapi-Log-Id"),
        ({"x-facturapi-log-id": "b", "x-ratelimit-limit": "1"}, "thresholds told"),
        ({"x-facturapi-log-id": "b", "retry-after": "0"}, "Retry-After"),
    ],
)
def test_facturapi(headers: dict[str, str], expected: str) -> None:
    """A log id of its own for each answer, no thresholds, and a wait of at least a second."""
    answers = facturapi()
    answers[1] = replace(answers[1], headers=answers[1].headers | headers)
    assert expected in found(answers, "facturapi", Limit(1, 60, cap=1), in_flight=1)
    assert found(facturapi(), "facturapi", Limit(1, 60, cap=1), in_flight=1) == {}


def test_lightspeed() -> None:
    """Retry-After is a date, when the first unit is free again; sub-windows of 5 s end with it."""
    limit = Limit(1, 300)
    limits = {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0"}
    body = {"error": "Too Many Requests", "message": "Rate limiting enforced"}
    for date, expected in (
        ("Fri, 15 Jan 2027 08:05:05 GMT", {}),
        ("Fri, 15 Jan 2027 08:05:00 GMT", {"Retry-After": 1}),
    ):
        denied = Answer(NOW, NOW + 0.1, 429, {**limits, "retry-after": date}, body)
        allowed = Answer(NOW, NOW + 0.1, 200, limits, {})
        assert found([allowed, denied], "lightspeed", limit) == expected


def test_parsed() -> None:
    """Of the bytes of a response: its status, its headers with names in lower case, its JSON."""
    one = parsed(1.0, 2.0, b'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nx-a: b: c\r\n\r\n{"code":1}')
    assert (one.status, dict(one.headers), one.body, one.allowed) == (
        429,
        {"retry-after": "7", "x-a": "b: c"},
        {"code": 1},
        False,
    )


@pytest.mark.parametrize("on", ["memory", "redis"])
@pytest.mark.parametrize(("api", "asked"), [("lendworks", 500), ("lightspeed", 2_000), ("facturapi", 960)])
def test_a_small_load(api: str, asked: int, on: str, valkey: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, with few requests: all are answered and looked at, and some of each API are denied."""
    monkeypatch.setattr(apis_run, "WARM", 10)
    monkeypatch.setattr(apis_run, "IDENTIFIED", 2)
    done = asyncio.run(apis_run.run(api, valkey.unix_url if on == "redis" else "", asked, 1))
    assert done["requests"] == asked
    assert done["allowed"] < asked or api == "lendworks"
    assert set(done["wrong"]) <= ({TOO_FEW} if api == "facturapi" else set())


def test_one_wrong_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no page with it."""
    done = {"requests": 3, "allowed": 2, "rate": 1.0, "cpu_us": 1.0, "counters": 1, "wrong": {"Retry-After": 1}}
    monkeypatch.setattr(apis, "child", lambda *_: done)
    monkeypatch.setattr(apis.environments, "python", lambda *_: "python")
    with pytest.raises(RuntimeError, match=r"on memory: wrong answers, by what was wrong: \{'Retry-After': 1\}"):
        apis.ran("lendworks", "memory", 3, 1)
    rows = [apis.row("lendworks", "memory", {**done, "wrong": {}})]
    (figure,) = apis.section(rows, {}).figures
    assert (figure.value, figure.reached, figure.note) == (0, True, "of 3 answers")


def test_limits_of_the_example() -> None:
    """What is checked is what the example's policy says."""
    assert apis_run.lightspeed().limits["retailer-2"].max == 300 * 33 + 50
    assert apis_run.lendworks().limits["premium-0"] == Limit(10_000, 60)
    assert apis_check.HEADERS.keys() == apis_run.LOADS.keys() == apis.ASKED.keys()


def test_the_next_phase() -> None:
    """It begins when the last unit that was let through counts no more: with the sub-window that it was taken in."""
    now = time.time()
    answers = [(0, Answer(now - 1, now - 1, 200, {}, {})), (1, Answer(now, now, 200, {}, {}))]
    wait = apis_run.until_whole({"short": Limit(1, 2, sub_windows=20), "long": Limit(1, 5, sub_windows=50)}, answers)
    assert 4.9 < wait <= 5.1


def test_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another phase is another load on limits that are whole: where they are not, that is wrong."""

    async def at_once(_: object) -> None:
        pass

    monkeypatch.setattr(apis_run, "WARM", 1)
    monkeypatch.setattr(apis_run, "REGISTERS", (1,))
    monkeypatch.setattr(apis_run.asyncio, "sleep", at_once)
    done = asyncio.run(apis_run.run("lightspeed", "", 400, 2))
    assert (done["requests"], done["allowed"]) == (800, 350)
    assert "nothing let through" in done["wrong"]
