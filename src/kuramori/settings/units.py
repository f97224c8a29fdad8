"""Units for systemd: a service that runs the daemon, or a timer that starts it for what is due.

The service of the system runs as root, because what is to be saved belongs to many users. It is
fenced in instead: it sees everything, but writes only to its repositories and its state.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kuramori.settings.calendar_events import timer_lines
from kuramori.settings.inspection import local_folder
from kuramori.settings.model import MaintenanceSettings, RepositorySettings, Settings
from kuramori.settings.unit_syntax import quote_command, quote_word

MARK = "# Made by: kuramori settings units"
"""First line of every unit of ours: what begins so may be replaced."""
SERVICE, ONCE, TIMER = "kuramori.service", "kuramori-due.service", "kuramori-due.timer"
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
_CAPABILITIES = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_KILL CAP_SETGID CAP_SETUID"
_STATE, _CACHE = Path("/var/lib/kuramori"), Path("/var/cache/kuramori")


@dataclass(frozen=True, slots=True)
class UnitOptions:
    """How the units are to be."""

    program: tuple[str, ...]
    """The command that is kuramori, with absolute paths."""
    settings_path: Path
    """Absolute."""
    system: bool = True
    """For the system's manager, as root; False for a user's."""
    language: str = ""
    """Of messages and notices; empty for what the settings and the system say."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit file."""

    name: str
    text: str


def render_service(settings: Settings, options: UnitOptions) -> Unit:
    """Return the service that runs the daemon: it starts by itself and is started again when it fails."""
    lines = [
        MARK, "[Unit]", "Description=kuramori: backups by schedule", *_order(options),
        "StartLimitIntervalSec=600", "StartLimitBurst=5", "",
        "[Service]", "Type=notify", "NotifyAccess=main",
        f"ExecStart={_command(options, 'daemon')}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure", "RestartSec=30", "WatchdogSec=10min",
        # The daemon ends its run by itself; what it started is killed only when it does not.
        "KillSignal=SIGTERM", "KillMode=mixed", "TimeoutStopSec=120",
        *_quiet(), *_surroundings(settings, options), *_fence(settings, options),
        "", "[Install]", f"WantedBy={'multi-user.target' if options.system else 'default.target'}",
    ]
    return Unit(SERVICE, "\n".join(lines) + "\n")


def render_timers(settings: Settings, options: UnitOptions) -> list[Unit]:
    """Return a service that does what is due and ends, and the timer that starts it; nothing where no
    job and no repository has a schedule."""
    wanted = [schedule for job in settings.jobs.values() for schedule in (job.schedule, job.cleanup)]
    wanted += [repository.check for repository in settings.repositories.values()]
    schedules = [schedule for schedule in wanted if schedule is not None]
    if not schedules:
        return []
    timer = [
        MARK, "[Unit]", "Description=kuramori: looks what is due", "",
        "[Timer]", *timer_lines(schedules), "AccuracySec=1min", "RandomizedDelaySec=2min", "",
        "[Install]", "WantedBy=timers.target",
    ]
    return [Unit(ONCE, _run_once(settings, options)), Unit(TIMER, "\n".join(timer) + "\n")]


def _run_once(settings: Settings, options: UnitOptions) -> str:
    return "\n".join([
        MARK, "[Unit]", "Description=kuramori: backups and cleanups that are due", *_order(options), "",
        "[Service]", "Type=oneshot", f"ExecStart={_command(options, 'daemon', '--once')}",
        "KillSignal=SIGTERM", "KillMode=mixed", "TimeoutStartSec=infinity", "TimeoutStopSec=120",
        *_quiet(), *_surroundings(settings, options), *_fence(settings, options),
    ]) + "\n"


def _order(options: UnitOptions) -> list[str]:
    """Return what comes before; a user's manager knows nothing of the system's units."""
    if not options.system:
        return []
    return ["Wants=network-online.target",
            "After=network-online.target time-sync.target local-fs.target remote-fs.target"]


def _command(options: UnitOptions, *words: str) -> str:
    return quote_command([*options.program, "--settings", str(options.settings_path), *words])


