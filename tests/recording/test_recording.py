"""`[record]`: a line for each request that was decided, of whole callers, without an API key."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Security
from fastapi.security import APIKeyHeader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from ratelimit import Identity, Policy, RateLimitMiddleware, StoreUnavailable, hash_api_key, operation
from ratelimit.fastapi import decide, deferred, usage_router
from ratelimit.model import ASGIApp, Message, Receive, Scope, Send
from ratelimit.recording import recording
from ratelimit.recording.recording import recording_of, share_of
from ratelimit.stores.memory import MemoryStore
from ratelimit.testing import limited_client
from tests.acceptance import ANA, T, ask, plain, policy, run, scope_of
from tests.recording import lines_of
from tests.waiting import Asked, SteppedLoop

LIMITS = '{ name = "requests", rate = "3/minute" }'


def recorded(tmp_path: Path, more: str = "", limits: str = LIMITS) -> Policy:
    return policy(limits, f'[record]\nfile = "{tmp_path / "log"}"\n{more}')


def limiter(app: ASGIApp, of: Policy, store: Any = None, **rest: Any) -> RateLimitMiddleware:
    return RateLimitMiddleware(app, of, store=store or MemoryStore(clock=lambda: T), **rest)


def closed(app: RateLimitMiddleware, tmp_path: Path) -> list[Any]:
    """What the file has when all is written."""
    assert app._recording
    app._recording.close()
    return lines_of(tmp_path / "log")


def test_what_is_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instant of the decision by the store's clock, how long its slot was held, what was asked, by whom, and what
    it came to; a denied request too."""
    clock = iter([10.0, 10.5, 11.0, 11.0, 12.0, 12.0, 13.0, 13.0])
    monkeypatch.setattr(recording, "monotonic", lambda: next(clock))
    app = limiter(plain, recorded(tmp_path))
    for _ in range(4):
        run(ask(app))
    first, *others = closed(app, tmp_path)
    assert first == {
        "at": T,
        "took": 500,
        "method": "GET",
        "path": "/items/7",
        "status": 200,
        "operation": "detail_read",
        "user": "ana",
        "api_key": first["api_key"],
        "ip": "192.0.2.7",
        "tier": "basic",
    }
    assert [line["status"] for line in others] == [200, 200, 429]


def test_no_api_key(tmp_path: Path) -> None:
    """An API key is there as the hash that the log has, neither in clear nor as the hash that a policy has; a query,
    which may hold another, is not there at all."""
    app = limiter(plain, recorded(tmp_path))
    scope = scope_of()
    run(ask(app, scope={**scope, "raw_path": b"/items/7?token=in-clear", "query_string": b"token=in-clear"}))
    (line,) = closed(app, tmp_path)
    text = (tmp_path / "log").read_text()
    assert line["api_key"].startswith("#")
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0
    for secret in (ANA, hash_api_key(ANA), "in-clear"):
        assert secret not in text


def test_what_is_exempt_is_not_recorded(tmp_path: Path) -> None:
    """Nor is a request that is refused before it is known who asks."""
    app = limiter(plain, recorded(tmp_path, '[operations]\nexempt = ["GET /health"]'))
    run(ask(app, "/health"))
    two = scope_of()
    two["headers"] = [*two["headers"], (b"x-api-key", b"sk_live_ben")]
    run(ask(app, scope=two))
    run(ask(app))
    assert [line["path"] for line in closed(app, tmp_path)] == ["/items/7"]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("exempt", [False, True])
def test_own_usage_is_not_recorded(tmp_path: Path, exempt: bool, later: bool) -> None:
    """Where it is charged to nobody: simulated, it would be. Who is not known is charged, and is there."""
    app = FastAPI()

    async def known(x_own: str = Security(APIKeyHeader(name="X-Own", auto_error=False))) -> Identity | None:
        return Identity(user=x_own, tier="basic") if x_own else None

    app.include_router(usage_router(dependencies=[Security(decide(known))] if later else []))
    made = recorded(tmp_path, '[operations]\nexempt = ["GET /rate_limit"]' if exempt else "")
    limited = limiter(app, made, identify=deferred() if later else None)
    assert run_status(limited, scope_of("/rate_limit", x_own="me")) == 200
    assert run_status(limited, scope_of("/rate_limit", api_key=None)) == 401
    assert run_status(limited, scope_of("/else")) == 404
    lines = closed(limited, tmp_path)
    assert [(line["path"], line["status"]) for line in lines] == [
        *([] if exempt else [("/rate_limit", 401)]),
        ("/else", 404),
    ]


