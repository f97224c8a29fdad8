"""How the time grows with the number of files: ten times the files should take ten times as long."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import programs
from measuring import Measured, measure, read_all
from programs import Program, describe_machine
from sample_data import make_tiny_files

_HERE = Path(__file__).resolve().parent
_STEPS = (programs.FIRST, programs.UNCHANGED, programs.CHANGED)
_MIB = 1024 * 1024


def measure_growth(peers: Sequence[Program], work: Path, counts: Sequence[int]) -> None:
    """Measure backups of so many tiny files each, and write ``results-growth.md``."""
    lines = ["# Results with more and more files", "",
             ", ".join(f"{program.name} {program.version}" for program in peers) + f" on {describe_machine()}.", "",
             "Tiny files, 100 in a folder; they are read into memory before each program's first backup. Memory was",
             "watched in a second round, because watching takes time. Growth is the processor time in parts of that",
             "with a tenth of the files.", "",
             "| files | step | program | s | CPU s | MiB | growth |", "|--:|---|---|--:|--:|--:|--:|"]
    before: dict[tuple[str, str], float] = {}
    for count in counts:
        data = work / "growth data" / str(count)
        if not data.with_name(f"{count}.finished").exists():
            shutil.rmtree(data, ignore_errors=True)
            make_tiny_files(data, count)
            data.with_name(f"{count}.finished").touch()
        for program in peers:
            times, memory = (_do_steps(program, data, sample_memory=watched) for watched in (False, True))
            for step, timed, watched in zip(_STEPS, times, memory, strict=True):
                earlier = before.get((program.name, step))
                before[program.name, step] = timed.cpu_seconds
                growth = "" if earlier is None else f"{timed.cpu_seconds / earlier:.1f}"
                lines.append(f"| {count:,} | {step} | {program.name} | {timed.seconds:.2f} | {timed.cpu_seconds:.2f} "
                             f"| {watched.peak_bytes / _MIB:.0f} | {growth} |")
                print(lines[-1], flush=True)
    (_HERE / "results-growth.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _do_steps(program: Program, data: Path, *, sample_memory: bool) -> list[Measured]:
    read_all(data)  # the system may have dropped what was in memory while another program was at work
    program.begin()
    done = []
    for step in _STEPS:
        if step == programs.CHANGED:
            # Another content each time: a file that is written again with the same is no change.
            (data / "000" / "0" / "t000000.txt").write_text(f"changed for {program.name}, {sample_memory}")
        arguments = program.arguments(step, data)
        assert arguments is not None
        done.append(measure(arguments, program.environment(), sample_memory=sample_memory))
    shutil.rmtree(program.place)
    return done
