"""Four processes on one store, under load, whose policy is edited in every way."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ratelimit import hash_api_key
from tests import servers
from tests.acceptance import run, workers
from tests.cli import COMMAND

PROCESSES, CALLERS = 4, 8
WITHIN = 2.0  # seconds
TIMEOUT = 0.1  # seconds that a request waits for the store at most
_MAXES = re.compile(r"q=(\d+)")


def text(url: str, prefix: str, edit: int, first: int = 100_000, more: str = "") -> str:
    """Two limits: the second max is 1,000,000 above the first in every edit, so that a mixture of two is seen."""
    keys = "".join(
        f'[[keys]]\nsha256 = "{hash_api_key(f"key{n}")}"\ntier = "basic"\norganization = "o{n}"\n'
        for n in range(CALLERS)
    )
    maxes = first + edit, first + edit + 1_000_000
    limits = f'{{ name = "a", rate = "{maxes[0]}/hour" }}, {{ name = "b", quota = "{maxes[1]}/year" }}'
    store = f'[store]\nurl = "{url}"\nprefix = "{prefix}"\ntimeout = "100ms"\n'
    exempt = '[operations]\nexempt = ["GET /health"]\n'
    anonymous = '[tiers.anonymous]\nlimits = [ { name = "ip", rate = "1/minute" } ]\n'
    return f"{store}{exempt}{more}\n{keys}{anonymous}[tiers.basic]\nlimits = [ {limits} ]\n"


class Folder:
    """As Kubernetes mounts a ConfigMap: the file is a link, through one to a folder that is put in another's place."""

    def __init__(self, folder: Path, content: str) -> None:
        self.folder = folder
        self.path = folder / "ratelimit.toml"
        self.edits = 0
        self.swapped(content)
        self.path.symlink_to("..data/ratelimit.toml")

    def swapped(self, content: str) -> None:
        self.edits += 1
        made = self.folder / f"..{self.edits}"
        made.mkdir()
        (made / "ratelimit.toml").write_text(content)
        (self.folder / "..new").symlink_to(made.name)
        (self.folder / "..new").replace(self.folder / "..data")

    def in_place(self, content: str) -> None:
        self.path.write_text(content)

    def slowly(self, content: str) -> None:
        """In pieces, each of which is on the disk before the next."""
        with self.path.open("w") as file:
            for start in range(0, len(content), 200):
                file.write(content[start : start + 200])
                file.flush()
                os.fsync(file.fileno())
                time.sleep(0.01)

    def renamed(self, content: str) -> None:
        new = self.path.with_name("new.toml")
        new.write_text(content)
        new.replace(self.folder / "..data" / "ratelimit.toml")

    def copied(self, content: str) -> None:
        other = self.folder / "other.toml"
        other.write_text(content)
        shutil.copyfile(other, self.path)

    def gone_and_back(self, content: str) -> None:
        self.path.resolve().unlink()
        time.sleep(0.7)
        self.in_place(content)


