"""The contract of a Store as tests of pytest, for who writes one: all or nothing, strict to the millisecond.

In a file of tests of yours import all of it, and give it your store under a clock that it may move:

    from ratelimit.testing.contract import *

    @pytest.fixture
    def subject():
        clock = Clock()
        return Subject(MyStore(clock), clock.set)

A store without the verbs that count units imports from `.limits`, `.slots` and `.changes` alone.
"""

from __future__ import annotations

import pytest

_PARTS = ("limits", "slots", "changes", "units_of_rates", "units_of_quotas", "units_together", "holds", "timelines")
pytest.register_assert_rewrite(*[f"{__name__}.{part}" for part in _PARTS])  # so that a failure shows what was

from ratelimit.testing.clock import Clock as Clock  # noqa: E402
from ratelimit.testing.contract.changes import *  # noqa: E402, F403
from ratelimit.testing.contract.holds import *  # noqa: E402, F403
from ratelimit.testing.contract.limits import *  # noqa: E402, F403
from ratelimit.testing.contract.slots import *  # noqa: E402, F403
from ratelimit.testing.contract.subject import Subject as Subject  # noqa: E402
from ratelimit.testing.contract.units_of_quotas import *  # noqa: E402, F403
from ratelimit.testing.contract.units_of_rates import *  # noqa: E402, F403
from ratelimit.testing.contract.units_together import *  # noqa: E402, F403

__all__ = ["Clock", "Subject", *[name for name in dir() if name.startswith("test_")]]
