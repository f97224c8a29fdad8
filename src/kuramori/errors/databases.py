"""Database servers: dumps that could not be made or brought back."""

from __future__ import annotations

from kuramori.errors.root import N_, KuramoriError
from kuramori.errors.sources import RestoreError


class DatabaseServerError(KuramoriError):
    """Something went wrong with a database server."""

    message = N_("the database server at {server!s} refused: {detail}")


class DatabaseServerAwayError(DatabaseServerError):
    """Nobody answers, or the connection broke."""

    message = N_("the database server at {server!s} does not answer: {detail}")
    advice = N_("check that it runs, and the host, the port and the socket in the settings")
    retryable = True


class DatabaseLoginError(DatabaseServerError):
    """The user or the password is not accepted."""

    message = N_("the database server at {server!s} does not let us in: {detail}")
    advice = N_("check the user and the password file in the settings")


class DatabaseRightsError(DatabaseServerError):
    """The user may not do what is asked of it."""

    message = N_("the database server at {server!s} does not permit this: {detail}")
    advice = N_("a backup must be allowed to read everything (PostgreSQL: the role pg_read_all_data; MySQL: SELECT, "
                "SHOW VIEW, TRIGGER, EVENT), a restore to create databases")


class NoSuchDatabaseError(DatabaseServerError):
    """The server has no database of that name."""

    message = N_("the database server at {server!s} has no such database: {detail}")
    advice = N_("check the name of the database in the settings")


class DatabaseServerFullError(DatabaseServerError):
    """The server's disk is full."""

    message = N_("the disk of the database server at {server!s} is full: {detail}")
    advice = N_("make room there and try again; what was there before is as it was")


class DatabaseInUseError(DatabaseServerError):
    """Somebody works with a database that is to be replaced."""

    message = N_("the database {database!s} is in use: {detail}")
    advice = N_("stop the programs that use it and try again, or restore into another database")
    retryable = True


class DatabaseToolMissingError(KuramoriError):
    """A program that talks to the server is not installed."""

    message = N_("the program {program!s} is not installed")
    advice = N_("install the package {package!s} (sudo apt install {package!s})")


class DatabaseToolOldError(KuramoriError):
    """The server is newer than every program here that could read it."""

    message = N_("the database server at {server!s} is version {found!s}, and {program!s} here is version {version!s}")
    advice = N_("install the package {package!s}, of the server's version or newer")


class DumpFailedError(KuramoriError):
    """The program that makes the dump failed; no snapshot was made."""

    message = N_("the dump of {database!s} failed ({detail}), so no snapshot was made")


class DumpNotWholeError(DumpFailedError):
    """What came was no whole dump, though the program was content; no snapshot was made."""

    message = N_("the dump of {database!s} is not whole ({detail}), so no snapshot was made")


class PasswordFileError(KuramoriError):
    """A file with a password cannot be used."""

    message = N_("the password file {path!s} cannot be used: {detail}")
    advice = N_("it must hold the password and nothing else, and only its owner may read it (chmod 600)")


class DatabaseRestoreError(RestoreError):
    """A dump could not be brought back. What was there before is as it was."""

    message = N_("the database {database!s} could not be restored: {detail}")
    advice = N_("what was there before is as it was")


class BrokenSwapError(DatabaseRestoreError):
    """The server went away at the worst moment: the tables are as they were, their code is not."""

    message = N_("the restore of the database {database!s} was broken off: {detail}")
    advice = N_("its tables are as they were; its views, triggers, routines and events lie as statements in the "
                "table {table!s}")


class UnsafeTablesHint(KuramoriError):
    """Tables that no transaction protects while they are dumped."""

    message = N_("tables of {database!s} that are not InnoDB may have changed while they were dumped: {tables!s}")
    advice = N_("convert them (ALTER TABLE ... ENGINE=InnoDB), or stop what writes to them during the backup")


class RolePasswordsHint(KuramoriError):
    """The roles were saved, their passwords were not."""

    message = N_("the passwords of the roles at {server!s} could not be saved: {detail}")
    advice = N_("let a superuser make the dump, or set the passwords anew after a restore")


class RestoredWithHint(KuramoriError):
    """A database is back, but something that belongs to it is not as it was."""

    message = N_("the database {database!s} is back, but not all that belongs to it: {detail}")


class AccountsHint(KuramoriError):
    """The databases were saved, the accounts that use them were not."""

    message = N_("the accounts at {server!s} could not be saved: {detail}")
    advice = N_("let a user who may read them make the dump, or make the accounts anew after a restore")
