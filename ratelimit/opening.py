"""What a middleware is made of: the policy of a file, and the store of a URL. They say it where they can't be used."""

from __future__ import annotations

import gc
import os
from weakref import WeakKeyDictionary

from ratelimit.ground.loops import needs_asyncio, running
from ratelimit.ground.tracebacks import without_locals
from ratelimit.ground.trio_loop import TrioLoop
from ratelimit.log import lines as log
from ratelimit.log.denials import Denials
from ratelimit.model import Receive, Send, Store
from ratelimit.policy import Policy
from ratelimit.stores import open_store
from ratelimit.stores.memory import MemoryStore

# The middlewares of one Policy object count in one memory, as they would in one Redis, and are one in the log: mounts
# and routes of one app, or what a framework makes anew for each of them.
_memories: WeakKeyDictionary[Policy, MemoryStore] = WeakKeyDictionary()
_denials: WeakKeyDictionary[Policy, Denials] = WeakKeyDictionary()
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
def opened(store: Store | str | None, policy: Policy) -> Store:
    """The store of a middleware: the one that it is given, else of the environment's URL, else of the policy's."""
    of_environment = os.environ.get("RATELIMIT_STORE_URL")
    chosen = of_environment or policy.store.url if store is None else store
    if not isinstance(chosen, str):
        return chosen
    try:
        made = open_store(chosen, prefix=policy.store.prefix, timeout=policy.store.timeout_ms / 1000)
    except (ValueError, ImportError) as error:
        named_by = "store" if store else "RATELIMIT_STORE_URL" if of_environment else "store.url of the policy"
        log.no_store(named_by, error)  # as a wrong file
        raise
    return _memory_of(policy, made) if isinstance(made, MemoryStore) else made


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


async def refused(store: Store, receive: Receive, send: Send) -> bool:
    """Whether the server, which begins, was told that this store can't be used on its event loop."""
    if not getattr(store, "asyncio_only", False) or not isinstance(running(), TrioLoop):
        return False
    await receive()
    await send({"type": "lifespan.startup.failed", "message": str(needs_asyncio(store))})
    return True
