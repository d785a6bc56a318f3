"""The mutants themselves: what is made of a source, and that a test which sees one is told from one that does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import Mutant, lua_source, python_source
from tests.mutants.rooms import ROOMS
from tests.mutants.run import REPOSITORY, equivalents, gone, mutants_in, sample

PACKAGE = REPOSITORY / "ratelimit"

PYTHON = '''\
def left(now: int, end: int, used: int | None) -> int:
    """Units, "a" text."""
    total = 3  # of them
    if used is None and now <= end:
        total = 5
    keep(total)
    return end - now
'''
LUA = """\
local function left(c, key)
  local used = useds[c]
  if used < maxes[c] and c > 0 then -- room
    call('HSET', key, 'n', used + 1)
  end
  useds[c] = used
end
"""


def changes(mutants: list[Mutant]) -> set[tuple[str, str]]:
    assert len({mutant.name for mutant in mutants}) == len(mutants)
    assert {mutant.where for mutant in mutants} == {"left"}
    return {(mutant.was, mutant.becomes) for mutant in mutants}


def test_mutants_of_python() -> None:
    """Comparisons, conditions, numbers, differences turned round, and statements that are dropped; types and texts for
    readers are left alone."""
    condition = "if used is None and now <= end:"
    assert changes(python_source.mutants_of("a.py", PYTHON)) == {
        ("total = 3", "total = (3 + 1)"),
        (condition, "if used is not None and now <= end:"),
        (condition, "if used is None or now <= end:"),
        (condition, "if used is None and now < end:"),
        (condition, "if used is None and now > end:"),
        (condition, "if (not used is None and now <= end):"),
        ("total = 5", "total = (5 + 1)"),
        ("total = 5", "pass"),
        ("keep(total)", "pass"),
        ("return end - now", "return end + now"),
        ("return end - now", "return (now) - (end)"),
        ("return end - now", "return None"),
    }


def test_mutants_of_lua() -> None:
    """The same of a script."""
    condition = "if used < maxes[c] and c > 0 then"
    assert changes(lua_source.mutants_of("a.lua", LUA)) == {
        (condition, "if used <= maxes[c] and c > 0 then"),
        (condition, "if used >= maxes[c] and c > 0 then"),
        (condition, "if used < maxes[c] or c > 0 then"),
        (condition, "if used < maxes[c] and c >= 0 then"),
        (condition, "if used < maxes[c] and c <= 0 then"),
        (condition, "if used < maxes[c] and c > (0 + 1) then"),
        (condition, "if not (used < maxes[c] and c > 0) then"),
        ("call('HSET', key, 'n', used + 1)", ""),
        ("call('HSET', key, 'n', used + 1)", "call('HSET', key, 'n', used - 1)"),
        ("call('HSET', key, 'n', used + 1)", "call('HSET', key, 'n', used + (1 + 1))"),
        ("useds[c] = used", ""),
    }


def test_a_sample_is_the_same_of_one_seed() -> None:
    """So that what was missed is missed again."""
    mutants = python_source.mutants_of("a.py", PYTHON)
    assert sample(mutants, 7, 5) == sample(mutants, 7, 5)
    assert len(sample(mutants, 7, 5)) == 5
    assert sample(mutants, 7, None) == sample(mutants, 7, 99) == mutants


@pytest.mark.parametrize("name", ROOMS)
def test_rooms_have_files_and_tests(name: str) -> None:
    """Each room has files that can be changed, and its tests are where it says."""
    assert list(ROOMS[name].sources(PACKAGE))
    assert [test for test in ROOMS[name].tests if not (REPOSITORY / "tests" / test).exists()] == []


def test_what_is_listed_as_equivalent_is_there() -> None:
    """A mutant of which nothing could be seen is one still, and says why nothing can be."""
    listed = equivalents()
    assert all(len(why) > 10 for why in listed.values())
    sources = sorted({PACKAGE / file for file, *_ in listed})
    assert gone(listed, [mutant for path in sources for mutant in mutants_in(path, PACKAGE)]) == []


RUN = """
import sys
from pathlib import Path
from tests.mutants import rooms, run
run.REPOSITORY = Path(sys.argv[1])
run.EQUIVALENTS = run.REPOSITORY / "equivalents.toml"
run.ROOMS = {"small": rooms.Room(("small.py",), ("test_small.py",))}
run.equivalents.__defaults__ = (run.EQUIVALENTS,)
found = run.examine("small", 1, None, everything=True, tell=print)
print(found.seen, [mutant.becomes for mutant in found.missed], [mutant.becomes for mutant in found.killed_equivalents])
"""


def test_what_is_seen(tmp_path: Path) -> None:
    """A mutant that a test fails of is seen; one that none fails of is told, and so is
    one that is listed as equivalent and is seen."""
    (tmp_path / "ratelimit").mkdir()
    (tmp_path / "ratelimit" / "__init__.py").touch()
    (tmp_path / "ratelimit" / "small.py").write_text("def more(a):\n    if a > 7:\n        a = 8\n    return a + 1\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_small.py").write_text(
        "from ratelimit.small import more\ndef test_more():\n    assert (more(2), more(7), more(100)) == (3, 8, 9)\n"
    )
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "equivalents.toml").write_text(
        '[["small.py"]]\nwhere = "more"\nwas = "return a + 1"\nbecomes = "return a - 1"\nwhy = "it is seen"\n'
    )
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    *_, last = ran.stdout.splitlines()
    assert last == "6 ['if a > (7 + 1):'] ['return a - 1']"  # nobody asked with 8
