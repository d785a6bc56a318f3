"""The file of `[record]`: whole lines by any number of processes, bounded, and never a reason for an app to wait."""

from __future__ import annotations

import errno
import gc
import importlib.util
import json
import multiprocessing
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ratelimit import Identity
from ratelimit.recording import file as files
from ratelimit.recording import writer as writers
from ratelimit.recording.file import LogFile
from ratelimit.recording.line import LONGEST, Recorded
from ratelimit.recording.writer import Writer
from ratelimit.simulate.logs import sources
from tests.recording import lines_of

ONE = Recorded(1, 2, "GET", "/", 200, "search", Identity(ip="192.0.2.7"))


def size_of(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def filling(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """A disk on which so many bytes have room still."""
    real, left = os.write, [room]

    def write(file: int, lines: Any) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(file, bytes(lines)[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(files.os, "write", write)
    return left


def test_a_full_file_is_moved(tmp_path: Path) -> None:
    """The file that has reached its size becomes .1, that one .2; what is older than `keep` of them is gone."""
    log = LogFile(str(tmp_path / "log"), 20, keep=2)
    for number in range(8):
        log.append(b"%09d\n" % number)
    log.close()
    assert (tmp_path / "log").read_bytes() == b"000000006\n000000007\n"
    assert (tmp_path / "log.1").read_bytes() == b"000000004\n000000005\n"
    assert (tmp_path / "log.2").read_bytes() == b"000000002\n000000003\n"
    assert len(size_of(tmp_path)) == 3


def test_a_link(tmp_path: Path) -> None:
    """It goes on to link to where there is room: what it links to is moved."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "log").symlink_to(tmp_path / "disk" / "log")
    log = LogFile(str(tmp_path / "log"), 20, keep=2)
    for number in range(4):
        log.append(b"%09d\n" % number)
    assert (tmp_path / "log").is_symlink()
    assert size_of(tmp_path / "disk") == {"log": 20, "log.1": 20}


@pytest.mark.parametrize("locks", [True, False])
def test_two_who_write_one_file(tmp_path: Path, locks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that write one file each finds what the other has moved: no line is lost, and none is moved twice. A
    system without such locks has no more than one process there."""
    if not locks:
        monkeypatch.setattr(files, "fcntl", None)
    first, second = (LogFile(str(tmp_path / "log"), 20, keep=9) for _ in range(2))
    for number in range(4):
        first.append(b"%09d\n" % number)
        second.append(b"%09d\n" % (number + 100))
    assert size_of(tmp_path) == {"log": 20, "log.1": 20, "log.2": 20, "log.3": 20}


def test_moved_while_it_waited_for_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds the file full and another one moving it moves nothing."""
    first, second = (LogFile(str(tmp_path / "log"), 20, keep=9) for _ in range(2))
    first.append(b"x" * 19 + b"\n")
    second._current()
    real = files.fcntl.flock

    def meanwhile(file: int, how: int) -> None:
        monkeypatch.setattr(files.fcntl, "flock", real)
        first.append(b"first\n")
        real(file, how)

    monkeypatch.setattr(files.fcntl, "flock", meanwhile)
    second.append(b"second\n")
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\n"
    assert len(size_of(tmp_path)) == 2


def test_removed(tmp_path: Path) -> None:
    """A file that somebody has removed or moved is made anew."""
    log = LogFile(str(tmp_path / "log"), 1_000, keep=2)
    log.append(b"one\n")
    (tmp_path / "log").rename(tmp_path / "elsewhere")
    log.append(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"two\n"


def test_a_disk_that_fills_within_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after half a line begins on a line of its own: one line can't be read, and no other."""
    log = LogFile(str(tmp_path / "log"), 1_000, keep=2)
    room = filling(monkeypatch, 6)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            log.append(b"first\nsecond\n" if room[0] else b"third\n")
    room[0] = 3
    with pytest.raises(OSError, match="No space"):
        log.append(b"fourth\n")
    with pytest.raises(OSError, match="No space"):
        log.append(b"fifth\n")
    room[0] = 100
    assert log.missing == 1
    log.append(b"sixth\n")
    log.append(b"seventh\n")
    assert log.missing == 0
    assert (tmp_path / "log").read_bytes() == b"first\nfou\nsixth\nseventh\n"


def test_half_a_line_of_another(tmp_path: Path) -> None:
    """Of a process that found the disk full or was killed: what comes after it is on a line of its own."""
    (tmp_path / "log").write_bytes(b'{"at":1}\n{"at":2,"meth')
    LogFile(str(tmp_path / "log"), 1_000, keep=2).append(b"next\n")
    assert (tmp_path / "log").read_bytes() == b'{"at":1}\n{"at":2,"meth\nnext\n'


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written all the same."""

    def flock(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    log = LogFile(str(tmp_path / "log"), 20, keep=2)
    for number in range(4):
        log.append(b"%09d\n" % number)
    assert size_of(tmp_path) == {"log": 20, "log.1": 20}


def test_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    """It is an error, and no halt."""
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="No such device"):
        LogFile(str(tmp_path / "log"), 1_000, keep=2).append(b"one\n")


def test_a_close_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS may: what was written was written."""

    def fails(file: int) -> None:
        real(file)
        raise OSError(errno.EIO, "Input/output error")

    log = LogFile(str(tmp_path / "log"), 1_000, keep=2)
    log.append(b"one\n")
    real = os.close
    monkeypatch.setattr(files.os, "close", fails)
    log.close()
    log.close()


def test_a_pipe_that_is_full(tmp_path: Path) -> None:
    """Half a line in it is ended as one in a file is, though nobody can look at its end."""
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    log = LogFile(str(tmp_path / "log"), 10_000_000, keep=2)
    with pytest.raises(BlockingIOError):
        log.append(b"x" * 1_000_000 + b"\n")
    while os.read(reader, 1_000_000).endswith(b"x"):
        log.append(b"next\n")
    os.close(reader)
    assert not log._torn


def append_some(path: str, number: int) -> None:
    writer = Writer(LogFile(path, 20_000, keep=99))
    for count in range(300):
        writer.put(ONE._replace(at_ms=number * 1_000 + count))
        writer.write()
    writer.close()


def test_four_processes(tmp_path: Path) -> None:
    """Of four that write one file, which is moved again and again, every line is there once and whole."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=append_some, args=(str(tmp_path / "log"), number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    seen = [line["at"] for path in tmp_path.iterdir() for line in lines_of(path)]
    assert sorted(seen) == [number * 1_000 + count for number in range(4) for count in range(300)]
    assert len(size_of(tmp_path)) > 3


def test_the_thread_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody who asks; it is there once, and ends with its writer."""
    monkeypatch.setattr(writers, "EVERY", 0.001)
    writer = Writer(LogFile(str(tmp_path / "log"), 1_000_000, keep=2))
    writer.begin()
    thread = writer._thread
    writer.begin()
    assert thread is writer._thread is not None
    writer.put(ONE)
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_bytes().endswith(b"\n"):
        thread.join(0.001)
    assert thread.daemon
    del writer
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_more_than_can_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes faster than the disk takes it is counted, in the file too."""
    monkeypatch.setattr(writers, "MOST", 3)
    writer = Writer(LogFile(str(tmp_path / "log"), 1_000_000, keep=2))
    for _ in range(5):
        writer.put(ONE)
    writer.close()
    lines = lines_of(tmp_path / "log")
    assert lines[0] == {"lost": 2}
    assert len(lines) == 4
    assert writer.lost == 2


def test_a_disk_that_fills_within_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written of it is not missing, nor is it told twice; and it is told as soon as there is room, also where
    nothing else is to be written."""
    writer = Writer(LogFile(str(tmp_path / "log"), 1_000_000, keep=2))
    room = filling(monkeypatch, 250)
    for batch in (4, 1):
        for _ in range(batch):
            writer.put(ONE)
        writer.write()
    room[0] = 25
    writer.write()
    writer.put(ONE)
    writer.write()
    room[0] = 1_000
    writer.close()
    text = (tmp_path / "log").read_bytes().splitlines()
    whole = [json.loads(line) for line in text if line.endswith(b"}")]
    assert [line["lost"] for line in whole if "lost" in line] == [3, 1]
    assert len([line for line in whole if "at" in line]) == 2
    assert len(text) == len(whole) + 2  # half a line, and another
    assert writer.lost == 4


def test_a_line_that_nobody_reads(tmp_path: Path) -> None:
    """`simulate` reads no longer lines than these: what is longer is missing, and counted so."""
    assert LONGEST == sources.LONGEST
    writer = Writer(LogFile(str(tmp_path / "log"), 1_000_000, keep=2))
    writer.put(ONE._replace(identity=Identity(organization="\x01" * 20_000)))
    writer.put(ONE)
    writer.close()
    lines = lines_of(tmp_path / "log")
    assert lines[0] == {"lost": 1}
    assert len(lines) == 2


def test_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written in several steps."""
    monkeypatch.setattr(writers, "AT_ONCE", 2)
    writer = Writer(LogFile(str(tmp_path / "log"), 1_000_000, keep=2))
    for _ in range(5):
        writer.put(ONE)
    writer.close()
    assert len(lines_of(tmp_path / "log")) == 5


def test_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of an app waits for it no longer than it has patience."""
    monkeypatch.setattr(writers, "EVERY", 0.001)
    monkeypatch.setattr(writers, "PATIENCE", 0.001)
    asked, goes_on = threading.Event(), threading.Event()

    class Hanging(LogFile):
        def append(self, lines: bytes) -> None:
            asked.set()
            assert goes_on.wait(10)

    writer = Writer(Hanging(str(tmp_path / "log"), 1_000_000, keep=2))
    writer.begin()
    thread = writer._thread
    assert thread
    writer.put(ONE)
    assert asked.wait(10)
    writer.close()
    assert thread.is_alive()
    goes_on.set()
    thread.join(10)


def test_the_end_of_the_process(tmp_path: Path) -> None:
    """What waits is written where no lifespan said that it comes."""
    writer = Writer(LogFile(str(tmp_path / "log"), 1_000_000, keep=2))
    writer.put(ONE)
    writers._end()
    assert len(lines_of(tmp_path / "log")) == 1


def test_after_a_fork(tmp_path: Path) -> None:
    """The child has a thread of its own, and writes nothing that the parent has to write or to count."""
    writer = Writer(LogFile(str(tmp_path / "log"), 1_000_000, keep=2))
    writer.begin()
    thread = writer._thread
    writer.put(ONE)
    assert writer._lock.acquire()
    writer.lost = 7
    writers._forked()
    assert writer._thread is None
    assert not writer.lost
    writer.begin()
    assert writer._thread is not thread
    writer.close()
    assert not (tmp_path / "log").exists() or json.loads((tmp_path / "log").read_bytes())


def test_two_requests_that_begin_at_once(tmp_path: Path) -> None:
    """There is one thread, whoever of them was first."""
    writer = Writer(LogFile(str(tmp_path / "log"), 1_000_000, keep=2))
    other = threading.Thread()

    class Lost:
        def __enter__(self) -> None:
            writer._thread = other  # which had the lock meanwhile

        def __exit__(self, *_: object) -> None:
            pass

    writer._starting = Lost()  # type: ignore[assignment]
    writer.begin()
    assert writer._thread is other
    writer._thread = None


def test_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without fcntl has the module all the same."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    spec = importlib.util.spec_from_file_location("without_locks", files.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.fcntl is None
