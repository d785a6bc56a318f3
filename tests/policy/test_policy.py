"""From a caller and an operation to charges: which limits apply, at what cost, on whose counter, up to which max."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.ground.memo import SIZE
from ratelimit.model import (
    FOREVER,
    IDENTITY_KINDS,
    Charge,
    Concurrency,
    Identity,
    Limit,
    Quota,
    Rate,
    Readings,
    Style,
)
from ratelimit.policy import Override, Policy, StoreSettings
from ratelimit.policy import tiers as tiers_module
from ratelimit.policy.keys import caller, marked

KEY_HASH = sha256(b"sk_live_1").hexdigest()
KEY_NAME = "#" + sha256(KEY_HASH.encode()).hexdigest()[:32]
ACME = Identity(
    organization="acme",
    user="ana",
    api_key=KEY_HASH,
    application="till",
    ip="10.0.0.7",
    tier="basic",
    attributes={"store": "north", "registers": 3},
)


def fixed(value: int) -> Callable[[Mapping[str, str | int]], int]:
    return lambda _: value


def limit(name: str = "requests", **fields: Any) -> Limit:
    given: dict[str, Any] = {"name": name, "kind": Rate(60_000), "max": fixed(100), **fields}
    return Limit(**given)


def odd(name: str, **fields: Any) -> Limit:
    """A limit that is not let pass where it is made: keys must tell callers apart whatever is in them."""
    made = limit()
    for field, value in {"name": name, **fields}.items():
        object.__setattr__(made, field, value)
    return made


def odd_caller(**values: Any) -> Identity:
    """An Identity with names that would not be taken as they are: an empty one is told apart all the same."""
    return Identity.of_checked(tuple({**Identity._field_defaults, **values}.values()))


def policy(*limits: Limit, **fields: Any) -> Policy:
    given: dict[str, Any] = {"tiers": {"basic": limits}, **fields}
    return Policy(
        **given,
        identify=lambda _: ACME,
        classify=lambda _: "search",
        style=cast("Style", object()),
        address=lambda _: "",
    )


def keys(limits: tuple[Limit, ...], identity: Identity, operation: str = "search") -> list[str]:
    return [charge.key for charge in policy(*limits).charges(identity, operation)]


def only(charges: tuple[Charge, ...]) -> Charge:
    (charge,) = charges
    return charge


@pytest.mark.parametrize(
    ("kind", "period"),
    [
        (Rate(60_000), "60000/60"),
        (Rate(300_000, precision=1000), "300000/1000"),
        (Quota("month"), "month"),
        (Quota("month", timezone="Europe/Berlin", anchor_day=15), "month"),
        (Quota("week"), "week"),
        (Concurrency(), "c"),
        (Concurrency(lease_ms=1000), "c"),
    ],
)
def test_key_of_a_kind(kind: Rate | Quota | Concurrency, period: str) -> None:
    """A counter is named by what it counts in; time zone, anchor day and lease can be edited without starting anew."""
    assert keys((limit(kind=kind),), ACME) == [f"{{organization=acme}}:requests:{period}"]


def test_an_amount_is_not_in_the_key() -> None:
    """A new max, cost, mode or tier keeps the usage."""
    before = policy(
        limit(max=fixed(5)), tiers={"basic": (limit(),), "other": (limit(max=fixed(5), cost=3, mode="shadow"),)}
    )
    other = ACME._replace(tier="other")
    assert only(before.charges(ACME, "search")).key == only(before.charges(other, "search")).key


@pytest.mark.parametrize(
    ("identity", "root"),
    [
        (ACME, "{organization=acme}"),
        (ACME._replace(organization=None), "{user=ana}"),
        (ACME._replace(organization=None, user=None), f"{{api_key={KEY_NAME}}}"),
        (Identity(ip="10.0.0.7", tier="basic"), "{ip=10.0.0.7}"),
        (Identity(ip="2001:db8::/64", tier="basic"), "{ip=2001%3Adb8%3A%3A/64}"),
    ],
)
def test_key_of_a_root(identity: Identity, root: str) -> None:
    """What a caller uses is kept under the first of organization, user, API key and IP that is known."""
    assert keys((limit(),), identity) == [f"{root}:requests:60000/60"]


@pytest.mark.parametrize(
    ("per", "parts"),
    [
        (("identity",), ""),
        (("organization",), ""),
        (("user",), ":user=ana"),
        (("api_key",), f":api_key={KEY_NAME}"),
        (("application",), ":application=till"),
        (("ip",), ":ip=10.0.0.7"),
        (("store",), ":@store=north"),
        (("registers",), ":@registers=3"),
        (("unheard_of",), ""),
        (("organization", "application"), ":application=till"),
        (("identity", "user", "store"), ":user=ana:@store=north"),
        (("unheard_of", "user"), ":user=ana"),
    ],
)
def test_key_of_per(per: tuple[str, ...], parts: str) -> None:
    """Within the root a limit is counted by each part of its `per`; the root itself is not said twice."""
    assert keys((limit(per=per),), ACME) == [f"{{organization=acme}}:requests:60000/60{parts}"]


def test_an_attribute_named_identity() -> None:
    """`per = "identity"` is the caller as a whole, also of one who has an attribute of that name."""
    named = ACME._replace(attributes={"identity": "north", "store": "north"})
    assert keys((limit(per=("identity",)),), named) == ["{organization=acme}:requests:60000/60"]
    assert keys((limit(per=("identity", "store")),), named) == ["{organization=acme}:requests:60000/60:@store=north"]


@pytest.mark.parametrize("per", [*IDENTITY_KINDS, "store"])
def test_per_falls_back(per: str) -> None:
    """A `per` that the identity does not have is counted as its root."""
    assert keys((limit(per=(per,)),), Identity(user="ana", tier="basic")) == ["{user=ana}:requests:60000/60"]


def test_sources_are_apart() -> None:
    """Per organization and application: each application has its counter, and people without one share another."""
    per = (limit("till", per=("organization", "application")),)
    assert keys(per, ACME._replace(application=None)) == ["{organization=acme}:till:60000/60"]
    assert keys(per, ACME) == ["{organization=acme}:till:60000/60:application=till"]


LONG = "x" * 65


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("acme", "acme"),
        ("", ""),
        ("ana@acme.example/\"'!$&()*+,-.;<>?[\\]^_`|~", "ana@acme.example/\"'!$&()*+,-.;<>?[\\]^_`|~"),
        ("in flight", "in%20flight"),
        ("{a}:b=c%d#e", "%7Ba%7D%3Ab%3Dc%25d%23e"),
        ("\0\t\r\n\x7f", "%00%09%0D%0A%7F"),
        ("Müller", "M%C3%BCller"),
        ("\ud800", "%ED%A0%80"),
        ("x" * 64, "x" * 64),
        (LONG, "#" + sha256(LONG.encode()).hexdigest()[:32]),
        (" " * 21, "%20" * 21),
        (" " * 22, "#" + sha256(b" " * 22).hexdigest()[:32]),
        ("\ud800" * 65, "#" + sha256(b"\xed\xa0\x80" * 65).hexdigest()[:32]),
    ],
)
def test_names_are_escaped(name: str, written: str) -> None:
    """A name of a root, a limit or a part shows in a key only as plain characters, and a long one as a hash."""
    assert caller(odd_caller(organization=name)) == f"organization={written}"
    identity = odd_caller(organization=name, user=name, attributes={"store": name, name: "a"}, tier="basic")
    attribute = f":@{written}=a"
    assert keys((odd(name, per=("user", "store", name)),), identity) == [
        f"{{organization={written}}}:{written}:60000/60:user={written}:@store={written}{attribute}"
    ]


@pytest.mark.parametrize(
    ("name", "written"),
    [("ana@2", "ana%402"), ("@@2", "@%402"), ("ana@2.example", "ana@2.example"), ("2", "2"), ("ana@", "ana@")],
)
def test_a_name_at_the_end_of_a_key(name: str, written: str) -> None:
    """`@2` at the end marks the counter of an inner policy: no name of a caller can be read as that."""
    assert keys((limit(per=("user",)),), ACME._replace(user=name))[0].endswith(f":user={written}")
    assert keys((limit(name),), Identity(organization=name)._replace(tier="basic")) == [
        f"{{organization={name}}}:{name}:60000/60"
    ]


def test_caller_hides_the_api_key() -> None:
    """In the log, as in Redis, an API key is only a hash of its hash."""
    assert caller(ACME._replace(organization=None, user=None)) == f"api_key={KEY_NAME}"
    assert KEY_HASH not in caller(Identity(api_key=KEY_HASH))


names = st.sampled_from(
    ["a", "", ":", "=", "a:user=b", "}", "%", "%3A", "#", "@", "a@2", "a%402", "@2@2", "@22", "é", "x" * 64, LONG]
) | st.text(max_size=70)
kinds = st.sampled_from([Rate(1000), Rate(1000, 30), Rate(60), Quota("day"), Quota("year"), Concurrency()])
pers = st.lists(
    st.sampled_from(["identity", *IDENTITY_KINDS, "store", "@store", "c", "2"]), max_size=4, unique=True
).map(tuple)
limits = st.builds(odd, names, kind=kinds, per=pers)
identities = st.builds(
    odd_caller,
    **dict.fromkeys(IDENTITY_KINDS[:-1], st.none() | names),
    ip=names,
    attributes=st.dictionaries(st.sampled_from(["identity", "store", "@store", "c", "2"]), names | st.integers(0, 9)),
    tier=st.just("basic"),
)


def counted_by(identity: Identity, counted: Limit) -> tuple[object, ...]:
    """What tells one counter from another, as the documentation says it."""
    parts = []
    for kind in counted.per:
        name = getattr(identity, kind) if kind in IDENTITY_KINDS else identity.attributes.get(kind)
        if kind not in ("identity", identity.root[0]) and name is not None:
            parts.append((kind, str(name)))
    return identity.root, counted.name, counted.kind, tuple(parts)


@given(identities, limits, identities, limits)
def test_keys_never_collide(one: Identity, first: Limit, other: Identity, second: Limit) -> None:
    """Two callers or two limits have one key exactly where they are meant to share a counter, whatever their names; and
    none has a key that is marked as of the second or third policy on a request."""
    (key,), (other_key,) = keys((first,), one), keys((second,), other)
    assert (key == other_key) == (counted_by(one, first) == counted_by(other, second))
    of_inner = {marked(key, 2), marked(key, 3)}
    assert not of_inner & {key, other_key, marked(other_key, 22)}
    assert (marked(other_key, 2) in of_inner) == (key == other_key)


@given(identities, limits)
def test_keys_are_plain(identity: Identity, counted: Limit) -> None:
    """A key is printable ASCII without spaces, with exactly one hash tag, and bounded in length."""
    (key,) = keys((counted,), identity)
    assert re.fullmatch(r"\{(organization|user|api_key|ip)=[!-z|~]*\}(:[!-z|~]*){2,6}", key)
    assert len(key) < 500


def test_nothing_to_count_by() -> None:
    """An identity without organization, user, API key and IP can't be counted, and is not let through."""
    with pytest.raises(LookupError, match="an Identity needs one of organization, user, api_key or ip"):
        policy(limit()).charges(Identity(application="till", tier="basic"), "search")


