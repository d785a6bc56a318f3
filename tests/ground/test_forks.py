"""Who is told of a fork."""

from __future__ import annotations

import os
import warnings

import pytest

from ratelimit.ground.loops import in_children


def test_a_child_is_told() -> None:
    """In the child and not in its parent."""
    told: list[int] = []
    in_children(lambda: told.append(os.getpid()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while other threads run; this child only ends
        child = os.fork()
    if child == 0:
        os._exit(len(told))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert told == []


def test_where_there_is_no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: nothing is to be told, and nothing is wrong."""
    monkeypatch.delattr(os, "register_at_fork")
    in_children(lambda: None)
