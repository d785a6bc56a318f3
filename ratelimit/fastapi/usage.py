"""`app.include_router(usage_router())`: a caller's own usage, in the OpenAPI document too."""

# No `from __future__ import annotations`: FastAPI reads what annotations in text mean by the names of the module.

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response, params

from ratelimit.model import Receive, Scope, Send
from ratelimit.routes.marks import own_usage
from ratelimit.usage.endpoint import Usage

_RESOURCE = {
    "type": "object",
    "required": ["kind", "limit", "used", "remaining", "reset"],
    "properties": {
        "kind": {"type": "string", "enum": ["rate", "quota", "concurrency"]},
        "limit": {"type": "integer", "description": "The most that is allowed"},
        "used": {"type": "integer", "description": "Of a limit of concurrency: requests that run now"},
        "remaining": {"type": "integer"},
        "reset": {
            "type": ["integer", "null"],
            "description": "When the limit is whole again if nothing more is called, in seconds since 1970; null where"
            " it is whole, and of concurrency",
        },
        "window": {"type": "number", "description": "Of a rate, in seconds"},
        "period": {"type": "string", "enum": ["day", "week", "month", "year"], "description": "Of a quota"},
    },
}
_SCHEMA = {
    "type": "object",
    "required": ["resources"],
    "properties": {
        "resources": {"type": "object", "additionalProperties": _RESOURCE, "description": "Limits, by their name"}
    },
}
_EXAMPLE = {
    "resources": {
        "requests": {
            "kind": "rate",
            "limit": 100,
            "used": 2,
            "remaining": 98,
            "reset": 1_772_445_661,
            "window": 60,
        }
    }
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Each limit of who asks: what is used, what is left, when it is whole again.",
        "headers": {"ETag": {"schema": {"type": "string"}, "description": "For If-None-Match"}},
        "content": {"application/json": {"schema": _SCHEMA, "example": _EXAMPLE}},
    },
    304: {"description": "Nothing has changed since the ETag that If-None-Match has."},
    401: {"description": "Who asks is not known: send an API key."},
    503: {"description": "The limits can't be read right now."},
}


class _Answered(Response):
    """Answers as `Route("/rate_limit", usage)` does."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Usage()(scope, receive, send)


def usage_router(path: str = "/rate_limit", *, dependencies: Sequence[params.Depends] = (), **route: Any) -> APIRouter:
    """A router with one endpoint, `GET /rate_limit`: all limits of who asks, what is used, what is left and when they
    are whole again, read from the store at most once a second for each caller.

    Known callers are charged nothing for it; who is known by nothing but an address is charged as for any request, and
    gets a 401. `dependencies` are for the app's own authentication: with `identify=deferred()`,
    `[Depends(decide(current_identity))]`. `route` has further options of `add_api_route`, such as `tags`.
    """

    async def read_usage() -> Response:
        return _Answered()

    router = APIRouter()
    options: dict[str, Any] = {"summary": "Read your own usage", "responses": _RESPONSES, **route}
    options |= {"response_class": Response, "dependencies": dependencies}
    endpoint = own_usage(read_usage)
    router.add_api_route(path, endpoint, methods=["GET"], **options)
    # FastAPI, unlike Starlette, answers HEAD for no route of GET; of both in one the document would have two.
    router.add_api_route(path, endpoint, methods=["HEAD"], **options | {"include_in_schema": False})
    return router
