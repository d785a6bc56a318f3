"""Prints a script as the server runs it: `python -m ratelimit.stores.lua acquire`."""

from __future__ import annotations

import sys

from ratelimit.stores.lua.scripts import NAMES, whole

if len(sys.argv) != 2 or sys.argv[1] not in NAMES:
    sys.exit(f"usage: python -m ratelimit.stores.lua {{{'|'.join(NAMES)}}}")
sys.stdout.write(whole(sys.argv[1]))
