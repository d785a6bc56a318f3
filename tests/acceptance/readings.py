"""Apps that read a path each in its own way, behind one limiter, and what a request came to there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from functools import cache
from ipaddress import ip_address
from itertools import count
from posixpath import normpath
from typing import Any
from urllib.parse import unquote

from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.model import ASGIApp, Receive, Scope, Send
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import T, ask

POLICY = parse_policy("""
[operations]
exempt = ["GET /health", "* /docs/**", "GET /Internal/{id}"]
heavy_write = ["POST /v2/invoices", "DELETE /v2/invoices/{id}"]
preflight = ["OPTIONS /v2/invoices"]
[tiers.anonymous]
limits = [
  { name = "units", rate = "99/minute", cost = { detail_read = 1, search = 2, create = 3, write = 4, preflight = 5 } },
  { name = "heavy", rate = "99/minute", operations = ["heavy_write"], cost = 10 },
]
""")


def _served(path: str) -> Callable[[Request], Any]:
    async def serve(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.method} {path}")

    return serve


def router() -> Starlette:
    """The routes of all; a HEAD is told by nothing but its status, so none is asked here."""
    collections = ["/health", "/v2/invoices", "/v2/customers", "/oauth2", "/s3", "/top10", "/v2/reports/2026"]
    items = ["/docs/{page:path}", "/v2/invoices/{id}", "/v2/customers/{id}", "/Internal/{id}"]
    return Starlette(
        routes=[
            *(Route(path, _served(path), methods=["GET", "POST", "OPTIONS"]) for path in collections),
            *(Route(path, _served(path), methods=["GET", "DELETE"]) for path in items),
            Mount("/static", app=_served_app("/static")),
            Mount("/pages", routes=[Route("/{path:path}", _served("/pages/**"))]),
        ]
    )


def _served_app(path: str) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"{scope['method']} {path}")(scope, receive, send)

    return serve


class Rewriting:
    """An app that reads another path than it was given, in front of the others."""

    def __init__(self, app: ASGIApp, read: Callable[[Scope], str]) -> None:
        self.app, self.read = app, read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "path": self.read(scope)}, receive, send)


LENIENT = {
    **dict.fromkeys(("%c0%ae", "%e0%80%ae", "%f0%80%80%ae", "%u002e", "%ef%bc%8e"), "."),
    **dict.fromkeys(("%c0%af", "%ef%bc%8f"), "/"),
    **dict.fromkeys(("%09", "%0A", "%00", "%ff", "%c0%80"), ""),
    "%25": "%",
}


def lenient(scope: Scope) -> str:
    """As old decoders read what was sent: longer than UTF-8 allows, for IIS, by looks, without what is no text."""
    raw = scope["raw_path"].decode()
    for written, meant in LENIENT.items():
        raw = raw.replace(written, meant)
    return normalised({"path": unquote(raw)})


def normalised(scope: Scope) -> str:
    """As a proxy and a servlet container may do between them: decoded again, parameters and dots resolved."""
    path = re.sub(r"[?#].*", "", unquote(scope["path"])).replace("\\", "/")
    segments = [re.sub(r";.*", "", segment).rstrip(" ") for segment in path.split("/")]
    kept = [segment if segment in (".", "..") else segment.rstrip(". ") for segment in segments]
    return normpath("/" + "/".join(kept)).replace("//", "/")


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """As WSGI frameworks do: PATH_INFO, with its slashes joined."""
    path = re.sub("//+", "/", environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"))
    known = {"/health": "/health", "/v2/invoices": "/v2/invoices", "/v2/customers": "/v2/customers"}
    served = known.get(path.rstrip("/")) or re.sub(
        r"^(/v2/(?:invoices|customers))/[^/]+$|^(/docs)/.*$", r"\1\2/{}", path
    )
    found = served in known or served.endswith("{}")
    start_response("200 OK" if found else "404 Not Found", [("content-type", "text/plain")])
    return [f"{environ['REQUEST_METHOD']} {served}".encode() if found else b"nothing"]


def behind(name: str) -> ASGIApp:
    if name == "wsgi":
        return WSGIMiddleware(wsgi, workers=1)
    app = router()
    reads = {"normalising": normalised, "lenient": lenient, "caseless": lambda scope: scope["path"].lower()}
    return Rewriting(app, reads[name]) if name in reads else app


def sent(line: str) -> Scope:
    """The scope of a request as uvicorn makes it: decoded with U+FFFD for what is no UTF-8."""
    method, _, raw = line.partition(" ")
    headers = [(b"host", b"api.example")]
    if method == "PREFLIGHT":
        method = "OPTIONS"
        headers += [(b"origin", b"https://app.example"), (b"access-control-request-method", b"POST")]
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "method": method,
        "path": unquote(raw),
        "raw_path": raw.encode("ascii"),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": (str(ip_address(0xC0000200 + next(CALLERS))), 50_000),
    }


CLASSIFIED: list[str | None] = []
CALLERS = count(1)  # each asks once, so that what it has used is what the request came to


@cache
def limited(name: str) -> RateLimitMiddleware:
    made = RateLimitMiddleware(behind(name), POLICY, store=MemoryStore(clock=lambda: T))
    classify = made._classify

    def noted(scope: Scope) -> Any:
        CLASSIFIED.append(classify(scope))  # type: ignore[arg-type]
        return CLASSIFIED[-1]

    made._classify = noted
    return made


@cache
def came_to(line: str, name: str) -> tuple[str, str, int, int]:
    """What the app served ("-" where it served nothing), as what it was counted, and the units of both limits."""
    scope = sent(line)
    start, *bodies = asyncio.run(_asked(limited(name), scope))
    served = b"".join(body.get("body", b"") for body in bodies).decode() if start["status"] == 200 else "-"
    used = {state.limit.name: state.used for state in scope["ratelimit"].states} if "ratelimit" in scope else {}
    return served, CLASSIFIED[-1] or "exempt", used.get("units", 0), used.get("heavy", 0)


async def _asked(app: ASGIApp, scope: Scope) -> list[Any]:
    return await ask(app, scope=scope)
