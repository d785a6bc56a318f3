"""Serves the four example APIs, drives each past its limits, and prints every kind of answer as it came over the wire.

    python -m examples.demo
    RATELIMIT_STORE_URL=redis://127.0.0.1:6379/0 python -m examples.demo

Counters are in memory, or in the Redis that RATELIMIT_STORE_URL names; there each run has key prefixes of its own,
`demo-…`, so that it starts with nothing used, and its keys expire by themselves. Ends with status 0 if every answer was
as documented, and with 1 and what was wrong if not.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time

import httpx2

from examples.completions import app as completions
from examples.completions import scenes as completions_scenes
from examples.facturapi import app as facturapi
from examples.facturapi import scenes as facturapi_scenes
from examples.lendworks import app as lendworks
from examples.lendworks import scenes as lendworks_scenes
from examples.lightspeed import app as lightspeed
from examples.lightspeed import scenes as lightspeed_scenes
from examples.serving import serving
from examples.wire import Api, Unexpected
from ratelimit import Identity, Store, StoreUnavailable, open_store

EXAMPLES = {
    "facturapi": (facturapi, facturapi_scenes),
    "lightspeed": (lightspeed, lightspeed_scenes),
    "lendworks": (lendworks, lendworks_scenes),
    "completions": (completions, completions_scenes),
}
PATIENCE = 1.0  # seconds a request waits for the store; a service would keep the 100 ms that are the default


def main() -> int:
    began = time.monotonic()
    url = os.environ.get("RATELIMIT_STORE_URL") or "memory://"
    run = secrets.token_hex(4)
    apis = []
    try:
        for name in EXAMPLES:
            store = open_store(url, prefix=f"demo-{run}-{name}", timeout=PATIENCE)
            apis.append(_drive(name, store))
    except (Unexpected, StoreUnavailable, httpx2.HTTPError) as error:
        print(f"\nThe demo has failed. {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    shown, requests = sum(api.shown for api in apis), sum(api.requests for api in apis)
    seconds, scheme = time.monotonic() - began, url.partition("://")[0]
    print(f"\n{shown} answers as documented, {requests} requests in {seconds:.1f} s, counters in {scheme}.")
    return 0


def _drive(name: str, store: Store) -> Api:
    example, scenes = EXAMPLES[name]
    asyncio.run(_reach(store))
    with serving(example.create_app(store)) as url, httpx2.Client(base_url=url, timeout=30) as client:
        api = Api(name, client)
        scenes.play(api)
    return api


async def _reach(store: Store) -> None:
    """StoreUnavailable with the reason, where the apps would let everything through."""
    charges = facturapi.POLICY.charges(Identity(user="the demo", tier="identified"), "search")
    try:
        await store.release((await store.acquire(charges)).leases)
    finally:
        await store.close()


if __name__ == "__main__":
    sys.exit(main())
