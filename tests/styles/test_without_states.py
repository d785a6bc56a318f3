"""Headers of a decision that makes no States are those of the same decision with its States."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.model import FOREVER, Charge, Decision, Limit, Rate, Style
from ratelimit.stores.batching.allotments import Allotment, AllotmentDecision
from ratelimit.stores.counting.allowed import AllowedDecision, TermSet, TermSets, admitted
from ratelimit.styles import Facturapi, Ietf, Lightspeed, WithIetfHeaders
from tests.stores import concurrency, quota, rate
from tests.styles import ANA, LOG_ID, NOBODY, NOON
from tests.styles.test_every_style import STYLES

MINUTE = 60_000
EVERY = [*STYLES, WithIetfHeaders(Lightspeed(reset_header=True)), WithIetfHeaders(Facturapi(expose_limits=True))]
EVERY += [WithIetfHeaders(Ietf())]
MAXES = st.sampled_from([0, 1, 9, 1_000, 10**15 - 1, 10**15, FOREVER]) | st.integers(0, FOREVER)
REST = st.fixed_dictionaries(
    {"cost": st.integers(0, 5), "mode": st.sampled_from(["enforce", "enforce", "shadow"]), "key": st.text('abc%"\\=-')}
)
CHARGES = st.lists(
    st.one_of(
        st.builds(
            lambda maximum, window_ms, precision, rest: rate(maximum, window_ms, precision, **rest),
            MAXES, st.sampled_from([1_000, 10_000, 44_200, MINUTE, 7 * MINUTE]), st.sampled_from([1, 7, 60]), REST,
        ),
        st.builds(lambda maximum, rest: quota(maximum, **rest), MAXES, REST),
        st.builds(lambda maximum, rest: concurrency(maximum, **rest), MAXES, REST),
    ),
    min_size=1, max_size=10,
)  # fmt: skip


def agree(decision: Decision) -> None:
    """The first is asked twice: then the bytes are those that it kept."""
    states = Decision(True, decision.now_ms, decision.states, decision.leases)
    assert states.numbers is None
    assert decision.numbers is not None
    assert decision.binding == states.binding
    for style in EVERY:
        for identity in (ANA, NOBODY, ANA):
            assert style.headers(decision, identity, LOG_ID) == style.headers(states, identity, LOG_ID), style


@given(
    charges=CHARGES,
    data=st.data(),
    instants=st.lists(st.integers(NOON, NOON + 3 * MINUTE), min_size=1, max_size=3),
    unspent=st.integers(0, 3),
)
def test_the_same_headers(charges: list[Charge], data: st.DataObject, instants: list[int], unspent: int) -> None:
    """From every style, at any instants in any order, with what is overdrawn and costs nothing; and so of units that
    were taken ahead, some time later."""
    sets = TermSets()
    for now_ms in instants:
        maxes = TermSet(charges, now_ms).maxes
        drawn = [data.draw(st.integers(0, m) | st.just(m) | st.integers(0, FOREVER)) for m in maxes]
        used = [one + unspent for one in drawn]  # those ahead are counted
        decision = admitted(tuple(charges), sets.at(charges, now_ms), now_ms, (), used)
        agree(decision)
        agree(Allotment(unspent, decision, 1_000, sent=7.0, arrived=7.0).decision(7.0 + instants[0] % 1_000 / 1_000))


@pytest.mark.parametrize("style", EVERY, ids=repr)
@pytest.mark.parametrize("maxes", [(9,), (9, 3)])
def test_whoever_asks_first(style: Style, maxes: tuple[int, ...]) -> None:
    """Of a millisecond of which no style has kept anything yet; with one rate, and with two."""
    charges = tuple([rate(most, MINUTE, key=f"r{most}") for most in maxes])
    for now_ms in (NOON, NOON + 1):
        for used in (2, 12):
            decision = admitted(charges, TermSet(charges, now_ms), now_ms, (), (used,) * len(maxes))
            states = Decision(True, now_ms, decision.states)
            assert style.headers(decision, ANA, LOG_ID) == style.headers(states, ANA, LOG_ID)


@pytest.mark.parametrize("window_ms", [1_000, 10_000, 6_543])
def test_at_all_instants_of_two_sub_windows(window_ms: int) -> None:
    """A second that is over, and a sub-window, are never told again."""
    charges = (rate(1_000, window_ms), quota(50_000), rate(9, 60_000, 7))
    term_set = TermSet(charges, NOON)
    for now_ms in range(NOON, NOON + 2 * -(-window_ms // 60)):
        agree(admitted(charges, term_set, now_ms, (), (1, now_ms % 50_000, 3)))


@pytest.mark.parametrize(
    ("maxes", "used"),
    [((FOREVER, 9), (1, 9)), ((9, 9), (1, 12)), ((0, 0), (0, 0)), ((10**15, 10**15 - 1), (0, 0)), ((9, 3), (8, 1))],
    ids=["16 digits", "overdrawn", "closed", "one digit too many", "two shares"],
)
def test_numbers_at_their_ends(maxes: tuple[int, int], used: tuple[int, int]) -> None:
    """Of a max no more than 15 digits are told, of what remains no less than 0; and so of units taken ahead, also where
    the decision that took them has its States already."""
    charges = tuple([rate(most, MINUTE, cost=0, key=f"r{most}") for most in maxes])
    decision = admitted(charges, TermSet(charges, NOON), NOON, (), used)
    agree(decision)
    agree(spent := Allotment(3, decision, 1_000, sent=7.0, arrived=7.0).decision(7.2))
    whole = Allotment(3, Decision(True, NOON, decision.states), 1_000, sent=7.0, arrived=7.0).decision(7.2)
    assert (whole.numbers, whole.states, whole.binding) == (None, spent.states, spent.binding)


def test_a_shadow_between_others_is_not_told() -> None:
    charges = (quota(50), rate(9, MINUTE, mode="shadow", key="shadow"), rate(7, MINUTE))
    decision = admitted(charges, TermSet(charges, NOON), NOON, (), (1, 2, 3))
    agree(decision)
    told = dict(Ietf().headers(decision, ANA, LOG_ID))
    assert told[b"ratelimit"].startswith(b'"quota";r=49;t=')
    assert told[b"ratelimit"].endswith(b', "rate";r=4;t=61')


def test_nothing_is_told_of_shadows_alone() -> None:
    charges = (rate(9, MINUTE, mode="shadow"), quota(9, mode="shadow"))
    decision = admitted(charges, TermSet(charges, NOON), NOON, (), (1, 1))
    agree(decision)
    assert Ietf().headers(decision, ANA, LOG_ID) == []


def test_no_state_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by any style, whether the units were taken now or ahead; what all callers have in common is made once."""
    charges = (rate(9, MINUTE), rate(99, 10 * MINUTE, key="second"), quota(50), concurrency(5))
    term_set = TermSet(charges, NOON)
    one, other = (admitted(charges, term_set, NOON, (), used) for used in ((1, 1, 1, 1), (9, 2, 3, 4)))
    ahead = Allotment(2, other, 1_000, sent=7.0, arrived=7.0).decision(7.2)
    for kind in (AllowedDecision, AllotmentDecision):
        monkeypatch.setattr(kind, "states", property(lambda _: pytest.fail("States are made")))
    for style in EVERY:
        told = [style.headers(decision, ANA, LOG_ID) for decision in (one, other, ahead)]
        assert len({len(headers) for headers in told}) == 1
    policies = [Ietf().headers(decision, ANA, LOG_ID)[0] for decision in (one, other, ahead)]
    assert len(set(map(id, policies))) == 1