class Load:
    """Requests without a pause; each response has the maxes of one edit, and the count of its caller goes on."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.seen: dict[str, int] = {}  # the edit, by process
        self.asked = [0] * CALLERS
        self.wrong: list[str] = []
        self.ended = False

    async def one(self, client: httpx2.AsyncClient, number: int) -> None:
        url, caller = self.urls[number % PROCESSES], number // 2  # each caller is in two processes
        while not self.ended:
            response = await client.get(f"{url}/items", headers={"authorization": f"Bearer key{caller}"})
            self.asked[caller] += 1
            a, b = map(int, _MAXES.findall(response.headers["ratelimit-policy"]))
            if response.status_code != 200 or b - a != 1_000_000:
                self.wrong.append(f"{response.status_code} {response.headers}")
            self.seen[url] = a

    async def all(self) -> None:
        async with httpx2.AsyncClient(timeout=30) as client:
            await asyncio.gather(*[self.one(client, number) for number in range(2 * CALLERS)])

    async def until(self, maximum: int, *, within: float = WITHIN) -> float:
        began = time.monotonic()
        while set(self.seen.values()) != {maximum} or len(self.seen) < PROCESSES:
            assert time.monotonic() - began < within + 1, f"{self.seen} after {within} s and one more"
            await asyncio.sleep(0.02)
        return time.monotonic() - began


@pytest.fixture
def folder(tmp_path: Path, valkey: servers.Server) -> tuple[Folder, Callable[..., str]]:
    prefix = secrets.token_hex(4)

    def content(edit: int, **rest: Any) -> str:
        return text(valkey.url, prefix, edit, **rest)

    return Folder(tmp_path, content(0)), content


def told(urls: list[str]) -> list[dict[str, Any]]:
    return [httpx2.get(f"{url}/health").json() for url in urls]


def refused(urls: list[str], edits: int) -> None:
    """Wait until all have refused so many."""
    while {one["reloads"]["refused"] for one in told(urls)} != {edits}:
        time.sleep(0.1)


def accepted(path: Path) -> None:
    """By an operator, who has the command."""
    ran = subprocess.run([*COMMAND, "reload", "--accept", str(path)], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.proof
def test_under_load(folder: tuple[Folder, Callable[..., str]]) -> None:
    """Each edit is in force in all four within two seconds, no decision is of two policies, no count is lost, and no
    request takes longer than the timeout of the store."""
    files, content = folder
    ways = [files.in_place, files.renamed, files.swapped, files.slowly, files.copied, files.gone_and_back]

    async def test(urls: list[str]) -> None:
        load = Load(urls)
        running = asyncio.create_task(load.all())
        await load.until(100_000)
        told(urls)
        took = []
        for edit, write in enumerate(ways, 1):
            await asyncio.to_thread(write, content(edit))
            took.append(await load.until(100_000 + edit))
        print("in force after", [f"{seconds:.2f} s" for seconds in took])  # noqa: T201
        load.ended = True
        await running
        assert load.wrong == []
        assert max(took) <= WITHIN
        async with httpx2.AsyncClient() as client:
            for caller in range(CALLERS):
                response = await client.get(f"{urls[0]}/x", headers={"authorization": f"Bearer key{caller}"})
                left = int(re.findall(r"r=(\d+)", response.headers["ratelimit"])[0])
                assert left == 100_000 + len(ways) - load.asked[caller] - 1
        print(sum(load.asked), "requests")  # noqa: T201

    with workers(PROCESSES, "tests.reload.served:app", {"RELOAD_POLICY": str(files.path)}) as urls:
        run(test(urls))
        said = told(urls)
    print([f"{1000 * one['worst']:.1f} ms" for one in said])  # noqa: T201
    assert [one["without_store"] for one in said] == PROCESSES * [{"allowed": 0, "refused": 0, "decided locally": 0}]
    assert [one["reloads"] for one in said] == PROCESSES * [{"taken": len(ways), "refused": 0, "invalid": 0}]
    assert max(one["worst"] for one in said) <= TIMEOUT


@pytest.mark.proof
def test_the_guard_of_four(folder: tuple[Folder, Callable[..., str]]) -> None:
    """10 for 1000 is refused by all four, five percent are taken, an emergency is forced by one edit, and what an
    operator accepts is taken by all."""
    files, content = folder

    async def test(urls: list[str]) -> None:
        load = Load(urls)
        running = asyncio.create_task(load.all())
        await load.until(100_000)
        await asyncio.sleep(2)
        files.in_place(content(0, first=10))
        await asyncio.to_thread(refused, urls, 1)
        for edit in (5_000, -5_000):
            files.in_place(content(edit))
            await load.until(100_000 + edit)
        load.wrong.clear()
        files.in_place(content(0, first=10, more='[reload]\nrefuse_above = "100%"'))
        await load.until(10)
        assert any("429" in one for one in load.wrong)
        files.in_place(content(0))
        await load.until(100_000)
        files.in_place(content(0, first=11))
        await asyncio.to_thread(refused, urls, 2)
        await asyncio.to_thread(accepted, files.path)
        await load.until(11)
        load.ended = True
        await running

    with workers(PROCESSES, "tests.reload.served:app", {"RELOAD_POLICY": str(files.path)}) as urls:
        run(test(urls))
