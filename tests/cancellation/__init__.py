"""A request that is cancelled at each of its suspensions in turn: where it was, and what it leaves behind."""

from __future__ import annotations

import ast
import asyncio
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import ratelimit

ROOT = Path(ratelimit.__file__).parent


class Place(NamedTuple):
    """A line of a file in ratelimit/."""

    file: str
    line: int


class Wait(NamedTuple):
    """An `await` as it is written, `async with` and `async for` among them."""

    file: str
    function: str
    text: str
    first: int
    last: int

    def holds(self, place: Place) -> bool:
        return self.file == place.file and self.first <= place.line <= self.last


When = Literal["at once", "when what it waits for is there"]


class Cancellation:
    """Runs a coroutine as a task and cancels it at its suspension number `at`: at once, or when what it waits for is
    there and it has not gone on yet. `places` is where it was then; empty if it had ended before."""

    def __init__(self, at: int, when: When, on_suspension: Callable[[list[Place]], None] = lambda places: None) -> None:
        self._at = at
        self._when = when
        self._on_suspension = on_suspension
        self._count = 0
        self.places: list[Place] = []

    def task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def stepped() -> None:
            await self._steps(coroutine)

        self._task = asyncio.create_task(stepped())
        return self._task

    @types.coroutine
    def _steps(self, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, None, None]:
        error: BaseException | None = None
        while True:
            try:
                waits_for = coroutine.throw(error) if error else coroutine.send(None)
            except StopIteration:
                return
            here = list(places(coroutine))
            self._on_suspension(here)
            self._count += 1
            if self._count == self._at:
                self.places = here
                if isinstance(waits_for, asyncio.Future) and self._when != "at once":
                    waits_for.add_done_callback(
                        lambda _: self._task.cancel()
                    )  # before the task's own: it goes on later
                else:
                    asyncio.get_running_loop().call_soon(self._task.cancel)
            try:
                yield waits_for
                error = None
            except BaseException as thrown:  # noqa: BLE001 - a CancelledError too goes to the coroutine
                error = thrown


def places(coroutine: Any) -> Iterator[Place]:
    """Where in ratelimit/ a coroutine is suspended: the lines of all that wait for one another."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame and (path := Path(frame.f_code.co_filename)).is_relative_to(ROOT):
            yield Place(path.relative_to(ROOT).as_posix(), frame.f_lineno)
        coroutine = getattr(coroutine, "cr_await", None)


def waits(*files: str) -> list[Wait]:
    """Every one in these files of ratelimit/."""
    return [wait for file in files for wait in _waits(file, ast.parse((ROOT / file).read_text("utf-8")), "")]


def _waits(file: str, node: ast.AST, function: str) -> Iterator[Wait]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _waits(file, child, f"{function}.{child.name}".strip("."))
            continue
        if isinstance(child, ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield Wait(file, function, ast.unparse(child).partition("\n")[0], child.lineno, child.end_lineno or 0)
        yield from _waits(file, child, function)
