"""kuramori and restic side by side: first backup, unchanged backup and restore of three kinds of data.

Run it with ``make bench``, or ``make bench ROWS=small`` for a tenth of the data. The programs take
turns and each times the same folders on the same disk; every time is the median of the rounds.
Memory is measured in a round of its own, because watching it takes time. The result is written to
``benchmarks/results.md`` (``results-small.md``).
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measuring import Measured, measure
from report import Report
from sample_data import MAKERS

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parent
_FEW_FILES = 1000
STEPS = ("first backup", "unchanged backup", "restore")


@dataclass
class Program:
    """One of the two, with the repository it is working on."""

    name: str
    command: list[str]
    version: str
    place: Path
    measured: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Return what its processes get: a password, a cache of their own, nothing of the caller's settings."""
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("RESTIC_", "KURAMORI_", "BORG_", "PYTHON"))}
        return kept | {"RESTIC_PASSWORD": "benchmark", "RESTIC_REPOSITORY": str(self.place / "repository"),
                       "XDG_CACHE_HOME": str(self.place / "cache"), "LC_ALL": "C.UTF-8",
                       "KURAMORI_STATE_DIR": str(self.place / "state")}

    def arguments(self, step: str, data: Path) -> list[str]:
        """Return the command line of a step."""
        if step == "restore":
            return [*self.command, "-q", "restore", "latest", "--target", str(self.place / "restored")]
        return [*self.command, "-q", "backup", str(data)]


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description="kuramori and restic side by side")
    parser.add_argument("--rows", choices=("full", "small"), default="full", help="all data, or a tenth of it")
    parser.add_argument("--rounds", type=int, default=4,
                        help="how often each time is measured; even: each program is first as often as the other")
    parser.add_argument("--only", choices=tuple(MAKERS), help="one kind of data")
    chosen = parser.parse_args()
    restic = find_restic()
    if restic is None:
        print("restic is not installed; there is nothing to compare with")
        return 1
    work = _HERE / "work"
    programs = [program_of("kuramori", kuramori_command(), work), program_of("restic", [restic], work)]
    kinds = [chosen.only] if chosen.only else list(MAKERS)
    for kind in kinds:
        data = _make_data(work, kind, chosen.rows)
        for number in range(chosen.rounds + 1):
            turn = programs if number % 2 == 0 else programs[::-1]
            _round(turn, kind, data, number, sample_memory=number == chosen.rounds)
    shutil.rmtree(work / "restored before", ignore_errors=True)
    report = Report(programs, kinds, describe_machine(), chosen.rounds, _help_seconds(programs[0]), chosen.rows)
    text = report.text(STEPS)
    target = _HERE / ("results.md" if chosen.rows == "full" else "results-small.md")
    if not chosen.only:
        target.write_text(text, encoding="utf-8")
    print(text)
    return 0


def kuramori_command() -> list[str]:
    """Return how this environment's kuramori is started. Its bytecode is made first, as an installation does."""
    compileall.compile_dir(_ROOT / "src", quiet=2)
    script = Path(sys.executable).parent / "kuramori"
    return [str(script)] if script.exists() else [sys.executable, "-m", "kuramori"]


def find_restic() -> str | None:
    """Return the newest restic that is at hand."""
    newest = _ROOT / ".tools" / "restic-newest" / "usr" / "bin" / "restic"
    return os.environ.get("KURAMORI_TEST_RESTIC_NEW") or (str(newest) if newest.exists() else shutil.which("restic"))


def program_of(name: str, command: list[str], work: Path) -> Program:
    """Return a program that works below a folder of its name."""
    said = subprocess.run([*command, "version"], capture_output=True, text=True, check=True).stdout
    return Program(name, command, said.split()[1].rstrip(","), work / name)


def _make_data(work: Path, kind: str, rows: str) -> Path:
    data = work / f"{rows} data" / kind
    finished = data.with_name(kind + ".finished")
    if not finished.exists():
        print(f"making the {kind}", flush=True)
        shutil.rmtree(data, ignore_errors=True)
        MAKERS[kind](data, 1.0 if rows == "full" else 0.1)
        finished.touch()
    return data


def _round(programs: Sequence[Program], kind: str, data: Path, number: int, *, sample_memory: bool) -> None:
    """Let each program do every step once."""
    for program in programs:
        shutil.rmtree(program.place, ignore_errors=True)
        program.place.mkdir(parents=True)
        subprocess.run([*program.command, "-q", "init"], env=program.environment(), check=True, capture_output=True)
    _read_all(data)
    for step in STEPS:
        for program in programs:
            done = measure(program.arguments(step, data), program.environment(), sample_memory=sample_memory)
            print(f"{kind}, {step}, {program.name}: {done.seconds:.2f} s", flush=True)
            program.measured.setdefault((kind, step), []).append(done)
            if step == "restore":
                _compare(data, program.place / "restored" / data.relative_to("/"))
                _put_away(program.place / "restored", number)
            elif step == "first backup":
                program.stored[kind] = _folder_bytes(program.place / "repository")
    for program in programs:
        shutil.rmtree(program.place)


def _put_away(restored: Path, number: int) -> None:
    """Remove what was restored, if it is a few files; many are kept aside until the end: ext4 makes
    files slowly for minutes after many were removed, and the next restore would pay for it."""
    if sum(len(names) for _, _, names in os.walk(restored)) < _FEW_FILES:
        shutil.rmtree(restored)
    else:
        aside = restored.parent.parent / "restored before"
        aside.mkdir(exist_ok=True)
        restored.rename(aside / f"{restored.parent.name} {number}")


def _read_all(folder: Path) -> None:
    """Bring the data into memory, so that nobody has the disadvantage of being first."""
    subprocess.run(["tar", "--create", "--file", "-", str(folder)], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=True)


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


def describe_machine() -> str:
    """Return the processor, its number, the memory and the versions, for people."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} processors, {memory:.0f} GiB of memory, {system}"


if __name__ == "__main__":
    sys.exit(main())
