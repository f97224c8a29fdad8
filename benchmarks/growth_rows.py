"""How the time grows with the number of files: ten times the files should take ten times as long."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import programs
from measuring import measure, read_all
from programs import Program, describe_machine
from sample_data import make_tiny_files

_HERE = Path(__file__).resolve().parent
_STEPS = (programs.FIRST, programs.UNCHANGED, programs.CHANGED)
_MIB = 1024 * 1024


def measure_growth(peers: Sequence[Program], work: Path, counts: Sequence[int]) -> None:
    """Measure backups of so many tiny files each, and write ``results-growth.md``."""
    lines = ["# Results with more and more files", "",
             ", ".join(f"{program.name} {program.version}" for program in peers) + f" on {describe_machine()}.", "",
             "Tiny files, 100 in a folder; they are read into memory before each program's first backup.",
             "Growth is the processor time in parts of that with a tenth of the files.", "",
             "| files | step | program | s | CPU s | MiB | growth |", "|--:|---|---|--:|--:|--:|--:|"]
    before: dict[tuple[str, str], float] = {}
    for count in counts:
        data = work / "growth data" / str(count)
        if not data.with_name(f"{count}.finished").exists():
            shutil.rmtree(data, ignore_errors=True)
            make_tiny_files(data, count)
            data.with_name(f"{count}.finished").touch()
        for program in peers:
            read_all(data)  # the system may have dropped what was in memory while another program was at work
            program.begin()
            for step in _STEPS:
                if step == programs.CHANGED:
                    (data / "000" / "0" / "t000000.txt").write_text("changed")
                lines.append(_line(program, step, data, count, before))
                print(lines[-1], flush=True)
            shutil.rmtree(program.place)
    (_HERE / "results-growth.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _line(program: Program, step: str, data: Path, count: int, before: dict[tuple[str, str], float]) -> str:
    arguments = program.arguments(step, data)
    assert arguments is not None
    done = measure(arguments, program.environment(), sample_memory=True)
    earlier = before.get((program.name, step))
    before[program.name, step] = done.cpu_seconds
    growth = "" if earlier is None else f"{done.cpu_seconds / earlier:.1f}"
    return (f"| {count:,} | {step} | {program.name} | {done.seconds:.2f} | {done.cpu_seconds:.2f} "
            f"| {done.peak_bytes / _MIB:.0f} | {growth} |")
