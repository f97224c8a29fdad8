"""kuramori and restic on as little as a Raspberry Pi has: one processor, 512 MiB, a card that wears out.

Run it with ``make bench ROWS=pi``. Both programs run on one processor (``taskset``), in a control group of 512 MiB
where the system lets us make one. In a run of its own for each step ``strace`` counts the bytes written besides
the repository: caches, ledgers and temporary files, on such a machine on its SD card. The result is written to
``benchmarks/results-pi.md``.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import programs
from measuring import Measured, measure
from programs import Program, describe_machine, find_restic, kuramori_command, program_of, put_away
from sample_data import make_images, make_logs, make_small_files

_HERE = Path(__file__).resolve().parent
_MEMORY_BYTES = 512 * 1024 * 1024
_MIB = 1024 * 1024
_ROUNDS = 3
_STEPS = (programs.FIRST, programs.UNCHANGED, programs.CHANGED, programs.RESTORE, programs.CHECK_DATA, programs.LIST)
_SCALES = ((make_images, "photographs", 0.1), (make_small_files, "texts", 0.2), (make_logs, "logs", 0.2))
_CHANGED_FILES = 20
_GROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
_LIMITS = ("memory.limit_in_bytes", "memory.max")
_WRITTEN = re.compile(r"(?:p?writev?2?|pwrite64)\(\d+<([^>]*)>.* = (\d+)$")
_PROSE = """\
Every figure comes from one run of `make bench ROWS=pi`: one processor{memory}. The data are 140 MB of photographs,
12,000 small files and 80 MB of logs. Times are medians of {rounds} rounds, memory is the largest sum of proportional
set sizes, of one more. Written elsewhere are the bytes that a run writes to files which are neither the repository nor
what it restores: caches, ledgers, temporary files. The processor is of course not that of a Raspberry Pi; the ratios
count.
"""
_HEAD = ("| step | kuramori s | restic s | ratio | kuramori CPU s | restic CPU s | ratio | kuramori MiB | restic MiB "
         "| ratio | kuramori wrote elsewhere | restic wrote elsewhere |")


def main() -> int:
    """Measure and write the report."""
    restic = find_restic()
    if restic is None or not shutil.which("strace") or not shutil.which("taskset"):
        print("restic, strace and taskset are needed")
        return 1
    work = _HERE / "work" / "pi"
    shutil.rmtree(work, ignore_errors=True)
    data = work / "data"
    for make, name, scale in _SCALES:
        make(data / name, scale)
    peers = [program_of("kuramori", kuramori_command(), work), program_of("restic", [restic], work)]
    figures: dict[tuple[str, str], list[Measured]] = {}
    written: dict[tuple[str, str], int] = {}
    with _limited_memory() as group:
        for number in range(_ROUNDS + 1):
            for program in peers if number % 2 == 0 else peers[::-1]:
                _round(program, data, group, figures, sample_memory=number == _ROUNDS)
        for program in peers:
            _count_writes(program, data, written)
    text = _report(peers, figures, written, limited=group is not None)
    (_HERE / "results-pi.md").write_text(text, encoding="utf-8")
    print(text)
    shutil.rmtree(work)
    return 0


@contextmanager
def _limited_memory() -> Iterator[Path | None]:
    """Make a control group for the time of a ``with`` block; None where we may not."""
    for parent in _GROUPS:
        group = parent / f"kuramori-benchmark-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        limit = next((group / name for name in _LIMITS if (group / name).exists()), None)
        try:
            if limit is not None:
                limit.write_text(str(_MEMORY_BYTES))
                yield group
                return
        except OSError:
            continue
        finally:
            group.rmdir()
    yield None


def _confined(command: Sequence[str], group: Path | None) -> list[str]:
    """Return a command on one processor, and in the group."""
    enter = "" if group is None else f"echo $$ > {group}/cgroup.procs && "
    return ["sh", "-c", f'{enter}exec taskset -c 0 "$@"', "sh", *command]


def _do_steps(program: Program, data: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each step and its command, with the data as they should be for it."""
    program.begin()
    added = data / "new in this backup"
    for step in _STEPS:
        if step == programs.CHANGED:
            added.mkdir()
            for number in range(_CHANGED_FILES):
                (added / f"{number}.txt").write_text(f"a new file {number} " * 100)
        arguments = program.arguments(step, data)
        assert arguments is not None
        yield step, arguments
    shutil.rmtree(added)
    restored = program.place / "restored"
    subprocess.run(["diff", "--recursive", "--brief", data / "texts", restored / data.relative_to("/") / "texts"],
                   check=True)
    put_away(restored)
    shutil.rmtree(program.place)


def _round(program: Program, data: Path, group: Path | None, figures: dict[tuple[str, str], list[Measured]], *,
           sample_memory: bool) -> None:
    for step, arguments in _do_steps(program, data):
        done = measure(_confined(arguments, group), program.environment(), sample_memory=sample_memory)
        figures.setdefault((program.name, step), []).append(done)
        print(f"{step}, {program.name}: {done.seconds:.2f} s, {done.cpu_seconds:.2f} s CPU", flush=True)


def _count_writes(program: Program, data: Path, written: dict[tuple[str, str], int]) -> None:
    trace = program.place.parent / "trace"
    for step, arguments in _do_steps(program, data):
        watched = ["strace", "-f", "-y", "-o", str(trace), "-e", "trace=write,pwrite64,writev,pwritev,pwritev2",
                   "-s", "0", *arguments]
        subprocess.run(watched, env=program.environment(), check=True, capture_output=True)
        ours = (str(program.place / "repository"), str(program.place / "restored"))
        with open(trace, errors="replace") as lines:
            found = [match for match in map(_WRITTEN.search, lines) if match is not None]
        written[program.name, step] = sum(
            int(match[2]) for match in found
            if match[1].startswith("/") and not match[1].startswith(("/dev/", "/proc/", *ours)))
        trace.unlink()


def _report(peers: Sequence[Program], figures: dict[tuple[str, str], list[Measured]],
            written: dict[tuple[str, str], int], *, limited: bool) -> str:
    ours, theirs = peers
    lines = ["# Results on as little as a Raspberry Pi has", "",
             f"kuramori {ours.version} and restic {theirs.version} on {describe_machine()}.", "",
             _PROSE.format(rounds=_ROUNDS, memory=" and 512 MiB of memory" if limited else
                           " (the memory could not be limited)"),
             _HEAD, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for step in _STEPS:
        cells = [step]
        for mine, other in zip(*(_figures(figures[program.name, step]) for program in peers), strict=True):
            cells += [f"{mine:.2f}", f"{other:.2f}", f"**{mine / other:.2f}**"]
        cells += [f"{written[program.name, step] / 1000:,.0f} kB" for program in peers]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _figures(runs: Sequence[Measured]) -> tuple[float, float, float]:
    """Return seconds, processor seconds and MiB; the last run watched the memory."""
    timed = runs[:-1]
    return (statistics.median(run.seconds for run in timed), statistics.median(run.cpu_seconds for run in timed),
            runs[-1].peak_bytes / _MIB)


if __name__ == "__main__":
    sys.exit(main())
