"""Reading databases beside programs that open, close and write to them: what was read is of one instant, or is
read once more."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from kuramori.clock import SystemClock
from kuramori.sources.sqlite_image import read_image
from kuramori.sources.sqlite_reading import Patience, Reading, SourceChangingError, StoppedError, read_database
from kuramori.testing.clock import FakeClock
from samples.databases import file_states, holder, killed_writer, make_bank

_PATIENCE = Patience(SystemClock(), 5.0, lambda: False)
_EMPTY = ("import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None); "
          "connection.execute('DELETE FROM note'); connection.execute('VACUUM'); "
          "connection.execute('PRAGMA wal_checkpoint(TRUNCATE)'); connection.close()")
_ADD = ("import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "connection.execute('INSERT INTO note VALUES (?)', (sys.argv[2],)); "
        "connection.execute('PRAGMA wal_checkpoint(TRUNCATE)'); connection.close()")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a log, closed in good order."""
    (tmp_path / "source").mkdir()
    found = tmp_path / "source" / "notes.db"
    connection = sqlite3.connect(found, isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("CREATE TABLE note (text TEXT)")
    connection.execute("INSERT INTO note VALUES ('first')")
    connection.close()
    return found


@pytest.fixture
def folder(path: Path) -> Iterator[int]:
    """A descriptor of its folder."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def _add(path: Path, text: str) -> None:
    """Let another program add a row, move it from the log into the database, and close it."""
    subprocess.run([sys.executable, "-c", _ADD, str(path), text], check=True)


def _texts(reading: Reading) -> list[str]:
    return [str(row[0]) for row in reading.connection.execute("SELECT text FROM note")]


def test_whoever_comes_meanwhile_makes_it_read_again(path: Path, folder: int) -> None:
    """Nothing but the database was there at first, so there was no index of a log to share."""
    seen = []

    def read(reading: Reading) -> None:
        if not seen:
            _add(path, "second")
        seen.append((reading.was_undisturbed(), _texts(reading)))

    read_database(b"notes.db", folder, _PATIENCE, read)
    assert len(seen) == 2
    assert seen[0][0] is False
    assert seen[1] == (True, ["first", "second"])


def test_whoever_comes_while_the_index_is_shared_disturbs_nothing(path: Path, folder: int) -> None:
    owner = sqlite3.connect(path, isolation_level=None)
    owner.execute("INSERT INTO note VALUES ('in the log')")
    seen = []

    def read(reading: Reading) -> None:
        owner.execute("INSERT INTO note VALUES ('later')")
        owner.execute("PRAGMA wal_checkpoint")
        seen.append((reading.was_undisturbed(), _texts(reading)))

    read_database(b"notes.db", folder, _PATIENCE, read)
    owner.close()
    assert seen == [(True, ["first", "in the log"])]


@pytest.mark.parametrize(("mode", "how", "expected"), [
    ("wal", "closed", True), ("delete", "closed", True), ("truncate", "closed", True), ("persist", "closed", True),
    ("wal", "in use", False), ("delete", "in use", True), ("persist", "in use", True),
    ("wal", "killed", False), ("delete", "killed", False),
])
def test_when_its_pages_are_in_its_file(tmp_path: Path, mode: str, how: str, expected: bool) -> None:
    """Then the file is the image; otherwise it is not, or may become another one meanwhile."""
    path = tmp_path / "notes.db"
    statements = ("CREATE TABLE note (text); PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN; "
                  "INSERT INTO note VALUES (zeroblob(90000));")
    owner = None
    if how == "killed":
        killed_writer(path, mode, statements + ("COMMIT" if mode == "wal" else ""))
    else:
        owner = sqlite3.connect(path, isolation_level=None)
        owner.execute(f"PRAGMA journal_mode = {mode}")
        owner.executescript(statements + "COMMIT")
        if how == "closed":
            owner.close()
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    seen = []

    def read(reading: Reading) -> None:
        chunks: dict[int, bytes] = {}
        read_image(reading, lambda offset, chunk: chunks.update({offset: bytes(chunk)}))
        seen[:] = [reading.is_in_its_file, b"".join(chunks[offset] for offset in sorted(chunks))]

    read_database(b"notes.db", fd, _PATIENCE, read)
    os.close(fd)
    assert seen[0] is expected
    if expected:
        assert seen[1] == path.read_bytes()
    (tmp_path / "image.db").write_bytes(seen[1])
    image = sqlite3.connect(tmp_path / "image.db")
    assert image.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rolled_back = (mode, how) == ("delete", "killed")
    assert rolled_back or image.execute("SELECT length(text) FROM note").fetchall() == [(90000,)]
    image.close()
    if owner is not None:
        owner.close()


def test_a_file_that_is_changed_while_it_is_read_is_read_again(path: Path, folder: int) -> None:
    """By a program that comes, empties the database and goes, while its image is read from its file."""
    owner = sqlite3.connect(path, isolation_level=None)
    owner.execute("INSERT INTO note VALUES (zeroblob(5000000))")
    owner.close()
    attempts: list[list[bytes]] = []

    def read(reading: Reading) -> None:
        assert attempts or reading.is_in_its_file
        attempts.append([])

        def take(offset: int, chunk: bytearray | memoryview) -> None:
            attempts[-1].append(bytes(chunk))
            if len(attempts) == 1 and offset == 16384:
                subprocess.run([sys.executable, "-c", _EMPTY, str(path)], check=True)

        read_image(reading, take)

    read_database(b"notes.db", folder, _PATIENCE, read)
    assert len(attempts) == 2
    assert len(b"".join(attempts[1])) == path.stat().st_size < 5_000_000


def test_a_file_that_stays_too_short_is_given_up(path: Path, folder: int) -> None:
    def read(reading: Reading) -> None:
        reading.read_file(100, path.stat().st_size)

    with pytest.raises(SourceChangingError):
        read_database(b"notes.db", folder, _PATIENCE, read)


def test_when_it_never_gets_quiet(path: Path, folder: int) -> None:
    """It gives up and says so."""
    def read(reading: Reading) -> None:
        path.with_name("notes.db-shm").unlink(missing_ok=True)
        reading._vfs.alone = True
        path.with_name("notes.db-shm").touch()

    with pytest.raises(SourceChangingError):
        read_database(b"notes.db", folder, _PATIENCE, read)


def test_an_error_of_the_reader_is_not_taken_for_one_of_the_database(path: Path, folder: int) -> None:
    def read(reading: Reading) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_database(b"notes.db", folder, _PATIENCE, read)


def test_waiting_is_bounded_and_asks_whether_to_go_on(tmp_path: Path) -> None:
    make_bank(tmp_path / "plain.db", "delete")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    clock = FakeClock()
    # Somebody else: were it this process, looking at the file would take his lock from him.
    with holder(tmp_path / "plain.db"):
        with pytest.raises(apsw.BusyError):
            read_database(b"plain.db", fd, Patience(clock, 60.0, lambda: False), lambda reading: None)
        assert sum(clock.slept) == pytest.approx(60.0)
        assert max(clock.slept) <= 0.01
        asked = iter([False] * 5 + [True] * 100)
        with pytest.raises(StoppedError):
            read_database(b"plain.db", fd, Patience(FakeClock(), 60.0, lambda: next(asked)), lambda reading: None)
    os.close(fd)


def test_a_link_is_not_followed(path: Path, folder: int) -> None:
    (path.parent / "link.db").symlink_to(path)
    with pytest.raises((apsw.CantOpenError, OSError)):
        read_database(b"link.db", folder, _PATIENCE, lambda reading: None)


def test_a_journal_is_played_back_in_memory_only(path: Path, folder: int) -> None:
    """Also where the dead program had made the database longer or shorter."""
    for name, statements in (
        ("longer.db", "INSERT INTO note VALUES (zeroblob(200000))"),
        ("shorter.db", "PRAGMA secure_delete = ON; DELETE FROM note"),
        ("other.db", "UPDATE note SET text = randomblob(2000)"),
    ):
        killed_writer(path.parent / name, "delete",
                      "PRAGMA auto_vacuum = FULL; CREATE TABLE note (text); "
                      "INSERT INTO note VALUES (zeroblob(90000)), ('last'); "
                      "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN; " + statements)
        before = file_states(path.parent)
        assert name + "-journal" in before
        seen = []

        def read(reading: Reading, seen: list[object] = seen) -> None:
            seen.append(reading.connection.execute("SELECT length(text) FROM note").fetchall())
            seen.append(reading.connection.execute("PRAGMA integrity_check").fetchall())

        read_database(name.encode(), folder, _PATIENCE, read)
        assert seen == [[(90000,), (4,)], [("ok",)]], name
        assert file_states(path.parent) == before
