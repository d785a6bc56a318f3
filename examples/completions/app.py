"""An API that sells tokens of a language model, and meters them: the model is a fake, the meter is not.

    python -m examples.serve completions

The limits are in `ratelimit.toml` beside this file, the documented API keys in `keys.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from examples.common import Item, caller, health
from ratelimit import RateLimitMiddleware, Store, load_policy
from ratelimit.fastapi import RateLimit, document

POLICY = load_policy(Path(__file__).with_name("ratelimit.toml"))
TOKEN = 0.002  # seconds that the model takes for one


class Prompt(BaseModel):
    """`max_tokens` is the most that an answer may take, the prompt included."""

    prompt: str = Field(min_length=1)
    max_tokens: int = Field(default=100, ge=1)
    stream: bool = False


async def known(request: Request) -> None:
    caller(request)


def limits_of(rate_limit: RateLimit) -> list[str]:
    """The limits of tokens that this caller has."""
    return [name for name in rate_limit.left() if name.endswith("tokens")]


Tokens = Annotated[list[str], Depends(limits_of)]


async def model(prompt: str, most: int) -> AsyncIterator[str]:
    """The prompt from behind, again and again, a word a token, as long as it may; it fails if it is told to."""
    words = prompt.split()
    if words == ["fail"]:
        raise HTTPException(503, "The model is out of order.")
    for word in islice(cycle(reversed(words)), min(most, 3 * len(words))):
        await asyncio.sleep(TOKEN)
        yield f"{word} "


async def usage(rate_limit: RateLimit) -> Item:
    """What is left."""
    return {"left": rate_limit.left()}


async def complete(asked: Prompt, rate_limit: RateLimit, tokens: Tokens) -> Item | StreamingResponse:
    """Holds as many tokens as the answer may take: a request that they do not fit gets its 429."""
    if asked.stream:
        return StreamingResponse(_streamed(asked, rate_limit, tokens), media_type="text/plain")
    used, text = len(asked.prompt.split()), ""
    async with rate_limit.hold(asked.max_tokens, limit=tokens) as held:
        async for token in model(asked.prompt, asked.max_tokens - used):
            text, used = text + token, used + 1
        held.settle(used)
    return {"text": text.strip(), "usage": {"tokens": used}}


async def _streamed(asked: Prompt, rate_limit: RateLimit, tokens: list[str]) -> AsyncIterator[str]:
    """Its 200 is out already. It settles as it goes: who hangs up has paid for what was made by then."""
    used = len(asked.prompt.split())
    async with rate_limit.hold(asked.max_tokens, limit=tokens) as held:
        if not held.allowed:
            yield f"[no tokens left, come back in {held.retry_after} s]"
            return
        held.settle(used)
        async for token in model(asked.prompt, asked.max_tokens - used):
            used += 1
            held.settle(used)
            yield token


def create_app(store: Store | str | None = None) -> FastAPI:
    """Without a store, RATELIMIT_STORE_URL counts, and then memory."""
    app = FastAPI(title="Tokens of a language model")
    app.get("/v1/usage", dependencies=[Depends(known)])(usage)
    app.post("/v1/completions", dependencies=[Depends(known)], response_model=None)(complete)
    app.add_api_route("/health", health)
    app.add_middleware(RateLimitMiddleware, policy=POLICY, store=store)
    document(app)
    return app


app = create_app()
