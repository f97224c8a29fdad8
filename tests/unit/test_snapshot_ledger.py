"""What a machine remembers of snapshots: tolerant of everything that happens to its own file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from kuramori.errors import KuramoriError, LedgerDamagedError, LedgerError
from kuramori.ledger.snapshot_ledger import SnapshotLedger
from kuramori.testing.clock import FakeClock

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
REPOSITORY = "12" * 32


class Machine:
    """A ledger, and what it said."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.warnings: list[KuramoriError] = []
        self.ledger = SnapshotLedger(directory, REPOSITORY, self.clock, self.warnings.append)

    def vanished(self, *present: str) -> list[str]:
        """Return what is missed in a listing."""
        return [known.id for known in self.ledger.compare(set(present)).vanished]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "state" / "ledger")


def test_nothing_is_known_at_first_and_no_file_is_made_by_looking(machine: Machine) -> None:
    comparison = machine.ledger.compare({A})
    assert comparison.agrees
    assert comparison.unknown == (A,)
    assert not machine.ledger.path.exists()


def test_what_was_seen_or_written_is_missed(machine: Machine) -> None:
    machine.ledger.observe({A, B})
    machine.clock.advance(5)
    machine.ledger.recorded([C])
    assert machine.vanished(A, B, C) == []
    assert machine.vanished(A) == [B, C]
    assert machine.vanished() == [A, B, C]
    assert machine.ledger.compare(set()).known == 3
    seen = {known.id: known.seen_nanoseconds for known in machine.ledger.compare(set()).vanished}
    assert seen[C] - seen[A] == 5_000_000_000


def test_a_listing_does_not_make_it_forget(machine: Machine) -> None:
    machine.ledger.observe({A, B})
    machine.ledger.observe({A})
    assert machine.vanished(A) == [B]


def test_what_was_removed_on_purpose_is_not_missed(machine: Machine) -> None:
    machine.ledger.observe({A, B})
    machine.ledger.removed([A], "test")
    assert machine.vanished(A, B) == [], "a crash before the removal"
    assert machine.ledger.compare({A, B}).returned == ()
    assert machine.vanished(B) == [], "and after it"


def test_a_removal_that_failed_can_be_ended_by_somebody_else(machine: Machine) -> None:
    machine.ledger.observe({A, B})
    machine.ledger.removed([A], "test")
    machine.ledger.observe({A, B})
    assert machine.vanished(B) == []


def test_what_was_removed_and_comes_back(machine: Machine) -> None:
    machine.ledger.observe({A, B})
    machine.ledger.removed([A], "test")
    machine.ledger.observe({B})
    machine.ledger.recorded([C])
    comparison = machine.ledger.compare({A, B})
    assert comparison.returned == (A,)
    assert [known.id for known in comparison.vanished] == [C]
    assert comparison.rolled_back
    assert not machine.ledger.compare({A, B, C}).rolled_back


def test_to_accept_is_to_believe_the_listing(machine: Machine) -> None:
    machine.ledger.observe({A, B, D})
    machine.ledger.removed([D], "test")
    machine.ledger.observe({A, B})
    accepted = machine.ledger.accept({A, C, D}, "elsewhere")
    assert [known.id for known in accepted.vanished] == [B]
    assert accepted.returned == (D,)
    assert machine.vanished(A, C, D) == []
    assert machine.ledger.compare({A, B, C, D}).returned == (B,)
    assert machine.vanished() == [A, C, D]


def test_another_process_sees_it_and_other_repositories_do_not(machine: Machine, tmp_path: Path) -> None:
    machine.ledger.observe({A})
    again = Machine(machine.ledger.path.parent)
    assert again.vanished() == [A]
    other = SnapshotLedger(machine.ledger.path.parent, "34" * 32, FakeClock())
    assert other.compare(set()).agrees


def test_nobody_else_may_read_it(machine: Machine) -> None:
    machine.ledger.observe({A})
    assert machine.ledger.path.stat().st_mode & 0o777 == 0o600
    assert machine.ledger.path.parent.stat().st_mode & 0o777 == 0o700


def test_many_threads_at_once(machine: Machine) -> None:
    names = [f"{number:064x}" for number in range(40)]

    def write(part: int) -> None:
        for name in names[part::4]:
            machine.ledger.recorded([name])

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(machine.vanished()) == names
    assert machine.warnings == []


