"""docs/scaling.md says what its script computes."""

from __future__ import annotations

import math
from functools import partial

import pytest

from benchmarks import scaling, scaling_model, script
from benchmarks.scaling_model import Cost, Fleet, Loop, blocks, busiest, cost, zipf
from benchmarks.section import from_json
from tests.benchmarks import sample

FLEET = Fleet(processes=100, rate=3_000, trip=0.001, cost=Cost(decision=6.0, call=34.0), headroom=0.5)


@pytest.mark.proof
@pytest.mark.repeated
def test_the_page_is_what_the_script_makes() -> None:
    """The committed page is that of the committed results, and says so of every number in it."""
    if not scaling.RESULTS.exists():
        pytest.skip("no results.json: `python -m benchmarks` makes it")
    seen = scaling.measured(from_json(scaling.RESULTS.read_text()))
    assert scaling.PAGE.read_text() == scaling.page(seen)


def test_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Medians of the runs go in, and each name of the template is filled in."""
    monkeypatch.setattr(scaling_model, "busiest", partial(busiest, draws=2))
    seen = scaling.measured(sample.sections())
    assert seen.rates == {"fastapi": 5_200.0, "starlette": 5_200.0}
    assert seen.lone == pytest.approx(0.00012)
    page = scaling.page(seen)
    assert "5,200 requests a second" in page
    assert "{" not in page


def test_results_that_lack_something() -> None:
    """What is missing is named."""
    with pytest.raises(LookupError, match="no latency, script: run"):
        scaling.measured([sample.throughput()])


def test_cost_is_taken_apart() -> None:
    """From a call alone and a shared one, each made of 5 µs a decision and 8 a call; then sockets make it 40 a call."""
    assert cost(13.0, 5 + 8 / 32, 32, 5 + 8 / 32, 32) == Cost(pytest.approx(5.0), pytest.approx(8.0))
    assert cost(13.0, 5 + 8 / 32, 32, 5 + 40 / 20, 20) == Cost(pytest.approx(5.0), pytest.approx(40.0))
    assert Cost(5.0, 40.0).at(8) == 10.0
    assert Cost(5.0, 45.0).rate(0.1) == 20_000


def test_no_more_than_was_measured() -> None:
    """The table of a core ends with as many decisions in a call as script.py shared."""
    assert max(scaling.SHARED) == scaling.TOGETHER == script.TOGETHER


def test_shares() -> None:
    """Zipf's law: they sum to 1, the third is a third of the first."""
    shares = zipf(1_000, 1.0)
    assert math.fsum(shares) == pytest.approx(1.0)
    assert shares[2] == pytest.approx(shares[0] / 3)


def test_the_busiest_shard() -> None:
    """At least the mean and the largest organization, all of it with one shard, the same in every run."""
    loads = [1_000 * share for share in zipf(2_000, 0.8)]
    assert busiest(loads, 1) == pytest.approx(1_000)
    assert busiest(loads, 10) == busiest(loads, 10) > max(100, loads[0])


def test_how_many_shards() -> None:
    """So many that the busiest fits, and one less would not do; none for an organization that fills more than one."""
    even = [10.0] * 10_000
    number = FLEET.shards(even)
    assert number is not None
    assert busiest(even, number) <= FLEET.capacity(number)
    assert busiest(even, number - 1) > FLEET.capacity(number - 1)
    assert FLEET.shards([50_000.0, *even]) is None


def test_a_call_is_shared_by_what_arrives_meanwhile() -> None:
    """Three decisions of one process while a call to one shard is under way, one where they are spread over ten."""
    assert FLEET.shared(1) == 3
    assert FLEET.shared(10) == 1
    assert FLEET.capacity(10) == pytest.approx(0.5 * 1e6 / 40)


def test_reservations_save_calls_of_the_hot_alone() -> None:
    """A block and a refund of each process in a second, never more than a call a request."""
    assert FLEET.reserved(80_000, 1.0) == 200
    assert FLEET.reserved(50, 1.0) == 50


@pytest.mark.parametrize(
    ("left", "demand", "processes", "trips"),
    [
        (1_000_000, 100, 10, 10),  # plenty left: one block a process
        (800, 100, 1, 1),
        (799, 100, 1, 2),  # 99, then 1
        (4, 4, 1, 4),  # an eighth of it is nothing: one at a time
        (0, 100, 2, 2),  # a denial each, then it is known
    ],
)
def test_blocks(left: int, demand: int, processes: int, trips: int) -> None:
    """As much as a process needs, never more than an eighth of what is left."""
    assert blocks(left, demand, processes) == trips


def test_a_slower_network() -> None:
    """At 5,000 a second and 1 ms a call a request waits 1.5 ms, which 9 connections hide; one alone gets 1 / 1.7 ms."""
    loop = Loop(rate=5_000, trip=0.001)
    assert loop.added == pytest.approx(0.0015)
    assert loop.connections == 9
    assert loop.rate_with(64) == 5_000
    assert loop.rate_with(1) == pytest.approx(1 / 0.0017)
    assert Loop(rate=100, trip=0.001).added == 0.001
