"""What a launch comes to at each instant: by itself, for a caller, with overrides, and joined with the maxes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.config import parse_policy
from ratelimit.launches.stages.launch import Brownout, Cohort, Launch, position
from ratelimit.launches.stages.timeline import edges, enforced_by, staged, timeline, value_at
from ratelimit.model import FOREVER, Charge, Identity, Limit, Rate
from ratelimit.policy import Override, Policy
from ratelimit.stores.counting.terms import terms_at

DAY = 86_400_000
T = 20_000 * DAY
LAUNCH = Launch(T + 10 * DAY, 0.8, (Brownout(T + DAY, T + DAY + 3), Brownout(T + 5 * DAY, T + 5 * DAY + 3)))
INSTANTS = st.sampled_from([1, 2, 3, 5, 8, 13, 21, FOREVER])


def charge_of(identity: Identity, *overrides: Override, launch: Launch | None = LAUNCH, **fields: Any) -> Charge:
    limit = Limit("requests", Rate(60_000), lambda _: 100, launch=launch, **fields)
    nothing: Any = None
    (charge,) = Policy({"basic": (limit,)}, nothing, nothing, nothing, nothing, overrides, "basic").charges(
        identity, "x"
    )
    return charge


def enforced(charge: Charge, *instants: int) -> list[bool]:
    return [not terms_at(charge, T + at).shadow for at in instants]


def test_a_launch_walks_its_stages() -> None:
    """In shadow, enforced in each brownout to the millisecond, and for good from shadow_until on."""
    charge = charge_of(Identity("acme"))
    instants = (-T, 0, DAY - 1, DAY, DAY + 2, DAY + 3, 5 * DAY, 5 * DAY + 3, 10 * DAY - 1, 10 * DAY, 9_999 * DAY)
    assert enforced(charge, *instants) == [False] * 3 + [True] * 2 + [False, True, False, False, True, True]


def test_a_launch_without_an_end() -> None:
    """It is in shadow for good; nothing changes in between."""
    charge = charge_of(Identity("acme"), launch=Launch())
    assert charge.stages == ((FOREVER, False),)
    assert not terms_at(charge, T).changes


def test_a_cohort_is_enforced_sooner() -> None:
    """From its instant on, for who has every value of it, by whatever an override could go by, and for nobody else."""
    launch = Launch(
        T + 10, cohorts=(Cohort(T + 5, {"organization": "acme", "application": 7, "tier": "basic", "x": 1}),)
    )
    acme = Identity("acme", application="7", attributes={"x": 1})
    assert enforced(charge_of(acme, launch=launch), 4, 5, 10) == [False, True, True]
    for other in (Identity("acme", attributes={"x": 1}), Identity("acme", application="7"), Identity("globex")):
        assert enforced(charge_of(other, launch=launch), 4, 5, 9, 10) == [False, False, False, True]


def test_a_brownout_is_for_all_and_a_cohort_stays() -> None:
    """A caller of a cohort is not let out of it when a brownout ends."""
    launch = Launch(T + 90, brownouts=(Brownout(T + 5, T + 20),), cohorts=(Cohort(T + 10, {"user": "ana"}),))
    ana, bob = charge_of(Identity(user="ana"), launch=launch), charge_of(Identity(user="bob"), launch=launch)
    assert ana.stages == ((T + 5, False), (FOREVER, True))
    assert enforced(bob, 4, 5, 19, 20, 89, 90) == [False, True, True, False, False, True]


@given(st.integers(0, 10_000), st.floats(0.0001, 0.9999), st.floats(0.0001, 0.9999))
def test_a_share_only_grows(number: int, one: float, other: float) -> None:
    """Who is in a share is in each that is larger, of whatever limit."""
    small, large = sorted((one, other))
    place = position("organization", f"customer-{number}")
    assert 0 <= place < 1
    assert not place < small or place < large
    launch = Launch(cohorts=(Cohort(T, share=small), Cohort(T + 5, {"tier": "basic"}, large)))
    stages = charge_of(Identity(f"customer-{number}"), launch=launch).stages
    begins = T if place < small else T + 5 if place < large else FOREVER
    assert stages == (((FOREVER, False),) if begins == FOREVER else ((begins, False), (FOREVER, True)))


def test_a_share_is_as_large_as_it_says() -> None:
    """Also of names that are made one after the other, and of names of another kind they are others."""
    places = [position("organization", f"customer-{number}") for number in range(10_000)]
    assert 900 < sum(place < 0.1 for place in places) < 1_100
    assert position("organization", "7") != position("user", "7")
    assert 0 <= position("ip", "\ud800") < 1


def test_overrides_have_the_last_word() -> None:
    """The last that has a mode at an instant says what the limit is in, whatever its launch says."""
    first = Override({"organization": "acme"}, {}, mode="shadow", limits=frozenset({"requests"}))
    last = Override({"tier": "basic"}, {"requests": lambda _: 7}, T + 4, T + 2, "enforce")
    charge = charge_of(Identity("acme"), first, last)
    assert enforced(charge, 1, 2, 3, 4, DAY, 10 * DAY) == [False, True, True, False, False, False]
    assert [terms_at(charge, T + at).max for at in (1, 2, 3, 4)] == [100, 7, 7, 100]
    assert enforced(charge_of(Identity("globex"), last), 1, 2, 4, DAY, 10 * DAY) == [False, True, False, True, True]
    assert charge_of(Identity("globex"), first).stages == charge_of(Identity("globex")).stages


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [True, True, False, True]),
        ({"mode": "shadow"}, [False, False, False, False]),
        ({"enforce_from_ms": T + 5}, [False, True, False, True]),
    ],
)
def test_a_mode_without_a_launch(fields: dict[str, Any], expected: list[bool]) -> None:
    """Outside of the override a limit is as its own mode and date say."""
    override = Override({"organization": "acme"}, {"requests": lambda _: 7}, T + 9, T + 7, "shadow")
    assert enforced(charge_of(Identity("acme"), override, launch=None, **fields), 4, 6, 8, 9) == expected
    assert charge_of(Identity("globex"), override, launch=None, **fields).stages == ()


def test_an_override_that_names_another_limit() -> None:
    """It changes nothing of this one."""
    override = Override({"organization": "acme"}, {}, mode="shadow", limits=frozenset({"monthly"}))
    assert charge_of(Identity("acme"), override, launch=None).stages == ()


def test_a_mode_of_a_limit_in_code() -> None:
    """Of a limit that an endpoint declares the mode alone can be said; if there is one is known with the routes."""
    text = '[[overrides]]\norganization = "acme"\nlimits = ["exports"]\nmode = "shadow"\n[tiers]\nanonymous.limits = []'
    (elsewhere,) = parse_policy(text).elsewhere
    assert elsewhere.wrong({"exports": Limit("exports", Rate(60_000), lambda _: 1)}) is None
    assert elsewhere.wrong({}) == "no tier has such a limit, and no endpoint declares one"


def test_overrides_from_an_instant_on() -> None:
    """Before it begins, and when it has ended, the override before it holds, and the limit's own max."""
    wide = Override({"organization": "acme"}, {"requests": lambda _: 9}, T + 8)
    late = Override({"organization": "acme"}, {"requests": lambda _: 5}, T + 6, T + 4)
    charge = charge_of(Identity("acme"), wide, late, launch=None)
    assert charge.maxes == ((T + 4, 9), (T + 6, 5), (T + 8, 9), (FOREVER, 100))


