"""What is remembered of the callers of late, and that it has a bound."""

from __future__ import annotations

from threading import Thread

from ratelimit.ground.memo import SIZE, Recent


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
