"""Files of logs as chunks of whole lines: plain, gzip, zstd, or standard input; told apart by how they begin."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

CHUNK = 256 * 1024  # bytes, decompressed, that are read at a time
LONGEST = 64 * 1024  # bytes of a line
STDIN, STDIN_NAME = "-", "standard input"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class LogError(Exception):
    """A log can't be read: a sentence that says which, and why."""


class Chunk(NamedTuple):
    """Whole lines, without the newline of the last. Of a line above 64 kB no more than a byte beyond."""

    data: bytes
    first: int  # the number of the first of them
    lines: int
    read: int  # bytes of the file so far, as it lies there


class Source:
    """One file. `size` is in bytes as it lies there, None where that is not known; `cut` says that a compressed file
    ends before its end."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = STDIN_NAME if path == STDIN else path
        self.cut = False
        self.size: int | None = None
        try:
            self._raw: IO[bytes] = sys.stdin.buffer if path == STDIN else Path(path).open("rb")  # noqa: SIM115
        except (OSError, ValueError) as error:  # a ValueError of a name with a zero byte in it
            raise LogError(f"{self.name} can't be read: {getattr(error, 'strerror', None) or error}") from None
        try:
            self._file = self._opened()
        except BaseException:
            self.close()
            raise
        self.chunks = self._chunks()

    def close(self) -> None:
        if self.path != STDIN:
            self._raw.close()

    def _opened(self) -> IO[bytes]:
        if self.path != STDIN and self._raw.seekable():
            self.size = os.fstat(self._raw.fileno()).st_size
        if not hasattr(self._raw, "peek"):
            self._raw = io.BufferedReader(cast("io.RawIOBase", self._raw))
        begin = self._raw.peek(4)[:4]
        if begin.startswith(_GZIP):
            return gzip.GzipFile(fileobj=self._raw)  # type: ignore[return-value]
        if begin == _ZSTD:
            return self._zstd()
        return self._raw

    def _zstd(self) -> IO[bytes]:
        try:
            import zstandard
        except ImportError:
            what = f"{self.name} is compressed with zstd: pip install 'ratelimit-asgi[cli]', or unpack it with zstdcat"
            raise LogError(what) from None
        return zstandard.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True)

    def _read(self) -> bytes:
        """b"" at the end; a file that grows meanwhile ends where it did when it was opened."""
        size = CHUNK
        if self._file is self._raw and self.size is not None:
            size = min(CHUNK, self.size - self._raw.tell())
        try:
            return self._file.read(size) if size > 0 else b""
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.cut = True
        except OSError as error:
            raise LogError(f"{self.name} can't be read any further: {error.strerror or error}") from None
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            self.cut = True
        return b""

    def _chunks(self) -> Iterator[Chunk]:
        rest, number, read = b"", 1, 0
        while data := self._read():
            read = read + len(data) if self.size is None else self._raw.tell()
            if number == 1 and not rest:
                data = data.removeprefix(BOM_UTF8)
            head, newline, tail = data.rpartition(b"\n")
            if not newline:
                rest = (rest + data)[: LONGEST + 1]
                continue
            whole, rest = rest + head, tail[: LONGEST + 1]
            lines = whole.count(b"\n") + 1
            yield Chunk(whole, number, lines, read)
            number += lines
        if rest:
            yield Chunk(rest, number, 1, read)
