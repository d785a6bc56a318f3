"""What is measured in a process of its own, which prints it as JSON."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks import environments, load

LONGEST = 900  # seconds


def child(program: object, module: str, *arguments: str) -> Any:
    """What a module of this folder prints that runs under another Python, perhaps in an environment of its own."""
    command = [str(program), "-m", module, *arguments]
    environment = load.ours(environments.outside())
    done = subprocess.run(command, cwd=load.ROOT, env=environment, check=True, stdout=subprocess.PIPE, timeout=LONGEST)
    return json.loads(done.stdout)
