"""A threshold as a policy file has it: what stands before and behind the number, or arithmetic that is multiplied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from ratelimit.formula import Formula
from ratelimit.ground.times import period
from ratelimit.model import Concurrency, Limit, Rate

Term = tuple[int, str]  # a factor and the attribute that it is of; "" is none


@dataclass(frozen=True, slots=True)
class Amount:
    """`rate = "` and `/minute"`. Where the max is computed, `terms` are the parts of the sum, and None where it is no
    sum: then a multiple of it can't be written."""

    before: str
    behind: str
    where: str  # `requests of [tiers.basic]`
    constant: int | None  # the max of the limit, overrides aside
    terms: Sequence[Term] | None = None

    def toml(self, threshold: float, *, absolute: bool) -> str:
        """What to write for this max, or for this multiple of the present one."""
        comment = f"  # {self.where}"
        if absolute:
            return f"{self.before}{int(threshold)}{self.behind}{comment}"
        if threshold == inf:
            return f"# {self.where}: of a max of 0 no multiple is more"
        times = Fraction(str(threshold))
        if self.constant is not None:
            most = times.numerator * self.constant // times.denominator
            return f"{self.before}{most}{self.behind}{comment}, and each override times {threshold:g}"
        if self.terms is None:
            return f"# {threshold:g} times the present max of {self.where}"
        text = " + ".join(_scaled(factor, name, times) for factor, name in self.terms)
        return f'{self.before.rstrip(chr(34))}"({text}){self.behind or chr(34)}{comment}'


def _scaled(factor: int, name: str, times: Fraction) -> str:
    """Rounded up, so that nobody has less."""
    number = str(-(-factor * times.numerator // times.denominator))
    return f"{number} * {name}" if name else number


def amount_of(tier: str, limit: Limit) -> Amount:
    where = f"{limit.name} of [tiers.{tier}]"
    constant, terms = None, None
    if isinstance(limit.max, Formula) and limit.max.names:
        terms = _terms(limit.max)
    else:
        constant = limit.max({})
    kind = limit.kind
    if isinstance(kind, Concurrency):
        return Amount("concurrency = ", "", where, constant, terms)
    word, of = ("rate", period(kind.window_ms)) if isinstance(kind, Rate) else ("quota", kind.period)
    return Amount(f'{word} = "', f'/{of}"', where, constant, terms)


def _terms(formula: Formula) -> Sequence[Term] | None:
    """The parts of a sum, `300 * registers + 50`; None of what is none, or has parts below 0."""
    nothing: Mapping[str, int] = dict.fromkeys(formula.names, 0)
    constant = formula(nothing)
    parts = [(formula({**nothing, name: 1}) - constant, name) for name in sorted(formula.names)]
    probe = {name: 7 + 4 * number for number, name in enumerate(sorted(formula.names))}
    if formula(probe) != constant + sum(factor * probe[name] for factor, name in parts):
        return None
    if any(factor < 0 for factor, _ in parts):
        return None
    return [*[part for part in parts if part[0]], *([(constant, "")] if constant else [])]