def test_operations_and_costs() -> None:
    """Each operation is charged by the limits that list it or list none, at its own cost; what is off is left out."""
    tier = policy(
        limit("all"),
        limit("searches", operations=frozenset({"search"}), cost=2),
        limit("units", cost={"heavy_write": 10, "search": 0}),
        limit("off", mode="off"),
        limit("shadow", mode="shadow"),
    )
    costs = {
        operation: [(charge.limit.name, charge.cost) for charge in tier.charges(ACME, operation)]
        for operation in ("search", "heavy_write", "made up")
    }
    assert costs == {
        "search": [("all", 1), ("searches", 2), ("units", 0), ("shadow", 1)],
        "heavy_write": [("all", 1), ("units", 10), ("shadow", 1)],
        "made up": [("all", 1), ("units", 1), ("shadow", 1)],
    }


def test_max_of_the_caller() -> None:
    """A max is computed from the caller's attributes, and holds for ever where nothing overrides it."""
    formula = limit(max=lambda attributes: 300 * int(attributes["registers"]) + 50)
    assert only(policy(formula).charges(ACME, "search")).maxes == ((FOREVER, 950),)


def overridden(*overrides: Override, identity: Identity = ACME) -> tuple[tuple[int, int], ...]:
    return only(policy(limit(), overrides=overrides).charges(identity, "search")).maxes