def _quiet() -> list[str]:
    """Return what makes a backup give way to everything else."""
    return ["Nice=10", "IOSchedulingClass=idle", "CPUSchedulingPolicy=batch", "OOMScoreAdjust=200"]


def _surroundings(settings: Settings, options: UnitOptions) -> list[str]:
    lines = []
    if options.language and not settings.language:
        lines.append(f"Environment=KURAMORI_LANGUAGE={options.language}")
    if options.system:
        if settings.state_directory == _STATE:
            lines += ["StateDirectory=kuramori", "StateDirectoryMode=0700"]
        if settings.cache_directory == _CACHE:
            lines += ["CacheDirectory=kuramori", "CacheDirectoryMode=0700"]
    return [*lines, "UMask=0077"]


# --- the fence -------------------------------------------------------------------------------


def writable_folders(settings: Settings) -> list[Path]:
    """Return the folders that a run writes to, in a fixed order."""
    found: dict[Path, None] = {settings.state_directory: None}
    if settings.cache_directory is not None:
        found[settings.cache_directory] = None
    for repository in settings.repositories.values():
        folder = local_folder(repository.location)
        if folder is not None:
            found[folder] = None
    return list(found)


def _comes_and_goes(repository: RepositorySettings) -> bool:
    """Tell whether a repository lies on a disk that is unmounted while the service runs, outside of what
    ``ProtectHome`` covers.

    Making just its folder writable would put a mount of its own over it inside of the service, and that would hold the
    disk: unmounted outside, it would stay there inside, and what is mounted later would lie below it (tried with
    mount namespaces). So such a disk is left alone, which costs ``ProtectSystem=strict``.
    """
    folder = local_folder(repository.location)
    return repository.run_when_attached and folder is not None and not any(
        folder.is_relative_to(home) for home in ("/home", "/root", "/run/user"))


def _fence(settings: Settings, options: UnitOptions) -> list[str]:
    """Return the lines that take away what a backup does not need."""
    lines = ["NoNewPrivileges=true", "LockPersonality=true", "RestrictRealtime=true", "RestrictNamespaces=true",
             "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK", "SystemCallArchitectures=native",
             "SystemCallFilter=@system-service", "SystemCallErrorNumber=EPERM"]
    if not options.system:
        return lines  # the rest needs rights that a user's manager has not
    # A missing folder (a disk that is not plugged in) must not keep the service from starting: "-".
    shared = _TEMPORARY if _uses_temporary_folders(settings, options) else ()
    loose = [local_folder(repository.location) for repository in settings.repositories.values()
             if _comes_and_goes(repository)]
    writable = " ".join(quote_word(f"-{folder}") for folder in [*writable_folders(settings), *shared]
                        if folder not in loose)
    return [
        f"ProtectSystem={'full' if loose else 'strict'}", f"ReadWritePaths={writable}", "ProtectHome=read-only",
        *(() if shared else ("PrivateTmp=true",)),
        "PrivateDevices=true", "ProtectClock=true", "ProtectControlGroups=true", "ProtectHostname=true",
        "ProtectKernelLogs=true", "ProtectKernelModules=true", "ProtectKernelTunables=true",
        # Reading what belongs to others, writing repositories of others, and hooks that become others.
        f"CapabilityBoundingSet={_CAPABILITIES}",
        *lines,
    ]


def _files_of(repository: RepositorySettings) -> tuple[Path | None, ...]:
    store, own = repository.store, repository.maintenance or MaintenanceSettings()
    return (repository.password_file, store.environment_file, store.ca_certificates, store.client_certificate,
            own.password_file, own.environment_file)


def _uses_temporary_folders(settings: Settings, options: UnitOptions) -> bool:
    """Tell whether anything that the settings name lies where a private ``/tmp`` would hide it."""
    named = [options.settings_path, *writable_folders(settings), Path(options.program[0])]
    for repository in settings.repositories.values():
        named += [path for path in _files_of(repository) if path is not None]
    for job in settings.jobs.values():
        for component in job.components.values():
            server = component.server
            named += [*component.sources, Path(server.host)]
            named += [path for path in (server.password_file, server.defaults_file) if path is not None]
    return any(path.is_relative_to(temporary) for path in named for temporary in _TEMPORARY)
