"""Who is calling by the word of an authentication middleware in front."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ratelimit.ground.repeats import Once
from ratelimit.model import Identify, Identity, Scope

_log = logging.getLogger("ratelimit")

_NO_USER = (
    'the request has no scope["user"], so that identify_user takes the caller for anonymous: the authentication has to '
    "run before the limiter. app.add_middleware puts what is added last outside: add RateLimitMiddleware first, and "
    "AuthenticationMiddleware after it. This is logged once."
)


def identify_user(to_identity: Callable[[Any, Any], Identity | Awaitable[Identity | None] | None]) -> Identify:
    """An `identify` for an authentication middleware in front, such as Starlette's AuthenticationMiddleware.

    `to_identity(user, auth)` gets `scope["user"]` and `scope["auth"]`, and may be async. Without a user, or with one
    whose `is_authenticated` is false, and where it returns None, the policy's own identification applies. If the
    authentication runs after this, there is never a user here, which is said once in the log: add it outside.
    """
    without_user = Once()

    def identify(scope: Scope) -> Identity | Awaitable[Identity | None] | None:
        user = scope.get("user")
        if user is None or not getattr(user, "is_authenticated", True):
            if "user" not in scope and without_user.first("user"):
                _log.warning(_NO_USER)
            return None
        return to_identity(user, scope.get("auth"))

    return identify
