"""What a traceback shows of frames that have held a password: their lines, and none of their locals.

Reporters of errors print the locals of every frame. Of those that open a store, or read a policy, these are a URL with
its password, or a text with an API key in it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def without_locals(door: Callable[P, T]) -> Callable[P, T]:
    """A function whose arguments may hold a secret. What is raised in it passes without the locals of its frame, and of
    those below; what such an error says is for who raises it."""

    @wraps(door)
    def opened(*arguments: P.args, **keywords: P.kwargs) -> T:
        outer = sys.exception()
        try:
            return door(*arguments, **keywords)
        except Exception as error:
            _forget(error, outer)
            del arguments, keywords, outer
            raise

    return opened


def _forget(error: BaseException, outer: BaseException | None) -> None:
    """The locals of all frames that an error and those behind it came through; `outer` is of who called."""
    behind: list[BaseException | None] = [error]
    seen = {id(outer), id(None)}
    while behind:
        one = behind.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        behind += [one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
