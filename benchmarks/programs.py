"""The programs that are compared: how each is started, and how each is told to do a step.

Floors are no backup programs. They say what the work itself costs: to copy, to pack, to read and hash.
"""

from __future__ import annotations

import compileall
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measuring import Measured

_ROOT = Path(__file__).resolve().parent.parent
FIRST, UNCHANGED, CHANGED, RESTORE = "first backup", "unchanged backup", "small change", "restore"
CHECK, CHECK_DATA, LIST, PRUNE = "check", "check --read-data", "snapshots", "prune of half"
_FEW_FILES = 1000
_OURS = ("RESTIC_", "KURAMORI_", "BORG_", "PYTHON")


@dataclass
class Program:
    """kuramori or restic, which are told the same things, with the repository that it is working on."""

    name: str
    command: list[str]
    version: str
    place: Path
    measured: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    """Of each kind of data and step: one for each round, the last one with the memory."""
    stored: dict[str, int] = field(default_factory=dict)
    """Bytes of the repository after the first backup of each kind of data."""
    again: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of unchanged backups of each kind of data in a process that has the key already."""
    _saved: int = 0

    def environment(self) -> dict[str, str]:
        """Return what its processes get: a password, a cache of their own, nothing of the caller's settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return kept | {"RESTIC_PASSWORD": "benchmark", "RESTIC_REPOSITORY": str(self.place / "repository"),
                       "XDG_CACHE_HOME": str(self.place / "cache"), "LC_ALL": "C.UTF-8",
                       "KURAMORI_STATE_DIR": str(self.place / "state"),
                       "BORG_PASSPHRASE": "benchmark", "BORG_REPO": str(self.place / "repository"),
                       "BORG_BASE_DIR": str(self.place / "base")}

    def begin(self) -> None:
        """Make an empty repository, and forget the one before."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self._saved = 0
        self._initialise()

    def _initialise(self) -> None:
        self._run([*self.command, "-q", "init"])

    def _run(self, command: list[str]) -> None:
        subprocess.run(command, env=self.environment(), check=True, capture_output=True)

    def arguments(self, step: str, data: Path) -> list[str] | None:
        """Return the command line of a step; None where the program has none."""
        if step in (FIRST, UNCHANGED, CHANGED):
            return [*self.command, "-q", "backup", str(data)]
        if step == RESTORE:
            return [*self.command, "-q", "restore", "latest", "--target", str(self.place / "restored")]
        if step == PRUNE:
            return [*self.command, "-q", "forget", "--group-by", "host", "--keep-last", "1", "--prune"]
        return [*self.command, "-q", *step.split()]

    def prepare(self, step: str, data: Path) -> None:
        """Do what must come before a step, and is not measured: of what is pruned, the half must be in use."""
        if step == PRUNE:
            self._save_half(sorted(data.iterdir()))

    def _save_half(self, entries: Sequence[Path]) -> None:
        self._run([*self.command, "-q", "backup", *map(str, entries[: len(entries) // 2])])


class Borg(Program):
    """borg, with its usual encryption and restic's compression."""

    def _initialise(self) -> None:
        self._run([*self.command, "init", "--encryption", "repokey"])

    def arguments(self, step: str, data: Path) -> list[str] | None:
        """Return the command line of a step; None where the program has none."""
        if step in (FIRST, UNCHANGED, CHANGED):
            self._saved += 1
            return [*self.command, "create", "--compression", "zstd,3", f"::archive-{self._saved}", str(data)]
        if step == RESTORE:
            restored = self.place / "restored"
            restored.mkdir(exist_ok=True)
            # It restores into the working directory.
            extract = shlex.join([*self.command, "extract", f"::archive-{self._saved}"])
            return ["sh", "-c", f"cd {shlex.quote(str(restored))} && exec {extract}"]
        if step == PRUNE:
            prune = shlex.join([*self.command, "prune", "--keep-last", "1"])
            return ["sh", "-c", f"{prune} && exec {shlex.join([*self.command, 'compact'])}"]
        return {CHECK: [*self.command, "check"], CHECK_DATA: [*self.command, "check", "--verify-data"],
                LIST: [*self.command, "list"]}.get(step)

    def _save_half(self, entries: Sequence[Path]) -> None:
        self._saved += 1
        self._run([*self.command, "create", "--compression", "zstd,3", f"::archive-{self._saved}",
                   *map(str, entries[: len(entries) // 2])])


class _Floor(Program):
    """Something that is done by the tools of every system."""

    commands: dict[str, Callable[[str, str], str]]
    """Step -> what makes the shell command of the data and of the place."""

    def _initialise(self) -> None:
        (self.place / "repository").mkdir()

    def prepare(self, step: str, data: Path) -> None:
        """Do nothing: it keeps no history."""

    def arguments(self, step: str, data: Path) -> list[str] | None:
        """Return the command line of a step; None where it is no floor of it."""
        make = self.commands.get(step)
        return None if make is None else ["sh", "-c", make(shlex.quote(str(data)), shlex.quote(str(self.place)))]


class TarFloor(_Floor):
    """``tar | zstd``: packed, neither encrypted nor deduplicated."""

    commands = {  # noqa: RUF012
        FIRST: lambda data, place: f"tar -cPf - {data} | zstd -q -3 -T0 -o {place}/repository/data.tar.zst",
        RESTORE: lambda data, place: f"mkdir {place}/restored && zstd -dqc {place}/repository/data.tar.zst"
                                     f" | tar -xf - -C {place}/restored 2>/dev/null"}


class CopyFloor(_Floor):
    """``cp -a``: the same bytes once more."""

    commands = {FIRST: lambda data, place: f"cp -a {data} {place}/repository"}  # noqa: RUF012


class HashFloor(_Floor):
    """Every file read and hashed, nothing written."""

    commands = {FIRST: lambda data, place: f"find {data} -type f -print0 | xargs -0 -n 500 -P 2 sha256sum >/dev/null"}  # noqa: RUF012


class ListFloor(_Floor):
    """Every file looked at, none opened."""

    commands = {UNCHANGED: lambda data, place: f"find {data} -newermt 2100-01-01"}  # noqa: RUF012


def kuramori_command() -> list[str]:
    """Return how kuramori is started: as its users install it, with the distribution's Python, where
    ``tools/install_peers.sh`` could prepare that; else this environment's, with its bytecode beside it."""
    installed = _ROOT / ".tools" / "kuramori" / "bin"
    if (installed / "python").exists():
        pip = [str(installed / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, str(_ROOT)], check=True)
        return [str(installed / "kuramori")]
    compileall.compile_dir(_ROOT / "src", quiet=2)
    script = Path(sys.executable).parent / "kuramori"
    return [str(script)] if script.exists() else [sys.executable, "-m", "kuramori"]


def find_restic() -> str | None:
    """Return the newest restic that is at hand."""
    newest = _ROOT / ".tools" / "restic-newest" / "usr" / "bin" / "restic"
    return os.environ.get("KURAMORI_TEST_RESTIC_NEW") or (str(newest) if newest.exists() else shutil.which("restic"))


def find_borg() -> str | None:
    """Return the borg that ``tools/install_peers.sh`` has made, or that of the system."""
    made = _ROOT / ".tools" / "borg" / "bin" / "borg"
    return str(made) if made.exists() else shutil.which("borg")


def program_of(name: str, command: list[str], work: Path) -> Program:
    """Return kuramori or restic, working below a folder of its name."""
    return Program(name, command, _version([*command, "version"]), work / name)


def borg_of(command: str, work: Path) -> Program:
    """Return borg, working below a folder of its name."""
    return Borg("borg", [command], _version([command, "--version"]), work / "borg")


def floors_of(work: Path) -> list[Program]:
    """Return the floors whose tools are there."""
    found: list[Program] = [
        CopyFloor("cp -a", [], "", work / "copied"), HashFloor("sha256sum", [], "", work / "hashed"),
        ListFloor("find", [], "", work / "listed")]
    if shutil.which("zstd"):
        found.append(TarFloor("tar + zstd", [], "", work / "packed"))
    return found


def put_away(restored: Path) -> None:
    """Remove what was restored into a program's place, if it is a few files; many are kept aside until the end: ext4
    makes files slowly for minutes after many were removed, and the next restore would pay for it."""
    if sum(len(names) for _, _, names in os.walk(restored)) < _FEW_FILES:
        shutil.rmtree(restored)
        return
    aside = restored.parent.parent / "restored before"
    aside.mkdir(exist_ok=True)
    restored.rename(Path(tempfile.mkdtemp(dir=aside)) / restored.parent.name)  # a stopped run may have left some


def _version(command: list[str]) -> str:
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return said.split()[1].rstrip(",")


def _python_version() -> str:
    """Return the version of the Python that kuramori runs with."""
    installed = _ROOT / ".tools" / "kuramori" / "bin" / "python"
    if not installed.exists():
        return platform.python_version()
    said = subprocess.run([installed, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    path = os.path.realpath(installed)
    return f"{said} ({path})" if path.startswith("/usr/bin/") else said


def describe_machine() -> str:
    """Return the processor, its number, the memory and the versions, for people."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"Linux {platform.release().split('-')[0]}, Python {_python_version()}"
    return f"{model}, {os.cpu_count()} processors, {memory:.0f} GiB of memory, {system}"
