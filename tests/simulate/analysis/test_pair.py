"""Two policies over one log: who is newly denied, who no longer."""

from __future__ import annotations

import pickle

from ratelimit.simulate.analysis.pair import Against, Changed, Comparing, compared
from ratelimit.simulate.events import Caller
from tests.simulate.analysis import T, policy


def seen(*requests: tuple[str, bool, bool]) -> Against:
    """Of requests, one a millisecond: whose, and whether the policy and the other deny them."""
    of = policy('{ name = "requests", rate = "3/minute" }')
    comparing, callers = Comparing(of, of), {name: Caller(name, "basic") for name, _, _ in requests}
    for number, (name, denied, other) in enumerate(requests):
        caller = callers[name]
        comparing.saw((T + number, 0, number, 0, b"GET /", 200, b"", None), caller, denied, caller, other)
    found = comparing.result()
    return pickle.loads(pickle.dumps(found))  # type: ignore[no-any-return] # noqa: S301 - our own


def test_newly_and_no_longer() -> None:
    """A caller is newly denied where the other policy never denies it, no longer the other way round; who is denied by
    both, but not as often, is told too, and of whom nothing changes is not."""
    found = seen(
        ("new", False, False), ("new", True, False), ("gone", False, True), ("more", True, True), ("more", True, False),
        ("same", True, True), ("free", False, False),
    )  # fmt: skip
    assert (found.newly, found.no_longer, found.otherwise) == (1, 1, 1)
    assert (found.requests_newly, found.requests_no_longer) == (2, 1)
    assert found.callers == [Changed("new", 1, 0, T + 1), Changed("gone", 0, 1, T + 2), Changed("more", 2, 1, T + 4)]


def test_processes_add_up() -> None:
    """Their callers are others."""
    whole = compared([seen(("a", True, False)), seen(("b", True, False), ("c", False, True), ("b", True, False))])
    assert (whole.newly, whole.no_longer, whole.requests_newly, whole.requests_no_longer) == (2, 1, 3, 1)
    assert [one.name for one in whole.callers] == ["b", "a", "c"]


def test_as_often() -> None:
    """Other requests of a caller, but as many: that is a change too."""
    found = seen(("a", True, False), ("a", False, True))
    assert (found.newly, found.no_longer, found.otherwise) == (0, 0, 1)
    assert found.callers == [Changed("a", 1, 1, T)]
