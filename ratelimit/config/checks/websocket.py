"""Whether the messages of WebSockets are charged as what some limit counts."""

from __future__ import annotations

from collections.abc import Iterator

from ratelimit.checks import values as checks
from ratelimit.config.checks.limits import limits_of, messages_of
from ratelimit.config.checks.reserve import charged
from ratelimit.config.grammar.messages import Path, Problem
from ratelimit.config.grammar.tables import LimitTable
from ratelimit.config.grammar.valid import Valid
from ratelimit.ground.words import shown


def check_websocket(valid: Valid) -> Iterator[Problem]:
    name = messages_of(valid)
    where: Path = ("websocket", "messages")
    if name is None:
        if "on_excess" in valid.given(("websocket",)):
            why = "has no effect without messages, the operation that they are charged as"
            yield Problem(("websocket", "on_excess"), f'{why}: write messages = "message" there too', odd="no-effect")
    elif wrong := checks.wrong_operation(name, None):
        yield Problem(where, wrong)
    elif not any(_counts(limit, name) for _, limit in limits_of(valid)):
        why = f"no rate and no quota counts {shown(name)}, so that messages are not limited"
        yield Problem(where, f"{why}; write a limit with operations = [{shown(name)}]", odd="messages-not-limited")


def _counts(limit: LimitTable, name: str) -> bool:
    """A slot is the connection's, and no message has a status to count by."""
    return limit.concurrency is None and not limit.charge_on and charged(limit, name)
