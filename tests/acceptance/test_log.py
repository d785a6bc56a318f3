"""The log: one line for a denial, counts of what was answered without the store, and never an API key."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import pytest

from ratelimit import (
    Charge,
    Decision,
    Identity,
    MemoryStore,
    RateLimitMiddleware,
    StoreUnavailable,
    requests_without_store,
)
from ratelimit.log import lines as log
from ratelimit.log import outage
from tests.acceptance import ANA, BEN, T, ask, header, limited, plain, policy, run
from tests.acceptance.test_path_of_a_request import Away
from tests.clocked import Clocked


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.set_level(logging.DEBUG, "ratelimit")
    log._never._said.clear()

    class Lines(list):
        def __iter__(self):
            return iter([f"{r.levelname} {r.getMessage()}" for r in caplog.records if r.name == "ratelimit"])

    return Lines()


def test_a_denial(lines: list[str]) -> None:
    """Operation, limit, wait, log id and a caller reference; what is allowed is not logged."""

    async def test() -> None:
        limiter = limited(plain, style="facturapi")
        for _ in range(3):
            await ask(limiter)
        assert list(lines) == []
        start, _ = await ask(limiter)
        log_id = header(start, "x-facturapi-log-id")
        assert re.fullmatch("[0-9a-f]{24}", log_id)
        assert list(lines) == [
            f"INFO denied operation=detail_read limit=requests wait=61.000s log_id={log_id} caller=user=ana"
        ]

    run(test())


def test_a_request_that_can_never_pass(lines: list[str]) -> None:
    """What no max admits is said once with what to do, besides the line of each denial."""

    async def test() -> None:
        limiter = limited(plain, '{ name = "requests", rate = "0/minute" }')
        for _ in range(3):
            start, _ = await ask(limiter)
            assert (start["status"], header(start, "retry-after")) == (403, None)
        seen = list(lines)
        assert len(seen) == 4
        assert [line for line in seen if line.startswith("WARNING")] == [
            "WARNING limit requests can never admit an operation detail_read: it costs 1 of a max of 0;"
            " raise the max or lower the cost"
        ]
        assert all("wait=never" in line for line in seen if line.startswith("INFO"))

    run(test())


def test_a_request_that_finds_no_room_in_time(lines: list[str]) -> None:
    """What today's max would admit, but a limit that is closed for good begins before there is room."""
    soon = datetime.fromtimestamp(T / 1000 + 20, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def test() -> None:
        closed = f'{{ name = "closed", rate = "0/hour", from = {soon} }}'
        limiter = limited(plain, f'{{ name = "requests", rate = "1/minute" }}, {closed}')
        assert [(await ask(limiter))[0]["status"] for _ in range(3)] == [200, 403, 403]
        assert [line for line in lines if line.startswith("WARNING")] == [
            "WARNING limit requests has no room for an operation detail_read before a limit is lowered for good (from, "
            "an override's until) below what it costs: it can never pass; raise that max or lower the cost"
        ]

    run(test())


def test_things_said_once_are_bounded(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered as said has a bound, whatever names a caller's requests make up."""
    monkeypatch.setattr(log._never, "_most", 2)
    names = iter("abcd")

    async def test() -> None:
        limiter = limited(plain, '{ name = "requests", rate = "0/minute" }', classify=lambda _: next(names))
        for _ in range(4):
            await ask(limiter)
        assert sum(line.startswith("WARNING") for line in lines) == 2

    run(test())


def test_a_shadow(lines: list[str]) -> None:
    """A limit in shadow that would have denied is reported."""

    async def test() -> None:
        limiter = limited(
            plain, '{ name = "new", rate = "1/minute", mode = "shadow" }, { name = "r", rate = "9/minute" }'
        )
        for _ in range(2):
            assert (await ask(limiter))[0]["status"] == 200
        (line,) = lines
        assert re.fullmatch(
            r"INFO would deny operation=detail_read limit=new wait=61.000s log_id=\w+ caller=user=ana", line
        )

    run(test())


def singles(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("DEBUG")]


def warnings(lines: list[str]) -> list[str]:
    return [line.removeprefix("WARNING ") for line in lines if line.startswith("WARNING")]


@pytest.mark.parametrize(("on_failure", "verdict"), [("allow", "allowed"), ("deny", "refused")])
def test_without_the_store(on_failure: str, verdict: str, lines: list[str]) -> None:
    """Each request let through or refused without the store is a line at DEBUG, with the id that the client saw."""

    async def test() -> None:
        limiter = RateLimitMiddleware(
            plain, policy(more=f'[store]\non_failure = "{on_failure}"', style="facturapi"), store=Away()
        )
        start, _ = await ask(limiter)
        log_id = header(start, "x-facturapi-log-id")
        assert singles(lines) == [
            f"DEBUG {verdict} without the store operation=detail_read log_id={log_id} caller=user=ana:"
            " no reply within 100 ms"
        ]

    run(test())


def test_the_log_id_of_the_app(lines: list[str]) -> None:
    """An id that the app has set itself is kept, and it is the one in the log."""

    async def app(scope, receive, send) -> None:
        headers = [(b"X-Facturapi-Log-Id", b"of-the-app")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async def test() -> None:
        start, _ = await ask(RateLimitMiddleware(app, policy(style="facturapi"), store=Away()))
        assert header(start, "x-facturapi-log-id") == "of-the-app"
        (line,) = singles(lines)
        assert "log_id=of-the-app " in line

    run(test())


def test_nobody_begins_a_line(lines: list[str]) -> None:
    """What a caller, an app or a server made up is one line of the log, without control characters, and not long."""
    made_up = "x\n\x1b[2J2026-01-01 CRITICAL all is lost\r\u2028" + "y" * 9_000

    class Gone:
        async def acquire(self, charges: object) -> None:
            raise StoreUnavailable(made_up)

    async def app(scope, receive, send) -> None:
        headers = [(b"X-Facturapi-Log-Id", made_up.encode("latin-1", "replace"))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async def test() -> None:
        await ask(RateLimitMiddleware(app, policy(style="facturapi"), store=Gone(), classify=lambda _: made_up))
        for limits in ('{ name = "r", rate = "0/minute" }', '{ name = "r", rate = "0/minute", mode = "shadow" }'):
            identify = lambda _: Identity(user=made_up, tier="basic")  # noqa: E731
            await ask(limited(app, limits, style="facturapi", classify=lambda _: made_up, identify=identify))
        seen = list(lines)
        assert len(seen) == 5  # one that an outage begins, one that the limit can never admit this
        assert all(line.isprintable() and len(line) < 2_500 for line in seen)

    run(test())


def test_an_app_that_never_answers_is_logged_too(lines: list[str]) -> None:
    """Let through without the store and then without a response: still a line."""

    async def app(scope, receive, send) -> None:
        raise RuntimeError("the app's own")

    async def test() -> None:
        with pytest.raises(RuntimeError):
            await ask(RateLimitMiddleware(app, policy(), store=Away()))
        assert len(singles(lines)) == 1

    run(test())


class Sometimes:
    """A store that is out of reach while `away`, and otherwise decides as one in memory."""

    def __init__(self) -> None:
        self.away, self._memory = True, MemoryStore()

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        if self.away:
            raise StoreUnavailable("nobody is there")
        return await self._memory.acquire(charges)

    async def close(self) -> None: ...


def of_outage(test: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test on a clock that jumps, which is also that of the lines."""
    loop = Clocked()
    monkeypatch.setattr(outage, "monotonic", loop.time)
    try:
        loop.run_until_complete(test())
    finally:
        loop.close()


def test_an_outage(lines: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line when it begins, one a second with the requests since the last, one when it ends: a request is in one."""
    caplog.set_level(logging.INFO, "ratelimit")
    before = requests_without_store()

    async def test() -> None:
        store = Sometimes()
        limiter = RateLimitMiddleware(plain, policy(), store=store)
        for _ in range(1_250):
            await ask(limiter)
            await asyncio.sleep(0.002)
        store.away = False
        for _ in range(2):
            await ask(limiter)
        await asyncio.sleep(5)
        assert singles(lines) == []
        begins, *told, ends = warnings(lines)
        assert begins == 'the store is out of reach, on_failure = "allow" decides: nobody is there'
        assert len(told) == 3
        counts = [re.fullmatch(r"without the store: (\d+) requests allowed: nobody is there", line) for line in told]
        assert sum(int(count[1]) for count in counts if count) == 1_250
        assert re.fullmatch(r"the store is back after 2\.\d s: 1,250 requests allowed without it", ends)
        for _ in range(3):
            await ask(limiter, api_key=BEN)
        await asyncio.sleep(5)
        assert len(warnings(lines)) == 5
        store.away = True
        await ask(limiter)
        await asyncio.sleep(5)
        assert warnings(lines)[5:] == [begins, "without the store: 1 request allowed: nobody is there"]

    of_outage(test, monkeypatch)
    after = requests_without_store()
    assert {verdict: after[verdict] - count for verdict, count in before.items()} == {
        "allowed": 1_251,
        "refused": 0,
        "decided locally": 0,
    }


def test_a_part_of_the_store_is_out_of_reach(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some requests are decided and others not, it is one outage until none is without the store."""

    async def test() -> None:
        store = Sometimes()
        limiter = RateLimitMiddleware(plain, policy(more='[store]\non_failure = "deny"'), store=store)
        for number in range(60):
            store.away = number % 2 == 0
            await ask(limiter)
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        begins, *told, ends = warnings(lines)
        assert '"deny"' in begins
        assert len(told) == 6
        assert ends.endswith(": 30 requests refused without it")

    of_outage(test, monkeypatch)


def test_an_outage_at_the_end(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not yet told when the app shuts down is told then; and a loop that ended leaves the lines to another."""

    async def lifespan(scope, receive, send) -> None:
        await send({"type": "lifespan.shutdown.complete"})

    async def request() -> None:
        await ask(limiter)

    async def shutdown() -> None:
        await ask(limiter)
        limiter.app = lifespan
        for _ in range(2):
            await ask(limiter, scope={"type": "lifespan"})

    limiter = RateLimitMiddleware(plain, policy(), store=Sometimes())
    of_outage(request, monkeypatch)
    of_outage(shutdown, monkeypatch)
    assert warnings(lines)[1:] == ["without the store: 2 requests allowed: nobody is there"]


def test_no_api_key(lines: list[str]) -> None:
    """A caller who is known by nothing but an API key is referred to by a hash of its hash."""

    async def test() -> None:
        limiter = limited(plain, identify=lambda _: Identity(api_key=ANA, tier="basic"))
        for _ in range(4):
            await ask(limiter)
        (line,) = lines
        assert re.search(r"caller=api_key=#[0-9a-f]{32}$", line)
        assert ANA not in line
        assert ANA not in repr(Identity(api_key=ANA))

    run(test())