ACMES = {"organization": "acme"}


@pytest.mark.parametrize(
    ("overrides", "maxes"),
    [
        ([(ACMES, 500, FOREVER)], ((FOREVER, 500),)),
        ([(ACMES, 500, FOREVER), (ACMES, 7, FOREVER)], ((FOREVER, 7),)),
        ([(ACMES, 500, 90)], ((90, 500), (FOREVER, 100))),
        ([(ACMES, 500, 90), (ACMES, 7, 50)], ((50, 7), (90, 500), (FOREVER, 100))),
        ([(ACMES, 500, 50), (ACMES, 7, 90)], ((90, 7), (FOREVER, 100))),
        ([(ACMES, 500, 90), (ACMES, 7, 90)], ((90, 7), (FOREVER, 100))),
        ([(ACMES, 500, FOREVER), (ACMES, 7, 90)], ((90, 7), (FOREVER, 500))),
        ([(ACMES, 500, 90), ({"user": "ana"}, 7, 50)], ((50, 7), (90, 500), (FOREVER, 100))),
        ([({"user": "ana"}, 7, 50), (ACMES, 500, 90)], ((90, 500), (FOREVER, 100))),
        ([({"tier": "basic"}, 7, 50), (ACMES, 500, 20)], ((20, 500), (50, 7), (FOREVER, 100))),
        ([({"organization": "other"}, 500, FOREVER)], ((FOREVER, 100),)),
        ([(ACMES, 500, 0)], ((FOREVER, 100),)),
        ([(ACMES, 500, FOREVER + 5)], ((FOREVER, 500),)),
    ],
)
def test_overrides_in_steps(
    overrides: list[tuple[Mapping[str, str | int], int, int]], maxes: tuple[tuple[int, int], ...]
) -> None:
    """The last override that matches wins until its end, then the one before it, then the tier."""
    assert (
        overridden(*[Override(match, {"requests": fixed(value)}, until) for match, value, until in overrides]) == maxes
    )


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ({"organization": "acme"}, True),
        ({"user": "ana"}, True),
        ({"api_key": KEY_HASH}, True),
        ({"application": "till"}, True),
        ({"ip": "10.0.0.7"}, True),
        ({"tier": "basic"}, True),
        ({"store": "north"}, True),
        ({"registers": 3}, True),
        ({"registers": "3"}, False),
        ({"organization": "acme", "user": "ana", "tier": "basic", "registers": 3}, True),
        ({"organization": "acme", "user": "bob"}, False),
        ({"tier": "basic", "store": "north"}, True),
        ({"tier": "basic", "store": "south"}, False),
        ({"tier": "anonymous", "store": "north"}, False),
        ({"unheard_of": "acme"}, False),
    ],
)
def test_every_field_must_match(match: Mapping[str, str | int], matches: bool) -> None:
    """An override is for the callers that have every value it gives, and for nobody else."""
    assert overridden(Override(match, {"requests": fixed(5)})) == ((FOREVER, 5 if matches else 100),)


