"""A caller of a tier that the policy does not have yet is limited by the default tier, else as anonymous: no 500."""

from __future__ import annotations

import pytest

from ratelimit import Identity
from tests.acceptance import ask, header, limited, plain, run


@pytest.mark.parametrize(
    ("more", "tier", "remaining"),
    [
        ("", "gold", ["1", "0", "0"]),
        ("", "basic", ["2", "1", "0"]),
        ('[identity]\ndefault_tier = "basic"', "gold", ["2", "1", "0"]),
        ('[identity]\ndefault_tier = "basic"', "", ["2", "1", "0"]),
        ('[identity]\ndefault_tier = "anonymous"', "gold", ["1", "0", "0"]),
    ],
)
def test_a_rolling_deploy(more: str, tier: str, remaining: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """The old processes limit the callers of a new tier, each by itself, and say so once."""

    async def test() -> None:
        users = iter(["zoe"] * 3 + ["max"])
        limiter = limited(plain, more=more, identify=lambda _: Identity(user=next(users), tier=tier))
        seen = [header((await ask(limiter))[0], "x-ratelimit-remaining") for _ in range(4)]
        assert seen == [*remaining, remaining[0]]

    run(test())
    warnings = [record.getMessage() for record in caplog.records if "which the policy does not have" in record.message]
    assert len(warnings) == (tier == "gold")