def test_paused() -> None:
    """While launches are paused all that have one are in shadow, also where an override enforces them, and nothing that
    was made before is given again; other limits are as they were."""
    launched = Limit("new", Rate(60_000), lambda _: 1, launch=Launch(T))
    plain = Limit("old", Rate(60_000), lambda _: 1)
    override = Override({"organization": "acme"}, {"new": lambda _: 2}, mode="enforce")
    nothing: Any = None
    policy = Policy({"basic": (launched, plain)}, nothing, nothing, nothing, nothing, (override,), "basic")
    for attributes in ({}, {"seats": 2}):
        acme = Identity("acme", attributes=attributes)
        before = [policy.charges(acme, "x") for _ in range(3)][-1], policy.named(acme, ("new",))
        policy.pause(paused=True)
        paused = policy.charges(acme, "x"), policy.named(acme, ("new",))
        assert [[enforced(charge, 0) for charge in charges] for charges in paused] == [[[False], [True]], [[False]]]
        policy.pause(paused=False)
        assert (policy.charges(acme, "x"), policy.named(acme, ("new",))) == before
        assert [enforced(charge, 0) for charge in before[0]] == [[True], [True]]


def steps(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(INSTANTS, values, max_size=5).flatmap(
        lambda some: values.map(lambda last: (*sorted((k, v) for k, v in some.items() if k < FOREVER), (FOREVER, last)))
    )


@given(steps(st.integers(0, 9)), steps(st.booleans()))
def test_staged_is_what_its_parts_say(maxes: Any, stages: Any) -> None:
    """At each instant, looked up one by one: what holds, how long nothing changes, and what denies later."""
    for now in range(30):
        maximum, shadow_until, since, until, later = staged(maxes, stages, now)
        assert (maximum, shadow_until == 0) == (value_at(maxes, now), value_at(stages, now))
        assert since <= now < until
        assert {(value_at(maxes, at), value_at(stages, at)) for at in range(since, min(until, 30))} == {
            (maximum, shadow_until == 0)
        }
        for at in range(until, 30):
            holds = value_at(stages, at)
            in_shadow_still = at < shadow_until
            denies = value_at(maxes, at) if holds or in_shadow_still else FOREVER
            assert next((value for start, value in reversed(later) if start <= at), maximum) == denies
            assert not (holds and in_shadow_still)


def test_edges() -> None:
    """All instants of a launch, of whoever it is."""
    assert sorted(set(edges(LAUNCH))) == [T + DAY, T + DAY + 3, T + 5 * DAY, T + 5 * DAY + 3, T + 10 * DAY]
    everybody = timeline(edges(LAUNCH), enforced_by(LAUNCH, lambda _: True))
    assert everybody[-1] == (FOREVER, True)


def test_in_words() -> None:
    """What a launch is is told in words, as where two policies are compared, and no API key with it."""
    key = {"api_key": "5e" * 32, "organization": "a\x1bb"}
    launch = Launch(T, 0.8, (Brownout(T - 60_000, T - 30_000),), (Cohort(T - 9_000, share=0.125), Cohort(0, key, 0.5)))
    words = str(launch)
    assert re.sub("#[0-9a-f]{32}", "#…", words) == (
        "in shadow until 2024-10-04T00:00:00Z, brownout 2024-10-03T23:59:00Z to 2024-10-03T23:59:30Z, enforced for"
        " 12.5 % of all callers from 2024-10-03T23:59:51Z, enforced for 50 % of api_key=#… organization=a\\x1bb from"
        " 1970-01-01T00:00:00Z, warns from 80 % on"
    )
    assert str(Launch(cohorts=(Cohort(FOREVER, {"user": "ana"}),))).endswith("for user=ana from 9999-12-31T23:59:59Z")
    assert "5e5e" not in words + repr(launch)


WINDOWS = (Brownout(T, T + 5), Brownout(T + 4, T + 9))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Brownout(5, 5), "Brownout: until_ms: is not after since_ms"),
        (lambda: Brownout(-1, 5), "Brownout: since_ms: -1 is too small; the least is 0"),
        (lambda: Brownout(1, "5"), 'Brownout: until_ms: "5" is not a whole number'),
        (lambda: Cohort(T), "Cohort: is for everybody; write a share, or whom it is for, or shadow_until for all"),
        (lambda: Cohort(-T, share=0.5), f"Cohort: from_ms: -{T} is too small; the least is 0"),
        (lambda: Cohort(T, share=2), "Cohort: share: 2 is not a part of all; write a number above 0, 1 at most: 0.1"),
        (lambda: Cohort(T, [], 0.5), "Cohort: match: a list is not a table of values by name"),
        (lambda: Cohort(T, {"user": " "}), 'Cohort: user: " " matches nobody; write a text or a whole number'),
        (lambda: Launch(-1), "Launch: shadow_until_ms: -1 is too small; the least is 0"),
        (lambda: Launch(T, 80), "Launch: warn: 80 is not a part of the max; write a number above 0, 1 at most: 0.8"),
        (lambda: Launch(T, None, list(WINDOWS)), "Launch: brownouts: a list is not a tuple"),
        (lambda: Launch(T, None, WINDOWS * 51), "Launch: brownouts: there are 102; the most are 100"),
        (
            lambda: Launch(T + 99, None, WINDOWS),
            "Launch: brownouts[1]: overlaps brownouts[0]; write one window for both",
        ),
        (
            lambda: Launch(T, cohorts=(Cohort(8, share=0.1), Cohort(7, share=0.1))),
            "Launch: cohorts[0].share: is not above that of cohorts[1], which is enforced before it and stays so;"
            " write a larger share, or leave it out",
        ),
        (
            lambda: Limit("a", Rate(60_000), lambda _: 1, launch={}),
            'Limit "a": launch: a table is no Launch',
        ),
        (
            lambda: Limit("a", Rate(60_000), lambda _: 1, launch=LAUNCH, enforce_from_ms=1),
            'Limit "a": enforce_from_ms: is there beside launch, which says from when on the limit is enforced;'
            " write one of the two",
        ),
        (
            lambda: Limit("a", Rate(60_000), lambda _: 1, launch=LAUNCH, mode="off"),
            'Limit "a": mode: is there beside launch, which says from when on the limit is enforced; write'
            " one of the two",
        ),
        (
            lambda: Override({"user": "ana"}, {}, mode="off"),
            'Override: mode: "off" is not for an override; write "shadow": the limit counts then, and denies nobody',
        ),
        (
            lambda: Override({"user": "ana"}, {}, limits=frozenset({"a"})),
            "Override: limits: are those that a mode is for; write one, or a max of each in maxes",
        ),
        (lambda: Override({"user": "ana"}, {}, from_ms=-1), "Override: from_ms: -1 is too small; the least is 0"),
    ],
)
def test_what_is_made_by_hand_is_checked(make: Any, said: str) -> None:
    """In the words of a policy file, where it is made."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole of it is compared
        make()
    assert str(error.value) == said


def test_what_is_only_odd_can_be_made() -> None:
    """A stage after the end of a launch has no effect, and is no error."""
    launch = Launch(T, brownouts=(Brownout(T - 1, T + 5),), cohorts=(Cohort(T, share=0.5),))
    assert charge_of(Identity("acme"), launch=launch).stages == ((T - 1, False), (FOREVER, True))
