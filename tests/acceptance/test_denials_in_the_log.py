"""However many requests of a caller a limit denies: at INFO at most one line a second, and none is left out of it."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from ratelimit import Identity, MemoryStore, Policy, RateLimitMiddleware, opening
from ratelimit.ground.repeats import Repeats
from ratelimit.log import denials
from ratelimit.log.denials import Denials
from tests.acceptance import ANA, BEN, T, ask, header, plain, policy, run
from tests.clocked import Clocked

LIMITS = '{ name = "requests", rate = "0/minute" }'
LINE = re.compile(
    r"(denied|would deny)(?: operation=\S+)? limit=(\S+)(?: wait=\S+ log_id=\w+)? caller=(\S+)(?: and ([\d,]+) more)?"
)


class Logged:
    """Apps whose denials are told by a clock that is moved, and what is in the log."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "ratelimit")
        self._caplog = caplog
        self.now = 0.0

    def limiter(self, limits: str = LIMITS, **rest: object) -> RateLimitMiddleware:
        return self.behind(policy(limits, anonymous="0/minute", style="facturapi"), **rest)

    def behind(self, of: Policy, clock: Callable[[], float] | None = None, **rest: object) -> RateLimitMiddleware:
        opening._denials[of] = Denials(clock or (lambda: self.now))
        return RateLimitMiddleware(plain, of, store=MemoryStore(clock=lambda: T), **rest)

    def lines(self, level: str = "INFO") -> list[str]:
        records = [r for r in self._caplog.records if r.name == "ratelimit"]
        return [r.getMessage() for r in records if r.levelname == level]

    def told(self) -> Counter[tuple[str, str, str]]:
        """How many requests the lines at INFO stand for, by verdict, limit and caller."""
        told: Counter[tuple[str, str, str]] = Counter()
        for line in self.lines():
            parts = LINE.fullmatch(line)
            assert parts, line
            own = 1 if "log_id" in line else 0
            told[parts[1], parts[2], parts[3]] += own + int((parts[4] or "0").replace(",", ""))
        return told


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    return Logged(caplog)


async def denied(limiter: RateLimitMiddleware, times: int = 1, **request: object) -> list[str]:
    """The log ids of requests that were denied."""
    starts = [(await ask(limiter, **request))[0] for _ in range(times)]
    assert {start["status"] for start in starts} <= {403, 429}
    return [header(start, "x-facturapi-log-id") or "" for start in starts]


def test_a_flood_of_one_caller(logged: Logged) -> None:
    """The first denial is a line at once, with the next second's first comes how many more there were, and each of
    those is at DEBUG; a line has the log id of the request that it tells of."""

    async def test() -> None:
        limiter = logged.limiter()
        first, *others = await denied(limiter, 1_214)
        logged.now = 1.0
        last, another = await denied(limiter, 2)
        what = "denied operation=detail_read limit=requests wait=never log_id="
        assert logged.lines() == [
            f"{what}{first} caller=user=ana",
            f"{what}{last} caller=user=ana and 1,213 more",
        ]
        assert logged.lines("DEBUG") == [f"{what}{log_id} caller=user=ana" for log_id in (*others, another)]

    run(test())


def test_each_caller_and_limit(logged: Logged) -> None:
    """Callers, limits and verdicts do not hide each other's lines."""
    limits = (
        '{ name = "reads", rate = "1/minute", operations = ["detail_read"] },'
        '{ name = "made", rate = "1/minute", operations = ["create"] },'
        '{ name = "soon", rate = "1/minute", mode = "shadow" }'
    )

    async def test() -> None:
        limiter = logged.limiter(limits)
        for api_key in (ANA, BEN):
            for method in ("GET", "POST", "GET", "POST", "GET"):
                await ask(limiter, method=method, api_key=api_key)
        logged.now = 1.0
        limiter._denials.close()
        assert logged.told() == {
            (verdict, limit, f"user={user}"): count
            for user in ("ana", "ben")
            for verdict, limit, count in (("denied", "reads", 2), ("denied", "made", 1), ("would deny", "soon", 1))
        }
        assert sum("log_id" in line for line in logged.lines()) == 6

    run(test())


def test_shadows_are_told_as_seldom(logged: Logged) -> None:
    """What a limit in shadow would have denied is a line a second too."""

    async def test() -> None:
        limiter = logged.limiter('{ name = "soon", rate = "0/minute", mode = "shadow" }')
        for second in range(3):
            logged.now = float(second)
            for _ in range(10):
                assert (await ask(limiter))[0]["status"] == 200
        more = [line.rpartition("caller=user=ana")[2] for line in logged.lines()]
        assert more == ["", " and 9 more", " and 9 more"]
        assert len(logged.lines("DEBUG")) == 27

    run(test())


def test_mounts_of_one_policy_are_one_in_the_log(logged: Logged) -> None:
    """Middlewares of one Policy object tell of a caller once a second together."""
    shared = policy(LIMITS)

    async def test() -> None:
        mounts = [logged.behind(shared), *[RateLimitMiddleware(plain, shared) for _ in range(4)]]
        for mount in mounts:
            await ask(mount)
        assert len(logged.lines()) == 1
        assert len(logged.lines("DEBUG")) == 4

    run(test())


