"""The answer of a simulation, of requests that a test makes up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratelimit import Policy
from ratelimit.simulate.analysis.pair import Against
from ratelimit.simulate.events import Summary
from ratelimit.simulate.report.report import Report, report_of
from tests.simulate.analysis import Asked, watched


def report(of: Policy, asked: Sequence[Asked], against: Against | None = None, **summary: Any) -> Report:
    found = watched(of, asked)
    first, last = (min(one.at for one in asked), max(one.at for one in asked)) if asked else (None, None)
    of_log = {
        "files": ["access.log"],
        "lines": len(asked),
        "understood": len(asked),
        "first_ms": first,
        "last_ms": last,
    }
    other = None if against is None else "other.toml"
    return report_of("ratelimit.toml", of, found, Summary(**{**of_log, **summary}), other=other, against=against)