def test_whole_callers(tmp_path: Path) -> None:
    """Of a sample each caller is there with all of its requests or with none, and its part is that of the callers."""
    of = recorded(tmp_path, "sample = 0.25")
    app = limiter(plain, of)
    for address in range(200):
        for _ in range(2):
            run(ask(app, scope={**scope_of(api_key=None), "client": (f"192.0.2.{address}", 1)}))
    seen = [line["ip"] for line in closed(app, tmp_path)]
    assert 30 <= len(set(seen)) <= 70
    assert all(seen.count(ip) == 2 for ip in seen)
    assert set(seen) == {ip for ip in seen if share_of(Identity(ip=ip)) < 2**62}


def test_whole_callers_who_are_known_later(tmp_path: Path) -> None:
    """With `deferred()` the sample is one of callers too, from whatever address they come, or of those denied there."""
    app = FastAPI()

    async def known(x_own: str = Security(APIKeyHeader(name="X-Own"))) -> Identity:
        return Identity(user=x_own, tier="basic")

    @app.get("/items/{item}")
    async def item(item: int, _: None = Security(decide(known))) -> str:
        return "here"

    limited = limiter(app, recorded(tmp_path, "sample = 0.25"), identify=deferred())
    for user in range(40):
        for address in range(3):
            scope = {**scope_of(x_own=f"user{user}"), "client": (f"198.51.100.{3 * user + address}", 1)}
            run(ask(limited, scope=scope))
    addresses = [f"192.0.2.{number}" for number in range(9)]
    for ip in addresses:
        for _ in range(3):
            run(ask(limited, scope={**scope_of(api_key=None), "client": (ip, 1)}))
    lines = closed(limited, tmp_path)
    seen = [line["user"] for line in lines if "user" in line]
    assert 3 <= len(set(seen)) <= 20
    assert all(seen.count(user) == 3 for user in seen)
    inside = {ip for ip in addresses if share_of(Identity(ip=ip)) < 2**62}
    assert {line["ip"] for line in lines if "user" not in line} == inside
    assert 0 < len(inside) < 9


def test_attributes_and_units(tmp_path: Path) -> None:
    """What a formula goes by, and what an endpoint has computed, are there as values; limits that it declares by
    name."""

    @operation("heavy", units=lambda request: int(request.headers["x-batch"]))
    async def imported(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    def who(scope: Scope) -> Identity:
        return Identity(organization="Größe\x1b[31m", tier="basic", attributes={"seats": 3, "plan": "a", "on": True})

    inner = Starlette(routes=[Route("/import", imported, methods=["POST"])])
    app = limiter(inner, recorded(tmp_path), identify=who)
    run(ask(app, "/import", "POST", x_batch="3"))
    run(ask(app, "/import/..;/x", "POST", x_batch="1"))
    first, second = closed(app, tmp_path)
    assert (first["operation"], first["units"]) == ("heavy", 3)
    assert first["attributes"] == {"seats": 3, "plan": "a", "on": True}
    assert first["organization"] == "Größe\x1b[31m"
    assert b"\x1b" not in (tmp_path / "log").read_bytes()
    assert "units" not in second
    assert second["path"] == "/import/..;/x"


def test_declared_limits(tmp_path: Path) -> None:
    """The names of the limits that an endpoint declares are there."""
    from fastapi import Depends

    from ratelimit.fastapi import limit

    app = FastAPI()

    @app.get("/exports", dependencies=[Depends(limit("5/hour", name="exports"))])
    async def exports() -> str:
        return "here"

    limited = limiter(app, recorded(tmp_path))
    run(ask(limited, "/exports"))
    (line,) = closed(limited, tmp_path)
    assert line["declared"] == ["exports"]
    assert "units" not in line


def test_an_app_that_raises(tmp_path: Path) -> None:
    """Before its response it comes to a 500, after it to what it had begun; one that answers nothing has no status."""

    async def raises(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 202, "headers": []})
        if scope["path"] != "/nothing":
            raise RuntimeError("oh")

    app = limiter(raises, recorded(tmp_path))
    for path in ("/early", "/late"):
        with pytest.raises(RuntimeError):
            run(ask(app, path))
    run(ask(app, "/nothing"))
    assert [line.get("status") for line in closed(app, tmp_path)] == [500, 202, None]


