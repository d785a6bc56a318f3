"""What an app says of a caller is checked when the Identity is made: a slip is found by the field that it is in."""

from __future__ import annotations

import copy
import logging
import math
import pickle
from collections.abc import Iterator
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import pytest

from ratelimit import Identity, MemoryStore, RateLimitMiddleware
from ratelimit.checks import caller
from tests.acceptance import T, ask, header, plain, policy, run, scope_of

NAMES = ("organization", "user", "api_key", "application", "ip", "tier")
SOME = UUID("12345678-1234-5678-1234-567812345678")


class Plan(str, Enum):  # noqa: UP042 - as apps for older Pythons have it
    BASIC = "basic"


class Number(IntEnum):
    SEVEN = 7


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caller._blank = type(caller._blank)()
    caplog.set_level(logging.WARNING, "ratelimit")
    yield caplog
    caller._blank = type(caller._blank)()


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("acme", "acme"),
        (" acme ", " acme "),
        ("0", "0"),
        ("\0", "\0"),
        ("\ud800", "\ud800"),
        ("x" * 5_000, "x" * 5_000),
        (42, "42"),
        (0, "0"),
        (-7, "-7"),
        (2**128, str(2**128)),
        (SOME, "12345678-1234-5678-1234-567812345678"),
        (Plan.BASIC, "basic"),
        (Number.SEVEN, "7"),
        (None, None),
        ("", None),
        (" ", None),
        ("\t\r\n\xa0\u2003", None),
    ],
)
def test_a_name(field: str, value: Any, text: str | None) -> None:
    """A text stays as it is, a number and a UUID are their text, and what is empty or blank is not known."""
    made = Identity(**{field: value})
    assert made == Identity()._replace(**{field: value}) == Identity._make(Identity(**{field: value}))
    assert getattr(made, field) == text
    assert type(getattr(made, field)) in {str, type(None)}


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize(
    "value", [True, False, b"acme", [], ["acme"], {}, {"id": 1}, 1.0, math.nan, object(), Identity, ("a",), 1j]
)
def test_no_name(field: str, value: Any) -> None:
    """Anything else raises, wherever it is made, naming the field and the type but not the value."""
    for make in (lambda: Identity(**{field: value}), lambda: Identity(user="ana")._replace(**{field: value})):
        with pytest.raises(TypeError) as refusal:
            make()
        assert str(refusal.value) == (
            f"{field} of an Identity is of type {type(value).__name__};"
            " write a text, a whole number or a UUID, or None where it is not known"
        )


def test_a_number_of_thousands_of_digits() -> None:
    """Python would not write it out, in each request anew: it is refused with the field."""
    with pytest.raises(ValueError, match="user of an Identity is a number of 33220 bits; the most are 14000"):
        Identity(user=10**10_000)
    with pytest.raises(ValueError, match='the attribute "seats" of an Identity is a number of 33220 bits'):
        Identity(user="ana", attributes={"seats": 10**10_000})


def test_attributes() -> None:
    """Texts, whole numbers, true and false stay as they are, a UUID is its text; what is blank or None is left out."""
    given = {"a": "x", "b": 7, "c": True, "d": SOME, "e": "", "f": " ", "g": None, "h": Plan.BASIC, "i": Number.SEVEN}
    kept = Identity(user="ana", attributes=given).attributes
    assert kept == {"a": "x", "b": 7, "c": True, "d": str(SOME), "h": "basic", "i": 7}
    assert [type(value) for value in kept.values()] == [str, int, bool, str, str, int]


def test_attributes_that_are_well_are_the_apps_own_mapping() -> None:
    """What needs no change is not copied: the app may share it between callers."""
    mine = {"registers": 3, "mode": "test"}
    assert Identity(user="ana", attributes=mine).attributes is mine


