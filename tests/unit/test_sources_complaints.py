"""What servers and their tools say, and what that means for the user."""

from __future__ import annotations

import pytest

from kuramori.errors import (
    DatabaseInUseError,
    DatabaseLoginError,
    DatabaseRightsError,
    DatabaseServerAwayError,
    DatabaseServerFullError,
    KuramoriError,
    NoSuchDatabaseError,
)
from kuramori.sources.mysql_tools import MysqlTools
from kuramori.sources.postgres_tools import PostgresTools
from kuramori.sources.server_address import ServerAddress

_ADDRESS = ServerAddress(host="::1", port=5433)

_POSTGRES: list[tuple[str, type[KuramoriError] | None]] = [
    ('psql: error: connection to server at "127.0.0.1", port 1 failed: Connection refused\n\tIs the server running?',
     DatabaseServerAwayError),
    ('pg_dump: error: connection to server on socket "/x" failed: FATAL:  password authentication failed for user "x"',
     DatabaseLoginError),
    ('pg_dump: error: connection to server at "h" (1.2.3.4), port 5432 failed: fe_sendauth: no password supplied',
     DatabaseLoginError),
    ('psql: error: FATAL:  role "root" does not exist', DatabaseLoginError),
    ('psql: error: connection to server failed: FATAL:  database "none" does not exist', NoSuchDatabaseError),
    ("pg_dump: error: query failed: ERROR:  permission denied for table t\npg_dump: detail: Query was: LOCK TABLE t",
     DatabaseRightsError),
    ('pg_restore: error: ERROR:  could not extend file "base/1/2": No space left on device\nHINT:  Check free space.',
     DatabaseServerFullError),
    ('ERROR:  database "shop" is being accessed by other users\nDETAIL:  There are 2 other sessions using it.',
     DatabaseInUseError),
    ("FATAL:  terminating connection due to administrator command\nserver closed the connection unexpectedly",
     DatabaseServerAwayError),
    ("FATAL:  the database system is starting up", DatabaseServerAwayError),
    ('pg_restore: error: relation "x" already exists', None),
    ("", None),
]

_MYSQL: list[tuple[str, type[KuramoriError] | None]] = [
    ("ERROR 1045 (28000): Access denied for user 'x'@'localhost' (using password: YES)", DatabaseLoginError),
    ('mariadb-dump: Got error: 1698: "Access denied for user \'root\'@\'localhost\'" when trying to connect',
     DatabaseLoginError),
    ("ERROR 2002 (HY000): Can't connect to local server through socket '/x' (2)", DatabaseServerAwayError),
    ("mysqldump: Error 2013: Lost connection to server during query when dumping table `t` at row: 7",
     DatabaseServerAwayError),
    ("ERROR 1049 (42000): Unknown database 'x'", NoSuchDatabaseError),
    ("mysqldump: Got error: 1044: Access denied for user 'x'@'%' to database 'y' when using LOCK TABLES",
     DatabaseRightsError),
    ("ERROR 1227 (42000) at line 9: Access denied; you need (at least one of) the SUPER privilege(s)",
     DatabaseRightsError),
    ("ERROR 1114 (HY000) at line 40: The table 't' is full", DatabaseServerFullError),
    ("ERROR 1021 (HY000) at line 40: Disk full (/tmp); waiting for someone to free some space...",
     DatabaseServerFullError),
    ("ERROR 1146 (42S02) at line 3: Table 'x.y' doesn't exist", None),
    ("", None),
]


@pytest.mark.parametrize(("said", "expected"), _POSTGRES)
def test_complaints_of_postgres(said: str, expected: type[KuramoriError] | None) -> None:
    """Also where more is said after what matters."""
    _assert_means(PostgresTools(_ADDRESS, (), {}).explain(said, "shop"), expected)


@pytest.mark.parametrize(("said", "expected"), _MYSQL)
def test_complaints_of_mysql(said: str, expected: type[KuramoriError] | None) -> None:
    """By their numbers, which are the same in every language of a server."""
    _assert_means(MysqlTools(_ADDRESS, "", {}).explain(said, "shop"), expected)


def _assert_means(error: KuramoriError | None, expected: type[KuramoriError] | None) -> None:
    assert (None if error is None else type(error)) is expected
    if error is not None:
        assert "\n" not in str(error)
        assert "shop" in str(error) if expected is DatabaseInUseError else "[::1]:5433" in str(error)
        assert error.advice_text()
