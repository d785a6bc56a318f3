"""What a middleware is made of: the policy of a file, and the store of a URL. They say it where they can't be used."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from typing import TypeVar
from weakref import WeakKeyDictionary

from ratelimit.ground.loops import needs_asyncio, running
from ratelimit.ground.printable import in_a_line
from ratelimit.ground.tracebacks import without_locals
from ratelimit.ground.trio_loop import TrioLoop
from ratelimit.ground.words import kind_of
from ratelimit.log import lines as log
from ratelimit.log.denials import Denials
from ratelimit.model import Admitting, Receive, Send
from ratelimit.policy import Policy, StoreSettings
from ratelimit.stores import open_store
from ratelimit.stores.memory import MemoryStore

T = TypeVar("T")

# The middlewares of one Policy object count in one memory, as they would in one Redis, and are one in the log: mounts
# and routes of one app, or what a framework makes anew for each of them.
_memories: WeakKeyDictionary[Policy, MemoryStore] = WeakKeyDictionary()
_denials: WeakKeyDictionary[Policy, Denials] = WeakKeyDictionary()
_unused: WeakKeyDictionary[Policy, set[object]] = WeakKeyDictionary()  # settings of which that was told
_twice: set[str] = set()  # origins of policies that were loaded more than once, and are told


def loaded(path: str | os.PathLike[str]) -> Policy:
    """The policy of a file."""
    from ratelimit.config import PolicyError, load_policy  # pydantic: a quarter of a second of imports for who needs it

    try:
        return load_policy(path)
    except PolicyError as error:
        log.bad_policy(error)  # a framework may build its middlewares where a server takes no notice of errors
        raise


@without_locals
def opened(store: Admitting | str | None, policy: Policy) -> Admitting:
    """The store of a middleware: the one that it is given, else of the environment's URL, else of the policy's."""
    of_environment = os.environ.get("RATELIMIT_STORE_URL")
    named_by = "store" if store is not None else "RATELIMIT_STORE_URL" if of_environment else "store.url of the policy"
    chosen = of_environment or policy.store.url if store is None else store
    try:
        made = _made(chosen, policy.store) if isinstance(chosen, str) else _checked(chosen)
        check_holds(policy, made)
    except (ValueError, TypeError, ImportError) as error:
        log.no_store(named_by, error)  # as a wrong file
        raise
    if _on_trio(made):
        log.no_store(named_by, needs_asyncio(made))
    _tell_unused(policy, chosen, named_by)
    return _memory_of(policy, made) if isinstance(chosen, str) and isinstance(made, MemoryStore) else made


def _made(url: str, settings: StoreSettings) -> Admitting:
    timeout = settings.timeout_ms / 1000
    return open_store(url, prefix=settings.prefix, timeout=timeout, max_callers=settings.max_callers)


def _checked(given: Admitting) -> Admitting:
    """Not a client of Redis, nor a class: that would be found at each request, and there count as an outage."""
    if not isinstance(given, type) and callable(getattr(given, "acquire", None)):
        return given
    raise TypeError(
        f"a Store or its URL is needed, not {kind_of(given)}: give RedisStore(…) of a client of redis.asyncio, or a URL"
    )


def in_place_of(policy: Policy, old: Policy) -> Policy:
    """One that was edited, on the store of the one before: counters and lines in the log go on. What it says of its
    store and of [record] waits for a restart."""
    new = replace(policy, store=old.store, record=old.record)  # an object of its own, as each middleware of a path has
    _denials[new] = denials_of(old)
    if old in _memories:
        _memories[new] = _memories[old]
    return new


def check_holds(policy: Policy, store: Admitting) -> None:
    """Of a limit with `hold` the app would find that out when it holds units; of others, with the first response."""
    limits = [limit for limits in policy.tiers.values() for limit in limits]
    held = next((limit.name for limit in limits if limit.hold), None)
    if held is not None and not callable(getattr(store, "hold", None)):
        raise ValueError(
            f"limit {in_a_line(held)} has hold = true, and a {type(store).__name__} holds no units: it has no method"
            " hold; give a RedisStore or a MemoryStore, or leave hold out"
        )
    late = next((limit for limit in limits if limit.refund_on or limit.charge_on), None)
    if late is not None and not callable(getattr(store, "refund", None)):
        on = "refund_on" if late.refund_on else "charge_on"
        raise ValueError(
            f"limit {in_a_line(late.name)} has {on}, and a {type(store).__name__} gives no units back: it has no method"
            f" refund; give a RedisStore or a MemoryStore, or leave {on} out"
        )


def _tell_unused(policy: Policy, chosen: Admitting | str, named_by: str) -> None:
    """What a policy says of its store, and another one is used: once for each."""
    settings, default = policy.store, StoreSettings()
    has: dict[str, object] = {"url": chosen if isinstance(chosen, str) else None}
    if not isinstance(chosen, str):
        timeout, named_by = getattr(chosen, "timeout", None), type(chosen).__name__
        timeout_ms = round(1_000 * timeout) if isinstance(timeout, int | float) else None
        has = {"prefix": getattr(chosen, "prefix", None), "timeout_ms": timeout_ms, **has}
        if isinstance(chosen, MemoryStore):
            has["max_callers"] = chosen.max_callers
    unused = {name: getattr(settings, name) for name in has if getattr(settings, name) != has[name]}
    said = tuple(name for name, value in unused.items() if name in settings.said or value != getattr(default, name))
    if said and (said, named_by) not in (told := _unused.setdefault(policy, set())):
        told.add((said, named_by))
        log.unused_settings(policy.origin, {name: unused[name] for name in said}, named_by)


def _on_trio(store: Admitting) -> bool:
    """Whether this store can't be used where we are: on a trio that runs."""
    try:
        return getattr(store, "asyncio_only", False) and isinstance(running(), TrioLoop)
    except RuntimeError:
        return False


def denials_of(policy: Policy) -> Denials:
    """What says in the log whom a policy has denied."""
    return _denials.setdefault(policy, Denials())


def _memory_of(policy: Policy, made: MemoryStore) -> MemoryStore:
    """The memory of a policy; it is the one that was made where there is none yet."""
    if policy not in _memories and _has_twin(policy) and policy.origin not in _twice:
        gc.collect()  # of an app that is built anew, as in tests, the one before is gone: it only refers to itself
        if _has_twin(policy):
            _twice.add(policy.origin)
            log.loaded_twice(policy.origin)
    return _memories.setdefault(policy, made)


def _has_twin(policy: Policy) -> bool:
    """Whether another object of the same file counts in a memory of its own."""
    return bool(policy.origin) and any(other.origin == policy.origin for other in list(_memories))


async def refused(store: Admitting, receive: Receive, send: Send) -> bool:
    """Whether the server, which begins, was told that this store can't be used on its event loop."""
    if not _on_trio(store):
        return False
    await receive()
    await send({"type": "lifespan.startup.failed", "message": str(needs_asyncio(store))})
    return True


def copied(limiter: T) -> T:
    """A copy: one attribute after the other, or each of them would be found more slowly, 0.4 µs a request."""
    made = object.__new__(type(limiter))
    for name, value in vars(limiter).items():
        setattr(made, name, value)
    return made
