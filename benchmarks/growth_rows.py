"""How the time grows with the number of files: ten times the files should take ten times as long."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import programs
from measuring import Measured, measure, read_all
from programs import Program, describe_machine
from sample_data import make_tiny_files

_HERE = Path(__file__).resolve().parent
_STEPS = (programs.FIRST, programs.UNCHANGED, programs.CHANGED)
_MIB = 1024 * 1024

_Runs = dict[tuple[str, str], list[Measured]]
"""By the names of program and step."""


def measure_growth(peers: Sequence[Program], work: Path, counts: Sequence[int], rounds: int) -> None:
    """Measure backups of so many tiny files each, and write ``results-growth.md``.

    Args:
        rounds: how often each time is measured; memory is watched in one more.
    """
    lines = ["# Results with more and more files", "",
             ", ".join(f"{program.name} {program.version}" for program in peers) + f" on {describe_machine()}.", "",
             "Tiny files, 100 in a folder. The programs take turns; the files are read into memory before each of",
             f"them. Times are medians of {rounds} rounds; memory was watched in one more, because watching takes",
             "time. A ratio below 1 means that kuramori needs less: of the time than the better of its peers, of the",
             "processor time than restic. Growth is the processor time in parts of that with a tenth of the files.", "",
             "| files | step | program | s | ratio | CPU s | ratio | MiB | growth |",
             "|--:|---|---|--:|--:|--:|--:|--:|--:|"]
    before: dict[tuple[str, str], float] = {}
    for count in counts:
        data = make_files(work, count)
        runs: _Runs = {}
        for number in range(rounds):
            first = number % len(peers)
            for program in [*peers[first:], *peers[:first]]:
                _do_steps(program, data, runs, number, sample_memory=False)
        watched: _Runs = {}
        for program in peers:
            _do_steps(program, data, watched, rounds, sample_memory=True)
        lines += _rows(count, [program.name for program in peers], runs, watched, before)
    (_HERE / "results-growth.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


def make_files(work: Path, count: int) -> Path:
    """Return the folder with so many files, made if it is not there."""
    data = work / "growth data" / str(count)
    finished = data.with_name(f"{count}.finished")
    if not finished.exists():
        shutil.rmtree(data, ignore_errors=True)
        make_tiny_files(data, count)
        finished.touch()
    return data


def _do_steps(program: Program, data: Path, runs: _Runs, number: int, *, sample_memory: bool) -> None:
    read_all(data)  # the system may have dropped what was in memory while another program was at work
    program.begin()
    for step in _STEPS:
        if step == programs.CHANGED:
            # Another content each time: a file that is written again with the same is no change.
            (data / "000" / "0" / "t000000.txt").write_text(f"changed for {program.name}, {number}")
        arguments = program.arguments(step, data)
        assert arguments is not None
        done = measure(arguments, program.environment(), sample_memory=sample_memory)
        print(f"{data.name} files, {step}, {program.name}: {done.seconds:.2f} s, {done.cpu_seconds:.2f} s CPU",
              flush=True)
        runs.setdefault((program.name, step), []).append(done)
    shutil.rmtree(program.place)


def _rows(count: int, names: Sequence[str], runs: _Runs, watched: _Runs,
          before: dict[tuple[str, str], float]) -> list[str]:
    """Return a row for each step and program; note the processor times in ``before`` for ten times the files."""
    rows = []
    for step in _STEPS:
        seconds = {name: statistics.median(run.seconds for run in runs[name, step]) for name in names}
        cpu = {name: statistics.median(run.cpu_seconds for run in runs[name, step]) for name in names}
        for name in names:
            earlier = before.get((name, step))
            before[name, step] = cpu[name]
            of_time, of_cpu = _ratios(name, seconds, cpu) if name == names[0] else ("", "")
            rows.append(f"| {count:,} | {step} | {name} | {seconds[name]:.2f} | {of_time} | {cpu[name]:.2f} | {of_cpu} "
                        f"| {watched[name, step][0].peak_bytes / _MIB:.0f} "
                        f"| {'' if earlier is None else f'{cpu[name] / earlier:.1f}'} |")
    return rows


def _ratios(name: str, seconds: Mapping[str, float], cpu: Mapping[str, float]) -> tuple[str, str]:
    best = min(taken for peer, taken in seconds.items() if peer != name)
    return f"**{seconds[name] / best:.2f}**", f"**{cpu[name] / cpu['restic']:.2f}**" if "restic" in cpu else ""
