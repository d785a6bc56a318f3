"""The first noun: who is calling. Its values are checked when it is made, so that nothing behind it need ask again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ratelimit.ground.repeats import Once
from ratelimit.ground.words import shown

if TYPE_CHECKING:
    from typing import Self
    from uuid import UUID

    Name = str | int | UUID | None

LARGEST_BITS = 14_000  # of a number: Python writes none of more than 4,300 digits, and each request would be an error

_LARGEST = 1 << LARGEST_BITS
_NONE: Mapping[str, str | int] = MappingProxyType({})
_NAME = "write a text, a whole number or a UUID, or None where it is not known"
_ATTRIBUTE = "write a text, a whole number, true or false or a UUID"

_log = logging.getLogger("ratelimit")
_blank = Once()


# What is made for every request is a NamedTuple, or plain slots: a frozen dataclass takes three times as long to make.
class _Known(NamedTuple):
    organization: str | None = None
    user: str | None = None
    api_key: str | None = None
    application: str | None = None
    ip: str | None = None
    tier: str | None = None
    attributes: Mapping[str, str | int] = _NONE


class Identity(_Known):
    """Who is calling.

    `api_key` is the SHA-256 of the credential in hexadecimal, never the credential. `attributes` are free: numbers for
    the formulas of limits, and anything that a limit counts `per`.

    Names are texts; a whole number and a UUID become theirs, `42` is `"42"`. An empty or blank one is not known, as
    None is: a blank column must not put everybody who has it into one counter. Attributes are texts, whole numbers,
    true and false, as they are. Anything else raises a TypeError that names the field, when the Identity is made.
    """

    __slots__ = ()

    def __new__(
        cls,
        organization: Name = None,
        user: Name = None,
        api_key: Name = None,
        application: Name = None,
        ip: Name = None,
        tier: Name = None,
        attributes: Mapping[str, Any] = _NONE,
    ) -> Self:
        names = (organization, user, api_key, application, ip, tier)
        for name in names:
            if name is not None and (type(name) is not str or not name.strip()):
                names = tuple(map(name_of, cls._fields, names))  # type: ignore[assignment] # six of them
                break
        return tuple.__new__(cls, (*names, _attributes(attributes) if attributes is not _NONE else _NONE))

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override] # mypy has its own idea of this one
        """Checked too, and so is `_replace`, which is made of it."""
        return cls(*iterable)

    @classmethod
    def of_checked(cls, values: tuple[Any, ...]) -> Self:
        """From all seven values of one that was checked: in half the time."""
        return tuple.__new__(cls, values)

    def __repr__(self) -> str:  # without the API key
        return f"Identity({', '.join(f'{k}={v!r}' for k, v in self._asdict().items() if k != 'api_key')})"

    def __reduce__(self) -> tuple[type[Identity], tuple[Any, ...]]:
        return Identity, (*self[:-1], dict(self.attributes))  # the default can't be pickled, nor deeply copied

    @property
    def root(self) -> tuple[str, str]:
        """The kind and name under which everything this caller uses is kept: `("organization", "acme")`.

        Raises LookupError if nothing is known of the caller: without a name there is nothing to count by.
        """
        if self.organization is not None:
            return "organization", self.organization
        if self.user is not None:
            return "user", self.user
        if self.api_key is not None:
            return "api_key", self.api_key
        if self.ip is not None:
            return "ip", self.ip
        raise LookupError("an Identity needs one of organization, user, api_key or ip to be counted by; all are None")

    @property
    def anonymous(self) -> bool:
        """Whether nothing but the address is known."""
        return self.organization is None and self.user is None and self.api_key is None and self.application is None


def name_of(field: str, value: object, allowed: str = _NAME) -> str | None:
    """The text of a name; None where it is not known. No message shows a value: it could be an API key in clear."""
    if value is None:
        return None
    if isinstance(value, str):
        if value.strip():
            return str.__str__(value)  # of an Enum of texts, its own text
        if _blank.first(field):
            _log.warning(
                "%s of an Identity is empty or blank, which counts as not known: otherwise all callers without one "
                "would share a counter. Let identify give None there, or the name. This is logged once.",
                field,
            )
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(_number(field, value))
    from uuid import UUID  # who has one has it imported

    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{field} of an Identity is of type {type(value).__name__}; {allowed}")


def _attributes(attributes: Mapping[str, Any]) -> Mapping[str, str | int]:
    """The same mapping where all is well with it: an app may share one with many callers."""
    if type(attributes) is not dict and not isinstance(attributes, Mapping):
        raise TypeError(
            f"attributes of an Identity are of type {type(attributes).__name__}; write a mapping of names to values"
        )
    for name, value in attributes.items():
        kind = type(value)
        plain = value.strip() if kind is str else kind is bool or (kind is int and -_LARGEST < value < _LARGEST)
        if not plain or type(name) is not str:
            break
    else:
        return attributes
    kept = {name: _attribute(name, value) for name, value in attributes.items()}
    return {name: value for name, value in kept.items() if value is not None}


def _attribute(name: object, value: object) -> str | int | None:
    if not isinstance(name, str):
        raise TypeError(f"attributes of an Identity have a name of type {type(name).__name__}; write a text")
    field = f"the attribute {shown(name)}"
    if isinstance(value, bool):
        return value
    return _number(field, value) if isinstance(value, int) else name_of(field, value, _ATTRIBUTE)


def _number(field: str, value: int) -> int:
    if (bits := value.bit_length()) > LARGEST_BITS:
        raise ValueError(f"{field} of an Identity is a number of {bits} bits; the most are {LARGEST_BITS}")
    return value if type(value) is int else int(value)
