"""`from ratelimit import …`."""

from __future__ import annotations

from contextvars import ContextVar

import pytest

import ratelimit


def test_every_public_name_is_there() -> None:
    """Each name of `__all__` can be imported, those that need pydantic or redis when they are asked for."""
    assert sorted(ratelimit.__all__) == ratelimit.__all__
    for name in ratelimit.__all__:
        public = getattr(ratelimit, name)
        assert (public.name if isinstance(public, ContextVar) else public.__name__) == name


def test_an_unknown_name() -> None:
    """A name that is not there is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="'ratelimit' has no attribute 'Limiter'"):
        _ = ratelimit.Limiter