def test_overrides_limit_by_limit() -> None:
    """An override changes the limits that it names, with the caller's attributes, and leaves the others."""
    by_till = Override(ACMES, {"till": lambda attributes: 7 * int(attributes["registers"])})
    tier = policy(limit(), limit("till"), overrides=(by_till, Override(ACMES, {"requests": fixed(5)})))
    assert [charge.maxes for charge in tier.charges(ACME, "search")] == [((FOREVER, 5),), ((FOREVER, 21),)]


def test_default_tier() -> None:
    """An identity that names no tier has the default one, also for overrides; one that names a tier has its own."""
    tiers = {"basic": (limit("b"),), "free": (limit("f"),)}
    override = Override({"tier": "free"}, {"f": fixed(5)})
    defaulted = policy(tiers=tiers, default_tier="free", overrides=(override,))
    charge = only(defaulted.charges(ACME._replace(tier=None), "search"))
    assert (charge.limit.name, charge.maxes) == ("f", ((FOREVER, 5),))
    assert only(defaulted.charges(ACME, "search")).limit.name == "b"


@pytest.mark.parametrize(
    ("tier", "default", "message"),
    [
        (
            "gold",
            None,
            'organization=acme is of the tier "gold", which the policy does not have; it has "basic", "free"',
        ),
        (
            "\n.",
            None,
            'organization=acme is of the tier "\\n.", which the policy does not have; it has "basic", "free"',
        ),
        *[
            (
                unnamed,
                None,
                "organization=acme names no tier and the policy has no default_tier; let identify name one of the"
                ' policy\'s tiers, or set default_tier; it has "basic", "free"',
            )
            for unnamed in (None, "", " ")
        ],
    ],
)
def test_no_tier(tier: str | None, default: str | None, message: str) -> None:
    """Without a default and an anonymous tier, one that is not there raises: nothing is unlimited by accident."""
    two = policy(tiers={"basic": (limit(),), "free": ()}, default_tier=default)
    with pytest.raises(LookupError) as refusal:
        two.charges(ACME._replace(tier=tier), "search")
    assert str(refusal.value) == message


