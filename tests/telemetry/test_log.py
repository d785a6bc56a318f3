"""The log for programs: each line says in fields what it says in words, and an app's own lines can carry the log id."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from typing import Any

import pytest
from fastapi import FastAPI, Security
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.testclient import TestClient

from ratelimit import Identity, MemoryStore, RateLimitMiddleware, StoreUnavailable, log_id
from ratelimit.fastapi import decide, deferred
from ratelimit.ground.words import fields
from ratelimit.log import denials, lines, units
from ratelimit.model import Lease, Refused
from ratelimit.reload import telling as edits
from ratelimit.reload.effect import Effect
from ratelimit.slots.report import Report
from tests.acceptance import ANA, BEN, T, ask, driven, header, limited, plain, policy, run
from tests.control import Away
from tests.waiting import SteppedLoop
from tests.websockets import connect, echo

PREFIX = "ratelimit_"
OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}  # of a LogRecord


def said(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of each line of ours, without the prefix."""
    records = [vars(record) for record in caplog.records if record.name == "ratelimit"]
    return [
        {name.removeprefix(PREFIX): value for name, value in of.items() if name.startswith(PREFIX)} for of in records
    ]


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ratelimit")


def test_no_field_is_an_attribute_of_a_record() -> None:
    """logging raises KeyError for one that is: whatever a field is called, ours are not."""
    for name in OWN:
        assert not OWN & set(fields("denied", **{name: 1}))


def test_denials(caplog: pytest.LogCaptureFixture) -> None:
    """What was denied, by which limit, whose request it was, for how long; in the line of the others how many more."""

    async def test() -> None:
        limiter = limited(plain, '{ name = "requests", rate = "1/minute" }', style="facturapi")
        ids = [header((await ask(limiter))[0], "x-facturapi-log-id") for _ in range(3)]
        await limiter._close()
        of = {"event": "denied", "limit": "requests", "caller": "user=ana"}
        one = {**of, "operation": "detail_read", "wait_s": 61.0, "more": 0}
        assert said(caplog) == [{**one, "log_id": ids[1]}, {**one, "log_id": ids[2]}, {**of, "more": 1}]

    run(test())


def test_would_deny_and_never(caplog: pytest.LogCaptureFixture) -> None:
    """A limit in shadow has an event of its own; who can never pass has no wait."""

    async def test() -> None:
        limits = '{ name = "requests", rate = "0/minute", mode = "shadow" }'
        await ask(limited(plain, limits))
        (line,) = said(caplog)
        assert line | {"log_id": ""} == {
            "event": "would_deny", "limit": "requests", "caller": "user=ana", "operation": "detail_read",
            "wait_s": None, "more": 0, "log_id": "",
        }  # fmt: skip

    run(test())


def test_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Of a request that is answered before anything is charged: why, and the address."""
    told = denials.Denials()
    for _ in range(2):
        told.refused(Refused(400, "invalid_request", "two\nkeys"), "192.0.2.7", "id")
    told.close()
    first, _, more = said(caplog)
    of = {"event": "refused", "code": "invalid_request", "caller": "ip=192.0.2.7"}
    assert first == {**of, "status": 400, "log_id": "id", "more": 0, "reason": "two\\nkeys"}
    assert more == {**of, "more": 1}


def test_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """When it begins, what was decided meanwhile, each request at DEBUG, and when it ends."""

    async def test() -> None:
        store = Away(lambda: T)
        store.away = {"acquire"}
        limiter = RateLimitMiddleware(plain, policy(), store=store)
        await ask(limiter)
        await asyncio.sleep(1.5)
        store.away = set()
        await ask(limiter)
        await asyncio.sleep(3)

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(test())
    begins, request, during, ends = said(caplog)
    assert begins == {"event": "store_out_of_reach", "on_failure": "allow", "reason": "gone"}
    assert (request["event"], request["verdict"], request["caller"]) == ("without_store", "allowed", "user=ana")
    counts = {"allowed": 1, "refused": 0, "decided_locally": 0}
    assert during == {"event": "requests_without_store", "reason": "gone", **counts}
    assert (ends["event"], ends["allowed"]) == ("store_back", 1)
    assert ends["after_s"] >= 0


def test_other_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Of slots and units: which event it is, and its numbers."""
    report, slot, units_held = Report(), Lease("k", "id", 1_000), Lease("k", "id", 1_000, counters=("k",))
    error = StoreUnavailable("gone")
    report.not_given_back(0.0, error)
    report.not_renewed([slot], 1.0, error)
    report.crowding([slot], 2.0, 0.0)
    report.gone([units_held], 2.0, 0.0)
    report.renewed([slot], 3.0)
    units.Untold().tell("charge", "tokens", error)
    lines.not_closed(error)
    assert [(line["event"], line.get("count")) for line in said(caplog)] == [
        ("slots_not_given_back", None), ("leases_not_renewed", 1), ("slots_above_max", 1), ("holds_gone", 1),
        ("leases_renewed_again", None), ("units_untold", None), ("not_closed", None),
    ]  # fmt: skip


