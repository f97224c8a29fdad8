"""kuramori and restic side by side on repositories of many blobs: looking at them, checking and pruning them.

Run it with ``make bench ROWS=maintenance``. Repositories of 100,000 and 1,000,000 blobs are made once (in some minutes,
1.5 GB below ``benchmarks/work``) and must satisfy restic's own check. Then the programs take turns on the same
files, with caches of their own that are warm; what changes a repository works on a copy that shares its files by hard
links, for neither program ever changes a file. Times are medians; memory is measured in a round of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from measuring import Measured, measure
from programs import Program, describe_machine, find_restic, kuramori_command, program_of
from sample_repositories import make_repository, sample_files

_HERE = Path(__file__).resolve().parent
_MIB = 1024 * 1024
_PASSWORD = "benchmark"
_READING = {
    "snapshots": ["snapshots"],
    "ls": ["ls", "latest"],
    "find": ["find", "reading-017.txt", "--snapshot", "latest"],
    "find in all": ["find", "no-such-file"],
    "stats": ["stats"],
    "stats raw-data": ["stats", "--mode", "raw-data"],
    "check": ["check"],
    "check --read-data": ["check", "--read-data"],
}
_SMALL_BACKUP, _PRUNE = "small backup", "prune of half"
STEPS = (*_READING, _SMALL_BACKUP, _PRUNE)
_PROSE = """\
Every figure comes from one run of `make bench ROWS=maintenance`. The programs take turns on the same repositories,
which hold four snapshots of folders with 32 small files each; two folders of three never change, and a quarter of the
third changes from one snapshot to the next. The repository and the caches are on the same disk and in memory
beforehand. The small backup stores 20 new files in a repository that has all the others; before the prune the two older
snapshots are forgotten. Times are medians of {rounds} rounds. Memory is the largest sum of the proportional set sizes
of a program's processes, looked at every 20 ms in one more round. A ratio below 1 means that kuramori needs less.
"""
_HEAD = ("| blobs | step | kuramori s | restic s | ratio | kuramori CPU s | restic CPU s | ratio "
         "| kuramori MiB | restic MiB | ratio |")


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description="kuramori and restic on many blobs")
    parser.add_argument("--rounds", type=int, default=2, help="how often each time is measured")
    parser.add_argument("--blobs", type=int, action="append", help="size of a repository; default: both")
    parser.add_argument("--only", action="append", choices=STEPS, help="this step")
    chosen = parser.parse_args()
    restic = find_restic()
    if restic is None:
        print("restic is not installed; there is nothing to compare with")
        return 1
    work = _HERE / "work" / "maintenance"
    programs = [program_of("kuramori", kuramori_command(), work), program_of("restic", [restic], work)]
    sizes = chosen.blobs or [100_000, 1_000_000]
    steps = [step for step in STEPS if not chosen.only or step in chosen.only]
    for blobs in sizes:
        bench = _Bench(programs, _repository(work, blobs, programs[1]), blobs, work)
        for number in range(chosen.rounds + 1):
            bench.round(steps, number, sample_memory=number == chosen.rounds)
    text = _report(programs, sizes, steps, chosen.rounds)
    if not chosen.only and not chosen.blobs:
        (_HERE / "results-maintenance.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def _repository(work: Path, blobs: int, restic: Program) -> Path:
    folder = work / str(blobs)
    finished = folder / "finished"
    if not finished.exists():
        print(f"making a repository of {blobs:,} blobs", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make_repository(folder / "repository", blobs, _PASSWORD)
        subprocess.run([*restic.command, "-q", "check", "--read-data"], check=True,
                       env=restic.environment() | {"RESTIC_REPOSITORY": str(folder / "repository")})
        finished.touch()
    return folder / "repository"


class _Bench:
    """The programs on one repository."""

    def __init__(self, programs: Sequence[Program], repository: Path, blobs: int, work: Path) -> None:
        self._programs = programs
        self._repository = repository
        self._blobs = blobs
        self._notes = work / "notes"
        shutil.rmtree(self._notes, ignore_errors=True)
        self._notes.mkdir(parents=True)
        for name, content in sample_files(20):
            (self._notes / name).write_bytes(content)

    def round(self, steps: Iterable[str], number: int, *, sample_memory: bool) -> None:
        """Let each program do every step once; who is first changes from round to round."""
        turn = self._programs if number % 2 == 0 else self._programs[::-1]
        if number == 0:
            self._warm_caches()
        subprocess.run(["tar", "--create", "--file", "-", str(self._repository)], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True)
        for step in steps:
            for program in turn:
                self._do(step, program, sample_memory)

    def _warm_caches(self) -> None:
        for program in self._programs:
            shutil.rmtree(program.place, ignore_errors=True)
            program.place.mkdir(parents=True)
            for command in ("snapshots", "ls", "find in all"):
                subprocess.run([*program.command, "-q", *_READING[command]], env=self._environment(program),
                               check=True, stdout=subprocess.DEVNULL)

    def _environment(self, program: Program, repository: Path | None = None) -> dict[str, str]:
        return program.environment() | {"RESTIC_REPOSITORY": str(repository or self._repository)}

    def _do(self, step: str, program: Program, sample_memory: bool) -> None:
        if step in _READING:
            done = measure([*program.command, "-q", *_READING[step]], self._environment(program),
                           sample_memory=sample_memory)
        else:
            done = self._on_copy(program, _PREPARED[step](program, self._notes), sample_memory)
        print(f"{self._blobs:,} blobs, {step}, {program.name}: {done.seconds:.2f} s, "
              f"{done.cpu_seconds:.2f} s CPU, {done.peak_bytes / _MIB:.0f} MiB", flush=True)
        program.measured.setdefault((str(self._blobs), step), []).append(done)

    def _on_copy(self, program: Program, commands: Sequence[Sequence[str]], sample_memory: bool) -> Measured:
        """Run commands on a copy of the repository and of the cache; the last one counts."""
        copy, cache, state = (program.place / name for name in ("copy", "cache of the copy", "state of the copy"))
        shutil.copytree(self._repository, copy, copy_function=os.link)
        if (program.place / "cache").exists():
            shutil.copytree(program.place / "cache", cache)
        environment = self._environment(program, copy) | {
            "XDG_CACHE_HOME": str(cache), "KURAMORI_STATE_DIR": str(state)}  # other copies have had other snapshots
        for command in commands[:-1]:
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        done = measure(commands[-1], environment, sample_memory=sample_memory)
        shutil.rmtree(copy)
        shutil.rmtree(cache, ignore_errors=True)
        shutil.rmtree(state, ignore_errors=True)
        return done


def _prepare_backup(program: Program, notes: Path) -> list[list[str]]:
    return [[*program.command, "-q", "backup", str(notes)]]


def _prepare_prune(program: Program, _notes: Path) -> list[list[str]]:
    return [[*program.command, "-q", "forget", "--keep-last", "2"], [*program.command, "-q", "prune"]]


_PREPARED: dict[str, Callable[[Program, Path], list[list[str]]]] = {
    _SMALL_BACKUP: _prepare_backup, _PRUNE: _prepare_prune}


def _report(programs: Sequence[Program], sizes: Sequence[int], steps: Sequence[str], rounds: int) -> str:
    ours, theirs = programs
    lines = ["# Results with many blobs", "",
             f"kuramori {ours.version} and restic {theirs.version} on {describe_machine()}.", "",
             _PROSE.format(rounds=rounds), _HEAD, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for blobs in sizes:
        for step in steps:
            mine, other = (program.measured[str(blobs), step] for program in programs)
            lines.append(_row(f"{blobs:,}", step, mine, other))
    return "\n".join([*lines, ""])


def _row(blobs: str, step: str, ours: Sequence[Measured], theirs: Sequence[Measured]) -> str:
    cells = [blobs, step]
    # The last round watched the memory.
    for mine, other, digits in (
        (_middle(run.seconds for run in ours[:-1]), _middle(run.seconds for run in theirs[:-1]), 2),
        (_middle(run.cpu_seconds for run in ours[:-1]), _middle(run.cpu_seconds for run in theirs[:-1]), 2),
        (ours[-1].peak_bytes / _MIB, theirs[-1].peak_bytes / _MIB, 0),
    ):
        cells += [f"{mine:.{digits}f}", f"{other:.{digits}f}", f"**{mine / other:.2f}**"]
    return "| " + " | ".join(cells) + " |"


def _middle(values: Iterable[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    sys.exit(main())
