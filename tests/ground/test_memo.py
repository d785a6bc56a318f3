"""What is remembered of the callers of late, and that it has a bound."""

from __future__ import annotations

from threading import Thread

from ratelimit.ground.memo import ON_TRIAL, SIZE, Recent, Returning


def test_what_was_put_is_found() -> None:
    """A value is found under an equal key, the latest one, and None where there is none."""
    recent: Recent[tuple[str, int], str] = Recent()
    assert recent.get(("a", 1)) is None
    recent.put(("a", 1), "first")
    recent.put(("a", 1), "second")
    assert recent.get(("a", 1)) == "second"
    assert recent.get(("a", 2)) is None


def test_a_value_may_be_empty() -> None:
    """Nothing to charge is an answer like any other."""
    recent: Recent[str, tuple[int, ...]] = Recent(1)
    recent.put("a", ())
    recent.put("b", ())
    assert recent.get("a") == recent.get("b") == ()


def test_a_flood_pushes_out_nobody_who_comes_all_the_time() -> None:
    """However many keys come once, those that come again within `size` others stay, and memory is bounded."""
    recent: Recent[str, object] = Recent(10)
    regulars = {f"regular {n}": object() for n in range(5)}
    for name, value in regulars.items():
        recent.put(name, value)
    for n in range(1_000):
        recent.put(f"stranger {n}", object())
        if n % 4 == 0:
            assert {name: recent.get(name) for name in regulars} == regulars
        assert len(recent) <= 20
    assert recent.get("stranger 0") is None


def test_the_last_ones_are_there() -> None:
    """Of the last `size` different keys none is missing, and of more than twice as many the first are gone."""
    for last in range(100):
        recent: Recent[int, int] = Recent(7)
        for n in range(last + 1):
            recent.put(n, n)
        assert [recent.get(n) for n in range(max(0, last - 6), last + 1)] == list(range(max(0, last - 6), last + 1))
        if last >= 14:
            assert recent.get(0) is None


def test_threads_share_one() -> None:
    """Several threads at once get what was put under a key or nothing, and the bound holds, but for one each."""
    recent: Recent[int, int] = Recent(50)
    wrong: list[object] = []

    def work(seed: int) -> None:
        for n in range(5_000):
            key = (n * seed) % 211
            found = recent.get(key)
            if found not in (None, key) or len(recent) > 2 * (50 + 4):
                wrong.append((key, found, len(recent)))
            recent.put(key, key)

    threads = [Thread(target=work, args=(seed,)) for seed in (1, 2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert SIZE == 4096


def test_who_comes_back_is_kept() -> None:
    """A key that is asked for again soon, or put again among the last `size`, is kept as in a Recent."""
    returning: Returning[str, int] = Returning(1_000)
    returning.put("at once", 1)
    assert returning.get("at once") == 1
    returning.put("again", 2)
    for n in range(ON_TRIAL + 1):
        returning.put(f"stranger {n}", n)
    assert returning.get("again") is None
    returning.put("again", 3)
    for n in range(500):
        returning.put(f"another {n}", n)
    assert (returning.get("at once"), returning.get("again")) == (1, 3)
    assert returning.young.keys() >= {"at once", "again"}


def test_who_comes_once_leaves_a_hash() -> None:
    """A flood of keys that never come again pushes out nobody, and is not kept."""
    returning: Returning[str, int] = Returning(100)
    for _ in range(2):
        for n in range(50):
            returning.put(f"regular {n}", n)
        for n in range(ON_TRIAL):
            returning.put(f"between {n}", n)
    for n in range(10_000):
        returning.put(f"stranger {n}", n)
        assert len(returning) <= 200 + ON_TRIAL
    assert [returning.get(f"regular {n}") for n in range(50)] == list(range(50))
    assert len(returning._hashes) + len(returning._old_hashes) <= 200


def test_threads_may_drop_the_same() -> None:
    """Where one thread comes between two steps of another, what both drop is gone, and nobody gets an error."""

    class Key(str):
        """Another thread has its turn where this key is looked up to be dropped."""

        __slots__ = ()

        def __hash__(self) -> int:
            if len(returning._on_trial) > ON_TRIAL:
                returning._on_trial.clear()
            return super().__hash__()

    returning: Returning[str, int] = Returning()
    for n in range(ON_TRIAL + 1):
        returning.put(Key(n), n)
    assert len(returning) == 0


def test_told_apart_by_who_it_is() -> None:
    """Where keys are ids, one that another object has afterwards is not taken for one that comes back."""
    returning: Returning[int, str] = Returning(100)
    returning.put(7, "one", who="one")
    for n in range(ON_TRIAL + 1):
        returning.put(1_000 + n, "", who=n)
    returning.put(7, "another", who="another")
    assert 7 not in returning.young
    returning.put(7, "one", who="one")
    assert returning.young[7] == "one"
