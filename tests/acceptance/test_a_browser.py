"""In a real browser a script of another origin reads a 429, with the middlewares as the README has them."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from ratelimit import RateLimitMiddleware
from ratelimit.model import ASGIApp
from ratelimit.stores.memory import MemoryStore
from ratelimit.styles import Facturapi, Ietf, Lendworks, Lightspeed, WithIetfHeaders
from tests.acceptance import ANA, policy, served
from tests.servers import missing

ONE = '{ name = "requests", rate = "1/day" }'
STYLES = {
    "facturapi": Facturapi(),
    "lightspeed": Lightspeed(),
    "lendworks": Lendworks(),
    "ietf": Ietf(),
    "both": WithIetfHeaders(Lendworks()),
}
X = {"x-ratelimit-limit", "x-ratelimit-remaining"}
OURS = {
    "facturapi": {"x-facturapi-log-id"},
    "lightspeed": X,
    "lendworks": X | {"x-ratelimit-reset", "x-ratelimit-window"},
    "ietf": {"ratelimit", "ratelimit-policy"},
    "both": X | {"x-ratelimit-reset", "x-ratelimit-window", "ratelimit", "ratelimit-policy"},
}
ALWAYS = {"content-type", "content-length", "cache-control"}
CORS: dict[str, Any] = {"allow_origins": ["*"], "allow_headers": ["Authorization"]}
AS_IN_THE_README = ("added", "by hand")


def added(style: Any, *, last: bool) -> ASGIApp:
    """An app with both middlewares added to it."""
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "here you are"

    if not last:
        app.add_middleware(CORSMiddleware, **CORS)
    app.add_middleware(RateLimitMiddleware, policy=policy(ONE), store=MemoryStore(), style=style)
    if last:
        app.add_middleware(CORSMiddleware, **CORS)
    return app


def by_hand(style: Any) -> ASGIApp:
    app = PlainTextResponse("here you are")
    return CORSMiddleware(RateLimitMiddleware(app, policy(ONE), store=MemoryStore(), style=style), **CORS)


async def feed(websocket: WebSocket) -> None:
    await websocket.accept()
    async for _ in websocket.iter_text():
        pass


def live(app: ASGIApp) -> ASGIApp:
    return RateLimitMiddleware(app, policy(more='[websocket]\nmessages = "message"'), store=MemoryStore())


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """Of a page, and of the APIs that it asks, which are of another origin."""

    told = asyncio.Event()

    async def page(request: Any) -> Response:
        told.clear()
        return FileResponse(Path(__file__).parent / "page.html")

    async def tell(request: Any) -> Response:
        told.set()
        return Response()

    async def held(request: Any) -> Response:
        await told.wait()
        return Response()

    pages = Starlette(routes=[Route("/", page), Route("/told", tell), Route("/held", held)])
    mounts = [
        *(Mount(f"/added/{name}", app=added(style, last=True)) for name, style in STYLES.items()),
        *(Mount(f"/inside/{name}", app=added(style, last=False)) for name, style in STYLES.items()),
        *(Mount(f"/by hand/{name}", app=by_hand(style)) for name, style in STYLES.items()),
        Mount("/live", app=live(Starlette(routes=[WebSocketRoute("/feed", feed)]))),
    ]
    with served(pages) as url_of_pages, served(Starlette(routes=mounts)) as url_of_apis:
        yield url_of_pages, url_of_apis


def read(urls: tuple[str, str], folder: Path, *paths: str) -> list[Any]:
    """What the page has read of each path, in a headless Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        missing("no chromium on the PATH (Debian: apt-get install chromium)")
    asked = [(urls[1].replace("http:", "ws:") if path.startswith("/live") else urls[1]) + path for path in paths]
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}"]
    command += ["--disable-background-networking", "--disable-dev-shm-usage"]
    url = f"{urls[0]}/#{','.join([ANA, *asked])}".replace(" ", "%20")
    ended = subprocess.run([*command, "--dump-dom", url], capture_output=True, text=True, timeout=60, check=True)
    told = re.search('<pre id="told">(.*)</pre>', ended.stdout)
    assert told, ended.stderr
    said: list[Any] = json.loads(html.unescape(told[1]))
    return said


def test_what_a_script_reads(urls: tuple[str, str], tmp_path: Path) -> None:
    """Of the answer to a request that is denied: its status, its body, `Retry-After` and each header of the style; and
    of one that is allowed the style's headers."""
    paths = [f"/{way}/{style}/" for way in AS_IN_THE_README for style in STYLES]
    for path, (allowed, denied) in zip(paths, read(urls, tmp_path, *paths), strict=True):
        ours = OURS[path.split("/")[2]]
        assert (allowed["status"], denied["status"]) == (200, 429), path
        assert {*allowed["headers"]} - ALWAYS == ours, path
        assert {*denied["headers"]} - ALWAYS == ours | {"retry-after"}, path
        assert json.loads(denied["body"]), path


def test_what_it_does_not_read(urls: tuple[str, str], tmp_path: Path) -> None:
    """With the CORSMiddleware inside of the limiter a script reads nothing of a 429: this is a browser that minds."""
    ((allowed, denied),) = read(urls, tmp_path, "/inside/lendworks/")
    assert allowed["status"] == 200
    assert denied == {"error": "TypeError"}


def test_how_a_websocket_ends(urls: tuple[str, str], tmp_path: Path) -> None:
    """A script reads why its WebSocket was closed, the code and the wait, when a message is too much; of a handshake
    that is denied it reads nothing."""
    ((closed,), (denied,)) = read(urls, tmp_path, "/live/feed", "/live/feed")
    assert closed["code"] == 1008
    assert re.fullmatch(r"rate limit exceeded, retry after \d\d s", closed["reason"])
    assert denied == {"code": 1006, "reason": ""}