@pytest.mark.parametrize("value", [math.nan, 1.5, b"x", [], {}, object()])
def test_no_attribute(value: Any) -> None:
    """A value that no formula and no counter can go by raises, naming the attribute."""
    with pytest.raises(TypeError) as refusal:
        Identity(user="ana", attributes={"seats": value})
    assert str(refusal.value) == (
        f'the attribute "seats" of an Identity is of type {type(value).__name__};'
        " write a text, a whole number, true or false or a UUID"
    )


def test_no_attributes() -> None:
    """So does what is no mapping, and a name that is no text."""
    with pytest.raises(TypeError, match="attributes of an Identity are of type list; write a mapping of names"):
        Identity(user="ana", attributes=[("a", 1)])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="attributes of an Identity are of type NoneType"):
        Identity(user="ana", attributes=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="attributes of an Identity have a name of type int; write a text"):
        Identity(user="ana", attributes={1: 1})  # type: ignore[dict-item]


def test_blank_is_said_once(lines: pytest.LogCaptureFixture) -> None:
    """For each field what it means, however many callers come with it, and for so many attributes only."""
    for _ in range(3):
        Identity(organization="", user=" ", attributes={"plan": ""})
    assert [record.getMessage().split(",")[0] for record in lines.records] == [
        "organization of an Identity is empty or blank",
        "user of an Identity is empty or blank",
        'the attribute "plan" of an Identity is empty or blank',
    ]
    for number in range(1_000):
        Identity(user="ana", attributes={f"plan {number}": ""})
    assert len(lines.records) == 100


def test_it_is_still_an_identity() -> None:
    """One type, a tuple of seven, equal by value, copied and pickled; nothing can be put on it."""
    made = Identity(organization=7, user="ana", attributes={"seats": 3})
    organization, *_, attributes = made
    assert (type(made), len(made), organization, attributes) == (Identity, 7, "7", {"seats": 3})
    assert type(made._replace(user=8)) is Identity
    assert made == copy.deepcopy(made) == Identity("7", "ana", attributes={"seats": 3})
    assert made == pickle.loads(pickle.dumps(made))  # noqa: S301 - our own
    assert Identity._fields == (*NAMES, "attributes")
    with pytest.raises(AttributeError):
        made.colour = "red"  # type: ignore[attr-defined]


def test_a_blank_organization_is_no_counter_of_all() -> None:
    """Callers without an organization are counted each by its user, and one of whom nothing is known by its address."""
    of_user = {"ana": Identity(organization="", user="ana", tier="basic"), "ben": Identity(" ", "ben", tier="basic")}
    nobody = Identity(organization="", user="", tier="basic")

    def identify(scope: Any) -> Identity:
        return of_user.get(dict(scope["headers"]).get(b"x-user", b"").decode(), nobody)

    limiter = RateLimitMiddleware(plain, policy(), store=MemoryStore(clock=lambda: T), identify=identify)

    async def remaining(user: str, address: str = "192.0.2.7") -> str | None:
        request = scope_of(api_key=None, x_user=user) | {"client": (address, 1)}
        start, _ = await ask(limiter, scope=request)
        return header(start, "x-ratelimit-remaining") or str(request["ratelimit"].states[0].remaining)

    async def test() -> None:
        assert [await remaining(user) for user in ("ana", "ana", "ben")] == ["2", "1", "2"]
        assert [await remaining("", address) for address in ("192.0.2.7", "192.0.2.7", "192.0.2.8")] == ["2", "1", "2"]

    run(test())


def test_a_user_that_is_a_number() -> None:
    """An id of a database is counted like its text, on each request."""
    limiter = RateLimitMiddleware(
        plain, policy(), store=MemoryStore(clock=lambda: T), identify=lambda _: Identity(user=42, tier="basic")
    )

    async def test() -> None:
        for left in ("2", "1", "0"):
            start, _ = await ask(limiter)
            assert (start["status"], header(start, "x-ratelimit-remaining")) == (200, left)

    run(test())
