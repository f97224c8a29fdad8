"""SQLite databases that could not be saved, are not sound, or could not be replaced."""

from __future__ import annotations

from kuramori.errors.root import N_
from kuramori.errors.sources import RestoreError, SourceError


class DatabaseBusyError(SourceError):
    """Some other program holds a database exclusively and did not let go in time."""

    message = N_("the database {path!s} was held by another program for {detail} seconds and was not saved")
    advice = N_("end the program that holds it, or allow more time")
    retryable = True


class DatabaseSavedRawError(SourceError):
    """SQLite cannot read a database; it was saved byte by byte, as an ordinary file."""

    message = N_("SQLite cannot read the database {path!s} ({detail}); it was saved as it lies on the disk")
    advice = N_("what was saved may be damaged: look for an older backup that is sound")


class DatabaseUnsoundError(SourceError):
    """A database was saved whole, but SQLite's own check complains of what is in it."""

    message = N_("the database {path!s} was saved, but its check found: {detail}")
    advice = N_("older backups may hold it undamaged; keep them")


class NotADatabaseError(SourceError):
    """A file that should be a database is none."""

    message = N_("{path!s} is not an SQLite database")


class DatabaseReplacementError(RestoreError):
    """A live database could not be replaced; it is as it was."""

    message = N_("the database {path!s} was not replaced: {detail}")
    advice = N_("the database in use is unchanged")


class LiveDatabaseBusyError(DatabaseReplacementError):
    """Some other program holds the live database and did not let go in time."""

    message = N_("the database {path!s} was not replaced: another program held it for {detail} seconds")
    advice = N_("the database in use is unchanged; end the program that holds it, or allow more time")
    retryable = True
