"""What is done around a simulation: what the limiter would log is heard, and the garbage collector waits."""

from __future__ import annotations

import gc
import logging

import pytest

from ratelimit.config import PolicyError
from ratelimit.simulate.run import HEARD, PolicyText, heard, without_pauses


def test_what_the_limiter_would_log() -> None:
    """Each line is heard once, in no other log, and no more of them than are read."""
    logger = logging.getLogger("ratelimit")
    with heard() as lines:
        for number in range(HEARD + 5):
            logger.warning("line %d \x1b[31m", number)
            logger.warning("line %d \x1b[31m", number)
    assert len([*lines]) == HEARD
    assert all(line.isprintable() for line in lines)
    assert logger.propagate


def test_garbage_collector() -> None:
    """It is off meanwhile, and then as it was."""
    gc.disable()
    try:
        with without_pauses():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
    with without_pauses():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_policy_that_is_none() -> None:
    """All of its mistakes are in one error, under its name."""
    with pytest.raises(PolicyError, match=r"that\.toml: .*itef"):
        PolicyText('style = "itef"\n[tiers.anonymous]\nlimits = []\n', "that.toml").policy()
