"""The measured figures as a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from run import Program

_MIB = 1024 * 1024
_PROSE = """\
Every figure comes from one run of `make bench{argument}`. The programs take turns on the same folders; the data lies
in memory beforehand; the repository, restic's cache and the restored files are on the same disk, and what was restored
is compared with the data each time. Times are medians of {rounds} rounds. Memory is the largest sum of the proportional
set sizes of a program's processes, looked at every 20 ms in one more round. A ratio below 1 means that kuramori needs
less.
"""
_HEAD = ("| data | step | kuramori s | restic s | ratio | kuramori CPU s | restic CPU s | ratio "
         "| kuramori MiB | restic MiB | ratio |")


@dataclass
class Report:
    """Everything that was measured."""

    programs: Sequence[Program]
    """kuramori first."""
    kinds: Sequence[str]
    machine: str
    rounds: int
    help_seconds: float
    rows: str

    def text(self, steps: Sequence[str]) -> str:
        """Return the page in Markdown."""
        ours, theirs = self.programs
        lines = ["# Results", "", f"kuramori {ours.version} and restic {theirs.version} on {self.machine}.", "",
                 _PROSE.format(rounds=self.rounds, argument=" ROWS=small" if self.rows == "small" else ""),
                 _HEAD, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
        for kind in self.kinds:
            lines += [self._row(kind, step) for step in steps]
        lines += ["", "| data | kuramori stored MB | restic stored MB | ratio |", "|---|--:|--:|--:|"]
        for kind in self.kinds:
            mine, other = ours.stored[kind], theirs.stored[kind]
            lines.append(f"| {kind} | {mine / 1e6:.1f} | {other / 1e6:.1f} | {mine / other:.3f} |")
        lines += ["", f"`kuramori --help` takes {self.help_seconds:.3f} s.", ""]
        return "\n".join(lines)

    def _row(self, kind: str, step: str) -> str:
        cells = [kind, step]
        ours, theirs = (program.measured[kind, step] for program in self.programs)
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
