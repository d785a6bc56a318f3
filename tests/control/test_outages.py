"""What an outage of the store leaves behind."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from ratelimit.control.control import Control
from tests.acceptance import T, ask
from tests.control import COMPLETION, TEXT, Away, app, limiter, run


@pytest.mark.parametrize("units", [10, 1001])
@pytest.mark.parametrize("away", [("hold", "charge", "refund"), ("acquire",)], ids=["by hand", "at the door"])
@pytest.mark.parametrize("on_failure", ["allow", "deny", "local"])
@pytest.mark.parametrize("waits", [False, True])
def test_no_cycle(units: int, away: tuple[str, ...], on_failure: str, waits: bool) -> None:
    """No error of a store out of reach refers to what has caught it: the garbage collector has no more to do than
    before."""

    async def handle(control: Control, send: Any) -> None:
        await control.charge(1, limit="rows")
        await control.refund(1)
        async with control.hold(units, limit="tokens"):
            pass

    async def test() -> None:
        store = Away(lambda: T)
        store.away = {*away}
        limited = limiter(app(handle), f'{TEXT}\n[store]\non_failure = "{on_failure}"', store)
        limited._account._waits = waits
        await ask(limited, **COMPLETION)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await ask(limited, **COMPLETION)
            gc.collect()
            found = [one for one in gc.garbage if isinstance(one, Control | BaseException)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert found == []

    run(test())
