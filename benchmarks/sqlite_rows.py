"""SQLite databases: how fast a database streams into a repository, what a daily backup with few changes
adds, and how long writers are kept waiting; restic with the same file beside it.

    venv/bin/python benchmarks/sqlite_rows.py [--megabytes 300] [--rounds 3]

The programs take turns; times are medians of the rounds, in parts of restic's. The page is printed and written to
``benchmarks/results-sqlite.md``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from measuring import measure, read_all
from programs import Program, describe_machine, find_restic, kuramori_command, program_of
from sample_data import DATABASE_ROW_BYTES, make_database

_HERE = Path(__file__).resolve().parent
_UPDATES = 300
_IN_USE = "wal, in use"
_HEADER = ("| journal | program | first backup | CPU | memory | stored | unchanged | 300 scattered updates | added |"
           " longest wait |")
_NOTE = (
    "restic copies the raw file, which is no safe way to save a database that is written to, and does not check it;"
    " its row shows what cutting by content costs. *In use*: a program has it open, and 300 updates are in its log."
    " What is added is the growth of the repository in bytes on disk, in the first round. The wait is that of a program"
    " that commits ten times a second during a backup of everything (`--force`)."
)


@dataclass
class _Figures:
    """What was measured of one program."""

    first: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)
    updated: list[float] = field(default_factory=list)
    stored: int = 0
    added: int = 0
    waited: float = 0.0
    memory: int = 0


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description="SQLite databases in a repository")
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    work = _HERE / "work" / "sqlite"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    lines = [f"# SQLite databases of {chosen.megabytes} MB", "", describe_machine(), "",
             _HEADER, "|---" * (_HEADER.count("|") - 1) + "|"]
    programs = [program_of("kuramori", kuramori_command(), work)]
    restic = find_restic()
    if restic is not None:
        programs.append(program_of("restic", [restic], work))
    for journal in ("wal", _IN_USE, "delete"):
        figures = _measure(programs, work / "data", journal, chosen.megabytes, chosen.rounds)
        for program in programs:
            lines.append(_row(journal, program, figures[program.name], figures.get("restic")))
            print(lines[-1], flush=True)
    lines += ["", _NOTE]
    text = "\n".join(lines) + "\n"
    (_HERE / "results-sqlite.md").write_text(text, encoding="utf-8")
    print(text)
    shutil.rmtree(work)
    return 0


def _row(journal: str, program: Program, figures: _Figures, peer: _Figures | None) -> str:
    def ratio(name: str) -> str:
        seconds = median(getattr(figures, name))
        if peer is None or peer is figures:
            return f"{seconds:.2f} s"
        return f"{seconds:.2f} s ({seconds / median(getattr(peer, name)):.2f})"

    return " | ".join((
        f"| {journal}", f"{program.name} {program.version}", ratio("first"), ratio("cpu"),
        f"{figures.memory / 1e6:.0f} MB", f"{figures.stored / 1e6:.1f} MB", ratio("unchanged"), ratio("updated"),
        f"{figures.added / 1e6:.2f} MB", f"{figures.waited:.2f} s |"))


def _measure(programs: list[Program], folder: Path, journal: str, megabytes: int,
             rounds: int) -> dict[str, _Figures]:
    figures = {program.name: _Figures() for program in programs}
    for number in range(rounds):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        make_database(folder / "planter.db", megabytes, journal.split(",")[0])
        with _owner(folder / "planter.db", journal):
            _measure_round(programs[number % len(programs):] + programs[:number % len(programs)], folder, figures)
            if not number:
                for program in programs:
                    _measure_once(program, folder, journal, figures[program.name])
    return figures


@contextmanager
def _owner(path: Path, journal: str) -> Iterator[None]:
    """Have the database open, if it is to be in use."""
    if journal != _IN_USE:
        yield
        return
    connection = sqlite3.connect(path, isolation_level=None)
    _update(connection, 9)
    yield
    connection.close()


def _command(program: Program, folder: Path) -> list[str]:
    return [*program.command, "-q", "backup", str(folder), *(["--databases"] if program.name == "kuramori" else [])]


def _begin(program: Program) -> None:
    shutil.rmtree(program.place, ignore_errors=True)
    program.place.mkdir(parents=True)
    subprocess.run([*program.command, "-q", "init"], env=program.environment(), check=True, capture_output=True)


def _measure_round(programs: list[Program], folder: Path, figures: dict[str, _Figures]) -> None:
    for program in programs:
        _begin(program)
        read_all(folder)
        first = measure(_command(program, folder), program.environment(), sample_memory=False)
        figures[program.name].first.append(first.seconds)
        figures[program.name].cpu.append(first.cpu_seconds)
        figures[program.name].stored = _folder_bytes(program.place / "repository")
    for program in programs:
        unchanged = measure(_command(program, folder), program.environment(), sample_memory=False)
        figures[program.name].unchanged.append(unchanged.seconds)
    connection = sqlite3.connect(folder / "planter.db", isolation_level=None)
    _update(connection, 8)
    connection.close()
    for program in programs:
        before = _folder_bytes(program.place / "repository")
        updated = measure(_command(program, folder), program.environment(), sample_memory=False)
        mine = figures[program.name]
        mine.updated.append(updated.seconds)
        mine.added = mine.added or _folder_bytes(program.place / "repository") - before


def _measure_once(program: Program, folder: Path, journal: str, figures: _Figures) -> None:
    command = _command(program, folder)
    figures.waited = _longest_wait(folder / "planter.db", journal.split(",")[0], [*command, "--force"], program)
    _begin(program)
    figures.memory = measure(command, program.environment(), sample_memory=True).peak_bytes


def _update(connection: sqlite3.Connection, seed: int) -> None:
    chance = random.Random(seed)
    rows = connection.execute("SELECT max(id) FROM reading").fetchone()[0]
    for _ in range(_UPDATES):
        connection.execute("UPDATE reading SET picture = ? WHERE id = ?",
                           (chance.randbytes(DATABASE_ROW_BYTES), chance.randrange(rows) + 1))


def _longest_wait(path: Path, journal: str, command: list[str], program: Program) -> float:
    done = threading.Event()
    waits: list[float] = []

    def write() -> None:
        connection = sqlite3.connect(path, timeout=120, isolation_level=None)
        connection.execute(f"PRAGMA journal_mode = {journal}")
        while not done.wait(0.1):
            began = time.perf_counter()
            connection.execute("UPDATE reading SET sensor = 'now' WHERE id = 1")
            waits.append(time.perf_counter() - began)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        measure(command, program.environment(), sample_memory=False)
    finally:
        done.set()
        thread.join()
    return max(waits)


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
