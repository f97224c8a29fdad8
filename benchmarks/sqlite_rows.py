"""SQLite databases: how fast a database streams into a repository, what a daily backup with few changes
adds, and how long writers are kept waiting; restic with the same file beside it.

    venv/bin/python benchmarks/sqlite_rows.py [--megabytes 300]

The page is printed and written to ``benchmarks/results-sqlite.md``.
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
from pathlib import Path

from measuring import measure
from programs import Program, describe_machine, find_restic, kuramori_command, program_of
from sample_data import DATABASE_ROW_BYTES, make_database

_HERE = Path(__file__).resolve().parent
_UPDATES = 300
_NOTE = (
    "restic copies the raw file, which is no safe way to save a database that is written to; its row shows what cutting"
    " by content costs. What is added is the growth of the repository in bytes on disk. The wait is that of a program"
    " that commits ten times a second during a backup of everything (`--force`)."
)


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description="SQLite databases in a repository")
    parser.add_argument("--megabytes", type=int, default=300)
    chosen = parser.parse_args()
    work = _HERE / "work" / "sqlite"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    lines = [f"# SQLite databases of {chosen.megabytes} MB", "", describe_machine(), "",
             "| journal | program | first backup | memory | unchanged | 300 scattered updates | added | longest wait |",
             "|---|---|---|---|---|---|---|---|"]
    programs = [program_of("kuramori", kuramori_command(), work)]
    restic = find_restic()
    if restic is not None:
        programs.append(program_of("restic", [restic], work))
    for journal in ("wal", "delete"):
        for program in programs:
            folder = work / "data"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make_database(folder / "planter.db", chosen.megabytes, journal)
            lines.append(f"| {journal} | {_measure(program, folder, journal)} |")
            print(lines[-1], flush=True)
    lines += ["", _NOTE]
    text = "\n".join(lines) + "\n"
    (_HERE / "results-sqlite.md").write_text(text, encoding="utf-8")
    print(text)
    shutil.rmtree(work)
    return 0


def _measure(program: Program, folder: Path, journal: str) -> str:
    shutil.rmtree(program.place, ignore_errors=True)
    program.place.mkdir(parents=True)
    environment = program.environment()
    subprocess.run([*program.command, "-q", "init"], env=environment, check=True, capture_output=True)
    command = [*program.command, "-q", "backup", str(folder), *(["--databases"] if program.name == "kuramori" else [])]
    size = (folder / "planter.db").stat().st_size
    first = measure(command, environment, sample_memory=False)
    unchanged = measure(command, environment, sample_memory=False)
    _update(folder / "planter.db")
    before = _folder_bytes(program.place / "repository")
    updated = measure(command, environment, sample_memory=False)
    added = _folder_bytes(program.place / "repository") - before
    waited = _longest_wait(folder / "planter.db", journal, [*command, "--force"], program)
    shutil.rmtree(program.place / "repository")
    subprocess.run([*program.command, "-q", "init"], env=environment, check=True, capture_output=True)
    memory = measure(command, environment, sample_memory=True).peak_bytes
    return (f"{program.name} {program.version} | {first.seconds:.1f} s ({size / 1e6 / first.seconds:.0f} MB/s) |"
            f" {memory / 1e6:.0f} MB | {unchanged.seconds:.1f} s | {updated.seconds:.1f} s | {added / 1e6:.2f} MB |"
            f" {waited:.2f} s")


def _update(path: Path) -> None:
    chance = random.Random(8)
    connection = sqlite3.connect(path, isolation_level=None)
    rows = connection.execute("SELECT max(id) FROM reading").fetchone()[0]
    for _ in range(_UPDATES):
        connection.execute("UPDATE reading SET picture = ? WHERE id = ?",
                           (chance.randbytes(DATABASE_ROW_BYTES), chance.randrange(rows) + 1))
    connection.close()


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
