"""python -m benchmarks [--short | --full] [--only NAME ...]: the measures one after the other, and the report on them.

Writes results.json, from which `python -m benchmarks.report` can write the report again, then RESULTS.md and the plots.
A whole run ends with docs/scaling.md, which is computed from the results.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks import load, section

RESULTS = Path(__file__).parent / "results.json"
# Modules with a measure(short=...), in the order of the report. Never two at once: they would measure each other.
MEASURES = ("throughput", "latency", "flood", "script", "strictness", "memory", "micro")


def main() -> None:
    arguments = _arguments()
    form = "full" if arguments.full else "short"
    load.wrk_program()  # now, rather than after minutes
    known = section.from_json(RESULTS.read_text()) if RESULTS.exists() else []  # what micro.py compares with, too
    found = {one.name: one for one in known}
    for name in arguments.only or MEASURES:
        started = time.monotonic()
        print(f"{name} …", file=sys.stderr)
        found[name] = import_module(f"benchmarks.{name}").measure(short=form == "short")
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        sections = [found[name] for name in MEASURES if name in found]
        RESULTS.write_text(section.to_json(sections) + "\n")  # each time: what is found stays if the next one fails
    import_module("benchmarks.report").write(sections, command=" ".join(["python -m benchmarks", *sys.argv[1:]]))
    if not arguments.only:
        import_module("benchmarks.scaling").main()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ratelimit and its peers.")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="less than 15 minutes on 2 cores; this is the default")
    form.add_argument("--full", action="store_true", help="longer runs and more rounds: about an hour and a half")
    names = f"of {', '.join(MEASURES)}; the results of the others stay"
    parser.add_argument("--only", nargs="+", choices=MEASURES, metavar="NAME", help=names)
    return parser.parse_args()


if __name__ == "__main__":
    main()
