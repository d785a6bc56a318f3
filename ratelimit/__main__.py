"""`python -m ratelimit` is the command `ratelimit`."""

from __future__ import annotations

from ratelimit.cli.main import main

main()