@pytest.mark.parametrize(("default", "name", "the_max"), [("basic", "b", 100), (None, "a", 5), ("free", "f", 100)])
def test_a_tier_that_is_not_there(default: str | None, name: str, the_max: int) -> None:
    """Its callers have the default tier, else the anonymous one, also for overrides, and the same charges again."""
    tiers = {"basic": (limit("b"),), "free": (limit("f"),), "anonymous": (limit("a"),)}
    overrides = (Override({"tier": "anonymous"}, {"a": fixed(5)}), Override({"tier": "gold"}, {"b": fixed(7)}))
    one = policy(tiers=tiers, default_tier=default, overrides=overrides)
    for attributes in ({}, {"registers": 3}):
        gold = ACME._replace(tier="gold", attributes=attributes)
        charges = one.charges(gold, "search")
        assert (only(charges).limit.name, only(charges).maxes) == (name, ((FOREVER, the_max),))
        assert one.charges(gold, "search") is charges
        assert one.charges(gold._replace(tier=default or "anonymous"), "search") is charges
        assert one.charges(gold._replace(tier="platinum"), "search") is charges
    attributes["registers"] = []  # type: ignore[assignment] # a list is remembered by nobody
    assert one.charges(gold, "search") == charges


def test_a_tier_that_is_not_there_is_told_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However many requests there are of whichever tiers, it is a line a minute for as long as there are any."""
    now = [1_000.0]
    monkeypatch.setattr(tiers_module, "monotonic", lambda: now[0])
    one = policy(default_tier="basic")
    for second in range(121):
        now[0] = 1_000.0 + second
        one.charges(ACME._replace(tier="gold"), "search")
        one.charges(ACME._replace(tier="gold", user=f"u{second}", attributes={}), "search")
    said = 'organization=acme is of the tier "gold", which the policy does not have; it has "basic"; until it does,'
    assert [record.getMessage() for record in caplog.records] == [f'{said} "basic" counts instead'] * 3
    one.charges(ACME, "search")
    policy(default_tier="basic").charges(ACME._replace(tier="gold"), "search")
    assert len(caplog.records) == 4


def test_a_tier_may_have_no_limits() -> None:
    """A tier without limits is unlimited on purpose."""
    assert policy().charges(ACME, "search") == ()


def test_the_same_caller_gets_the_same_charges() -> None:
    """What was made for a caller is handed out again, itself, for every operation and address that no limit goes by."""
    tier = policy(limit(), limit("mine", per=("user",)), limit("made", operations=frozenset({"create"})))
    first = tier.charges(ACME, "search")
    again = ACME._replace(ip="10.9.9.9", application=None, attributes=dict(ACME.attributes))
    assert tier.charges(again, "search") is first
    assert tier.charges(ACME, "a name of the user's own") is first
    assert tier.charges(ACME, "create") is tier.charges(again, "create") is not first
    assert tier.charges(ACME._replace(user="bob"), "search")[1].key.endswith(":user=bob")


@settings(max_examples=40)
@given(
    st.lists(st.tuples(identities, st.sampled_from(["search", "create", "x"])), min_size=2),
    st.lists(pers, max_size=3),
    st.lists(st.sampled_from([*IDENTITY_KINDS, "tier", "store"]), max_size=3),
)
def test_what_is_remembered_is_what_would_be_made(
    asked: list[tuple[Identity, str]], per: list[tuple[str, ...]], matched: list[str]
) -> None:
    """Whoever came before, a caller's charges are those of a policy that has seen nobody."""
    tier = [odd(str(n), per=kinds, operations=(None, frozenset({"create"}))[n % 2]) for n, kinds in enumerate(per)]
    tier.append(limit("of attributes", max=lambda attributes: len(repr(attributes))))
    overrides = tuple(Override({kind: "a"}, {"0": fixed(n)}) for n, kind in enumerate(matched))
    seen = policy(*tier, overrides=overrides)
    for identity, operation in asked * 2:
        assert seen.charges(identity, operation) == policy(*tier, overrides=overrides).charges(identity, operation)


