"""Random steps of all verbs: stores agree with the memory store, and that with an oracle that keeps each time stamp."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit.model import Decision
from ratelimit.stores.counting.window import Window
from tests.stores import Subject
from tests.stores.conftest import lasting_subject_of
from tests.stores.steps import Oracle, Player, Step, steps

pytestmark = [pytest.mark.repeated, pytest.mark.usefixtures("lasting_memory")]

STEPS = 2_500  # of one seed; 40 of them are 100,000
SEEDS = [0, 1, *[pytest.param(seed, marks=pytest.mark.proof) for seed in range(2, 40)]]
SERVERS = ("valkey", "redis")


async def agree(one: Player, other: Player, seed: int, count: int = STEPS) -> None:
    for number, step in enumerate(steps(seed, count, wild=True)):
        assert await one.take(step) == await other.take(step), (number, step)
    assert len(one.holds) > count / 20


def test_agree_with_itself() -> None:
    """Two memory stores agree: whatever is in a step, and nothing that is random in them, decides."""
    subject = Subject("memory")
    subject.run(agree(Player(subject), Player(Subject("memory")), seed=7, count=1_000))


@pytest.mark.parametrize("seed", SEEDS)
def test_memory_agrees_with_a_server(seed: int, request: pytest.FixtureRequest) -> None:
    """Over 100,000 steps of all verbs, with clocks that jump back, decision for decision and field by field."""
    subject = lasting_subject_of(SERVERS[seed % 2], request)
    subject.run(agree(Player(subject), Player(Subject("memory")), seed))


async def as_the_oracle_says(player: Player, seed: int) -> dict[str, int]:
    """How often each verb was tried."""
    oracle, tried = Oracle(), dict[str, int]()
    owners: dict[int, object] = {}  # by the identity of a Decision or a Hold that the player was given
    for number, step in enumerate(steps(seed, STEPS, wild=False)):
        picked = _given(player, step)
        answer = await player.take(step)
        if step.verb in ("acquire", "peek", "charge", "hold"):
            owner = object()
            told = answer[0], [state.used for state in answer[2]], [state.exceeded for state in answer[2]]
            assert told == oracle.decide(step, owner), (number, step)
            for given in (*player.holds[-1:], *player.decisions[-1:]):
                owners.setdefault(id(given), owner)
        elif picked is not None and step.verb == "renew":
            assert answer == [oracle.renew(owners[id(picked)], step.now_ms)], (number, step)
        elif picked is not None and step.verb == "settle":
            oracle.settle(owners[id(picked)], step.units, step.now_ms)
        elif isinstance(picked, Decision) and picked.allowed:
            oracle.refund(owners[id(picked)], None if step.units == 9 else step.units)
        tried[step.verb] = tried.get(step.verb, 0) + 1
    return tried


def _given(player: Player, step: Step) -> Any:
    given: list[Any] = player.decisions if step.verb == "refund" else player.holds
    return given[min(int(len(given) * step.pick), len(given) - 1)] if given else None


@pytest.mark.parametrize("seed", SEEDS)
def test_every_time_stamp(seed: int) -> None:
    """Over random steps, with a clock that also goes back a little, the sums that are kept are those of an oracle that
    keeps each unit with its owner: what goes back is never somebody else's."""
    subject = Subject("memory")

    async def test() -> None:
        tried = await as_the_oracle_says(Player(subject), seed)
        assert min(tried[verb] for verb in ("acquire", "hold", "settle", "charge", "refund", "peek", "renew")) > 50

    subject.run(test())


def test_the_oracle_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that gives back to the sub-window of now is found."""
    give_back = Window.give_back

    def into_the_newest(window: Window, units: int, _: int, terms: Any) -> None:
        give_back(window, units, -(-window.newest * window.window_ms // window.precision), terms)

    monkeypatch.setattr(Window, "give_back", into_the_newest)
    subject = Subject("memory")
    with pytest.raises(AssertionError):
        subject.run(as_the_oracle_says(Player(subject), seed=0))
