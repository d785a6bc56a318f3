"""A header with an API key is found by every spelling of its name that is the same header to an app behind."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware
from starlette.requests import Request

from ratelimit import Identity, MemoryStore, RateLimitMiddleware, hash_api_key
from ratelimit.identity import IdentifyByApiKey
from ratelimit.identity.address import ClientAddress
from ratelimit.identity.credentials import MOST_SEPARATORS
from tests.acceptance import ANA, T, ask, policy, run, scope_of

LONG = "X-The-Key-Of-Our-Own-Till-API"  # more separators than are listed beforehand


def identify(name: str, source: str) -> Identity:
    known = {hash_api_key("secret"): Identity(user="ana", tier="basic")}
    read = IdentifyByApiKey(known, address=ClientAddress(), sources=(f"header:{source}",))
    return read({"type": "http", "client": ("192.0.2.7", 1), "headers": [(b"a", b"b"), (name.encode(), b"secret")]})


@pytest.mark.parametrize("source", ["X-API-Key", "X_API_Key", "x-api_key", "Api-Key", "apikey", "Authorization", LONG])
def test_every_separator_and_the_usual_cases(source: str) -> None:
    """`_` equals `-` wherever it stands; servers write names in small letters, what makes a scope itself may not."""
    words = source.replace("_", "-").split("-")
    for separators in product("-_", repeat=min(len(words), MOST_SEPARATORS) - 1):
        name = words[0] + "".join(a + b for a, b in zip([*separators, "-", "_"], words[1:], strict=False))
        for spelling in (name.lower(), name.upper(), name.title()):
            assert identify(spelling, source).user == "ana", spelling
    assert identify(source, source).user == "ana"


@pytest.mark.parametrize("name", ["x-api-keys", "xapi-key", "x--api-key", "x.api.key", "x api key", " x-api-key", ""])
def test_other_names(name: str) -> None:
    """Any other name is another header."""
    assert identify(name, "X-API-Key").anonymous
    assert identify(name, LONG).anonymous


def test_long_names_are_found_whatever_their_case() -> None:
    """A name with too many separators to list its spellings is compared instead, and takes no memory for them."""
    assert len(LONG.split("-")) - 1 > MOST_SEPARATORS
    assert identify(LONG.swapcase().replace("-", "_"), LONG).user == "ana"
    read = IdentifyByApiKey({}, address=ClientAddress(), sources=("bearer", f"header:{'-'.join('a' * 40)}"))
    assert len(read._lines) == 2


def test_a_name_that_is_no_bytes() -> None:
    """What is no header by the specification is nobody's key, and no error here."""
    for source in ("X-API-Key", LONG):
        read = IdentifyByApiKey({}, address=ClientAddress(), sources=(f"header:{source}",))
        assert read({"client": ("192.0.2.7", 1), "headers": [("x-api-key", b"a")]}).ip == "192.0.2.7"


def test_a_wsgi_app_behind() -> None:
    """What Django or Flask read as X-API-Key is counted as it: no spelling makes the caller of the app anonymous."""
    seen: list[tuple[Any, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ.get("HTTP_X_API_KEY"), environ["ratelimit.identity"].user))
        start_response("200 OK", [])
        return [b""]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        def with_identity(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            return app({**environ, "ratelimit.identity": scope["ratelimit.identity"]}, start_response)

        await WSGIMiddleware(with_identity)(scope, receive, send)

    limiter = RateLimitMiddleware(asgi, policy(), store=MemoryStore(clock=lambda: T))

    async def test() -> None:
        for name in (b"x-api-key", b"x_api_key", b"x-api_key"):
            request = scope_of(api_key=None)
            request["headers"].append((name, ANA.encode()))
            await ask(limiter, scope=request)

    run(test())
    assert seen == [(ANA, "ana")] * 3


def test_starlette_sees_another_header() -> None:
    """An app that does tell them apart is given both as they were sent."""
    request = scope_of(api_key=None)
    request["headers"] += [(b"x_api_key", b"a"), (b"x-api-key", b"b")]
    assert Request(request).headers["x-api-key"] == "b"