def test_each_caller_has_its_own_charges() -> None:
    """An organization, a user of it that an override is for, and another organization."""
    tier = policy(limit(), overrides=(Override({"user": "bob"}, {"requests": fixed(5)}),))
    callers = ACME, ACME._replace(user="bob"), ACME._replace(organization="globex"), ACME
    charges = [only(tier.charges(identity, "search")) for identity in callers]
    assert [(charge.key.partition(":")[0], charge.maxes[0][1]) for charge in charges] == [
        ("{organization=acme}", 100),
        ("{organization=acme}", 5),
        ("{organization=globex}", 100),
        ("{organization=acme}", 100),
    ]


def test_attributes_go_by_their_values() -> None:
    """A mapping that the user goes on changing is read anew for each request, and `1` and `True` are two stores."""
    tier = policy(limit(max=lambda attributes: int(attributes["registers"]), per=("store",)))
    attributes: dict[str, Any] = {"registers": 3, "store": 1}
    identity = ACME._replace(attributes=attributes)
    assert only(tier.charges(identity, "search")).maxes == ((FOREVER, 3),)
    attributes["registers"] = 4
    assert only(tier.charges(identity, "search")).maxes == ((FOREVER, 4),)
    assert only(tier.charges(identity, "search")).key.endswith(":@store=1")
    attributes["store"] = True
    assert only(tier.charges(identity, "search")).key.endswith(":@store=True")


def test_attributes_that_are_not_plain() -> None:
    """A value that can't be remembered by is no error: the charges are made each time."""
    attributes: dict[str, Any] = {"registers": 3}
    identity = ACME._replace(attributes=attributes)
    attributes["store"] = ["north"]
    tier = policy(limit(per=("registers",)))
    assert tier.charges(identity, "search") == tier.charges(identity, "search")
    assert tier.charges(identity, "search") is not tier.charges(identity, "search")


