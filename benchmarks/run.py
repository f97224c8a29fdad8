"""kuramori, restic and borg side by side: backups, restores and checks of several kinds of data.

Run it with ``make bench``; ``make bench ROWS=small`` takes a tenth of the data and two minutes, ``ROWS=usual`` leaves
out the million tiny files, ``ROWS=growth`` shows how the time grows with the number of files. The programs take
turns and each times the same folders on the same disk; every time is the median of the rounds.
Memory is measured in a round of its own, because watching takes time. The result is written to
``benchmarks/results.md`` and drawn in ``results.svg`` (``results-small``, ``results-usual``).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import programs
from growth_rows import make_files, measure_growth
from measuring import measure, read_all
from plot import draw
from programs import (
    Program,
    borg_of,
    describe_machine,
    find_borg,
    find_restic,
    kuramori_command,
    program_of,
    put_away,
)
from report import Report
from sample_data import MAKERS, TINY_FILES

_HERE = Path(__file__).resolve().parent
_CHANGED_FILES = 20
STEPS = (programs.FIRST, programs.UNCHANGED, programs.RESTORE, programs.CHANGED, programs.CHECK, programs.CHECK_DATA,
         programs.LIST, programs.PRUNE)
_QUICK_STEPS = (programs.FIRST, programs.UNCHANGED, programs.RESTORE)
_GROWTH = (10_000, 100_000, 1_000_000)
_SCALES = {"full": 1.0, "usual": 1.0, "small": 0.1}
_SITS_OUT = {TINY_FILES: {"borg", "cp -a", "sha256sum", "tar + zstd"}}
"""Who is not measured with what: borg's three backups of them alone take five minutes a round (see ``ROWS=growth``);
of the floors only the quick one is measured."""


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description="kuramori, restic and borg side by side")
    parser.add_argument("--rows", choices=(*_SCALES, "growth"), default="full",
                        help="all data; all but a million tiny files; a tenth of it; or 10,000 to a million files")
    parser.add_argument("--rounds", type=int, default=None,
                        help="how often each time is measured; of three, each program is first in one")
    parser.add_argument("--only", choices=(*MAKERS, TINY_FILES), action="append", help="this kind of data")
    chosen = parser.parse_args()
    work = _HERE / "work"
    peers = find_programs(work)
    if len(peers) == 1:
        print("restic is not installed; there is nothing to compare with")
        return 1
    if chosen.rows == "growth":
        measure_growth(peers, work, _GROWTH, chosen.rounds or 2)
        return 0
    kinds = chosen.only or [*MAKERS, *([TINY_FILES] if chosen.rows == "full" else [])]
    rounds = chosen.rounds or (2 if chosen.rows == "small" else 3)
    steps = _QUICK_STEPS if chosen.rows == "small" else STEPS
    floors = programs.floors_of(work)
    help_seconds = _help_seconds(peers[0])
    text = ""
    for done, kind in enumerate(kinds, 1):
        _do_rounds(peers, floors, kind, make_data(work, kind, chosen.rows), steps, rounds)
        report = Report(peers, floors, kinds[:done], steps, describe_machine(), rounds, help_seconds, chosen.rows)
        text = report.text()
        if not chosen.only:  # after each kind: who interrupts it keeps what was measured
            name = "results" if chosen.rows == "full" else f"results-{chosen.rows}"
            (_HERE / f"{name}.md").write_text(text, encoding="utf-8")
            (_HERE / f"{name}.svg").write_text(draw(peers, kinds[:done], steps), encoding="utf-8")
    shutil.rmtree(work / "restored before", ignore_errors=True)
    print(text)
    return 0


def find_programs(work: Path) -> list[Program]:
    """Return kuramori, and those of its peers that are there."""
    found = [program_of("kuramori", kuramori_command(), work)]
    restic, borg = find_restic(), find_borg()
    if restic is not None:
        found.append(program_of("restic", [restic], work))
        if borg is not None:
            found.append(borg_of(borg, work))
    return found


def make_data(work: Path, kind: str, rows: str) -> Path:
    """Return the folder with one kind of data, made if it is not there."""
    if kind == TINY_FILES:
        return make_files(work, _GROWTH[-1])
    data = work / f"{'full' if rows == 'usual' else rows} data" / kind
    finished = data.with_name(kind + ".finished")
    if not finished.exists():
        print(f"making the {kind}", flush=True)
        shutil.rmtree(data, ignore_errors=True)
        MAKERS[kind](data, _SCALES[rows])
        finished.touch()
    return data


def _do_rounds(peers: Sequence[Program], floors: Sequence[Program], kind: str, data: Path, steps: Sequence[str],
               rounds: int) -> None:
    """Let the programs take turns over one kind of data, and once more to watch their memory."""
    takes_part = [program for program in peers if program.name not in _SITS_OUT.get(kind, ())]
    below = [floor for floor in floors if floor.name not in _SITS_OUT.get(kind, ())]
    for number in range(rounds + 1):
        first = number % len(takes_part)
        turn = [*takes_part[first:], *takes_part[:first], *below]
        _do_round(turn, kind, data, steps, sample_memory=number == rounds)


def _do_round(turn: Sequence[Program], kind: str, data: Path, steps: Sequence[str], *,
              sample_memory: bool) -> None:
    """Let each program do every step once."""
    for program in turn:
        program.begin()
    for step in steps:
        with _changed(data) if step == programs.CHANGED else _as_it_is():
            for program in turn:
                _do(program, kind, step, data, sample_memory=sample_memory)
    for program in turn:
        shutil.rmtree(program.place)


def _do(program: Program, kind: str, step: str, data: Path, *, sample_memory: bool) -> None:
    arguments = program.arguments(step, data)
    if arguments is None:
        return
    program.prepare(step, data)
    if step == programs.FIRST:
        read_all(data)  # before each of them: borg has the system drop what it has read
    done = measure(arguments, program.environment(), sample_memory=sample_memory)
    print(f"{kind}, {step}, {program.name}: {done.seconds:.2f} s, {done.cpu_seconds:.2f} s CPU", flush=True)
    program.measured.setdefault((kind, step), []).append(done)
    if step == programs.RESTORE:
        _compare(data, program.place / "restored" / data.relative_to("/"))
        put_away(program.place / "restored")
    elif step == programs.FIRST:
        program.stored[kind] = _folder_bytes(program.place / "repository")
    elif step == programs.UNCHANGED and program.name == "kuramori":
        program.again[kind] = [*program.again.get(kind, ()), *_seconds_again(program, data)]


def _seconds_again(program: Program, data: Path) -> list[float]:
    """Return how long a process takes that has the key already, as a daemon has; on a copy, so that the repository
    has as many snapshots as those of the others."""
    place = program.place / "repository"
    kept = place.with_name("repository before")
    subprocess.run(["cp", "--archive", "--link", str(place), str(kept)], check=True)
    python = Path(program.command[0]).with_name("python")
    script = [str(python if python.exists() else sys.executable), str(_HERE / "again.py"), str(data)]
    said = subprocess.run(script, env=program.environment(), check=True, capture_output=True, text=True).stdout
    shutil.rmtree(place)
    kept.rename(place)
    return list(map(float, said.split()))


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _changed(data: Path) -> Iterator[None]:
    """Add a folder with some new files to the data for the time of a ``with`` block."""
    folder = data / "new in this backup"
    folder.mkdir()
    try:
        for number in range(_CHANGED_FILES):
            (folder / f"{number}.txt").write_text(f"a new file {number} " * 100)
        yield
    finally:
        shutil.rmtree(folder)


def _compare(data: Path, restored: Path) -> None:
    result = subprocess.run(["diff", "--recursive", "--brief", str(data), str(restored)], capture_output=True,
                            text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"what was restored differs:\n{result.stdout[:1000]}{result.stderr[:1000]}")


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _help_seconds(program: Program) -> float:
    runs = [measure([*program.command, "--help"], program.environment(), sample_memory=False) for _ in range(11)]
    return statistics.median(run.seconds for run in runs)


if __name__ == "__main__":
    sys.exit(main())
