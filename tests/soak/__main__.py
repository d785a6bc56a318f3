"""`python -m tests.soak [--minutes 10] [--seed N] [--server valkey]`: the report on standard output, 1 if it is bad."""

from __future__ import annotations

import argparse
import random
import sys

from tests.faults.matrix import POLICIES
from tests.soak.run import Report, broken, soak


def text(report: Report) -> str:
    blocks = [f"seed {report.seed}", f"faults: {', '.join(f'{n} x {name}' for name, n in report.faults.items())}"]
    for app in report.apps:
        first, last = app.looks[0], app.looks[-1]
        most = [max(getattr(look, what) for look in app.looks) for what in ("memory_kib", "tasks", "files")]
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(app.statuses.items()))
        blocks.append(
            f"{app.on_failure}: answers {answers}\n"
            f"  memory {first.memory_kib} KiB, at the end {last.memory_kib}, at most {most[0]};"
            f" slope {app.slope:+.0f} KiB a minute over the last {app.minutes:.1f} minutes\n"
            f"  tasks {first.tasks}, at the end {last.tasks}, at most {most[1]};"
            f" open files {first.files}, at the end {last.files}, at most {most[2]}"
        )
    blocks.append(f"leases that nobody holds: {report.leases}")
    return "\n".join(blocks)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--server", choices=["valkey", "redis"], default="valkey")
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", file=sys.stderr)  # noqa: T201 - also where it is interrupted
    report = soak(options.minutes, options.seed, POLICIES, options.server)
    told = broken(report)
    print(text(report))  # noqa: T201 - that is what it is for
    print("\n".join(told) or "nothing grew, nothing was left behind")  # noqa: T201
    return bool(told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
