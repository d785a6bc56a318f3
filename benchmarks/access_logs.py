"""Access logs that look like real ones, always the same for a seed: callers of very different size, bursts at the full
minute, some who retry, and the paths of a small API. In each format that `ratelimit simulate` reads.

    python -m benchmarks.access_logs 1000000 --callers 100000 --format nginx > access.log
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

BEGIN_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z, a Monday
PATHS = (  # and how many of a hundred requests are for each
    ("GET", "/v2/catalogs/products", 22),
    ("GET", "/v2/invoices", 16),
    ("GET", "/v2/invoices/{id}", 25),
    ("POST", "/v2/invoices", 8),
    ("PUT", "/v2/invoices/{id}", 4),
    ("DELETE", "/v2/invoices/{id}", 1),
    ("GET", "/v2/customers/{id}", 12),
    ("POST", "/v2/customers", 3),
    ("GET", "/health", 9),
)
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"


class Request(NamedTuple):
    at_ms: int  # of its arrival
    took_ms: int
    ip: str
    user: str  # "-" of most
    method: str
    target: str
    status: int


def requests(count: int, callers: int, *, seed: int = 1, per_second: float = 60.0) -> Iterator[Request]:
    """In order of arrival. A tenth of the callers makes more than half of the requests."""
    rng = random.Random(seed)  # noqa: S311
    at = float(BEGIN_MS)
    calls = [(method, path) for method, path, weight in PATHS for _ in range(weight)]
    for _ in range(count):
        at += rng.expovariate(per_second) * 1_000
        second = int(at / 1_000) % 60
        busy = second == 0 and rng.random() < 0.5  # batch jobs at the full minute
        caller = min(int(callers * rng.random() ** 4), callers - 1) if not busy else rng.randrange(min(callers, 5))
        method, path = calls[rng.randrange(100)]
        if "{" in path:
            path = path.replace("{id}", str(rng.randrange(10_000)))
        elif method == "GET" and rng.random() < 0.3:
            path += f"?page={rng.randrange(50)}"
        took = int(rng.lognormvariate(3.5, 1.0))
        status = 500 if rng.random() < 0.01 else 404 if rng.random() < 0.03 else 201 if method == "POST" else 200
        ip = f"{10 + (caller >> 16 & 63)}.{caller >> 16 & 255}.{caller >> 8 & 255}.{caller & 255}"
        yield Request(int(at), took, ip, f"u{caller}" if caller % 7 == 0 else "-", method, path, status)


def _clf(one: Request, ms: int) -> str:
    at = datetime.fromtimestamp(ms // 1_000, UTC)
    return f"{one.ip} - {one.user} [{at:%d/%b/%Y:%H:%M:%S} +0000]"


def combined(one: Request) -> str:
    line = f'"{one.method} {one.target} HTTP/1.1" {one.status} 5316 "https://example.com/" "{AGENT}"'
    return f"{_clf(one, one.at_ms + one.took_ms)} {line}"


def nginx(one: Request) -> str:
    return f"{combined(one)} {one.took_ms / 1_000:.3f}"


def traefik(one: Request) -> str:
    line = f'"{one.method} {one.target} HTTP/1.1" {one.status} 5316 "-" "{AGENT}" 17 "api@docker" "http://10.0.0.9:80"'
    return f"{_clf(one, one.at_ms)} {line} {one.took_ms}ms"


def caddy(one: Request) -> str:
    request = {
        "remote_ip": one.ip,
        "remote_port": "41342",
        "client_ip": one.ip,
        "proto": "HTTP/2.0",
        "method": one.method,
        "host": "api.example.com",
        "uri": one.target,
        "headers": {"User-Agent": [AGENT], "Accept": ["application/json"]},
    }
    said = {
        "level": "info",
        "ts": (one.at_ms + one.took_ms) / 1_000,
        "logger": "http.log.access.log0",
        "msg": "handled request",
        "request": request,
        "bytes_read": 0,
        "user_id": "" if one.user == "-" else one.user,
        "duration": one.took_ms / 1_000,
        "size": 5316,
        "status": one.status,
    }
    return json.dumps(said)


def json_lines(one: Request) -> str:
    """With an organization, as an app may write them."""
    at = datetime.fromtimestamp((one.at_ms + one.took_ms) / 1_000, UTC)
    organization = int(one.ip.rpartition(".")[2]) % 40
    said = {
        "time": at.isoformat(timespec="milliseconds"),
        "client_ip": one.ip,
        "org": f"org-{organization}",
        "plan": ("basic", "standard")[organization % 2],
        "method": one.method,
        "path": one.target,
        "status": one.status,
        "duration_ms": one.took_ms,
    }
    return json.dumps(said)


FORMATS: dict[str, Callable[[Request], str]] = {
    "combined": combined,
    "nginx": nginx,
    "traefik": traefik,
    "caddy": caddy,
    "json": json_lines,
}
BY_END = frozenset({"combined", "nginx", "caddy", "json"})  # a line is written when its request is over


def written(made: Iterable[Request], name: str) -> Iterator[Request]:
    """In the order in which a server writes them in this format."""
    if name not in BY_END:
        yield from made
        return
    waiting: list[tuple[int, int, Request]] = []
    for number, one in enumerate(made):
        waiting.append((one.at_ms + one.took_ms, number, one))
        if len(waiting) >= 4_096:
            waiting.sort()
            over = [ends <= one.at_ms for ends, _, _ in waiting].count(True)
            yield from (ended for _, _, ended in waiting[:over])
            del waiting[:over]
    yield from (ended for _, _, ended in sorted(waiting))


def lines(count: int, callers: int, name: str = "nginx", *, seed: int = 1, per_second: float = 60.0) -> Iterator[str]:
    """Without newlines, in the order in which a server writes them."""
    return map(FORMATS[name], written(requests(count, callers, seed=seed, per_second=per_second), name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.access_logs", description="Write an access log.")
    parser.add_argument("count", type=int)
    parser.add_argument("--callers", type=int, default=1_000)
    parser.add_argument("--format", choices=sorted(FORMATS), default="nginx")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-second", type=float, default=60.0)
    asked = parser.parse_args()
    for line in lines(asked.count, asked.callers, asked.format, seed=asked.seed, per_second=asked.per_second):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
