"""The measured figures as a page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from measuring import Measured
from programs import UNCHANGED, Program

_MIB = 1024 * 1024
_PROSE = """\
Every figure comes from one run of `make bench{argument}`. The programs take turns on the same folders; the data is
read into memory before each first backup; the repository, caches and the restored files are on the same disk, and
what was restored is compared with the data each time. Times are medians of {rounds} rounds. Memory is the largest sum
of the proportional set sizes of a program's processes, looked at every 20 ms in one more round. A ratio below 1 means
that kuramori needs less: of the time and the memory than the better of its peers, of the processor time than restic.
"""
_FLOORS = """\
What the work itself costs: `cp -a` copies the data, `tar + zstd` packs it on all processors and unpacks it, `sha256sum`
only reads and hashes it, `find` only looks at each file. None of them encrypts, finds what is there already, or makes
durable what it writes.
"""
_MORE = """\
Elsewhere: [a database of 300 MB](results-sqlite.md), [repositories of a million blobs, also opened by small
jobs](results-maintenance.md), [ten times the files](results-growth.md), [one processor and 512 MiB](results-pi.md),
[stores far away](results-remote.md).
"""
_AGAIN = """\
Nearly all of a short unchanged backup is deriving the key, and importing modules meanwhile. kuramori's daemon does that
once in its life: this is what opening the repository and an unchanged backup take in a process that has done it before,
beside the commands of the others, which do it each time.
"""


@dataclass
class Report:
    """Everything that was measured."""

    peers: Sequence[Program]
    """kuramori first, restic second."""
    floors: Sequence[Program]
    kinds: Sequence[str]
    steps: Sequence[str]
    machine: str
    rounds: int
    help_seconds: float
    rows: str

    def text(self) -> str:
        """Return the page in Markdown."""
        versions = ", ".join(f"{program.name} {program.version}" for program in self.peers)
        names = [program.name for program in self.peers]
        head = ["data", "step", *(f"{name} {unit}" for unit in ("s", "CPU s", "MiB") for name in [*names, "ratio"])]
        head = [cell.split()[0] if cell.startswith("ratio") else cell for cell in head]
        argument = "" if self.rows == "full" else f" ROWS={self.rows}"
        lines = ["# Results", "", f"{versions} on {self.machine}.", "",
                 _PROSE.format(rounds=self.rounds, argument=argument), *_table_head(head)]
        lines += [self._row(kind, step) for kind in self.kinds for step in self.steps]
        lines += ["", *_table_head(["data", *(f"{name} stored MB" for name in names), "ratio to restic"])]
        for kind in self.kinds:
            stored = [program.stored[kind] / 1e6 if kind in program.stored else None for program in self.peers]
            ratio = self.peers[0].stored[kind] / self.peers[1].stored[kind]
            lines.append(_joined([kind, *(_figure(size, 1) for size in stored), f"{ratio:.3f}"]))
        lines += ["", _AGAIN, *_table_head(["data", *(f"{name} s" for name in names), "ratio"])]
        lines += [self._again(kind) for kind in self.kinds if self.peers[0].again.get(kind)]
        lines += ["", _FLOORS, *_table_head(["data", "step", "floor", "s", "CPU s"])]
        lines += [self._floor(kind, step, floor) for kind in self.kinds for step in self.steps for floor in self.floors
                  if (kind, step) in floor.measured]
        return "\n".join([*lines, "", f"`kuramori --help` takes {self.help_seconds:.3f} s.", "", _MORE])

    def _row(self, kind: str, step: str) -> str:
        measured = [program.measured.get((kind, step)) for program in self.peers]
        seconds = [middle_seconds(runs) if runs else None for runs in measured]
        used = [_middle_cpu(runs) if runs else None for runs in measured]
        memory = [runs[-1].peak_bytes / _MIB if runs else None for runs in measured]  # the last round watched it
        return _joined([kind, step, *_with_ratio(seconds, 2, seconds[1:]), *_with_ratio(used, 2, used[1:2]),
                        *_with_ratio(memory, 0, memory[1:])])

    def _again(self, kind: str) -> str:
        ours = statistics.median(self.peers[0].again[kind])
        measured = [program.measured.get((kind, UNCHANGED)) for program in self.peers[1:]]
        others = [middle_seconds(runs) if runs else None for runs in measured]
        return _joined([kind, f"{ours:.3f}", *_with_ratio([ours, *others], 2, others)[1:]])

    def _floor(self, kind: str, step: str, floor: Program) -> str:
        runs = floor.measured[kind, step]
        return _joined([kind, step, floor.name, f"{middle_seconds(runs):.2f}", f"{_middle_cpu(runs):.2f}"])


def middle_seconds(runs: Sequence[Measured]) -> float:
    """Return the median of the rounds in which no memory was watched."""
    return statistics.median(run.seconds for run in runs[:-1])


def _middle_cpu(runs: Sequence[Measured]) -> float:
    return statistics.median(run.cpu_seconds for run in runs[:-1])


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _with_ratio(values: Sequence[float | None], digits: int, others: Sequence[float | None]) -> list[str]:
    """Return a cell for each program, and one for the first in parts of the best of ``others`` who took part."""
    ours = values[0]
    assert ours is not None
    ratio = ours / min(other for other in others if other is not None)
    return [*(_figure(value, digits) for value in values), f"**{ratio:.2f}**"]


def _table_head(cells: Sequence[str]) -> list[str]:
    return [_joined(cells), "|" + "|".join("---" if not _is_number(cell) else "--:" for cell in cells) + "|"]


def _is_number(head: str) -> bool:
    return head.endswith((" s", "MiB", "MB", "ratio", "restic")) or head == "s"


def _joined(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