def test_limits_of_other_names_are_told_by_theirs() -> None:
    """Two tiers with the same numbers share no bytes; callers of one tier share all of them."""
    sets = TermSets()
    one, other = (Limit(name, Rate(MINUTE), lambda _: 9) for name in ("requests", "calls"))
    of = {limit.name: [Charge(limit, key, 1, ((FOREVER, 9),)) for key in "ab"] for limit in (one, other)}
    told = {
        name: {admitted((c,), sets.at((c,), NOON), NOON, (), (1,)).numbers[1] for c in charges}
        for name, charges in of.items()
    }
    assert [len(shared) for shared in told.values()] == [1, 1]
    assert told["requests"] != told["calls"]
    for name, charges in of.items():
        decision = admitted((charges[0],), sets.at(charges[:1], NOON), NOON, (), (1,))
        assert Ietf().headers(decision, ANA, LOG_ID)[0][1] == b'"%b";q=9;w=60' % name.encode()


def test_the_list_of_headers_is_the_caller_s_to_change() -> None:
    charges = (rate(9, MINUTE),)
    decision = admitted(charges, TermSet(charges, NOON), NOON, (), (1,))
    for style in EVERY:
        before = style.headers(decision, ANA, LOG_ID)
        copied = copy.copy(before)
        before.clear()
        assert style.headers(decision, ANA, LOG_ID) == copied
