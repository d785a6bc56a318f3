"""What assert_denied and assert_left say where it is otherwise: names, numbers, and what is near."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ratelimit import RateLimitMiddleware
from ratelimit.testing import LimitedClient, assert_denied, assert_left, limited_client, recorded
from tests.acceptance import ANA, plain, policy

LIMITS = (
    '{ name = "requests", rate = "2/minute" }, { name = "monthly", quota = "1000/month" },'
    ' { name = "searches", rate = "1/minute", operations = ["search"] },'
    ' { name = "daily", quota = "1/day", operations = ["search"] },'
    ' { name = "next", rate = "1/minute", mode = "shadow" },'
    ' { name = "heavy", rate = "9/minute", cost = { heavy_write = 9 } }'
)
HEAVY = '[operations]\nheavy_write = ["POST /heavy"]\nfree = ["GET /free"]\n'


@pytest.fixture
def client() -> Iterator[LimitedClient]:
    app = RateLimitMiddleware(plain, policy(LIMITS, more=HEAVY))
    with limited_client(app, headers={"Authorization": f"Bearer {ANA}"}, lifespan=False) as client:
        yield client


def message(failing: Callable[[], Any]) -> list[str]:
    with pytest.raises(AssertionError) as failure:
        failing()
    return str(failure.value).splitlines()


def test_allowed_and_not_denied(client: LimitedClient) -> None:
    """Each limit is told with what is used of it, those in shadow too."""
    client.get("/7")
    answer = client.get("/7")
    assert message(lambda: assert_denied(answer, limit="requests")) == [
        "GET /7 was allowed, and a denial is expected",
        "  allowed as the operation detail_read, of user=ana:",
        "    requests: 2 of 2 used, 0 left",
        "    monthly: 2 of 1,000 used, 998 left",
        "    next: 1 of 1 used, 0 left (in shadow), exceeded for 61 s (61,000 ms)",
        "    heavy: 2 of 9 used, 7 left",
    ]


def test_denied_by_another_limit(client: LimitedClient) -> None:
    """Which one it was, and what became of the one that was meant."""
    client.get("/")
    answer = client.get("/")
    assert_denied(answer, limit="daily")
    first = {
        "searches": 'GET / was denied by "daily", which waits longer; "searches" is exceeded too',
        "requests": 'GET / was denied by "daily", and "requests" is not exceeded',
        "dayly": 'GET / was denied by "daily", and no limit "dayly" applied to it; did you mean "daily"?',
    }
    for limit, expected in first.items():
        assert message(lambda limit=limit: assert_denied(answer, limit=limit))[0] == expected


def test_waits(client: LimitedClient) -> None:
    """A wait is told in seconds as clients see it; it may be given so, or exactly, or as never."""
    client.clock.advance(500)
    for _ in range(2):
        client.get("/7")
    answer = client.get("/7")
    for right in (61, 60.5):
        assert_denied(answer, limit="requests", retry_after=right)
    said = 'GET /7 is denied by "requests" for 61 s (60,500 ms), and'
    assert message(lambda: assert_denied(answer, retry_after=60))[0] == f"{said} 60 s are expected"
    assert message(lambda: assert_denied(answer, retry_after=None))[0] == f"{said} for ever is expected"


def test_never() -> None:
    """What can never pass waits for ever."""
    app = RateLimitMiddleware(plain, policy('{ name = "closed", rate = "0/minute" }'))
    with limited_client(app, headers={"Authorization": f"Bearer {ANA}"}, lifespan=False) as client:
        answer = client.get("/7")
        assert_denied(answer, limit="closed", retry_after=None)
        lines = message(lambda: assert_denied(answer, retry_after=30))
        assert lines[0] == 'GET /7 is denied by "closed" for ever, and 30 s are expected'
        assert lines[2] == "    closed: 0 of 0 used, 0 left, exceeded for ever"


def test_what_is_left(client: LimitedClient) -> None:
    """All that is otherwise is told at once; a name that is none with the nearest, or with those that there are."""
    answer = client.get("/7")
    assert_left(answer, requests=1, monthly=999)
    lines = message(lambda: assert_left(client, requests=2, monthly=999, montly=1, nothing=0))
    assert lines[0] == (
        'GET /7 1 of "requests" are left, and 2 expected; no limit "montly" applied to it; did you mean "monthly"?; no'
        ' limit "nothing" applied to it; there are requests, monthly, next, heavy'
    )


def test_a_tier_without_limits() -> None:
    """A request that no limit applies to was decided all the same."""
    app = RateLimitMiddleware(plain, policy(""))
    with limited_client(app, headers={"Authorization": f"Bearer {ANA}"}, lifespan=False) as client:
        lines = message(lambda: assert_left(client.get("/7"), requests=1))
    assert lines[0] == 'GET /7 no limit "requests" applied to it'
    assert lines[1] == "  allowed as the operation detail_read, of user=ana: no limit"


def test_a_client_that_is_gone() -> None:
    """Its responses can't be looked up, and that is said."""
    with limited_client(RateLimitMiddleware(plain, policy(LIMITS)), lifespan=False) as client:
        answer = client.get("/7")
        recorder = client.ratelimit_recorder.name
    recorded._recorders.pop(recorder)
    with pytest.raises(LookupError, match="the client that got this response is gone"):
        assert_left(answer, ip=1)


def test_what_is_no_response() -> None:
    """It is told of as what it is."""
    with pytest.raises(TypeError, match=r"^builtins\.str is no response of a limited_client"):
        assert_denied("429")
