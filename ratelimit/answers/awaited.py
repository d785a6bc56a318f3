"""Functions that return an awaitable without being coroutine functions: they take one coroutine less a call."""

from __future__ import annotations

import inspect
from asyncio import coroutines
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

_marked = {"_is_coroutine": getattr(coroutines, "_is_coroutine", None)}  # until Python 3.11
_mark = getattr(inspect, "markcoroutinefunction", lambda function: function.__dict__.update(_marked))


def awaited(function: F) -> F:
    """Have it taken for a coroutine function: asgiref's async_to_sync, which Django sends with, asks for one."""
    _mark(function)
    return function
