"""What the settings file says, as typed data: complete, checked, with every default filled in.

:mod:`kuramori.settings.loading` makes it from ``kuramori.toml``; a program may as well make it by
itself, as :mod:`kuramori.planter` does. Nothing here reads files, the environment or the time.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kuramori.model.retention import RetentionPolicy

DEFAULT_MAX_LOSS = 0.9
DEFAULT_HOOK_TIMEOUT = 3600.0
DEFAULT_STALE_AFTER = 7 * 86_400.0
DEFAULT_CHECK_DAYS = 30


class ComponentKind(enum.Enum):
    """What a component is made of."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"
    MYSQL = "mysql"
    """MySQL and MariaDB."""
    FILES = "files"
    COMMAND = "command"


# --- when ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DailyAt:
    """Every day at a time of the local clock."""

    hour: int
    minute: int

    def __str__(self) -> str:
        return f"{self.hour:02}:{self.minute:02}"


@dataclass(frozen=True, slots=True)
class CronExpression:
    """By five fields, as cron(5) has them, in local time."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Every:
    """So many seconds after the last one began."""

    seconds: float
    text: str = ""
    """As it was written, such as ``6h``."""

    def __str__(self) -> str:
        return f"every {self.text or f'{self.seconds:g}s'}"


Schedule = DailyAt | CronExpression | Every


# --- repositories ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How a repository's store is reached. Whatever is not set is as the command line or the environment says."""

    connections: int | None = None
    """How many files are sent and fetched at once."""
    limit_upload: int | None = None
    """Bytes per second."""
    limit_download: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    """As ``-o`` has them, such as ``s3.storage-class``."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables for the store, by restic's names. Their values may be secrets."""
    environment_file: Path | None = None
    """More of them, in lines ``NAME=value``."""
    environment_keyring: Mapping[str, str] = field(default_factory=dict)
    """More of them: a variable's name, and ``service/user`` of its value in the system's keyring."""
    credential_names: tuple[str, ...] = ()
    """What systemd's credential with more of them may be called, without ``.environment``, in this order; none for the
    repository's name."""
    ca_certificates: Path | None = None
    client_certificate: Path | None = None
    insecure_tls: bool = False
    object_lock_days: int | None = None


@dataclass(frozen=True, slots=True)
class MaintenanceSettings:
    """What a cleanup uses in place of what backups use: it may delete, they need not."""

    location: str = ""
    """Empty for the same; another way to the same repository, never another repository."""
    password_file: Path | None = None
    password_command: tuple[str, ...] = ()
    password_keyring: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment_file: Path | None = None
    environment_keyring: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_password(self) -> bool:
        """Whether it has a password of its own, of another key."""
        return self.password_file is not None or bool(self.password_command or self.password_keyring)

    @property
    def has_environment(self) -> bool:
        """Whether it has credentials for the store of its own."""
        return self.environment_file is not None or bool(self.environment or self.environment_keyring)


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """A place where backups are kept."""

    name: str
    location: str
    """As ``kuramori.storage.location.open_backend`` takes it. It may hold a password: never shown."""
    location_pattern: str = field(default="", compare=False)
    """How it was written where ``{hostname}`` stands in it; empty where it does not. Never shown either."""
    password_file: Path | None = None
    password_command: tuple[str, ...] = ()
    """A command and its arguments; what it prints is the password."""
    password_keyring: str = ""
    """``service/user`` of the password in the system's keyring."""
    password_generated: bool = False
    """Nobody named a password: ``password_file`` is the default one, which :meth:`init` makes."""
    key_hint: str = ""
    compression: str = "auto"
    pack_size: int = 16 * 1024 * 1024
    """Bytes."""
    max_size: int | None = None
    """Bytes that it may have: a cleanup gives up the oldest runs for that. None for any size."""
    use_cache: bool = True
    stale_after: float | None = DEFAULT_STALE_AFTER
    """Seconds for which it may lack runs that other repositories of the job have, before somebody is told; None for
    ever."""
    run_when_attached: bool = False
    """It lies on a disk that comes and goes: when it comes, its jobs run, or it is brought up to date."""
    check: Schedule | None = None
    """When a part of it is read back, so that all of it is in ``check_days``; None for never by itself."""
    check_days: int = DEFAULT_CHECK_DAYS
    check_budget: int | None = None
    """Bytes that are read back in one day at most; None for as many as the days ask for."""
    store: StoreSettings = field(default_factory=StoreSettings)
    maintenance: MaintenanceSettings | None = None
    credential_names: tuple[str, ...] = ()
    """What systemd's credential with the password may be called, in this order; none for the repository's name."""

    def for_maintenance(self) -> RepositorySettings:
        """Return the settings that a cleanup goes by: these, where nothing else is said for it.

        Its credentials for the store are all its own, or all those of backups: those of two accounts are not mixed.
        """
        own = self.maintenance
        if own is None:
            return self
        first = f"{self.name}.maintenance"
        store = replace(self.store, credential_names=(first, self.name))
        if own.has_environment:
            store = replace(store, environment=own.environment, environment_file=own.environment_file,
                            environment_keyring=own.environment_keyring, credential_names=(first,))
        found = replace(self, location=own.location or self.location, store=store, maintenance=None,
                        credential_names=(first, self.name))
        if not own.has_password:
            return found
        return replace(found, password_file=own.password_file, password_command=own.password_command,
                       password_keyring=own.password_keyring, password_generated=False, key_hint="",
                       credential_names=(first,))


