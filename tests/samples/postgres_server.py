"""A PostgreSQL server for tests, made of Debian's packages."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kuramori.sources.server_address import ServerAddress
from samples.server_process import ServerProcess, free_port

SUPERUSER = "keeper"


def postgres_programs() -> Path | None:
    """Return the folder of the newest server's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class PostgresServer:
    """A running server. On its socket everybody is let in; over TCP only with a password (SCRAM)."""

    def __init__(self, programs: Path) -> None:
        """Make a cluster and start it."""
        self._programs = programs
        self._process = ServerProcess("pg", ["postgres"])
        self.folder = self._process.folder
        self.port = free_port()
        try:
            self._process.run(programs / "initdb", "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256",
                              "--encoding=UTF8", "--locale=C.UTF-8", f"--username={SUPERUSER}",
                              f"--pgdata={self.folder / 'data'}")
            self.start()
        except BaseException:
            self._process.remove()
            raise

    def start(self) -> None:
        """Start it (again)."""
        self._process.start(
            [self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder, "-p", str(self.port),
             "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "synchronous_commit=off",
             "-c", "shared_buffers=8MB", "-c", "max_connections=30", "-c", "autovacuum=off"],
            lambda: subprocess.run([self._programs / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)],
                                   check=False).returncode == 0)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()

    def stop(self) -> None:
        """End it; its sessions are broken off."""
        self._process.stop(signal.SIGINT)

    def remove(self) -> None:
        """End it and remove all of it."""
        self._process.remove()

    # --- asking ------------------------------------------------------------------------------

    def address(self, database: str = "", **options: object) -> ServerAddress:
        """Return the way in for the superuser, by the socket."""
        fields: dict[str, object] = {"database": database, "host": str(self.folder), "port": self.port,
                                     "user": SUPERUSER}
        return ServerAddress(**{**fields, **options})  # type: ignore[arg-type]

    def psql(self, statements: str, database: str = "postgres", *, command: Sequence[str] = ()) -> str:
        """Run statements as the superuser; return what they print, unaligned."""
        quoted = database.replace("\\", "\\\\").replace("'", "\\'")  # a plain name may not have an equals sign in it
        done = subprocess.run(
            [self._programs / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder,
             "-p", str(self.port), "-U", SUPERUSER, "-d", f"dbname='{quoted}'", *command],
            input=statements.encode(), capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode()

    def drop_all(self) -> None:
        """Drop every database and role that a test made."""
        for name in self.psql("SELECT datname FROM pg_database WHERE datname NOT IN "
                              "('postgres', 'template0', 'template1')").splitlines():
            quoted = name.replace('"', '""')
            self.psql(f'DROP DATABASE "{quoted}" WITH (FORCE)')
        for name in self.psql(f"SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> '{SUPERUSER}'"
                              ).splitlines():
            quoted = name.replace('"', '""')
            self.psql(f'DROP OWNED BY "{quoted}"; DROP ROLE "{quoted}"')
