"""Operations that a policy does not know: by a slip in a name a request gets past every limit that lists its own."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ratelimit.checks.values import BUILT_IN, EXEMPT
from ratelimit.ground.printable import in_a_line
from ratelimit.ground.repeats import Once
from ratelimit.ground.words import did_you_mean, listed
from ratelimit.model import Classify

_log = logging.getLogger("ratelimit")


class KnownOperations:
    """The built-in ones, those that are declared, those that a limit names, and those of the rules of `classify`."""

    __slots__ = ("_listed", "_once", "names")

    def __init__(self, declared: Iterable[str], named: Iterable[str], classify: Classify) -> None:
        self._listed = frozenset(named)
        ruled = [getattr(rule, "operation", None) for rule in getattr(classify, "rules", ())]
        self.names = frozenset((*BUILT_IN, *declared, *named, *filter(None, ruled)))
        self._once = Once()

    def tell_of(self, operations: Iterable[str]) -> None:
        """The same of what an endpoint is, where limits list their operations."""
        for operation in operations:
            if self._listed and operation not in self.names:
                self.tell(operation)

    def tell(self, operation: str) -> None:
        """Say once of an operation that it is not known."""
        if not self._once.first(operation):
            return
        name = in_a_line(operation)
        hint = did_you_mean(name, sorted(self.names))
        if operation == EXEMPT:
            hint = "; did you mean None, which is exempt?"
        _log.warning(
            'classify gave the operation "%s", which the policy does not know%s The limits that list their operations '
            "do not count it. If that is meant, declare it: %s = [] in [operations]. Known: %s. This is logged once.",
            name,
            hint or ".",
            name,
            listed(sorted(self.names)),
        )