# --- components ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ComponentRetention:
    """What of a component stays. One with neither says that everything stays."""

    days: int | None = None
    """All that are younger than so many days, counted from now."""
    policy: RetentionPolicy = field(default_factory=RetentionPolicy)
    """And all that these rules keep."""

    @property
    def keeps_everything(self) -> bool:
        """Whether nothing is ever removed."""
        return self.days is None and self.policy.empty


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """How to reach a database server. Passwords come from files or the tools' own means only."""

    database: str = ""
    """Empty for every database that is not the server's own."""
    host: str = ""
    """A name, an address, or the folder of the socket; empty for the tools' default."""
    port: int | None = None
    user: str = ""
    password_file: Path | None = None
    """A file with nothing but the password, 0600."""
    defaults_file: Path | None = None
    """For ``postgres`` a ``.pgpass``; for ``mysql`` an option file."""


@dataclass(frozen=True, slots=True)
class ComponentSettings:
    """One thing that a job protects."""

    name: str
    kind: ComponentKind
    enabled: bool = True
    sources: tuple[Path, ...] = ()
    """``sqlite``: the database; ``files``: files and folders. Absolute."""
    command: tuple[str, ...] = ()
    """``command``: a command and its arguments, whose output is saved."""
    restore_command: tuple[str, ...] = ()
    """``command``: takes that output on its standard input to bring it back; empty if there is none."""
    filename: str = ""
    """``command``: what its output is called in the snapshot; empty for the component's name."""
    server: DatabaseServer = field(default_factory=DatabaseServer)
    """``postgres`` and ``mysql``."""
    exclude: tuple[str, ...] = ()
    """``files``: patterns, as ``kuramori backup --exclude`` takes them."""
    exclude_caches: bool = False
    exclude_if_present: tuple[str, ...] = ()
    exclude_larger_than: int | None = None
    """Bytes."""
    one_file_system: bool = False
    databases: bool = True
    """``files``: SQLite databases are saved as databases, not as files."""
    retention: ComponentRetention = field(default_factory=ComponentRetention)
    max_loss: float = DEFAULT_MAX_LOSS
    """A run fails where the source has lost more than this share of its files or bytes; 1 for never."""
    busy_timeout: float = 60.0
    """``sqlite``: seconds to wait for a database that somebody else holds."""


# --- jobs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hook:
    """A command around a run."""

    command: tuple[str, ...]
    timeout: float = DEFAULT_HOOK_TIMEOUT
    """Seconds."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Components that are saved together."""

    name: str
    repositories: tuple[str, ...]
    """Names; the first is backed up to, the others receive copies of the same snapshots."""
    components: Mapping[str, ComponentSettings]
    schedule: Schedule | None = None
    cleanup: Schedule | None = None
    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()
    hostname: str = ""
    """Empty for this machine's name."""


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Whom to tell. Every text may hold a secret and is never shown whole."""

    apprise: tuple[str, ...] = ()
    """Apprise URLs."""
    ping: str = ""
    """A Healthchecks-style address: ``/start`` and ``/fail`` are appended to it."""
    webhook: str = ""
    """Receives JSON by POST."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    state_directory: Path
    """Where history, due times and ledgers are kept."""
    repositories: Mapping[str, RepositorySettings]
    jobs: Mapping[str, JobSettings]
    path: Path | None = None
    """The file it came from."""
    language: str = ""
    """``en``, ``ja``, or empty for the locale's."""
    cache_directory: Path | None = None
    notify: NotifySettings = field(default_factory=NotifySettings)
    metrics_listen: str = ""
    """``host:port`` where the daemon answers with Prometheus metrics; empty for nowhere."""

    def beside(self, repository: str) -> tuple[str, ...]:
        """Return the names of the other repositories of its jobs, which hold copies of the same snapshots."""
        return tuple(dict.fromkeys(other for job in self.jobs.values() if repository in job.repositories
                                   for other in job.repositories if other != repository))