def test_a_killed_process_leaves_all_or_nothing(machine: Machine) -> None:
    """SIGKILL in the middle of a transaction: the journal is rolled back by the next reader."""
    machine.ledger.observe({A})
    script = (
        "import apsw, os, signal, sys\n"
        "connection = apsw.Connection(sys.argv[1])\n"
        "connection.execute('PRAGMA cache_size=1')\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute('DELETE FROM snapshot')\n"
        "for n in range(3000):\n"
        "    connection.execute('INSERT INTO snapshot VALUES (?, 0, 0, 0, ?, ?)', (f'{n:064x}', '', b'x'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n")
    process = subprocess.run([sys.executable, "-c", script, str(machine.ledger.path)], check=False, timeout=60)
    assert process.returncode == -9
    assert Path(f"{machine.ledger.path}-journal").exists()
    assert machine.vanished() == [A]
    assert machine.warnings == []


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"x", os.urandom(8192)])
def test_a_file_that_is_no_database_is_put_aside(machine: Machine, content: bytes) -> None:
    machine.ledger.path.parent.mkdir(parents=True)
    machine.ledger.path.write_bytes(content)
    assert machine.vanished() == []
    machine.ledger.observe({A})
    assert machine.vanished() == [A]
    assert [type(error) for error in machine.warnings] == [LedgerDamagedError]
    assert machine.ledger.path.with_name(machine.ledger.path.name + ".damaged-1").read_bytes() == content


def test_every_damaged_file_is_kept(machine: Machine) -> None:
    for number in range(3):
        machine.ledger.path.parent.mkdir(parents=True, exist_ok=True)
        machine.ledger.path.write_bytes(b"damage %d" % number * 1000)
        machine.ledger.observe({A})
    kept = sorted(path.name[-1] for path in machine.ledger.path.parent.iterdir() if "damaged" in path.name)
    assert kept == ["1", "2", "3"]


def test_no_flipped_bit_and_no_cut_is_believed(machine: Machine) -> None:
    """Whatever happens to the file: no exception, and no snapshot is missed that nobody wrote down."""
    machine.ledger.observe({A, B, C, D})
    machine.ledger.removed([D], "test")
    sound = machine.ledger.path.read_bytes()
    changed = [sound[:size] for size in range(0, len(sound), 1021)]
    used = [offset for offset in range(len(sound)) if sound[offset]]
    for offset in used[::5]:
        damaged = bytearray(sound)
        damaged[offset] ^= 0x11
        changed.append(bytes(damaged))
    noticed = 0
    for content in changed:
        machine.ledger.path.write_bytes(content)
        fresh = Machine(machine.ledger.path.parent)
        assert set(fresh.vanished()) <= {A, B, C}
        fresh.ledger.observe({A, B, C})
        assert set(fresh.vanished(A, B)) <= {C}
        noticed += bool(fresh.warnings)
        assert {type(error) for error in fresh.warnings} <= {LedgerDamagedError, LedgerError}
    assert noticed > 50


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    machine = Machine(tmp_path / "file" / "ledger")
    assert machine.vanished() == []
    machine.ledger.observe({A})
    machine.ledger.removed([A], "test")
    assert machine.vanished() == []
    assert [type(error) for error in machine.warnings] == [LedgerError], "said once"


def test_a_folder_of_somebody_else_stops_nothing(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """Neither writing nor looking: also where only root may look into it."""
    prefix = []
    closed = tmp_path / "closed"
    closed.mkdir()
    if os.geteuid() == 0:
        prefix = [require_program("setpriv"), "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        for folder in (tmp_path, *list(tmp_path.parents)[:3]):
            os.chmod(folder, folder.stat().st_mode | 0o055)
    closed.chmod(0o000 if os.geteuid() else 0o700)
    script = ("import sys\nfrom pathlib import Path\nfrom kuramori.ledger.snapshot_ledger import SnapshotLedger\n"
              "from kuramori.clock import SystemClock\n"
              "ledger = SnapshotLedger(Path(sys.argv[1]), '12' * 32, SystemClock(), lambda e: print(e.text()))\n"
              "assert ledger.compare(set()).agrees\nledger.observe({'a' * 64})\nledger.removed(['a' * 64], 'test')\n")
    try:
        done = subprocess.run([*prefix, sys.executable, "-c", script, str(closed / "ledger")], capture_output=True,
                              text=True, check=False, timeout=60)
    finally:
        closed.chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Permission denied") == 1


def test_a_file_of_a_newer_program_is_left_alone(machine: Machine) -> None:
    machine.ledger.observe({A})
    connection = apsw.Connection(str(machine.ledger.path))
    connection.pragma("user_version", 99)
    connection.close()
    before = machine.ledger.path.read_bytes()
    assert machine.vanished() == []
    assert "newer" in machine.warnings[0].text()
    assert machine.ledger.path.read_bytes() == before
