"""SQLite databases for tests, and programs that write to them."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

JOURNAL_MODES = ("wal", "delete", "truncate", "persist")

_ACCOUNTS = 50
_KEPT = 1000
"""As many of the newest transfers are kept, so that pages are freed and used again."""

_WRITER = """
import random, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("PRAGMA journal_mode = " + sys.argv[2])
connection.execute("PRAGMA synchronous = OFF")
print("ready", flush=True)
chance = random.Random(int(sys.argv[3]))
while True:
    first, second, amount = chance.randrange(50), chance.randrange(50), chance.randrange(100)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE account SET money = money - ? WHERE id = ?", (amount, first))
    connection.execute("UPDATE account SET money = money + ? WHERE id = ?", (amount, second))
    connection.execute("INSERT INTO transfer (first, second, amount, note) VALUES (?, ?, ?, ?)",
                       (first, second, amount, "x" * chance.randrange(400)))
    connection.execute("UPDATE counter SET transfers = transfers + 1")
    connection.execute("DELETE FROM transfer WHERE id <= (SELECT transfers - 1000 FROM counter)")
    connection.execute("COMMIT")
"""

_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("ready", flush=True)
sys.stdin.read()
"""


def make_bank(path: Path, mode: str) -> None:
    """Make a database in which money is moved and never made."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.executescript("""
        BEGIN;
        CREATE TABLE account (id INTEGER PRIMARY KEY, money INTEGER NOT NULL);
        CREATE TABLE transfer (id INTEGER PRIMARY KEY, first INTEGER REFERENCES account, second INTEGER, amount INTEGER,
                               note TEXT);
        CREATE INDEX transfer_note ON transfer (note);
        CREATE TABLE counter (transfers INTEGER);
        INSERT INTO counter VALUES (0);
    """)
    connection.executemany("INSERT INTO account VALUES (?, 1000)", [(number,) for number in range(_ACCOUNTS)])
    connection.execute("COMMIT")
    connection.close()


def writer(path: Path, mode: str) -> AbstractContextManager[None]:
    """Run a program that moves money as fast as it can, until the block ends."""
    return _running(_WRITER, str(path), mode, "1")


def holder(path: Path) -> AbstractContextManager[None]:
    """Run a program that holds a database exclusively until the block ends."""
    return _running(_HOLDER, str(path))


@contextmanager
def _running(code: str, *arguments: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        assert process.poll() is None, "the program ended by itself"
    finally:
        process.kill()
        process.communicate()


def transfers_of_instant(path: Path) -> int:
    """Return how many transfers a bank has seen; fail unless it is of one instant and sound."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT sum(money) FROM account").fetchone() == (1000 * _ACCOUNTS,)
        transfers = connection.execute("SELECT transfers FROM counter").fetchone()[0]
        kept = connection.execute("SELECT count(*), coalesce(max(id), 0) FROM transfer").fetchone()
        assert kept == (min(transfers, _KEPT), transfers)
        return int(transfers)
    finally:
        connection.close()


def file_states(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Return hash, mtime and ctime of each file of a folder but those named ``-shm``, in which readers
    leave marks."""
    found = {}
    for path in sorted(folder.iterdir()):
        if not path.name.endswith("-shm"):
            status = path.stat()
            found[path.name] = (hashlib.sha256(path.read_bytes()).hexdigest(), status.st_mtime_ns, status.st_ctime_ns)
    return found


def killed_writer(path: Path, mode: str, statements: str) -> None:
    """Run statements in a program that then dies without closing the database."""
    code = ("import os, signal, sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "connection.execute('PRAGMA journal_mode = ' + sys.argv[2])\n"
            "connection.executescript(sys.argv[3])\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n")
    subprocess.run([sys.executable, "-c", code, os.fspath(path), mode, statements], check=False)
