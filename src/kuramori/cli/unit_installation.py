"""Putting systemd units where systemd finds them, and starting them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kuramori.cli.application import Application
from kuramori.cli.output import say, say_json, shown
from kuramori.cli.translation import current_language
from kuramori.cli.translation import translate as _
from kuramori.errors import N_, UnitNotInstalledError, UsageError
from kuramori.settings.file_writing import write_atomically
from kuramori.settings.model import Settings
from kuramori.settings.units import MARK, SERVICE, TIMER, Unit, UnitOptions, render_service, render_timers

_SYSTEM_UNITS = Path("/etc/systemd/system")
_RUNNING = Path("/run/systemd/system")
"""Exists where systemd is what started the machine (sd_booted(3))."""
_SECONDS = 60.0


@dataclass(frozen=True)
class InstalledUnits:
    """What was done with units."""

    paths: tuple[Path, ...]
    started: bool
    """False where systemd does not run here, or refused: the commands are left to the user."""
    commands: tuple[str, ...]
    """That start them, for the user to see or to type."""


def make_units(settings: Settings, *, system: bool, timers: bool) -> list[Unit]:
    """Return the units for settings that lie in a file.

    Raises:
        UsageError: timers, but no job has a schedule.
    """
    assert settings.path is not None
    language = current_language()
    options = UnitOptions(program=(sys.executable, "-m", "kuramori"), settings_path=settings.path, system=system,
                          language=language if language != "en" else "")
    units = render_timers(settings, options) if timers else [render_service(settings, options)]
    if not units:
        raise UsageError(detail=_("no job has a schedule, so there is nothing for a timer to start"))
    return units


def units_folder(*, system: bool) -> Path:
    """Return where units of the system or of this user belong."""
    if system:
        return _SYSTEM_UNITS
    configuration = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(configuration) / "systemd" / "user"


def install_units(units: Sequence[Unit], *, system: bool, folder: Path | None = None) -> InstalledUnits:
    """Write units, and enable and start them if systemd runs here. May be called again.

    Args:
        folder: where to; None for :func:`units_folder`.

    Raises:
        UnitNotInstalledError: one cannot be written, or somebody else's unit has its name; none is
            written then.
    """
    folder = folder or units_folder(system=system)
    paths = [folder / unit.name for unit in units]
    for path in paths:
        _refuse_foreign(path)
    for unit, path in zip(units, paths, strict=True):
        _write(path, unit.text)
    # The daemon and the timer exclude each other: whoever changes his mind gets the other one stopped.
    names = [unit.name for unit in units]
    replaced = [name for name in (SERVICE, TIMER) if name not in names and (folder / name).exists()]
    commands = _commands(names, replaced, system=system)
    started = _RUNNING.is_dir() and shutil.which("systemctl") is not None and all(map(_run, commands))
    return InstalledUnits(tuple(paths), started, tuple(" ".join(words) for words in commands))


def report_installation(application: Application, installed: InstalledUnits, *, system: bool) -> None:
    """Say what was installed, and what is left to do."""
    if application.json:
        say_json({"message_type": "units", "paths": [str(path) for path in installed.paths],
                  "started": installed.started, "commands": list(installed.commands)})
        return
    for path in installed.paths:
        say(_("installed {path}").format(path=shown(str(path))))
    if installed.started:
        say(_("systemd has started it, and will do so after every start of the machine") if system else
            _("systemd has started it; so that it runs while you are logged out too: loginctl enable-linger"))
        return
    say(_("systemd could not be told here; these commands start it:"))
    for command in installed.commands:
        say(f"    {command}")


def _commands(names: Sequence[str], replaced: Sequence[str], *, system: bool) -> list[list[str]]:
    manager = ["systemctl"] if system else ["systemctl", "--user"]
    started = [name for name in names if name.endswith(".timer")] or list(names)
    stop = [[*manager, "disable", "--now", *replaced]] if replaced else []
    return [[*manager, "daemon-reload"], *stop, [*manager, "enable", "--now", *started]]


def _refuse_foreign(path: Path) -> None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            ours = file.readline().rstrip("\n") == MARK
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnitNotInstalledError(path=str(path), detail=error.strerror or "") from None
    if not ours:
        raise UnitNotInstalledError(path=str(path),
                                    detail=N_("a unit of that name is there, and kuramori did not make it"))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text, mode=0o644)
    except OSError as error:
        raise UnitNotInstalledError(path=str(path), detail=error.strerror or "") from None


def _run(words: Sequence[str]) -> bool:
    """Run a command of systemd's; what it says goes to the user."""
    try:
        return subprocess.run(words, stdin=subprocess.DEVNULL, check=False, timeout=_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
