"""Files of logs as chunks of whole lines: plain, gzip, zstd, or standard input; told apart by how they begin."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

CHUNK = 256 * 1024  # bytes, decompressed, that are read at a time
LONGEST = 64 * 1024  # bytes of a line
FED = 256  # bytes of zstd at a time: they may become a hundred thousand times as many
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
    """One file, open from the first chunk that is asked for until the last. `size` is in bytes as it lies there, where
    that is known: no more is read, also if it grows. `cut` says that a compressed file ends before its end, or another
    one before that size."""

    def __init__(self, path: str, size: int | None = None) -> None:
        self.path = path
        self.name = STDIN_NAME if path == STDIN else path
        self.size = size
        self.cut = False
        self.chunks: Iterator[Chunk] = self._chunks()
        self._raw: Any = None
        self._file: Any = None

    def head(self, *, keep: bool) -> Chunk | None:
        """The first chunk, which `chunks` begins with all the same; None of an empty file. One that is not kept open is
        opened anew then."""
        chunk = next(self.chunks, None)
        if chunk is None or keep or self.size is None:
            self.chunks = chain([] if chunk is None else [chunk], self.chunks)
        else:
            self.close()
            self.chunks = self._chunks()
        return chunk

    def close(self) -> None:
        if self.path != STDIN and self._raw is not None:
            self._raw.close()

    def _open(self) -> None:
        try:
            self._raw = sys.stdin.buffer if self.path == STDIN else Path(self.path).open("rb")  # noqa: SIM115
            self._file = self._opened()
        except (OSError, ValueError) as error:  # a ValueError of a name with a zero byte in it
            raise LogError(f"{self.name} can't be read: {getattr(error, 'strerror', None) or error}") from None

    def _opened(self) -> Any:
        if self.size is None and self.path != STDIN and self._raw.seekable():
            self.size = os.fstat(self._raw.fileno()).st_size
        if not hasattr(self._raw, "peek"):
            self._raw = io.BufferedReader(self._raw)
        begin = self._raw.peek(4)[:4]
        if begin.startswith(_GZIP):
            return gzip.GzipFile(fileobj=self._raw)
        if begin == _ZSTD:
            return self._zstd()
        return self._raw

    def _zstd(self) -> Any:
        try:
            import zstandard
        except ImportError:
            what = f"{self.name} is compressed with zstd: pip install 'ratelimit-asgi[cli]', or unpack it with zstdcat"
            raise LogError(what) from None
        return _Zstd(self._raw, zstandard.ZstdDecompressor().decompressobj)

    def _read(self) -> bytes:
        """b"" at the end; a file that grows meanwhile ends where it did when it was opened."""
        left = CHUNK
        if plain := self._file is self._raw and self.size is not None:
            left = (self.size or 0) - self._raw.tell()
        try:
            data = bytes(self._file.read(min(CHUNK, left))) if left > 0 else b""
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.cut = True
        except OSError as error:
            raise LogError(f"{self.name} can't be read any further: {error.strerror or error}") from None
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            self.cut = True
        else:
            self.cut = plain and left > 0 and not data
            return data
        return b""

    def _chunks(self) -> Iterator[Chunk]:
        self._open()
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
        self.close()
        if rest:
            yield Chunk(rest, number, 1, read)


class _Zstd:
    """Tells of a stream that ends before its end, as that of gzip does; the library's own reader does not."""

    def __init__(self, raw: Any, begun: Callable[[], Any]) -> None:
        self._raw = raw
        self._begun = begun
        self._frame: Any = None  # the one that has begun and has not ended
        self._made = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._made) < size and (data := self._raw.read(FED)):
            while data:
                frame = self._frame = self._frame or self._begun()
                self._made += frame.decompress(data)
                data = frame.unused_data
                if frame.eof:
                    self._frame = None
        if not self._made and self._frame is not None:
            raise EOFError
        data = bytes(self._made[:size])
        del self._made[:size]
        return data
