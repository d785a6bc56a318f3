"""A store that a command reads: that of the option, else of the environment, else of the policy, as of a middleware."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from ratelimit.cli.output.exits import Stopped
from ratelimit.model import Store
from ratelimit.policy import Policy
from ratelimit.stores import open_store, split_url

VARIABLE = "RATELIMIT_STORE_URL"
LEAST_TIMEOUT = 2.0  # seconds: somebody waits here, and no request does

T = TypeVar("T")

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help=f"redis://…; else {VARIABLE} counts, where no password is seen, then the policy."
    ),
]
DEFAULT = "default"
ReadOption = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help=f"Ask redis://… as well, or with {DEFAULT} that of {VARIABLE} or of the policy."
    ),
]


def with_store(policy: Policy, url: str | None, work: Callable[[Store], Awaitable[T]]) -> T:
    """What comes of it. Stopped where the URL is none that a command can use; StoreUnavailable."""
    store = _opened(policy, url)

    async def run() -> T:
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _opened(policy: Policy, url: str | None) -> Store:
    chosen = (None if url == DEFAULT else url) or os.environ.get(VARIABLE) or policy.store.url
    if split_url(chosen).scheme == "memory":
        raise Stopped(
            "the store is memory://, which only the process that counts in it can read:"
            f" give --store redis://… or {VARIABLE}"
        )
    timeout = max(policy.store.timeout_ms / 1000, LEAST_TIMEOUT)
    try:
        return open_store(chosen, prefix=policy.store.prefix, timeout=timeout)
    except (ValueError, ImportError) as error:
        raise Stopped(str(error)) from None
