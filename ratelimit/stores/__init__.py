"""Where counters live. The doors of this house are this file, memory.py and redis.py; read redis.py first."""

from __future__ import annotations

from ratelimit.checks.values import MAX_CALLERS
from ratelimit.ground.tracebacks import without_locals
from ratelimit.model import Store
from ratelimit.stores.connection.errors import no_client
from ratelimit.stores.fallback.local import LocalLimiter, local_of
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.routing.urls import CLUSTERS, SENTINELS, problem_of, split_url

__all__ = ["SCHEMES", "LocalLimiter", "local_of", "open_store", "problem_of", "split_url"]

SCHEMES = ("memory", "redis", "rediss", "unix", *SENTINELS, *CLUSTERS)


@without_locals
def open_store(url: str, *, prefix: str = "ratelimit", timeout: float = 0.1, max_callers: int = MAX_CALLERS) -> Store:
    """The store that a URL names: memory://, redis://, rediss://, unix://, with sentinels
    redis+sentinel://h1:26379,h2:26379/mymaster/0 and rediss+sentinel://, or for a cluster
    redis+cluster://h1:7000,h2:7001 and rediss+cluster://; in each of them valkey stands for redis. `timeout` is in
    seconds, `max_callers` of memory://. User and password are those of the URL, and where it has none, of the
    environment: RATELIMIT_STORE_USERNAME and RATELIMIT_STORE_PASSWORD.

    Raises ValueError for another scheme and where there is a mistake in the URL, and ImportError where the client
    library for it is not installed. TypeError for what is no text. Connects when it is first used.
    """
    if not isinstance(url, str):
        raise no_client(url)
    allowed = ", ".join(f"{name}://" for name in SCHEMES)
    written = url.partition("://")[0].strip().lower()
    scheme = split_url(url).scheme
    if not scheme:  # what stands there may be a password
        raise ValueError(f"the URL of the store has no scheme; it begins with one of {allowed}")
    if scheme not in SCHEMES:
        raise ValueError(f"a store with the scheme {written!r} is not supported; allowed are {allowed}")
    if problem := problem_of(url):
        raise ValueError(f"the URL of the store {problem}")
    if scheme == "memory":
        return MemoryStore(max_callers=max_callers)
    try:
        from ratelimit.stores.redis import RedisStore  # only who uses Redis needs its library
    except ImportError as error:
        raise ImportError(f"{written}:// needs redis-py: pip install 'ratelimit-asgi[redis]'") from error
    return RedisStore(url, prefix=prefix, timeout=timeout)
