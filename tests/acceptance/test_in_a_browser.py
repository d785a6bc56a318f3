"""In a real browser a page of another origin reads the wait and the limits of a 429, set up as the README says."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from ratelimit import RateLimitMiddleware
from tests import servers
from tests.acceptance import policy, served

# What it reads stands in the page itself at the end: `--dump-dom` prints it, and no driver is needed.
PAGE = """<!doctype html><pre id="seen"></pre><script>
(async () => {
  const seen = [];
  for (const sent of [{}, {"X-Custom": "makes a preflight"}, {}]) {
    const answer = await fetch("%s/items/7", {headers: sent});
    const headers = Object.fromEntries(answer.headers);
    seen.push({status: answer.status, body: await answer.text(), headers});
  }
  return seen;
})().catch(String).then(seen => { document.getElementById("seen").textContent = JSON.stringify(seen); });
</script>"""
STYLES = {
    "facturapi": {"retry-after", "x-facturapi-log-id"},
    "lightspeed": {"retry-after", "x-ratelimit-limit", "x-ratelimit-remaining"},
    "ietf": {"retry-after", "ratelimit", "ratelimit-policy"},
}


async def item(_: Request) -> PlainTextResponse:
    return PlainTextResponse("an item")


def read_by_a_page(api: str, profile: Path) -> Any:
    """What a page of another origin reads of three answers of an API."""
    chromium = shutil.which("chromium") or servers.missing("no chromium on the PATH (Debian: apt-get install chromium)")

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE % api)

    with served(Starlette(routes=[Route("/", page)])) as url:
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--no-first-run"]
        options += ["--virtual-time-budget=10000", "--disable-dev-shm-usage", "--disable-background-networking"]
        options.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")  # it has nobody else to talk to
        command = [chromium, *options, "--dump-dom", url]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    seen = re.search(r'<pre id="seen">(.*?)</pre>', shown, re.DOTALL)
    assert seen, shown
    return json.loads(html.unescape(seen[1]))


@pytest.mark.parametrize("style", STYLES)
def test_a_page_of_another_origin(style: str, tmp_path: Path) -> None:
    """It reads status, body, wait and limits of the 429, and the limits of what is allowed; preflights cost nothing."""
    app = Starlette(routes=[Route("/items/{number}", item)])
    app.add_middleware(RateLimitMiddleware, policy(style=style, anonymous="2/minute"))
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_headers=["X-Custom"])  # around it, so added after
    with served(app) as url:
        seen = read_by_a_page(url, tmp_path)
    assert [one["status"] for one in seen] == [200, 200, 429]
    *allowed, denied = [one["headers"] for one in seen]
    assert denied.keys() >= STYLES[style]
    assert 0 < int(denied["retry-after"]) <= 61 if style != "lightspeed" else denied["retry-after"].endswith(" GMT")
    assert all(headers.keys() >= STYLES[style] - {"retry-after"} for headers in allowed)
    assert seen[2]["body"] not in ("", "an item")


def test_without_it(tmp_path: Path) -> None:
    """Inside of the limiter, as the README says not to have it, the page can't read a denial at all."""
    app = Starlette(routes=[Route("/items/{number}", item)])
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_headers=["X-Custom"])
    app.add_middleware(RateLimitMiddleware, policy(style="ietf", anonymous="2/minute"))
    with served(app) as url:
        assert read_by_a_page(url, tmp_path) == "TypeError: Failed to fetch"
