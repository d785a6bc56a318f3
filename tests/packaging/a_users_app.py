"""What users write, under the strictest checks of types: `make lint` runs mypy and pyright on it, nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from ratelimit import (
    Control,
    Identity,
    MemoryStore,
    RateLimitMiddleware,
    RedisStore,
    as_operation,
    identify_user,
    load_policy,
    operation,
    routes_of,
)
from ratelimit.fastapi import RateLimit, decide, deferred, document, limit
from ratelimit.testing import assert_denied, assert_left, decision, limited_client

policy = load_policy("ratelimit.toml")
app = FastAPI(dependencies=[Depends(as_operation("search"))])


async def current_identity(request: Request) -> Identity | None:
    return Identity(user=request.headers.get("x-user", ""), tier="basic")


Charged = Annotated[Control, Depends(decide(current_identity))]


@app.post("/invoices")
@operation("heavy_write", units=lambda request: int(request.headers.get("x-batch-size", 1)))
async def create_invoice(request: Request) -> dict[str, int]:
    return {"left": sum(request.scope["ratelimit.control"].left().values())}


@app.get("/exports", dependencies=[Depends(limit("5/hour", name="exports", per="user"))])
def exports() -> str:
    return ""


@app.get("/who")
async def who(charged: Charged) -> dict[str, int]:
    await charged.refund()
    return charged.left()


@app.post("/complete")
async def complete(prompt: str, rate_limit: RateLimit) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        async with rate_limit.hold(4096, limit="tokens", deny=False) as held:
            if not held.allowed:
                yield str(held.retry_after)
            for word in prompt.split():
                held.settle(1)
                yield word

    await rate_limit.charge(3, limit="rows")
    return StreamingResponse(stream())


reports = APIRouter(dependencies=[Depends(as_operation("search"))])
app.include_router(reports)
app.add_middleware(RateLimitMiddleware, policy=policy, identify=deferred())
document(app)
inner = operation("detail_read")(Starlette())
outer = Starlette(
    routes=[Mount("/files", inner)],
    middleware=[Middleware(RateLimitMiddleware, policy="ratelimit.toml", store=RedisStore("redis://127.0.0.1"))],
)
other = RateLimitMiddleware(
    app, policy, store=MemoryStore(), identify=identify_user(lambda user, auth: Identity(user="a"))
)
listed: list[tuple[str, str | None, str]] = [(row.path, row.operation, row.why) for row in routes_of(app, policy)]


def example() -> None:
    with limited_client(app, headers={"a": "b"}) as client:
        response = client.get("/who")
        assert_left(response, requests=0)
        assert_denied(response, limit="requests", retry_after=61)
        client.clock.advance("61s")
    assert decision(requests=(7, 10)).allowed
