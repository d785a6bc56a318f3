"""make mutants: a sample of each room; make mutants ARGS="--all"; make mutants ARGS="lua memory --all --seed 3"."""

from __future__ import annotations

import argparse
import sys

from tests.mutants.rooms import ROOMS
from tests.mutants.run import LEAST, REPOSITORY, equivalents, examine, gone, mutants_in

SAMPLE = 8  # mutants a file


def tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - it is what the command is for


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("rooms", nargs="*", default=list(ROOMS), help=f"of {', '.join(ROOMS)}")
    parser.add_argument("--all", action="store_true", help="every mutant, and those that are listed as equivalent")
    parser.add_argument("--seed", type=int, default=13, help="of the sample")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="mutants a file")
    parser.add_argument("--file", default="", help="only of files that end like this")
    asked = parser.parse_args()
    if unknown := set(asked.rooms) - set(ROOMS):
        parser.error(f"there is no room {', '.join(sorted(unknown))}; there are {', '.join(ROOMS)}")
    package = REPOSITORY / "ratelimit"
    listed = equivalents()
    there = [mutant for file in sorted({file for file, *_ in listed}) for mutant in mutants_in(package / file, package)]
    wrong = [f"equivalents.toml has what is no mutant any more: {name}" for name in gone(listed, there)]
    seen = all_ = 0
    most = None if asked.all else asked.sample
    for name in asked.rooms:
        found = examine(name, asked.seed, most, everything=asked.all, tell=tell, file=asked.file)
        seen, all_ = seen + found.seen, all_ + found.seen + len(found.missed)
        tell(f"{name}: {found.share:.1%}, and {found.equivalent} equivalent\n")
        wrong += [f"equivalents.toml has what a test sees: {mutant.name}" for mutant in found.killed_equivalents]
    share = seen / max(1, all_)
    tell(f"seen: {seen} of {all_} mutants, {share:.1%}; seed {asked.seed}")
    tell("\n".join(wrong))
    return 1 if wrong or share < LEAST else 0


if __name__ == "__main__":
    sys.exit(main())
