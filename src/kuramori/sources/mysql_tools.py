"""The programs of MariaDB and MySQL: which of them, how they log in, and what their complaints mean."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from kuramori.errors import (
    DatabaseInUseError,
    DatabaseLoginError,
    DatabaseRightsError,
    DatabaseServerAwayError,
    DatabaseServerError,
    DatabaseServerFullError,
    DatabaseToolMissingError,
    KuramoriError,
    NoSuchDatabaseError,
)
from kuramori.sources.child_process import Check, ChildProcess, last_line, never_gives_up
from kuramori.sources.complaints import Meanings, explain_complaint
from kuramori.sources.server_address import ServerAddress, credentials_file

_CLIENTS = ("mariadb", "mysql")
_DUMPERS = ("mariadb-dump", "mysqldump")
_PACKAGE = "mariadb-client"
_VERSION_SECONDS = 20
_ANSWER_BYTES = 256 * 1024 * 1024

_MEANINGS: Meanings = (
    (DatabaseLoginError, (r"\b(1045|1698|1130|1251|1524|2059|1862|1820)\b",)),
    (NoSuchDatabaseError, (r"\b1049\b",)),
    (DatabaseServerFullError, (r"\b(1021|1114)\b", "No space left on device", "disk full")),
    (DatabaseInUseError, (r"\b1205\b",)),
    (DatabaseServerAwayError, (r"\b(2002|2003|2005|2006|2013|2026|1053|1040|1927)\b", "server has gone away",
                               "Lost connection")),
    (DatabaseRightsError, (r"\b(1044|1142|1143|1227|1370|1419|1290|1410|1449)\b", "command denied")),
)
"""The numbers are the servers' and clients' own; the first that fits."""

_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\0": "\0", "\\\\": "\\"}


@dataclass(frozen=True, slots=True)
class MysqlTools:
    """Where the programs are and how they log in. Made by :func:`log_in`."""

    address: ServerAddress
    options_file: str
    """Empty if the tools have means of their own."""
    environment: Mapping[str, str]

    def client(self) -> str:
        """Return the path of the client.

        Raises:
            DatabaseToolMissingError
        """
        return _first(_CLIENTS)

    def dumper(self, for_mariadb: bool = True) -> str:
        """Return the path of the dump program, if possible of the server's own make.

        Raises:
            DatabaseToolMissingError
        """
        fallback = _first(_DUMPERS)
        found = [path for path in map(shutil.which, _DUMPERS) if path is not None]
        return next((path for path in found if is_of_mariadb(path) == for_mariadb), fallback)

    def connection(self) -> list[str]:
        """Return the options by which a program connects, without a password. They come first."""
        address = self.address
        options = [f"--defaults-extra-file={self.options_file}"] if self.options_file else []
        if address.host.startswith("/"):
            options.append(f"--socket={address.host}")
        elif address.host:
            options.append(f"--host={address.host}")
        if address.port is not None:
            options.append(f"--port={address.port}")
        if address.user:
            options.append(f"--user={address.user}")
        return [*options, "--default-character-set=utf8mb4"]

    def client_command(self, database: str = "") -> list[str]:
        """Return a command that runs the statements that it is fed, and stops at the first that fails. The
        client's own commands, of which some run programs, are switched off."""
        command = [self.client(), *self.connection(), "--batch", "--skip-column-names", "--skip-reconnect",
                   "--binary-mode", "--local-infile=0", "--max-allowed-packet=1G"]
        return [*command, f"--database={database}"] if database else command

    def ask(self, statements: str, database: str = "", check: Check = never_gives_up) -> list[tuple[str, ...]]:
        """Run statements and return the rows that they give, as text; NULL is ``NULL``.

        Raises:
            DatabaseServerError: the server is away or refused.
        """
        return [tuple(map(_unescaped, line.split("\t"))) for line in
                self.run(statements.encode(), database, check).decode("utf-8", "replace").splitlines()]

    def run(self, statements: bytes, database: str = "", check: Check = never_gives_up) -> bytes:
        """Run statements and return what the client prints.

        Raises:
            DatabaseServerError: the server is away or refused.
        """
        return self._talk(self.client_command(database), statements, check)

    def dump(self, options: list[str], check: Check = never_gives_up) -> bytes:
        """Return a small dump, such as of the code of a database.

        Raises:
            DatabaseServerError: the server is away or refused.
        """
        return self._talk([self.dumper(), *self.connection(), *options], b"", check)

    def _talk(self, command: list[str], statements: bytes, check: Check) -> bytes:
        child = ChildProcess(command, environment=self.environment, fed=True, read=False, keep_output=_ANSWER_BYTES)
        try:
            try:
                child.write(statements, check)
            except BrokenPipeError:
                pass  # its status says why
            child.close_input()
            if child.wait(check) != 0:
                raise self.complaint(child.messages)
            return child.output
        finally:
            child.end()

    def explain(self, messages: str, database: str = "") -> KuramoriError | None:
        """Return the error that a program's complaint means, or None if nothing is known of it."""
        return explain_complaint(_MEANINGS, messages, self.address, database)

    def complaint(self, messages: str) -> KuramoriError:
        """Return the error that a program's complaint means; the general one if nothing is known of it."""
        return self.explain(messages) or DatabaseServerError(server=self.address.shown, detail=last_line(messages))


@contextmanager
def log_in(address: ServerAddress) -> Iterator[MysqlTools]:
    """Hand the programs the password by an option file, which goes with the context if it is ours.

    Raises:
        PasswordFileError
    """
    with credentials_file(address, _option_file) as path:
        environment = {"LC_ALL": "C"}
        if path is not None and address.defaults_file is None:
            # The user's own ~/.my.cnf is read last, and would win over the settings.
            environment["HOME"] = str(path.parent)
        yield MysqlTools(address, str(path) if path is not None else "", environment)


def is_of_mariadb(program: str) -> bool:
    """Tell whether a program is MariaDB's; MySQL's have the same names."""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, timeout=_VERSION_SECONDS, check=False,
                              stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"MariaDB" in told


def quoted_name(name: str) -> str:
    """Quote a name for a statement."""
    return "`" + name.replace("`", "``") + "`"


def quoted_text(text: str) -> str:
    """Write a text for a statement, whatever the server's sql_mode."""
    return f"CONVERT(0x{text.encode().hex()} USING utf8mb4)" if text else "''"


def _first(names: tuple[str, ...]) -> str:
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise DatabaseToolMissingError(program=names[0], package=_PACKAGE)


def _option_file(password: str) -> str:
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'[client]\npassword="{escaped}"\n'


def _unescaped(field: str) -> str:
    return re.sub(r"\\[tn0\\]", lambda found: _ESCAPES[found[0]], field) if "\\" in field else field
