"""Files of logs, however they are kept: as chunks of whole lines, each with its number."""

from __future__ import annotations

import gzip
import io
import os
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard

from ratelimit.simulate.logs import sources
from ratelimit.simulate.logs.sources import CHUNK, LONGEST, LogError, Source


def read(source: Source) -> list[tuple[int, bytes]]:
    """Its lines by their numbers; as many as it says. It is closed then."""
    found: list[tuple[int, bytes]] = []
    with closing(source):
        for chunk in source.chunks:
            lines = chunk.data.split(b"\n")
            assert len(lines) == chunk.lines
            found += enumerate(lines, chunk.first)
    return found


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK", 1_000)


LINES = [b"line %d " % number + b"x" * (number % 90) for number in range(1, 200)]
TEXT = b"\n".join(LINES) + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        TEXT[:-1],
        gzip.compress(TEXT),
        gzip.compress(TEXT[:700]) + gzip.compress(TEXT[700:]),
        zstandard.compress(TEXT),
    ],
    ids=["plain", "without a last newline", "gzip", "two of gzip", "zstd"],
)
def test_each_kind(tmp_path: Path, data: bytes) -> None:
    """A file is told by how it begins, whatever its name; how far it was read goes by how it lies there."""
    path = tmp_path / "access.log.1"
    path.write_bytes(data)
    source = Source(str(path))
    first = next(source.chunks)
    assert source.size == len(data)
    assert 0 < first.read <= len(data)
    assert [*enumerate(first.data.split(b"\n"), 1), *read(source)] == [*enumerate(LINES, 1)]
    assert not source.cut


def test_what_windows_writes_first(tmp_path: Path) -> None:
    """A byte order mark is no part of the first line."""
    path = tmp_path / "access.log"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    assert read(Source(str(path))) == [(1, b"a\r"), (2, b"b\r")]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read as a file is, also compressed; nobody knows how large it is, and it is not closed."""
    stream = io.BytesIO(gzip.compress(TEXT))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    source = Source("-")
    assert (source.name, source.size) == ("standard input", None)
    assert read(source) == [*enumerate(LINES, 1)]
    assert not stream.closed


def test_lines_without_end(tmp_path: Path) -> None:
    """Of a line of megabytes no more is kept than tells that it is too long, and those behind it have their numbers."""
    path = tmp_path / "access.log"
    path.write_bytes(b"a\n" + b"x" * 300_000 + b"\nb\n" + b"y" * 200_000)
    found = read(Source(str(path)))
    assert [number for number, _ in found] == [1, 2, 3, 4]
    assert [len(line) > LONGEST for _, line in found] == [False, True, False, True]
    assert all(len(line) < LONGEST + 2_000 for _, line in found)


@pytest.mark.parametrize("whole", [gzip.compress(TEXT), zstandard.compress(TEXT)], ids=["gzip", "zstd"])
def test_a_compressed_file_that_is_cut_off(tmp_path: Path, whole: bytes) -> None:
    """What came before the end is read."""
    path = tmp_path / "access.log"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    source = Source(str(path))
    assert len(read(source)) < len(LINES)
    assert source.cut


def test_a_compressed_file_that_is_damaged(tmp_path: Path) -> None:
    """Neither is what is no zstd from some place on an error of ours."""
    path = tmp_path / "access.log"
    path.write_bytes(zstandard.compress(TEXT)[:6] + b"\xff" * 400)
    source = Source(str(path))
    assert read(source) == []
    assert source.cut


def test_several_frames(tmp_path: Path) -> None:
    """Files of zstd that were put together are one, and one of them that is cut off is told."""
    path = tmp_path / "access.log"
    frames = zstandard.compress(b"a\nb\n") + zstandard.compress(b"c\n")
    path.write_bytes(frames)
    source = Source(str(path))
    assert (read(source), source.cut) == ([(1, b"a"), (2, b"b"), (3, b"c")], False)
    path.write_bytes(frames[:-2])
    source = Source(str(path))
    assert (read(source)[:2], source.cut) == ([(1, b"a"), (2, b"b")], True)


def test_a_bomb(tmp_path: Path) -> None:
    """Of a small file that becomes gigabytes no more than a few megabytes are there at a time."""
    path = tmp_path / "access.log"
    path.write_bytes(zstandard.compress(bytes(1 << 26)))
    tracemalloc.start()
    try:
        assert [len(line) <= LONGEST for _, line in read(Source(str(path)))] == [False]
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


def test_a_file_that_is_shortened(tmp_path: Path) -> None:
    """One that is emptied while it is read, as by a rotation with copytruncate, says so."""
    path = tmp_path / "access.log"
    path.write_bytes(b"x\n" * CHUNK)
    source = Source(str(path))
    first = next(source.chunks)
    path.write_bytes(b"")
    assert len(read(source)) < CHUNK - first.lines
    assert source.cut


def test_a_file_that_grows(tmp_path: Path) -> None:
    """It ends where it did when it was opened, so that a log that is being written comes to an end."""
    path = tmp_path / "access.log"
    path.write_bytes(TEXT)
    for keep in (True, False):
        path.write_bytes(TEXT)
        source = Source(str(path))
        source.head(keep=keep)
        with path.open("ab") as more:
            more.write(b"later\n")
        assert read(source) == [*enumerate(LINES, 1)]
        assert read(Source(str(path), source.size)) == [*enumerate(LINES, 1)]


def test_the_first_lines(tmp_path: Path) -> None:
    """They can be looked at before, and are read all the same; a file that is not kept open is opened anew. An empty
    one has none."""
    path, empty = tmp_path / "access.log", tmp_path / "empty.log"
    path.write_bytes(TEXT)
    empty.touch()
    for keep in (True, False):
        source = Source(str(path))
        head = source.head(keep=keep)
        assert head is not None
        assert head.first == 1
        assert source._raw.closed is not keep
        assert read(source) == [*enumerate(LINES, 1)]
        nothing = Source(str(empty))
        assert nothing.head(keep=keep) is None
        assert read(nothing) == []


def test_what_can_not_be_opened(tmp_path: Path) -> None:
    """A file that is not there, a folder, and a name that can be none are a sentence each."""
    for path, says in (
        (str(tmp_path / "nothing.log"), r"nothing\.log can't be read: No such file or directory"),
        (str(tmp_path), "can't be read: Is a directory"),
        ("a\0b", "can't be read: embedded null byte"),
    ):
        with pytest.raises(LogError, match=says):
            read(Source(path))


def test_what_can_not_be_read_any_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails in the middle is a sentence; what is no error of a file is raised."""
    path = tmp_path / "access.log"
    path.write_bytes(TEXT)

    def failing(error: Exception) -> Any:
        def read(size: int) -> bytes:
            raise error

        return SimpleNamespace(read=read)

    source = Source(str(path))
    source.head(keep=True)
    monkeypatch.setattr(source, "_file", failing(OSError(5, os.strerror(5))))
    with pytest.raises(LogError, match="can't be read any further: Input/output error"):
        read(source)
    source = Source(str(path))
    source.head(keep=True)
    monkeypatch.setattr(source, "_file", failing(LookupError("a bug")))
    with pytest.raises(LookupError, match="a bug"):
        read(source)


def test_zstd_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what to install."""
    path = tmp_path / "access.log"
    path.write_bytes(zstandard.compress(TEXT))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(LogError, match=r"is compressed with zstd: pip install 'ratelimit-asgi\[cli\]', or unpack it"):
        read(Source(str(path)))