def test_edits_and_records(caplog: pytest.LogCaptureFixture) -> None:
    """What becomes of an edited file, and of `[record]`: of which file it is, its digest, and why."""
    before, after, digest, file = policy(), policy(more='[record]\nfile = "log"\n'), "ab" * 32, "ratelimit.toml"
    unwatched = policy(more="[reload]\nwatch = false\n")
    edits.taken(file, digest, Effect(100, 3))
    edits.refused(file, digest, Effect(100, 3), 0.01, by_others=True)
    edits.invalid(file, digest, ValueError("no policy"))
    for tell in (edits.failed, edits.gone, edits.back, edits.as_before):
        tell(file)
    edits.not_shared(StoreUnavailable("gone"))
    edits.began_with_refused(file, digest)
    edits.what_waits(file, before, after)
    edits.what_waits(file, before, unwatched)
    lines.not_recorded("log", OSError(28, "No space left on device"))
    lines.recorded_again("log", 7)
    told = said(caplog)
    assert told[0] == {"event": "policy_taken", "path": file, "sha256": digest, "newly_denied": 3, "callers": 100}
    assert [(line["event"], line.get("path"), line.get("reason")) for line in told[1:]] == [
        ("policy_refused", file, "another process on this store has refused it"), ("policy_invalid", file, "no policy"),
        ("policy_not_reloaded", file, None), ("policy_gone", file, None), ("policy_back", file, None),
        ("policy_as_before", file, None), ("verdict_unknown", None, "gone"), ("policy_refused_by_others", file, None),
        ("policy_waits", file, None), ("policy_unwatched", file, None),
        ("not_recorded", "log", "No space left on device"), ("recorded_again", "log", None),
    ]  # fmt: skip


def test_no_key_is_in_a_field(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever calls, by whatever key, denied or not: what is said of it is a name or a hash."""

    async def test() -> None:
        limiter = limited(plain, '{ name = "requests", rate = "0/minute", per = "api_key" }')
        for api_key in (ANA, BEN, "sk_live_unknown"):
            for _ in range(3):
                await ask(limiter, api_key=api_key)
        await limiter._close()
        assert len(said(caplog)) > 5
        text = json.dumps([vars(record) for record in caplog.records], default=str)
        assert not [key for key in (ANA, BEN, "sk_live_unknown") if key in text]

    run(test())


def naming(seen: list[str]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(log_id.get())
        await asyncio.sleep(0)
        seen.append(log_id.get())
        await plain(scope, receive, send)

    return app


def test_the_log_id_while_the_app_runs() -> None:
    """Of a style whose answers carry one each request has it, that of the answer; afterwards there is none."""

    async def test() -> None:
        seen: list[str] = []
        limiter = limited(naming(seen), '{ name = "requests", rate = "9/minute" }', style="facturapi")
        answers = [await ask(limiter) for _ in range(2)]  # in one context
        answers += await asyncio.gather(*(ask(limiter) for _ in range(3)))
        ids = Counter(header(sent[0], "x-facturapi-log-id") for sent in answers)
        assert len(ids) == 5
        assert Counter(seen) == ids + ids
        assert log_id.get() == ""

    run(test())


@pytest.mark.parametrize("more", ["", ', { name = "cap", concurrency = 5 }'])
def test_a_request_to_speak_of(more: str, caplog: pytest.LogCaptureFixture) -> None:
    """In other styles it is there where the limiter's own log has a line of the request; else it is empty."""

    async def test() -> None:
        seen: list[str] = []
        limits = '{ name = "requests", rate = "1/minute", mode = "shadow" }' + more
        limiter = limited(naming(seen), limits)
        for _ in range(2):
            await ask(limiter)
        (line,) = said(caplog)
        assert seen == ["", "", line["log_id"], line["log_id"]]
        assert line["log_id"]

    run(test())


def test_a_handshake() -> None:
    """As a request: it is there as long as the connection."""

    async def test() -> None:
        seen: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await echo(scope, receive, send)
            seen.append(log_id.get())

        await connect(limited(app, style="facturapi"))
        assert all(seen)
        assert len(seen) == 1

    run(test())


@pytest.mark.parametrize("around", [True, False])
def test_who_is_known_later(around: bool, caplog: pytest.LogCaptureFixture) -> None:
    """With `deferred()` the id of the line that is about the caller is there from then on, and ends with the request,
    also where a middleware of the app runs it in another context."""
    app, seen = FastAPI(), []

    async def known() -> Identity:
        return Identity(user="ana", tier="basic")

    @app.get("/loans/{loan}")
    def loan(loan: int, _: None = Security(decide(known))) -> str:
        seen.append(log_id.get())
        return "here"

    if around:
        app.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, goes_on: goes_on(request))
    made = policy('{ name = "s", rate = "0/minute", mode = "shadow" }')
    limiter = RateLimitMiddleware(app, made, store=MemoryStore(lambda: T), identify=deferred())

    async def test() -> None:
        await ask(limiter, "/loans/7")
        assert log_id.get() == ""

    run(test())
    (line,) = [line for line in said(caplog) if line.get("event") == "would_deny"]
    assert seen == [line["log_id"]] != [""]


def test_a_call_that_is_closed() -> None:
    """By somebody in another context: that is no error, and what is set there stays."""

    async def stays(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        call = ask(limited(stays, style="facturapi"))
        task = asyncio.create_task(driven(call, "nothing"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        call.close()
        task.cancel()
        assert log_id.get() == ""

    run(test())


def test_in_the_lines_of_an_app(caplog: pytest.LogCaptureFixture) -> None:
    """As docs/telemetry.md has it: a filter on the app's handler, and an endpoint that runs in a thread."""
    logger = logging.getLogger("tests.an_app")
    caplog.set_level(logging.INFO, logger.name)

    def with_log_id(record: logging.LogRecord) -> bool:
        record.log_id = log_id.get()
        return True

    app = FastAPI()

    @app.get("/items")
    def items() -> None:
        logger.info("the app says something")

    app.add_middleware(RateLimitMiddleware, policy=policy(style="facturapi"), store=MemoryStore(lambda: T))
    caplog.handler.addFilter(with_log_id)
    try:
        with TestClient(app) as client:
            answer = client.get("/items")
    finally:
        caplog.handler.removeFilter(with_log_id)
    (record,) = [record for record in caplog.records if record.name == logger.name]
    assert record.log_id == answer.headers["x-facturapi-log-id"]  # type: ignore[attr-defined]
