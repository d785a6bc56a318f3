"""What is told at most once in a while of each, and how often it would have been."""

from __future__ import annotations

from ratelimit.ground.repeats import Repeats

OTHERS = "others"


class Told:
    """A Repeats on a clock that is moved."""

    def __init__(self, most: int = 4) -> None:
        self.now = 0.0
        self.repeats: Repeats[str] = Repeats(1.0, most, clock=lambda: self.now)

    def at(self, now: float, *who: str) -> list[int | None]:
        self.now = now
        return [self.repeats.told(one, OTHERS) for one in who]

    def due(self, now: float, at_most: int = 100, but: str | None = None) -> list[tuple[str, int]]:
        self.now = now
        return self.repeats.due(at_most, but)


def test_one_a_second() -> None:
    """The first is told, those of the second behind it are counted, and the next is told with their number."""
    told = Told()
    assert told.at(0.0, "a", "a", "b") == [0, None, 0]
    assert told.at(0.999, "a") == [None]
    assert told.at(1.0, "a", "a", "b") == [2, None, 0]
    assert told.at(1.999, "a") == [None]
    assert told.at(5.0, "a") == [2]


def test_who_went_quiet() -> None:
    """A second after it was told, what is untold is due, and told by that; who has nothing untold is forgotten."""
    told = Told()
    told.at(0.0, "a", "b", "b")
    assert told.due(0.999) == []
    assert told.due(1.0) == [("b", 1)]
    assert len(told.repeats) == 1
    assert told.at(1.5, "b", "a") == [None, 0]
    assert told.due(1.9) == []
    assert told.due(2.0) == [("b", 1)]
    assert told.due(3.5) == []
    assert len(told.repeats) == 0


def test_no_more_than_asked_for() -> None:
    """Few at a time, the one told of the longest time ago first, and not who is about to be told of."""
    told = Told()
    told.at(0.0, "a", "a", "b", "b", "c", "c")
    assert told.due(1.0, at_most=2) == [("a", 1), ("b", 1)]
    assert told.due(1.5, at_most=2, but="c") == []
    assert told.at(1.5, "c") == [1]


def test_of_more_than_can_be_known() -> None:
    """Others are counted together, who is known goes on, and there is room again when some were quiet."""
    told = Told(most=2)
    assert told.at(0.0, "a", "b", "c", "d", "c", "a") == [0, 0, None, None, None, None]
    assert told.at(0.9, "e") == [None]
    assert told.at(1.0, "a") == [1]
    assert told.due(1.0) == [(OTHERS, 4)]
    assert told.at(1.1, "e") == [None]  # those that were told of a moment ago fill it
    assert told.due(2.0) == [(OTHERS, 1)]
    assert told.due(3.0) == []
    assert told.at(3.0, "e") == [0]


def test_the_rest() -> None:
    """At the end all that is untold is told, once."""
    told = Told()
    told.at(0.0, "a", "a", "b", "b", "b")
    assert told.repeats.rest() == [("a", 1), ("b", 2)]
    assert told.repeats.rest() == []
    assert told.at(1.0, "b") == [0]
