"""For as long as is wanted: `python -m tests.strictness --seconds 60`."""

from __future__ import annotations

import argparse
import sys

from tests import clusters
from tests.strictness.run import run

HOW = {"a trip a request": {}, "units taken ahead": {"reserve": True}, "half of the processes each": {"mixed": True}}


def main() -> int:
    arguments = argparse.ArgumentParser(prog="tests.strictness", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60, help="of each of the three")
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    over = 0
    with clusters.run_cluster("valkey") as cluster:
        for how, options in HOW.items():
            report = run(cluster.url, chosen.seconds, seed=chosen.seed, **options)
            print(f"{how}: {report}", flush=True)  # noqa: T201 - it is what the command is for
            over += len(report.over)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
