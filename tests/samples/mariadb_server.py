"""A MariaDB server for tests, made of Debian's packages."""

from __future__ import annotations

import subprocess

from kuramori.sources.server_address import ServerAddress
from samples.server_process import ServerProcess, free_port

SUPERUSER = "keeper"
PASSWORD = "keeper's \\ \"pass#word\" ;=[x] \u9375"
"""With everything that an option file takes for something else."""


class MariadbServer:
    """A running server. ``keeper`` with :data:`PASSWORD` may do everything."""

    def __init__(self) -> None:
        """Make the data folder and start the server."""
        self._process = ServerProcess("my", ["mysql"])
        self.folder = self._process.folder
        self.socket = self.folder / "socket"
        self.port = free_port()
        self.password_file = self.folder / "password"
        try:
            self._process.run("mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}",
                              f"--tmpdir={self.folder}",  # a server that starts removes what others have in /tmp
                              "--auth-root-authentication-method=normal", "--skip-test-db",
                              "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M")
            self.start()
            quoted = PASSWORD.replace("\\", "\\\\").replace("'", "''")
            self._client(["--user=root"], f"CREATE USER '{SUPERUSER}'@'%' IDENTIFIED BY '{quoted}';"
                                          f"GRANT ALL ON *.* TO '{SUPERUSER}'@'%' WITH GRANT OPTION;")
            self.password_file.touch(0o600)
            self.password_file.write_text(PASSWORD + "\n")
        except BaseException:
            self._process.remove()
            raise

    def start(self) -> None:
        """Start it (again)."""
        self._process.start(
            ["mariadbd", "--no-defaults", f"--datadir={self.folder / 'data'}", f"--tmpdir={self.folder}",
             f"--socket={self.socket}", "--bind-address=127.0.0.1", f"--port={self.port}",
             f"--pid-file={self.folder / 'pid'}",
             "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=8M", "--innodb-flush-method=nosync",
             "--innodb-log-file-size=4M", "--performance-schema=off", "--skip-log-bin", "--event-scheduler=off"],
            self._answers)

    def _answers(self) -> bool:
        return subprocess.run(["mariadb-admin", "--no-defaults", f"--socket={self.socket}", "--user=root", "ping"],
                              check=False, capture_output=True).returncode == 0

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()

    def remove(self) -> None:
        """End it and remove all of it."""
        self._process.remove()

    # --- asking ------------------------------------------------------------------------------

    def address(self, database: str = "", **options: object) -> ServerAddress:
        """Return the way in for the superuser, by the socket and a password file."""
        fields: dict[str, object] = {"database": database, "host": str(self.socket), "user": SUPERUSER,
                                     "password_file": self.password_file}
        return ServerAddress(**{**fields, **options})  # type: ignore[arg-type]

    def sql(self, statements: str, database: str = "") -> str:
        """Run statements as root; return what they print, a line for each row, tabs between."""
        return self._client(["--user=root", *([f"--database={database}"] if database else [])], statements)

    def _client(self, options: list[str], statements: str) -> str:
        done = subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={self.socket}", "--batch", "--skip-column-names",
             "--default-character-set=utf8mb4", *options],
            input=statements.encode(), capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="backslashreplace")

    def drop_all(self) -> None:
        """Drop every database that a test made."""
        for name in self.sql("SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN "
                             "('mysql', 'sys', 'information_schema', 'performance_schema')").splitlines():
            quoted = name.replace("`", "``")
            self.sql(f"DROP DATABASE `{quoted}`")

