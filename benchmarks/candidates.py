"""Who is compared: the bare app, ours in its modes, and the peers, each as its documentation recommends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from benchmarks import environments, load, policy
from benchmarks.limited import SILENT
from tests.servers import Server

Framework = Literal["fastapi", "starlette"]
BOTH: tuple[Framework, ...] = ("fastapi", "starlette")
NAMES: dict[Framework, str] = {"fastapi": "FastAPI", "starlette": "Starlette"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the tables. `requirements` names a file of requirements/, and so an environment."""

    name: str
    requirements: str
    app: str  # a module of apps/, which has in_fastapi and in_starlette
    needs: Literal["nothing", "redis"]
    how: str  # what it is configured to do, for the report
    headers: bool = False  # on allowed responses
    frameworks: tuple[Framework, ...] = BOTH
    environment: Mapping[str, str] = field(default_factory=dict)
    callers: int = policy.CALLERS  # 1: a hot caller

    @property
    def limits(self) -> bool:
        """Whether it denies anything: a floor does not."""
        return self.app not in {"plain", "with_floor"}

    @property
    def is_ours(self) -> bool:
        return self.requirements == environments.OURS


def _ours(
    name: str, store: Literal["nothing", "redis"], style: str, how: str, callers: int = policy.CALLERS, **more: str
) -> Candidate:
    environment = {"BENCH_STYLE": style, **{f"BENCH_{option.upper()}": value for option, value in more.items()}}
    if store == "nothing":
        environment["RATELIMIT_STORE_URL"] = "memory://"
    headers = style != SILENT
    return Candidate(
        f"ratelimit, {name}", environments.OURS, "with_ratelimit", store, how, headers, BOTH, environment, callers
    )


def _floor(name: str, needs: Literal["nothing", "redis"], how: str, *, headers: bool = True) -> Candidate:
    environment = {"BENCH_FLOOR": name}
    return Candidate(f"floor: {name}", environments.OURS, "with_floor", needs, how, headers, BOTH, environment)


BARE = Candidate("bare", environments.OURS, "plain", "nothing", "the app without any limit")
FLOORS = (
    _floor("constant headers", "nothing", "the two headers of the ietf style, always the same, without a limiter"),
    _floor("one dict counter", "nothing", "the same with what is left of one number a caller, without any window"),
    _floor("one PING a batch, constant headers", "redis", "requests that wait together share a PING; constant headers"),
    _floor("one PING a batch", "redis", "requests that wait together share a PING, without headers", headers=False),
)
DEFAULT = _ours(
    "memory, ietf: as installed",
    "nothing",
    "ietf",
    "a strict sliding window a minute and a calendar quota a month, both or neither, in the memory of the process; the"
    " two headers of the default style, which describe both limits",
)
LENDWORKS = _ours("memory, lendworks", "nothing", "lendworks", "the same with the four headers of the lendworks style")
IETF = _ours("Redis, ietf", "redis", "ietf", "the same limits in Redis, in one script, with the headers of the default")
HEADERS = _ours("Redis, lendworks", "redis", "lendworks", "the same in Redis with the four headers of lendworks")
TEN = _ours("memory, ietf, 10 limits", "nothing", "ietf", "nine rates and a quota, all in the headers", limits="10")
TEN_REDIS = _ours("Redis, lendworks, 10 limits", "redis", "lendworks", "nine rates and a quota in Redis", limits="10")
QUIET = _ours("memory, no headers", "nothing", SILENT, "as installed, but no headers on allowed responses")
REDIS = _ours("Redis, no headers", "redis", SILENT, "in Redis, no headers on allowed responses")
HOT = _ours(
    "Redis, hot caller, no headers",
    "redis",
    SILENT,
    "`reserve = true` on both limits, and all requests from one caller; no headers on allowed responses",
    callers=1,
    reserve="1",
)
OURS = (DEFAULT, LENDWORKS, IETF, HEADERS, TEN, TEN_REDIS, QUIET, REDIS, HOT)


def _peer(
    name: str, how: str, *, headers: str = "", without: str = "", frameworks: tuple[Framework, ...] = BOTH
) -> list[Candidate]:
    """With its headers, where it has any, and without them: `headers` and `without` say what either means."""
    app, made = f"with_{name.replace('-', '_').removesuffix('_py')}", []
    if headers:
        on = {"BENCH_HEADERS": "1"}
        made.append(
            Candidate(f"{name}, headers", name, app, "redis", f"{how}; {headers}", True, frameworks, environment=on)
        )
    if without:
        made.append(Candidate(name, name, app, "redis", f"{how}; {without}", frameworks=frameworks))
    return made


PEERS = (
    *_peer(
        "slowapi",
        "its ASGI middleware, both limits for the whole app (by default it counts by concrete URL); its log of time"
        " stamps for both, on a synchronous client",
        headers="headers_enabled=True, which costs two more trips, and reads the log of the limit that is told",
        without="no headers",
    ),
    *_peer(
        "limits",
        'called by hand from pure ASGI, on redis-py (implementation="redispy"); its log of time stamps a minute, then'
        " its fixed window a month",
        headers="X-RateLimit-Limit, -Remaining and -Reset of the minute by hand, of get_window_stats: a trip more",
        without="no headers",
    ),
    *_peer(
        "fastapi-limiter",
        "its dependency, on pyrate-limiter's Redis bucket, one log of time stamps a caller for both limits (out of the"
        " box it counts in the process, and all callers together)",
        without="it has no headers",
        frameworks=("fastapi",),
    ),
    *_peer(
        "fastapi-redis-sdk",
        "two of its dependencies and its middleware; fixed windows, all that it has",
        headers="its headers, which are always on",
        frameworks=("fastapi",),
    ),
    *_peer(
        "asgi-ratelimit",
        "its middleware with the sliding backend: logs of time stamps, both limits in one script",
        without="it has no headers",
    ),
    *_peer(
        "throttled-py",
        "called by hand from pure ASGI; its sliding window (two counters, admits more than the limit) a minute, then"
        " its fixed window a month",
        headers="X-RateLimit-Limit, -Remaining and -Reset of the minute by hand, of the state that it gives anyway",
        without="no headers",
    ),
)


@contextmanager
def served(
    candidate: Candidate,
    framework: Framework,
    store: Server | None = None,
    *,
    rate: int = policy.RATE,
    long: int = policy.LONG,
    version: str = environments.OWN,
    workers: int = 1,
) -> Iterator[load.App]:
    """A candidate's app in its own environment on a version of Python, and on `store` if it needs one, with `rate` a
    minute and `long` a month."""
    environment = {"BENCH_RATE": str(rate), "BENCH_LONG": str(long)}
    if store:
        environment |= {"BENCH_REDIS_URL": store.url, "RATELIMIT_STORE_URL": store.url}
    environment |= candidate.environment
    if candidate.is_ours:
        environment = load.ours(environment)
    python = environments.python(candidate.requirements, version)
    module = f"{candidate.app}:in_{framework}"
    with load.serve(module, environment, python=python, workers=workers) as app:
        yield app
