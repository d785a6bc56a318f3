"""What the fields of one limit say of each other, and of the operations and attributes of the file."""

from __future__ import annotations

from collections.abc import Iterator

from ratelimit.checks import values as checks
from ratelimit.checks.values import BUILT_IN, EXEMPT
from ratelimit.config.grammar.amounts import Amount
from ratelimit.config.grammar.messages import Path, Problem, place
from ratelimit.config.grammar.tables import KeyTable, LimitTable
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.words import listed, one_of, shown
from ratelimit.model import ANONYMOUS

KINDS = ("rate", "quota", "concurrency")
ON = ("refund_on", "charge_on")
ONLY_WITH = {"precision": "rate", "timezone": "quota", "anchor_day": "quota", "lease": "concurrency"}


def check_limits(valid: Valid) -> Iterator[Problem]:
    for path, limit in limits_of(valid):
        yield from _check_fields(path, valid.given(path))
        yield from _check_anchor(path, limit)
        yield from _check_hold(path, limit)
        yield from _check_outcome(path, limit, valid.given(path))
        yield from _check_per(valid, path, limit)
        yield from _check_operations(valid, path, limit)
        yield from _check_attributes(valid, path, limit)
    for tier in valid.file.tiers:
        yield from _check_names(valid, tier)
        yield from _check_wait(valid, tier)


def _check_wait(valid: Valid, tier: str) -> Iterator[Problem]:
    table = valid.file.tiers[tier]
    if table.wait and not any(limit.mode == "enforce" and limit.concurrency is None for limit in table.limits):
        why = "has no effect: no rate and no quota of this tier denies anybody, and slots are not waited for"
        yield Problem(("tiers", tier, "wait"), why, odd="no-effect")


def limits_of(valid: Valid) -> Iterator[tuple[Path, LimitTable]]:
    """Every limit that could be read, with its path."""
    for name, tier in valid.file.tiers.items():
        yield from valid.numbered(("tiers", name, "limits"), tier.limits)


def messages_of(valid: Valid) -> str | None:
    """The operation that messages of WebSockets are charged as, as it is written."""
    table = valid.at(("websocket",))
    name = table.get("messages") if isinstance(table, dict) else None
    return name if isinstance(name, str) else None


def _check_fields(path: Path, given: set[str]) -> Iterator[Problem]:
    kinds = [kind for kind in KINDS if kind in given]
    if not kinds:
        yield Problem(path, "limits nothing; write one of rate, quota and concurrency")
        return
    if len(kinds) > 1:
        yield Problem(path, f"has {listed(kinds)}; write one of them, and another limit for each other")
    for field, kind in ONLY_WITH.items():
        if field in given and kind not in kinds:
            yield Problem((*path, field), f"is for {kind} alone; this limit has {listed(kinds)}")
    if "cost" in given and kinds == ["concurrency"]:
        yield Problem((*path, "cost"), checks.NO_COST_OF_A_SLOT)
    if "reserve" in given and kinds == ["concurrency"]:
        yield Problem((*path, "reserve"), checks.NO_RESERVE_OF_A_SLOT)
    if "hold" in given and kinds == ["concurrency"]:
        yield Problem((*path, "hold"), checks.NO_HOLD_OF_A_SLOT)
    if "counts" in given and kinds == ["concurrency"]:
        yield Problem((*path, "counts"), checks.NO_COUNTS_OF_A_SLOT)


def _check_anchor(path: Path, limit: LimitTable) -> Iterator[Problem]:
    if limit.quota is not None and limit.anchor_day is not None and limit.quota.period != "month":
        yield Problem((*path, "anchor_day"), checks.anchor_of(limit.quota.period))


def _check_hold(path: Path, limit: LimitTable) -> Iterator[Problem]:
    if limit.hold and limit.reserve and limit.concurrency is None:
        yield Problem((*path, "hold"), checks.NO_HOLD_AHEAD)


def _check_outcome(path: Path, limit: LimitTable, given: set[str]) -> Iterator[Problem]:
    for on in ON:
        if on in given and given.intersection(KINDS) == {"concurrency"}:
            yield Problem((*path, on), checks.NO_OUTCOME_OF_A_SLOT)
        elif getattr(limit, on) and limit.reserve:
            yield Problem((*path, on), checks.NO_OUTCOME_AHEAD)
    if given.issuperset(ON):
        yield Problem((*path, "refund_on"), checks.NO_TWO_OUTCOMES)


def _check_names(valid: Valid, tier: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, limit in enumerate(written_limits(valid, tier)):
        name = limit.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            path = ("tiers", tier, "limits", index, "name")
            yield Problem(
                path, f"{shown(name)} is the name of limits[{first[name]}] too; each limit of a tier has its own"
            )


def written_limits(valid: Valid, tier: str) -> list[dict[str, object]]:
    """The limits of a tier as they are written; an empty table for one that is none."""
    limits = valid.at(("tiers", tier, "limits"))
    return [limit if isinstance(limit, dict) else {} for limit in limits]


def _check_per(valid: Valid, path: Path, limit: LimitTable) -> Iterator[Problem]:
    known = {name for key in valid.file.keys for name in key.attributes}
    paths = [part_path for part_path, _ in valid.numbered((*path, "per"), limit.per)]
    for number, wrong in checks.wrong_per(limit.per, known):
        yield Problem(paths[number] if isinstance(valid.at((*path, "per")), list) else (*path, "per"), wrong)


def _check_operations(valid: Valid, path: Path, limit: LimitTable) -> Iterator[Problem]:
    if ("operations",) in valid.dropped:
        return
    known = (valid.given(("operations",)) | {*BUILT_IN, messages_of(valid) or EXEMPT}) - {EXEMPT}
    named = list(valid.numbered((*path, "operations"), limit.operations or []))
    named += [((*path, "cost", name), name) for name in (limit.cost if isinstance(limit.cost, dict) else ())]
    for where, name in named:
        if name != EXEMPT and name not in known:
            hint = one_of(name, known)
            declare = f"{' ' if hint.endswith('?') else '. '}If your own classify gives it, write {place((name,))} = []"
            yield Problem(where, f"{shown(name)} is not an operation{hint}{declare} in [operations]")
        elif wrong := checks.wrong_operation(name, limit.operations):
            yield Problem(where, wrong)


def _check_attributes(valid: Valid, path: Path, limit: LimitTable) -> Iterator[Problem]:
    """An attribute that a formula lacks counts as 0, which denies everything: that must not be found out at night."""
    amount = limit.rate or limit.quota or limit.concurrency
    if amount is None or not amount.max.names:
        return
    tier = path[1]
    names = listed(sorted(amount.max.names))
    if tier == ANONYMOUS and valid.file.keys:
        yield Problem(path, f"needs {names}, but callers without a known API key have no attributes; write a number")
    for key_path, key in valid.numbered(("keys",), valid.file.keys):
        if (key.tier or valid.file.identity.default_tier) == tier:
            for name in lacking(valid, key_path, key, amount):
                where = (*key_path, "attributes", name)
                what = "is not a whole number" if name in key.attributes else "is missing"
                yield Problem(where, f"{what}; {place(path)} computes its max from it: {shown(amount.written)}")


def lacking(valid: Valid, path: Path, key: KeyTable, amount: Amount) -> list[str]:
    """The attributes that a formula needs and that a key does not have as a number, as far as they could be read."""
    return [
        name
        for name in sorted(amount.max.names)
        if (*path, "attributes", name) not in valid.dropped
        and (*path, "attributes") not in valid.dropped
        and not isinstance(key.attributes.get(name), int)
    ]
