"""Where counters live: in memory, or in Redis."""

from __future__ import annotations

from ratelimit.model import Store
from ratelimit.stores.memory import MemoryStore

SCHEMES = ("memory", "redis", "rediss", "unix")


def open_store(url: str, *, prefix: str = "ratelimit", timeout: float = 0.1) -> Store:
    """The store that a URL names: memory://, redis://, rediss:// or unix://. `timeout` is in seconds.

    Raises ValueError for another scheme, and ImportError where the client library for it is not installed. Connects
    when it is first used.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        allowed = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(f"a store with the scheme {scheme!r} is not supported; allowed are {allowed}")
    if scheme == "memory":
        return MemoryStore()
    try:
        from ratelimit.stores.redis import RedisStore  # only who uses Redis needs its library
    except ImportError as error:
        raise ImportError(f"{scheme}:// needs redis-py: pip install 'ratelimit-asgi[redis]'") from error
    return RedisStore(url, prefix=prefix, timeout=timeout)
