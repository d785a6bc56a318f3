"""What a middleware is made of: the policy of a file, and the store of a URL. Both say in the log why they can't."""

from __future__ import annotations

import os

from ratelimit import log
from ratelimit.model import Store
from ratelimit.policy import Policy
from ratelimit.stores import open_store


def loaded(path: str | os.PathLike[str]) -> Policy:
    """The policy of a file."""
    from ratelimit.config import PolicyError, load_policy  # pydantic: a quarter of a second of imports for who needs it

    try:
        return load_policy(path)
    except PolicyError as error:
        log.bad_policy(error)  # a framework may build its middlewares where a server takes no notice of errors
        raise


def opened(store: Store | str | None, policy: Policy) -> Store:
    """The store of a middleware: the one that it is given, else of the environment's URL, else of the policy's."""
    of_environment = os.environ.get("RATELIMIT_STORE_URL")
    chosen = of_environment or policy.store.url if store is None else store
    if not isinstance(chosen, str):
        return chosen
    try:
        return open_store(chosen, prefix=policy.store.prefix, timeout=policy.store.timeout_ms / 1000)
    except (ValueError, ImportError) as error:
        named_by = "store" if store else "RATELIMIT_STORE_URL" if of_environment else "store.url of the policy"
        log.no_store(named_by, error)  # as a wrong file
        raise