def test_a_cancelled_request(tmp_path: Path) -> None:
    """Who hangs up is there too, once, without a status."""

    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(60)

    app = limiter(hangs, recorded(tmp_path))

    async def cancelled() -> None:
        task = asyncio.create_task(app(scope_of(), None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancelled())
    (line,) = closed(app, tmp_path)
    assert "status" not in line


def test_the_slot_ends_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done after the last message of a response is not in its time: the slot is given back by then."""
    now = [0.0]
    monkeypatch.setattr(recording, "monotonic", lambda: now[0])

    async def works_on(scope: Scope, receive: Receive, send: Send) -> None:
        await plain(scope, receive, send)
        now[0] += 60

    app = limiter(works_on, recorded(tmp_path))
    run(ask(app))
    (line,) = closed(app, tmp_path)
    assert line["took"] == 0


def test_a_websocket(tmp_path: Path) -> None:
    """A handshake is a request of the method WEBSOCKET, which ends with its connection."""

    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    app = limiter(Starlette(routes=[WebSocketRoute("/feed", feed)]), recorded(tmp_path))
    with TestClient(app).websocket_connect("/feed") as client:
        client.receive_text()
    (line,) = closed(app, tmp_path)
    assert (line["method"], line["operation"], line["status"]) == ("WEBSOCKET", "connect", 101)


def test_who_is_known_later(tmp_path: Path) -> None:
    """A request is of the caller that the app decides it for."""
    app = FastAPI()

    async def known(api_key: str = Security(APIKeyHeader(name="X-Own"))) -> Identity:
        return Identity(organization="acme", tier="basic")

    @app.get("/items/{item}")
    async def item(item: int, _: None = Security(decide(known))) -> str:
        return "here"

    limited = limiter(app, recorded(tmp_path), identify=deferred())
    run(ask(limited, x_own="me"))
    run(ask(limited))
    known_line, unknown = closed(limited, tmp_path)
    assert (known_line["organization"], known_line["tier"]) == ("acme", "basic")
    assert "organization" not in unknown


def test_without_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instant is that of the process's own clock."""

    class Away(MemoryStore):
        async def acquire(self, charges: Any) -> Any:
            raise StoreUnavailable("away")

    monkeypatch.setattr(recording, "time", lambda: 1.5)
    app = limiter(plain, recorded(tmp_path), Away())
    run(ask(app))
    (line,) = closed(app, tmp_path)
    assert line["at"] == 1_500


def test_of_one_policy_one_file(tmp_path: Path) -> None:
    """Middlewares of one policy write together; of a policy without [record] nothing is made at all."""
    of = recorded(tmp_path)
    assert limiter(plain, of)._recording is limiter(plain, of)._recording
    assert recording_of(policy()) is None
    assert limiter(plain, policy())._recording is None
    assert limiter(plain, policy()).app is plain


def test_the_lifespan_writes(tmp_path: Path) -> None:
    """What waits is written when the app ends."""
    inner = Starlette(routes=[Route("/items/7", lambda _: PlainTextResponse("here"))])
    app = RateLimitMiddleware(inner, recorded(tmp_path))
    with TestClient(app) as client:
        client.get("/items/7")
    assert [line["status"] for line in lines_of(tmp_path / "log")] == [200]


def test_a_test_is_no_traffic(tmp_path: Path) -> None:
    """What `limited_client` asks of an app is not recorded."""
    inner = Starlette(routes=[Route("/items/7", lambda _: PlainTextResponse("here"))])
    app = RateLimitMiddleware(inner, recorded(tmp_path))
    with limited_client(app) as client:
        assert client.get("/items/7").status_code == 200
    assert not (tmp_path / "log").exists()


def test_a_path_as_it_came(tmp_path: Path) -> None:
    """Where the server gives none as it came it is encoded; an endless one is cut, so that each line can be read."""
    app = limiter(plain, recorded(tmp_path, limits='{ name = "requests", rate = "9/minute" }'))
    scope = {**scope_of(), "path": "/ä\ud800b/<img onerror=x>"}
    del scope["raw_path"]
    run(ask(app, scope=scope))
    run(ask(app, scope={**scope_of(), "raw_path": b"/\xff" * 60_000}))
    first, second = closed(app, tmp_path)
    assert first["path"] == "/%C3%A4%ED%A0%80b/%3Cimg%20onerror%3Dx%3E"
    assert len(second["path"]) == 16_000
    assert second["path"].startswith("/%FF/%FF/")
    assert max(map(len, (tmp_path / "log").read_bytes().splitlines())) < 65_536


@pytest.mark.parametrize("raw", [True, False])
def test_a_url_as_path(tmp_path: Path, raw: bool) -> None:
    """As a proxy is asked: some clients write a key in front of the host. None of it is recorded."""
    app = limiter(plain, recorded(tmp_path))
    scope = {**scope_of(), "path": "http://user:sk_live_1@api.example/loans/7", "raw_path": None}
    if raw:
        scope["raw_path"] = b"http://user:sk_live_1@api.example/loans/7?at=http://x"
    run(ask(app, scope=scope))
    (line,) = closed(app, tmp_path)
    assert line["path"] == "/loans/7"


def test_two_policies(tmp_path: Path) -> None:
    """Each records its own callers: who is not in the sample of the inner one is in the outer's log by the name that it
    has there."""
    (tmp_path / "inner").mkdir()
    inner = limiter(
        plain, recorded(tmp_path / "inner", "sample = 0.000000001"), identify=lambda _: Identity(tier="basic")
    )
    outer = limiter(inner, recorded(tmp_path), identify=lambda _: Identity(user="out", tier="basic"))
    run(ask(outer))
    (line,) = closed(outer, tmp_path)
    assert line["user"] == "out"
    assert not (tmp_path / "inner" / "log").exists()


@pytest.mark.parametrize("sample", [1, 1e-9])
def test_who_waits(sample: float, tmp_path: Path) -> None:
    """A request that is admitted after a wait is recorded as if it had come then, and holds its slots from then on; if
    it is in the sample."""

    async def test() -> None:
        limits = '{ name = "requests", rate = "1/second", precision = 1 }'
        made = recorded(tmp_path, f"sample = {sample:.9f}", f'{limits} ]\nwait = {{ up_to = "3s", queue = 20 }}\n#')
        app = RateLimitMiddleware(plain, made, store=Asked())
        await asyncio.gather(*(ask(app) for _ in range(4)))
        if sample < 1:
            assert not (tmp_path / "log").exists()
            return
        lines = closed(app, tmp_path)
        at = sorted(line["at"] - lines[0]["at"] for line in lines if line["status"] == 200)
        assert at == sorted({*at})
        assert all(after - before >= 1_000 for before, after in itertools.pairwise(at))
        assert len(at) > 1

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(test())


def test_a_full_disk_never_reaches_the_app(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Requests are answered as ever where the file can't be written; that is told once, with the count when it can."""
    of = recorded(tmp_path)
    (tmp_path / "log").mkdir()
    app = limiter(plain, of)
    recording = app._recording
    assert recording
    with caplog.at_level(logging.WARNING, "ratelimit"):
        for _ in range(2):
            assert run_status(app) == 200
            recording.writer.write()
        (tmp_path / "log").rmdir()
        assert run_status(app) == 200
        lines = closed(app, tmp_path)
    assert lines[0] == {"lost": 2}
    assert [line.get("status") for line in lines] == [None, 200]
    assert [record.getMessage() for record in caplog.records] == [
        f"[record]: {tmp_path / 'log'} can't be written: Is a directory; requests go on, and are not recorded until it"
        " can",
        f"[record]: {tmp_path / 'log'} is written again, 2 requests are missing in it",
    ]
    assert recording.writer.lost == 2


def run_status(app: ASGIApp, scope: Scope | None = None) -> int:
    statuses: list[int] = []

    async def asked() -> None:
        sent: list[Message] = await ask(app, scope=scope or scope_of())
        statuses.append(sent[0]["status"])

    run(asked())
    return statuses[0]


def test_lines_are_ascii(tmp_path: Path) -> None:
    """Whatever a caller is named, a line is ASCII without a control character: no terminal and no parser is misled."""
    app = limiter(
        plain, recorded(tmp_path), identify=lambda _: Identity(organization="\u2028<\x00\ud800>", tier="basic")
    )
    run(ask(app))
    raw = (closed(app, tmp_path), (tmp_path / "log").read_bytes())[1]
    assert raw.isascii()
    assert raw.strip().decode().isprintable()
    assert json.loads(raw)["organization"] == "\u2028<\x00\ud800>"
