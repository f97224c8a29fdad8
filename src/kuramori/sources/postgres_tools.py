"""PostgreSQL's own programs: which of them, how they log in, and what their complaints mean."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kuramori.errors import (
    DatabaseInUseError,
    DatabaseLoginError,
    DatabaseRightsError,
    DatabaseServerAwayError,
    DatabaseServerError,
    DatabaseServerFullError,
    DatabaseToolMissingError,
    DatabaseToolOldError,
    KuramoriError,
    NoSuchDatabaseError,
)
from kuramori.sources.child_process import last_line
from kuramori.sources.complaints import Meanings, explain_complaint
from kuramori.sources.server_address import ServerAddress, credentials_file

_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
_VERSION_SECONDS = 20

_MEANINGS: Meanings = (
    (DatabaseLoginError, (
        "authentication failed", "no password supplied", "no pg_hba.conf entry", "FATAL: +role .* does not exist",
        "is not permitted to log in", "password file .* has group or world access")),
    (NoSuchDatabaseError, ("FATAL: +database .* does not exist",)),
    (DatabaseServerFullError, ("No space left on device", "could not extend file", "disk quota exceeded")),
    (DatabaseInUseError, ("is being accessed by other users",)),
    (DatabaseServerAwayError, (
        "Connection refused", "could not translate host name", "timeout expired", "server closed the connection",
        "connection to server .* failed", "could not connect", "terminating connection", "SSL SYSCALL",
        "database system is (starting|shutting)", "connection not open", "connection to client lost",
        "no connection to the server")),
    (DatabaseRightsError, (
        "permission denied", "must be (superuser|owner|member|able to)", "affected by row-level security")),
)


@dataclass(frozen=True, slots=True)
class PostgresTools:
    """Where the programs are and how they log in. Made by :func:`log_in`."""

    address: ServerAddress
    folders: tuple[Path, ...]
    """Folders of the programs, of the newest version first."""
    environment: Mapping[str, str]
    """Variables by which they find the password file; no password."""

    def program(self, name: str, server_major: int = 0) -> str:
        """Return the path of a program that fits a server.

        Of the same version, if there is one: a newer one writes statements that the older server does
        not take back. Otherwise the oldest that is newer.

        Args:
            server_major: such as 15; 0 for any: then the newest.

        Raises:
            DatabaseToolMissingError: there is none at all.
            DatabaseToolOldError: all are older than the server.
        """
        found: dict[int, str] = {}
        for folder in self.folders:
            path = folder / name
            if path.exists():
                found.setdefault(_major(path), str(path))
        elsewhere = shutil.which(name)
        if elsewhere is not None and (not found or max(found) < server_major):
            found.setdefault(_major(Path(elsewhere)), elsewhere)
        package = f"postgresql-client-{server_major}" if server_major else "postgresql-client"
        if not found:
            raise DatabaseToolMissingError(program=name, package=package)
        fitting = [major for major in found if major >= server_major]
        if not fitting:
            raise DatabaseToolOldError(server=self.address.shown, found=str(server_major), program=name,
                                       version=str(max(found)), package=package)
        return found[min(fitting) if server_major else max(fitting)]

    def connection(self, database: str) -> list[str]:
        """Return the options by which a program connects to a database, without a password."""
        address = self.address
        options = ["--no-password", f"--dbname=dbname={_quoted(database)}"]
        if address.host:
            options.append(f"--host={address.host}")
        if address.port is not None:
            options.append(f"--port={address.port}")
        if address.user:
            options.append(f"--username={address.user}")
        return options

    def explain(self, messages: str, database: str = "") -> KuramoriError | None:
        """Return the error that a program's complaint means, or None if nothing is known of it."""
        return explain_complaint(_MEANINGS, messages, self.address, database)


def server_complaint(messages: str, tools: PostgresTools, database: str = "") -> KuramoriError:
    """Return the error that a program's complaint means; the general one if nothing is known of it."""
    return tools.explain(messages, database) or DatabaseServerError(
        server=tools.address.shown, detail=last_line(messages))


@contextmanager
def log_in(address: ServerAddress, folders: Sequence[Path] | None = None) -> Iterator[PostgresTools]:
    """Find the programs and hand them the password by a file, which goes with the context if it is ours.

    Args:
        folders: where to look besides ``PATH``; None for where distributions put them.

    Raises:
        PasswordFileError
    """
    if folders is None:
        folders = [folder for pattern in _FOLDERS for folder in Path("/").glob(pattern[1:])]
    environment = {"LC_ALL": "C", "PGAPPNAME": "kuramori", "PGCONNECT_TIMEOUT": "30"}
    with credentials_file(address, _password_line) as path:
        if path is not None:
            environment["PGPASSFILE"] = str(path)
        yield PostgresTools(address, tuple(folders), environment)


def _password_line(password: str) -> str:
    return "*:*:*:*:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n"


def _quoted(value: str) -> str:
    """Quote a value of a connection string. A plain name will not do as an argument: one with an equals
    sign in it would be taken for a connection string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _major(program: Path) -> int:
    """Return a program's major version; 0 if it does not tell."""
    by_folder = re.search(r"(?:postgresql/|pgsql-|postgresql@)(\d+)/bin/", str(program))
    if by_folder:
        return int(by_folder[1])
    try:
        told = subprocess.run([program, "--version"], capture_output=True, timeout=_VERSION_SECONDS, check=False,
                              stdin=subprocess.DEVNULL).stdout.decode("utf-8", "replace")
    except (OSError, subprocess.TimeoutExpired):
        return 0
    by_answer = re.search(r"\) (\d+)", told)
    return int(by_answer[1]) if by_answer else 0
