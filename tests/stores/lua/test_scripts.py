"""Each script is one text, made of files that say what they are for; its header is the contract, and it is kept."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores.batching.callers import SentTerms
from ratelimit.stores.lua import scripts
from ratelimit.stores.lua.scripts import NAMES, Script, Scripts, Settled, read_time, whole
from tests.packaging import ROOT
from tests.stores import CLOCK_LINE, concurrency, quota, rate

FOLDER = ROOT / "ratelimit" / "stores" / "lua"
LIBRARY = sorted(path.stem for path in (FOLDER / "lib").glob("*.lua"))
WORDS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


def header(name: str) -> str:
    """The comment at the top of a file, as one line."""
    lines = (FOLDER / f"{name}.lua").read_text("utf-8").splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    return " ".join(line.removeprefix("--").strip() for line in lines[:end])


def said(name: str, noun: str) -> list[int]:
    """How many arguments the header says that one of something has, be it "six a charge" or "three each"."""
    return [WORDS[word] for word in re.findall(rf"\b({'|'.join(WORDS)}) {noun}\b", header(name))]


def code(text: str) -> str:
    return re.sub(r"--.*", "", text)


@pytest.mark.parametrize("name", NAMES)
def test_a_header_is_the_contract(name: str) -> None:
    """Purpose, KEYS, ARGV, Returns, in this order; each argument that is read by its number is in it."""
    text = header(name)
    assert re.fullmatch(r"\S.*\. +KEYS.*ARGV.*Returns.*", text)
    own = code((FOLDER / f"{name}.lua").read_text("utf-8"))
    for which, number in re.findall(r"\b(KEYS|ARGV)\[(\d+)\]", own):
        assert f"{which}[{number}]" in text
    assert {path.stem for path in FOLDER.glob("*.lua")} == set(NAMES) == set(Scripts.__slots__)


def test_headers_count_what_is_sent() -> None:
    """How many arguments a charge, a later max, an item and a lease have is what is sent of them."""
    charges = (rate(9, 60_000), quota(9), concurrency(9))
    later = (*charges, rate(9, 1_000, maxes=((2_000_000_000_000, 5), (2**53, 6))))
    (charge,), (step,) = said("acquire", "a charge")[:1], said("acquire", "each")
    assert SentTerms(charges, 1_772_359_200_000).parts == 4 + 3 * charge + 1
    assert SentTerms(later, 1_772_359_200_000).parts == 4 + 4 * charge + 1 + step
    leases = [Lease("a", "1/5", 5, 1), Lease("b", "2/5", 5, 1)]
    assert counts(Scripts().renewal("p:", leases)) == (2, 2 * said("renew", "a lease")[0])
    items: list[Settled] = [("a", ("r", 60_000, 60, 5), -3), ("b", ("Q", 0, 9, "7/5@ab"), 4)]
    assert counts(Scripts().settlement("p:", items)) == (3, 1 + 2 * said("settle", "an item")[0])
    assert counts(Scripts().settlement("p:", items, ("marker", b"7"))) == (4, 1 + 2 * said("settle", "an item")[0])


def counts(request: bytes) -> tuple[int, int]:
    """How many keys and how many arguments a call says that it has; it has them."""
    parts = re.findall(rb"\$\d+\r\n(.*?)\r\n(?=\$|\Z)", request, re.DOTALL)
    announced = int(request[1 : request.index(b"\r\n")])
    assert len(parts) == announced
    keys = int(parts[2])
    return keys, announced - 3 - keys


@pytest.mark.parametrize("name", NAMES)
def test_a_script_reads_the_clock_once(name: str) -> None:
    """In a line that tests replace; resolve.lua and reset.lua go by no clock, and trial.lua only tries
    whether it may be asked."""
    assert Script.load(name).text.count(CLOCK_LINE) == (name not in {"resolve", "reset", "trial"})


def test_nothing_is_defined_twice() -> None:
    """No function is there again in another file, and each of the library begins with the name of its file."""
    for name in NAMES:
        functions = re.findall(r"^local function (\w+)", whole(name), re.MULTILINE)
        assert len(functions) == len(set(functions))
    for name in LIBRARY:
        text = (FOLDER / "lib" / f"{name}.lua").read_text("utf-8")
        assert re.findall(r"^local (?:function )?(\w+)", text, re.MULTILINE)
        for defined in re.findall(r"^local (?:function )?(\w+)", text, re.MULTILINE):
            assert defined.lower().startswith(f"{name}_")
        assert not re.search(r"\b(KEYS|ARGV|TIME)\b", code(text))  # no state: what it works on is handed in


def test_each_of_the_library_is_used() -> None:
    """Every file is included by a script, and every function called; more than one script may do so."""
    texts = [code(whole(name)) for name in NAMES]
    for name in LIBRARY:
        assert any(f"-- from lib/{name}.lua\n" in whole(script) for script in NAMES)
        for function in re.findall(rf"^local function ({name}_\w+)", whole_of_library(name), re.MULTILINE):
            assert any(len(re.findall(rf"\b{function}\b", text)) > 1 for text in texts), function


def whole_of_library(name: str) -> str:
    return (FOLDER / "lib" / f"{name}.lua").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_is_what_is_sent(name: str) -> None:
    """Line by line, without the comments: an error of the server names a line that one can read."""
    command = [sys.executable, "-m", "ratelimit.stores.lua", name]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == whole(name)
    assert "-- include" not in printed
    sent = Script.load(name).text.splitlines()
    for there, here in zip(sent, printed.splitlines(), strict=True):
        assert there == ("" if here.strip().startswith("--") else here)


@pytest.mark.parametrize("arguments", [[], ["refund"], ["acquire", "settle"]])
def test_what_is_no_script(arguments: list[str]) -> None:
    """Is told with the names of those that there are."""
    command = [sys.executable, "-m", "ratelimit.stores.lua", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "usage: python -m ratelimit.stores.lua {acquire|settle|renew|resolve|reset|trial}\n"


def test_an_unknown_include() -> None:
    """Is an error where the scripts are put together, at import, not in the server."""
    with pytest.raises(FileNotFoundError, match=r"rite\.lua"):
        scripts._INCLUDE.sub(scripts._included, "-- include lib/rite\n")


@pytest.mark.parametrize("reply", [[], [1, 2], 5, b"OK", [b"soon"], [-1], [2**60], StoreUnavailable("gone")], ids=repr)
def test_what_is_no_reply_to_a_call_for_nobody(reply: Any) -> None:
    """A server that decides says its time, and nothing else."""
    read_time([1_772_359_200_000])
    with pytest.raises(StoreUnavailable, match="gone" if isinstance(reply, StoreUnavailable) else "is no reply"):
        read_time(reply)
