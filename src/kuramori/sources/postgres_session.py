"""A conversation with a PostgreSQL server through ``psql``: queries in one session, as long as it is open."""

from __future__ import annotations

import secrets
from types import TracebackType

from kuramori.errors import N_, DatabaseServerAwayError, DatabaseServerError
from kuramori.sources.child_process import Check, ChildProcess, never_gives_up
from kuramori.sources.postgres_tools import PostgresTools, server_complaint

_FIELD = "\x1f"
_RECORD = "\x1e"
_READ_BYTES = 64 * 1024
_MAXIMUM_ANSWER = 256 * 1024 * 1024

_NO_LIMITS = """
SET client_min_messages = warning; SET row_security = off; SET search_path = '';
SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN
  ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
   'transaction_timeout');
"""


class PostgresSession:
    """One session in one database, as a context. Names must be qualified: its ``search_path`` is empty."""

    def __init__(self, tools: PostgresTools, database: str, check: Check = never_gives_up) -> None:
        """Connect.

        Args:
            check: called often while the server is waited for; raises to give up.

        Raises:
            DatabaseToolMissingError, DatabaseServerError
        """
        self._tools = tools
        self._database = database
        self._check = check
        command = [tools.program("psql"), "--no-psqlrc", "--no-align", "--tuples-only", "--quiet",
                   "--set=ON_ERROR_STOP=1", f"--field-separator={_FIELD}", f"--record-separator={_RECORD}",
                   *tools.connection(database)]
        environment = {**tools.environment, "PGCLIENTENCODING": "UTF8"}
        try:
            self._child = ChildProcess(command, environment=environment, fed=True)
        except OSError as error:
            raise DatabaseServerError(server=tools.address.shown, detail=error.strerror or str(error)) from None
        try:
            self.query(_NO_LIMITS)
            self.version = int(self.query("SHOW server_version_num")[0][0])
        except BaseException:
            self._child.end()
            raise

    @property
    def major(self) -> int:
        """The server's major version, such as 15."""
        return self.version // 10000

    def query(self, statements: str) -> list[tuple[str, ...]]:
        """Run statements (separated by semicolons), of which the last one may give rows, and return
        these as text; NULL is an empty text, and a row of nothing but that is left out.

        Raises:
            DatabaseServerError: the server refused or went away. The session is of no use any more.
        """
        answer = self._ask(f"{statements};").removesuffix("\n")
        return [tuple(record.split(_FIELD)) for record in answer.split(_RECORD) if record]

    def query_each(self, generator: str) -> list[tuple[str, ...]]:
        """Run the statements that a query gives as its rows, and return one row for each.

        Args:
            generator: a query. The statements that it gives must end each row with ``chr(30)``.

        Raises:
            DatabaseServerError: as :meth:`query`.
        """
        answer = self._ask(f"{generator} \\gexec")
        return [tuple(record.split(_FIELD)) for record in answer.split(_RECORD + "\n") if record]

    def _ask(self, statements: str) -> str:
        mark = secrets.token_hex(16)
        try:
            self._child.write(f"{statements}\n\\echo {mark}\n".encode(), self._check)
        except BrokenPipeError:
            raise self._failure() from None
        return self._read_to(f"{mark}\n".encode()).decode("utf-8", "replace")

    def _read_to(self, mark: bytes) -> bytes:
        answer = bytearray()
        buffer = memoryview(bytearray(_READ_BYTES))
        while not answer.endswith(mark):
            count = self._child.read_into(buffer, self._check)
            if count == 0:
                raise self._failure()
            answer += buffer[:count]
            if len(answer) > _MAXIMUM_ANSWER:
                raise DatabaseServerError(server=self._tools.address.shown, detail=N_("its answer is too long"))
        return bytes(answer[: -len(mark)])

    def _failure(self) -> Exception:
        self._child.wait(self._check)
        if not self._child.messages:
            return DatabaseServerAwayError(server=self._tools.address.shown, detail=N_("psql ended without a word"))
        return server_complaint(self._child.messages, self._tools, self._database)

    def close(self) -> None:
        """End the session; an open transaction is undone. May be called twice."""
        self._child.close_input()
        self._child.end()

    def __enter__(self) -> PostgresSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def identifier(name: str) -> str:
    """Quote a name for a statement."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for a statement."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"
