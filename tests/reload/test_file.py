"""Whichever way a file is written, it is read once it is whole."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from ratelimit import parse_policy
from ratelimit.reload import file
from ratelimit.reload.file import LARGEST, SETTLES, Looks, Reader, Seen, digest_of, look, read
from tests.reload import limited, rate, stepped, watch_of, written


class Moved:
    """A clock that goes half a second with each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


def read_by(looks: Looks, times: int = 2) -> list[bytes | None]:
    return [looks.next() for _ in range(times)]


def test_in_place(path: Path) -> None:
    """It is read when two looks agree, and once more when a coarse clock must have gone on; then no more."""
    looks = Looks(str(written(path, "one")), clock=Moved())
    assert read_by(looks, 12) == [None, b"one", None, None, None, b"one"] + 6 * [None]
    written(path, "two")
    assert read_by(looks) == [None, b"two"]


def test_half_written(path: Path) -> None:
    """What still grows is not read, however often it is looked at."""
    looks = Looks(str(path))
    whole = rate(100)
    for size in range(10, len(whole), len(whole) // 20):
        written(path, whole[:size])
        assert looks.next() is None
    written(path, whole)
    assert read_by(looks) == [None, whole.encode()]


def test_a_rename_onto_it(path: Path) -> None:
    """Another file of the same size and time under its name is another content."""
    looks = Looks(str(written(path, "one")))
    assert read_by(looks)[-1] == b"one"
    other = path.with_name("new")
    other.write_bytes(b"two")
    at = path.stat().st_mtime_ns
    os.utime(other, ns=(at, at))
    other.replace(path)
    assert read_by(looks) == [None, b"two"]


def test_a_config_map(tmp_path: Path) -> None:
    """Kubernetes puts another folder in the place of the one that the links lead through."""
    for name in ("..1", "..2"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "ratelimit.toml", name)
    (tmp_path / "..data").symlink_to("..1")
    path = tmp_path / "ratelimit.toml"
    path.symlink_to("..data/ratelimit.toml")
    looks = Looks(str(path))
    assert read_by(looks)[-1] == b"..1"
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert read_by(looks) == [None, b"..2"]


def test_the_same_size_in_the_same_tick(path: Path) -> None:
    """A clock of a file system that stands still hides an edit for no longer than it is waited for."""
    looks = Looks(str(written(path, "one")), clock=Moved())
    assert read_by(looks)[-1] == b"one"
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [raw for raw in read_by(looks, round(2 * SETTLES) + 1) if raw] == [b"two"]


def test_the_server_of_the_file_is_asked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS answers a stat from what it remembers, for up to a minute; who opens the file sees the edit."""
    looks = Looks(str(written(path, "one")), clock=Moved())
    assert read_by(looks)[-1] == b"one"
    remembered = path.stat()
    written(path, "another size, another time")
    with monkeypatch.context() as nfs:
        nfs.setattr(os, "stat", lambda *_, **__: remembered)
        assert read_by(looks) == [None, b"another size, another time"]


def test_it_changes_while_it_is_read(path: Path) -> None:
    """What was read of a file that has changed since it was looked at is not taken."""
    written(path, "one")

    def slow(name: str) -> tuple[bytes, Seen | None]:
        raw, _ = read(name)
        written(path, "two")
        return raw, look(name)

    looks = Looks(str(path), read=slow)
    assert read_by(looks) == [None, None]
    looks._read = read
    assert read_by(looks, 1) == [b"two"]


def test_it_vanishes_and_comes_back(path: Path) -> None:
    """Also in the moment between the look and the reading."""
    looks = Looks(str(path))
    assert read_by(looks) == [None, None]
    assert looks.gone
    written(path, "one")
    assert read_by(looks) == [None, b"one"]
    assert not looks.gone

    def too_late(name: str) -> tuple[bytes, Seen | None]:
        raise FileNotFoundError(name)

    written(path, "two")
    looks._read = too_late
    assert read_by(looks) == [None, None]
    assert not looks.gone


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file(path: Path, make: object) -> None:
    """A folder or a pipe in its place is no file, and nobody waits for a pipe."""
    make(path)  # type: ignore[operator]
    assert look(str(path)) is None
    assert Looks(str(path)).next() is None


def test_no_right_to_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as one that is gone."""
    written(path, "one")

    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(file.os, "open", refused)
    assert look(str(path)) is None


def test_again(path: Path) -> None:
    """Who comes later has it read once more."""
    looks = Looks(str(written(path, "one")))
    assert read_by(looks)[-1] == b"one"
    looks.again()
    assert looks.next() == b"one"


def test_digest() -> None:
    """That of `sha256sum`, whatever an editor puts in front."""
    assert digest_of(b"one") == digest_of(b"\xef\xbb\xbfone") == sha256(b"one").hexdigest()


def test_too_large() -> None:
    """A file without an end is no policy, and does not fill the memory."""
    with pytest.raises(ValueError, match="big: is larger than 64 MiB"):
        Reader().policy_in(b" " * (LARGEST + 1), "big")


def test_a_large_one_is_read_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a process that is begun when an edit is seen, and is gone when it was read, or is as it was."""
    monkeypatch.setattr(file, "LARGE", 1_000)
    limiter = limited(written(path, rate(100, callers=2)))
    watch, readers = watch_of(limiter), []

    def begun() -> bool:
        reader = watch._reader._apart
        readers.extend([reader] if reader else [])
        return reader is not None

    steps = []
    for content in (None, None, rate(100, callers=20), None, rate(101, callers=20), rate(100, callers=20), None):
        if content:
            written(path, content)
        stepped(limiter, 1)
        steps.append(begun())
    assert steps == [False, False, True, False, True, True, False]
    assert limiter.policy.identify.keys.keys() == parse_policy(rate(1, callers=20)).identify.keys.keys()  # type: ignore[attr-defined]
    assert [reader._process for reader in readers] == [None] * 3
    written(path, rate(102, callers=20))
    stepped(limiter, 1)
    assert begun()
    assert not watch.wanted()
    assert not begun()
