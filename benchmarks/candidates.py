"""Who is compared: the bare app, ours in its modes, and the peers, each as its documentation recommends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from benchmarks import environments, load, policy
from ratelimit import PolicyError, parse_policy
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
    frameworks: tuple[Framework, ...] = BOTH
    environment: Mapping[str, str] = field(default_factory=dict)
    callers: int = policy.CALLERS  # 1: a hot caller

    @property
    def is_bare(self) -> bool:
        return self.app == "plain"

    @property
    def is_ours(self) -> bool:
        return self.app == "with_ratelimit"

    def refusal(self) -> str:
        """Why it can't run with this ratelimit; empty if it can."""
        if self.is_ours and "BENCH_RESERVE" in self.environment:
            try:
                parse_policy(policy.text(reserve=True))
            except PolicyError as error:
                return f"the policy file is refused: {error.problems[0]}"
        return ""


BARE = Candidate("bare", environments.OURS, "plain", "nothing", "the app without any limit")
REDIS = Candidate(
    "ratelimit",
    environments.OURS,
    "with_ratelimit",
    "redis",
    "a strict sliding window a minute and a calendar quota a month, both or neither in one script; no headers on"
    " allowed responses, as most of the peers",
)
HEADERS = Candidate(
    "ratelimit, lendworks",
    environments.OURS,
    "with_ratelimit",
    "redis",
    "the same with the four headers of the lendworks style on each response",
    environment={"BENCH_STYLE": "lendworks"},
)
IETF = Candidate(
    "ratelimit, ietf",
    environments.OURS,
    "with_ratelimit",
    "redis",
    "the same with the two headers of the default style, which describe both limits",
    environment={"BENCH_STYLE": "ietf"},
)
MEMORY = Candidate(
    "ratelimit, memory",
    environments.OURS,
    "with_ratelimit",
    "nothing",
    "the same limits in the memory of the process; no headers on allowed responses",
    environment={"RATELIMIT_STORE_URL": "memory://"},
)
HOT = Candidate(
    "ratelimit, hot caller",
    environments.OURS,
    "with_ratelimit",
    "redis",
    "`reserve = true` on both limits, and all requests from one caller; no headers on allowed responses",
    environment={"BENCH_RESERVE": "1"},
    callers=1,
)
OURS = (REDIS, HEADERS, IETF, MEMORY, HOT)
MAIN = (REDIS, HEADERS)  # those that run most often: what is promised, and what it costs to tell callers of it
PEERS = (
    Candidate(
        "slowapi",
        "slowapi",
        "with_slowapi",
        "redis",
        "its ASGI middleware, both limits for the whole app (by default it counts by concrete URL); its log of time"
        " stamps for both, on a synchronous client; no headers, which would cost two more trips a limit",
    ),
    Candidate(
        "limits",
        "limits",
        "with_limits",
        "redis",
        'called by hand from pure ASGI, on redis-py (implementation="redispy"); its log of time stamps a minute, then'
        " its fixed window a month; no headers, which would cost a trip a limit",
    ),
    Candidate(
        "fastapi-limiter",
        "fastapi-limiter",
        "with_fastapi_limiter",
        "redis",
        "its dependency, on pyrate-limiter's Redis bucket, one log of time stamps a caller for both limits (out of the"
        " box it counts in the process, and all callers together); it has no headers",
        frameworks=("fastapi",),
    ),
    Candidate(
        "fastapi-redis-sdk",
        "fastapi-redis-sdk",
        "with_fastapi_redis_sdk",
        "redis",
        "two of its dependencies and its middleware; fixed windows, all that it has; its headers",
        frameworks=("fastapi",),
    ),
    Candidate(
        "asgi-ratelimit",
        "asgi-ratelimit",
        "with_asgi_ratelimit",
        "redis",
        "its middleware with the sliding backend: logs of time stamps, both limits in one script; it has no headers",
    ),
    Candidate(
        "throttled-py",
        "throttled-py",
        "with_throttled",
        "redis",
        "called by hand from pure ASGI; its sliding window (two counters, admits more than the limit) a minute, then"
        " its fixed window a month; no headers",
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
) -> Iterator[load.App]:
    """A candidate's app in its own environment, on `store` if it needs one, with `rate` a minute and `long` a month."""
    environment = {"BENCH_RATE": str(rate), "BENCH_LONG": str(long)}
    if store:
        environment |= {"BENCH_REDIS_URL": store.url, "RATELIMIT_STORE_URL": store.url}
    environment |= candidate.environment
    if candidate.is_ours:
        environment = load.ours(environment)
    python = environments.python(candidate.requirements)
    with load.serve(f"{candidate.app}:in_{framework}", environment, python=python) as app:
        yield app