def test_nothing_is_counted_without_info(logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    """Where INFO is off, a denial costs no look at the clock and no memory."""
    caplog.set_level(logging.WARNING, "ratelimit")

    async def test() -> None:
        limiter = logged.behind(policy(), clock=lambda: pytest.fail("the clock was read"))
        for _ in range(9):
            await ask(limiter)
        assert len(limiter._denials._known) == 0

    run(test())


@pytest.mark.parametrize("ending", ["the timer", "a lifespan", "the end of the process"])
def test_who_went_quiet_is_told_too(ending: str, logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    """Within two seconds, without anybody's request; or when the app shuts down or the process ends, at once."""
    caplog.set_level(logging.INFO, "ratelimit")
    loop = Clocked()

    async def lifespan(scope, receive, send) -> None:
        await send({"type": "lifespan.shutdown.complete"})

    async def test() -> None:
        limiter = logged.behind(policy(LIMITS), clock=loop.time)
        first = await ask(limiter)
        for number in range(300):
            await ask(limiter, api_key=ANA if number % 3 else BEN)
        assert first[0]["status"] in (403, 429)
        assert len(logged.lines()) == 2
        if ending == "the timer":
            began = loop.time()
            await asyncio.sleep(1.99)
            assert loop.time() - began < 2
            await asyncio.sleep(10)
            assert limiter._denials._loop is None
        elif ending == "a lifespan":
            limiter.app = lifespan
            await ask(limiter, scope={"type": "lifespan"})
        else:
            denials.tell_all()
        assert logged.lines()[2:] == [
            "denied limit=requests caller=user=ana and 200 more",
            "denied limit=requests caller=user=ben and 99 more",
        ]
        await asyncio.sleep(10)
        assert len(logged.lines()) == 4

    try:
        loop.run_until_complete(test())
    finally:
        loop.close()


def test_a_loop_that_ended(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the loop that was to tell has ended, the next denial tells, or the timer of another loop."""
    limiter = logged.limiter()

    async def test() -> None:
        await denied(limiter, 3)

    run(test())
    logged.now = 1.5
    run(denied(limiter, api_key=BEN))
    assert logged.told() == {("denied", "requests", "user=ana"): 3, ("denied", "requests", "user=ben"): 1}
    monkeypatch.setattr(denials, "EVERY", 0.0)

    async def another() -> None:
        await denied(limiter, 2)
        logged.now = 9.0
        for _ in range(5):
            await asyncio.sleep(0)

    run(another())
    assert limiter._denials._loop is None
    assert logged.told()["denied", "requests", "user=ana"] == 5


def test_on_another_event_loop(logged: Logged) -> None:
    """On a loop that is not asyncio's nor trio's there is no timer: the next denial of anybody tells, and the end."""
    limiter = logged.limiter()

    def without_loop(request: Awaitable[object]) -> None:
        with pytest.raises(StopIteration):
            request.__await__().send(None)

    for _ in range(3):
        without_loop(denied(limiter))
    logged.now = 1.0
    without_loop(denied(limiter, api_key=BEN))
    assert logged.told()["denied", "requests", "user=ana"] == 3


@pytest.mark.repeated
def test_a_flood_of_callers(logged: Logged) -> None:
    """Of thousands of callers a second no more are remembered than some thousands; the others are one line a second
    together, and a flood of addresses hides no first line of a caller who is known by more."""

    async def flood(limiter: RateLimitMiddleware) -> None:
        for number in range(200):
            await denied(limiter, 3, api_key=None, x_n=str(number))

    def identify(scope) -> Identity | None:
        found = dict(scope["headers"]).get(b"x-n")
        return Identity(ip=f"192.0.2.{int(found)}", tier="anonymous") if found else None

    async def test() -> None:
        limiter = logged.limiter(identify=identify)
        limiter._denials._by_address = Repeats(most=50, clock=lambda: logged.now)
        for second in range(3):
            logged.now = float(second)
            await flood(limiter)
            assert len(limiter._denials._by_address) <= 51
            assert len(logged.lines()) <= 160 * (second + 1)
            await denied(limiter)
            assert "caller=user=ana" in logged.lines()[-1]
        limiter._denials.close()
        told = logged.told()
        assert sum(told.values()) == 3 * 200 * 3 + 3
        assert told["denied", "ip", "others"] > 1_000

    run(test())


@pytest.mark.repeated
def test_from_several_threads(logged: Logged) -> None:
    """Event loops in several threads count together, and none is lost."""
    limiter = logged.behind(policy(LIMITS), clock=iter(float(n) / 40 for n in range(10**6)).__next__)
    threads = [threading.Thread(target=run, args=(ask_often(limiter),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    limiter._denials.close()
    assert logged.told() == {("denied", "requests", "user=ana"): 2_000}
    assert 10 < len(logged.lines()) < 200


async def ask_often(limiter: RateLimitMiddleware) -> None:
    for _ in range(500):
        await ask(limiter)
