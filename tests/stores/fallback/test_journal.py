"""What is owed to a store that is away, within a bound."""

from __future__ import annotations

import logging

import pytest

from ratelimit.stores.counting.terms import Item, Place
from ratelimit.stores.fallback.journal import Journal

MARCH, APRIL = Place("q", 3, 4, 0), Place("q", 4, 5, 0)


def second(number: int) -> Place:
    return Place("r", 60_000, 60, number)


def owe(journal: Journal, *items: Item) -> None:
    for item in items:
        journal.expect(item)
        journal.owe(item)


def taken(journal: Journal) -> list[Item]:
    return [item for _, item in journal.take(lambda _: True)]


def test_units_of_a_place_are_one_entry() -> None:
    """However many requests were admitted, what is owed is a number a sub-window or period."""
    journal = Journal()
    owe(journal, *[Item("a", second(1), 2)] * 3, Item("a", second(2), 1), Item("b", MARCH, 1))
    assert (len(journal), journal.open("a"), journal.open("b"), journal.open_units) == (3, 7, 1, 8)
    assert taken(journal) == [Item("a", second(1), 6), Item("a", second(2), 1), Item("b", MARCH, 1)]
    assert (len(journal), journal.open_units) == (0, 8)  # who took it says what became of it


def test_what_became_of_it() -> None:
    """Until it is known to be charged it is open; what is owed again is taken again."""
    journal = Journal()
    owe(journal, Item("a", MARCH, 2), Item("b", MARCH, 3))
    first, again = taken(journal)
    journal.forget(first)
    journal.owe(again)
    assert (taken(journal), journal.open("a"), journal.open("b")) == ([again], 0, 3)


def test_what_is_not_known_yet_is_open() -> None:
    """A request whose call may have been applied counts, and is not owed before that is known."""
    journal = Journal()
    journal.expect(Item("a", MARCH, 2))
    assert (len(journal), journal.open("a")) == (0, 2)
    journal.forget(Item("a", MARCH, 2))
    assert journal.open("a") == 0


def test_what_left_is_dropped() -> None:
    """A sub-window that has left the window is not owed any more, nor is a period that is over."""
    journal = Journal()
    owe(journal, *[Item("a", second(number), 1) for number in (0, 1, 60, 61)], Item("b", MARCH, 1), Item("b", APRIL, 1))
    assert taken(journal) == [*[Item("a", second(number), 1) for number in (1, 60, 61)], Item("b", APRIL, 1)]
    assert (journal.open("a"), journal.open("b")) == (3, 1)


def test_the_oldest_are_dropped_first(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the bound the caller that owes for the longest time is dropped whole; that is said once, and counted."""
    journal = Journal(most=3)
    with caplog.at_level(logging.ERROR, "ratelimit"):
        owe(journal, Item("a", second(1), 5), Item("b", MARCH, 1), Item("a", second(2), 2), Item("c", MARCH, 1))
        assert (len(journal), journal.open("a"), journal.open_units) == (2, 0, 2)
        owe(journal, Item("d", MARCH, 1), Item("e", MARCH, 1))
        assert [item.key for item in taken(journal)] == ["c", "d", "e"]
        assert len(caplog.records) == 1
        journal.report()
        journal.report()
    assert [record.getMessage() for record in caplog.records][1:] == [
        "admitted without the store and dropped: 2 counters, 8 units in all"
    ]


def test_only_slots_that_are_wanted() -> None:
    """On a cluster a node is charged what is in its slots, with the slot of each."""
    journal = Journal({"a": 1, "b": 2, "c": 1}.__getitem__)
    owe(journal, *[Item(key, MARCH, 1) for key in "abc"])
    assert journal.take(lambda slot: slot == 1) == [(1, Item("a", MARCH, 1)), (1, Item("c", MARCH, 1))]
    assert taken(journal) == [Item("b", MARCH, 1)]


def test_what_comes_and_goes_is_nothing() -> None:
    """Units that were given back before they were charged are an entry less."""
    journal = Journal()
    owe(journal, Item("a", MARCH, 2), Item("a", MARCH, -2))
    assert (len(journal), taken(journal), journal.open("a")) == (0, [], 0)
    owe(journal, Item("a", second(1), 2), Item("a", second(2), 1), Item("a", second(1), -2))
    assert (len(journal), taken(journal), journal.open("a")) == (1, [Item("a", second(2), 1)], 1)


def test_in_which_slots_units_are_owed() -> None:
    """Where something was admitted; not where units are only to be given back, and not any more when all was taken,
    dropped or given back."""
    journal = Journal({"a": 1, "b": 2, "c": 3}.__getitem__, most=3)
    owe(journal, Item("a", MARCH, 2), Item("b", MARCH, -1), Item("a", second(1), 1))
    assert [journal.owed_in(slot) for slot in (1, 2, 3)] == [True, False, False]
    owe(journal, Item("a", MARCH, -3))
    assert journal.owed_in(1)
    owe(journal, Item("c", MARCH, 1))  # the oldest is dropped
    assert [journal.owed_in(slot) for slot in (1, 2, 3)] == [False, False, True]
    taken(journal)
    assert not journal.owed_in(3)


@pytest.mark.parametrize(("marker", "kept"), [(b"07", True), (b"08", True), (b"06", False), (b"", False)])
def test_refunds_need_what_was_charged(marker: bytes, kept: bool) -> None:
    """Behind a reconnect units go back only where a marker shows that the call which charged them was not lost."""
    journal = Journal()
    owe(journal, Item("a", MARCH, 5))
    assert not journal.refunds
    journal.give_back(Item("b", MARCH, -1), b"07")
    journal.give_back(Item("b", APRIL, -1), b"05")
    assert journal.refunds
    journal.drop_refunds(marker)
    expected = [Item("b", APRIL, -1)] if kept else []
    assert (taken(journal), journal.open("b")) == ([Item("a", MARCH, 5), *expected], -kept)
