"""What is wrong with a launch, in the words of a policy file; where a program makes one by hand, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ratelimit.checks import values as checks
from ratelimit.ground.words import shown

MOST = 100  # brownouts, or cohorts, of a launch: each is sent with the limit


class Found(NamedTuple):
    """What two parts of a launch say of each other. `at` is the place in it: ("brownouts", 1)."""

    at: tuple[str | int, ...]
    message: str
    odd: bool = False

    def said(self) -> str:
        field, number, *part = self.at
        return f"{field}[{number}]{''.join(f'.{one}' for one in part)}: {self.message}"


class Window(Protocol):
    @property
    def since_ms(self) -> int: ...

    @property
    def until_ms(self) -> int: ...


class Stage(Protocol):
    @property
    def from_ms(self) -> int: ...

    @property
    def match(self) -> Mapping[str, str | int]: ...

    @property
    def share(self) -> float: ...


class Stages(Protocol):
    """A launch, as far as it is looked at here."""

    @property
    def shadow_until_ms(self) -> int: ...

    @property
    def brownouts(self) -> Sequence[Window]: ...

    @property
    def cohorts(self) -> Sequence[Stage]: ...


def check(what: str, said: str | None) -> None:
    if said:
        raise ValueError(f"{what}: {said}")


def of_window(since_ms: Any, until_ms: Any) -> str | None:
    if wrong := _instant("since_ms", since_ms) or _instant("until_ms", until_ms):
        return wrong
    return None if since_ms < until_ms else "until_ms: is not after since_ms"


def of_cohort(from_ms: Any, match: Any, share: Any) -> str | None:
    if wrong := _instant("from_ms", from_ms):
        return wrong
    if not isinstance(match, Mapping):
        return f"match: {shown(match)} is not a table of values by name"
    if type(share) not in {int, float} or not 0 < share <= 1:
        return f"share: {shown(share)} is not a part of all; write a number above 0, 1 at most: 0.1"
    return None if match or share < 1 else FOR_ALL


def of_launch(shadow_until_ms: Any, warn: Any, brownouts: Any, cohorts: Any) -> str | None:
    if wrong := _instant("shadow_until_ms", shadow_until_ms):
        return wrong
    if warn is not None:
        try:
            part(warn)
        except ValueError as error:
            return f"warn: {error}"
    for name, value in (("brownouts", brownouts), ("cohorts", cohorts)):
        if not isinstance(value, tuple):
            return f"{name}: {shown(value)} is not a tuple"
        if len(value) > MOST:
            return f"{name}: there are {len(value)}; the most are {MOST}"
    return None


FOR_ALL = "is for everybody; write a share, or whom it is for, or shadow_until for all"


def together(launch: Stages) -> Iterator[Found]:
    """What the parts say of each other."""
    end = launch.shadow_until_ms
    for number, window in enumerate(launch.brownouts):
        for before, other in enumerate(launch.brownouts[:number]):
            if window.since_ms < other.until_ms and other.since_ms < window.until_ms:
                yield Found(("brownouts", number), f"overlaps brownouts[{before}]; write one window for both")
                break
        if window.until_ms > end:
            what, advice = ("goes on", "end it there") if window.since_ms < end else ("is", "leave it out")
            why = f"{what} after shadow_until, from which on the limit is enforced anyway; {advice}"
            yield Found(("brownouts", number), why, odd=True)
    for number, cohort in enumerate(launch.cohorts):
        if cohort.from_ms >= end:
            why = "begins when the limit is enforced for all anyway, at shadow_until; let it begin before that"
            yield Found(("cohorts", number), why, odd=True)
        yield from _shares(launch.cohorts, number)


def _shares(cohorts: Sequence[Stage], number: int) -> Iterator[Found]:
    """A share only grows: who is in it stays in it."""
    cohort = cohorts[number]
    for before, other in enumerate(cohorts):
        same = before != number and other.match == cohort.match
        if same and other.from_ms < cohort.from_ms and other.share >= cohort.share:
            what = f"is not above that of cohorts[{before}], which is enforced before it and stays so"
            yield Found(("cohorts", number, "share"), f"{what}; write a larger share, or leave it out")
            return
        if same and before < number and other.from_ms == cohort.from_ms:
            yield Found(
                ("cohorts", number), f"begins when cohorts[{before}] does, for the same; write the larger share"
            )
            return


def part(value: Any) -> float:
    """Of a max, from which on is warned: above 0, 1 at most."""
    if type(value) not in {int, float} or not 0 < value <= 1:
        raise ValueError(f"{shown(value)} is not a part of the max; write a number above 0, 1 at most: 0.8")
    return float(value)


def _instant(name: str, value: Any) -> str | None:
    try:
        checks.whole(value, 0, checks.LARGEST)
    except ValueError as error:
        return f"{name}: {error}"
    return None