@pytest.mark.repeated
def test_memory_is_bounded() -> None:
    """However many callers come by with names of operations of their own, only so many are remembered."""
    tier = policy(limit())
    for n in range(2 * SIZE + 100):
        tier.charges(ACME._replace(organization=f"o{n}"), f"operation {n}")
        tier.charges(ACME, f"operation {n}")
    assert len(tier._recent) <= 2 * SIZE


def test_contradictions() -> None:
    """A policy that contradicts itself is refused when it is made."""
    with pytest.raises(ValueError, match='default_tier is "gold", but the policy has only "basic"'):
        policy(default_tier="gold")
    with pytest.raises(ValueError, match='the tier "basic" has more than one limit named "a"'):
        policy(limit("a"), limit("b"), limit("a", kind=Quota("day")))
    with pytest.raises(ValueError, match="an override needs something to match"):
        Override({}, {"requests": fixed(5)})


def test_no_secrets_in_a_repr() -> None:
    """The store's password and the hash of an API key show in no repr."""
    secret = policy(
        limit(),
        store=StoreSettings(url="redis://:s3cret@db/0"),
        overrides=(Override({"api_key": KEY_HASH}, {"requests": fixed(5)}),),
    )
    assert "s3cret" not in repr(secret)
    assert KEY_HASH not in repr(secret)


def test_readings_are_charged_the_most() -> None:
    """Each limit that one of several operations reaches is charged once, at the highest cost, in the tier's order."""
    made = policy(
        limit("units", cost={"search": 5, "create": 2}),
        limit("creates", operations=frozenset({"create"}), cost=3),
        limit("off", mode="off"),
        limit("reads", kind=Concurrency(), operations=frozenset({"search", "detail_read"})),
        limit("writes", operations=frozenset({"write"})),
    )

    def costs(*operations: str, identity: Identity = ACME) -> list[tuple[str, int]]:
        charged = made.charges(identity, Readings(operations) if len(operations) > 1 else operations[0])
        return [(charge.limit.name, charge.cost) for charge in charged]

    assert costs("create", "search") == costs("search", "create") == [("units", 5), ("creates", 3), ("reads", 1)]
    assert costs("nothing", "detail_read") == [("units", 1), ("reads", 1)]
    assert costs("nothing", "other") == costs("nothing") == [("units", 1)]
    assert costs("create") == [("units", 2), ("creates", 3)]


@pytest.mark.parametrize("attributes", [None, {}, {"x": 1.5}])
def test_readings_are_remembered_as_themselves(attributes: dict[str, Any] | None) -> None:
    """A caller gets the same tuple for the same readings, and none of another operation, from a bounded memory."""
    changed: dict[str, Any] = {}
    identity = ACME if attributes is None else ACME._replace(attributes=changed)
    changed.update(attributes or {})  # by the app, after it was checked
    made = policy(limit(cost={"search": 5, "create": 2}), limit("creates", operations=frozenset({"create"})))
    several = made.charges(identity, Readings(("create", "search")))
    assert [charge.cost for charge in several] == [5, 1]
    if identity.attributes.get("x") is None:
        assert made.charges(identity, Readings(("create", "search"))) is several
    assert [charge.cost for charge in made.charges(identity, "other")] == [1]
    assert [charge.cost for charge in made.charges(identity, Readings(("one", "two")))] == [1]
    assert made.charges(identity, Readings(("create", "search"))) == several
    for number in range(3 * SIZE):
        made.charges(identity, Readings((f"n{number}", "search")))
    assert len(made._recent) <= 2 * SIZE
    assert len(made._by_object) <= 2 * SIZE


def test_a_deep_copy_of_a_policy_in_use() -> None:
    """It has copies of its callers where the callers were: who is there by then is taken for none of them."""
    made, caller = policy(limit()), Identity(organization="acme", tier="basic")
    for _ in range(3):
        made.charges(caller, "search")
    copied = copy.deepcopy(made)
    ((_, entry),) = copied._by_object.young.items()
    newcomer = Identity(organization="another", tier="basic")
    copied._by_object.young[id(newcomer), "search"] = entry
    assert copied.charges(newcomer, "search") == made.charges(newcomer, "search") != entry[1]
