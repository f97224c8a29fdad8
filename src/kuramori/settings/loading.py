"""From ``kuramori.toml`` to :class:`~kuramori.settings.model.Settings`, or to all that is wrong with it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kuramori.errors import (
    N_,
    NoSettingsError,
    Phrase,
    SettingsError,
    SettingsFileMissingError,
    SettingsProblem,
    UntrustedSettingsError,
    WritableSettingsError,
)
from kuramori.settings.hostnames import fill_hostnames
from kuramori.settings.jobs import read_job
from kuramori.settings.model import (
    MaintenanceSettings,
    NotifySettings,
    RepositorySettings,
    Settings,
    StoreSettings,
)
from kuramori.settings.names import check_name
from kuramori.settings.reader import Problems, TableReader
from kuramori.settings.regular_file import NotRegularError, read_regular_file
from kuramori.settings.repositories import read_repository, refuse_same_places
from kuramori.settings.schema import JOB_KEYS, METRICS_KEYS, NOTIFY_KEYS, REPOSITORY_KEYS, TOP_KEYS
from kuramori.settings.values import LISTEN, WEB_ADDRESS, Surroundings, choice, path, text
from kuramori.storage.access import looks_secret

LANGUAGES = ("en", "ja")
_MOST_BYTES = 4 * 1024 * 1024
_FOLDER = Phrase(N_("the path of a folder"))
_TOML = Phrase(N_('TOML: texts, paths and times such as "02:00" stand between quotes, and so do Japanese names'))
_APPRISE = text(Phrase(N_("an address that Apprise knows, such as ntfy://..., or a list of them")), secret=True)
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/@]*:[^/@]+@")


@dataclass(frozen=True, slots=True)
class SettingsDefaults:
    """What the surroundings say and the file need not."""

    config_folder: Path
    """Where relative paths begin when there is no file."""
    state_directory: Path
    cache_directory: Path | None = None
    hostname: str = "localhost"
    home: Path | None = None
    """What ``~`` stands for; None where nobody knows."""


# --- finding and reading the file ------------------------------------------------------------


def find_settings(explicit: Path | None, candidates: Sequence[Path]) -> Path:
    """Return the settings file: the one that was named, else the first candidate that exists.

    Raises:
        SettingsFileMissingError: the named one does not exist.
        NoSettingsError: there is none.
    """
    if explicit is not None:
        if not os.path.lexists(explicit):
            raise SettingsFileMissingError(path=str(explicit))
        return explicit
    for candidate in candidates:
        if os.path.lexists(candidate):
            return candidate
    raise NoSettingsError(places=", ".join(map(str, candidates)))


def refuse_foreign_file(file: Path, user: int) -> None:
    """Refuse a file that was found and not named, and that somebody else may have written: it names
    commands, and whoever changes into a folder must not run what lies there.

    Args:
        user: the number of the user who runs the program.

    Raises:
        UntrustedSettingsError: it belongs to another user who is not root.
    """
    try:
        status = os.stat(file)
    except OSError:
        return  # reading it says what is wrong
    if status.st_uid not in (0, user):
        raise UntrustedSettingsError(path=str(file))


def load_settings(file: Path, defaults: SettingsDefaults) -> Settings:
    """Read a settings file.

    Raises:
        SettingsError: with everything that is wrong with it.
        SettingsFileMissingError: there is none.
        WritableSettingsError: anybody may write to it.
    """
    content, mode = _read(file)
    if mode & 0o002:
        raise WritableSettingsError(path=str(file))
    settings = parse_settings(_decode(content, file), file, defaults)
    if mode & 0o077:
        _refuse_visible_secrets(settings, file)
    return settings


def _read(file: Path) -> tuple[bytes, int]:
    try:
        content, status = read_regular_file(file, _MOST_BYTES + 1)
    except FileNotFoundError:
        raise SettingsFileMissingError(path=str(file)) from None
    except NotRegularError as error:
        raise _unusable(file, Phrase(N_("it is a folder") if error.folder else N_("it is no regular file"))) from None
    except OSError as error:
        raise _unusable(file, Phrase(N_("it cannot be read: {detail}"), detail=error.strerror or "")) from None
    if len(content) > _MOST_BYTES:
        raise _unusable(file, Phrase(N_("it is too large for a settings file")))
    return content, status.st_mode


def _decode(content: bytes, file: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _unusable(file, Phrase(N_("line {line} is no UTF-8 text: save the file as UTF-8"), line=line)) from None


def _unusable(file: Path | None, message: Phrase, allowed: Phrase | None = None) -> SettingsError:
    return SettingsError(path=str(file or "kuramori.toml"), problems=(SettingsProblem((), message, allowed),))


def _refuse_visible_secrets(settings: Settings, file: Path) -> None:
    """Report secrets in a file that others may read."""
    message = Phrase(N_("this is a secret, and other users may read the file; chmod 600 {path!s} changes that"),
                     path=str(file))
    problems = [SettingsProblem(keys, message) for keys in secret_places(settings)]
    if problems:
        raise SettingsError(path=str(file), problems=tuple(problems), language=settings.language)


def secret_places(settings: Settings) -> list[tuple[str | int, ...]]:
    """Return where in its file the settings hold secrets."""
    found: list[tuple[str | int, ...]] = [
        ("repositories", name, "location") for name, repository in settings.repositories.items()
        if _PASSWORD_IN_ADDRESS.search(repository.location)]
    for name, repository in settings.repositories.items():
        found += _secrets_of(("repositories", name), repository.store)
        if repository.maintenance is not None:
            found += _secrets_of(("repositories", name, "maintenance"), repository.maintenance)
    found += [("notify", key) for key in NOTIFY_KEYS if getattr(settings.notify, key)]
    return found


def _secrets_of(keys: tuple[str | int, ...], table: StoreSettings | MaintenanceSettings) -> list[tuple[str | int, ...]]:
    found: list[tuple[str | int, ...]] = [(*keys, "environment", name) for name in table.environment
                                          if looks_secret(name)]
    if isinstance(table, MaintenanceSettings):
        return found + [(*keys, "location")] * bool(_PASSWORD_IN_ADDRESS.search(table.location))
    return found + [(*keys, "options", name) for name in table.options if looks_secret(name)]


# --- what is in it ---------------------------------------------------------------------------


def parse_settings(content: str, file: Path | None, defaults: SettingsDefaults) -> Settings:
    """Return what the text of a settings file says.

    Args:
        file: where it is; relative paths begin in its folder. None for a text that is in no file.

    Raises:
        SettingsError: with everything that is wrong with it.
    """
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise _unusable(file, _syntax_error(error, content), _TOML) from None
    except (RecursionError, ValueError):
        # Brackets in brackets without end, and numbers of thousands of digits.
        raise _unusable(file, Phrase(N_("its values are nested too deep, or a number is too long"))) from None
    return read_document(document, file, defaults)


_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def _syntax_error(error: tomllib.TOMLDecodeError, content: str) -> Phrase:
    """Return where the text is not TOML, and why. The line itself is not repeated: it may hold a secret."""
    found = _POSITION.fullmatch(str(error))
    reason = found[1] if found else ""
    line = found[2] if found and found[2] else str(content.rstrip().count("\n") + 1)
    column = found[3] if found and found[3] else ""
    detail = next((text for beginning, text in _REASONS if reason.startswith(beginning)), N_("this is not TOML"))
    if column:
        return Phrase(N_("line {line}, column {column}: {detail}"), line=line, column=column, detail=detail)
    return Phrase(N_("line {line}: {detail}"), line=line, detail=detail)


_REASONS = (
    ("Invalid value", N_("no value that TOML knows")),
    ("Invalid statement", N_("neither a key nor a table begins so")),
    ("Expected '='", N_("there should be = and a value after the key")),
    ("Expected ']'", N_("the bracket of the table's name is not closed")),
    ("Expected ']]'", N_("the bracket of the table's name is not closed")),
    ("Expected newline", N_("something stands behind the value; is it without quotes?")),
    ("Cannot overwrite", N_("this key has a value already")),
    ("Cannot declare", N_("this table exists already")),
    ("Duplicate inline table key", N_("this key has a value already")),
    ("Cannot mutate", N_("this table is complete already")),
    ("Cannot redefine", N_("this table exists already")),
    ("Invalid initial character", N_("a key should begin here")),
    ("Unclosed array", N_("the list is not closed")),
    ("Unclosed inline table", N_("the braces are not closed")),
    ("Unescaped", N_("a backslash stands in a text; write it twice, or use single quotes")),
    ("Unterminated string", N_("the text has no closing quote")),
    ("Illegal character", N_("the text has no closing quote, or holds a control character")),
    ("Found invalid character", N_("there is a control character")),
    ("Invalid date", N_("there is no such date or time")),
    ("Expected ", N_("the text has no closing quote")),
)
"""What ``tomllib`` says, and how a person would say it."""


def read_document(document: Mapping[str, object], file: Path | None, defaults: SettingsDefaults) -> Settings:
    """Return what the tables of a settings file say; see :func:`parse_settings`.

    Raises:
        SettingsError: with everything that is wrong.
    """
    problems = Problems()
    folder = Path(os.path.abspath(file)).parent if file is not None else defaults.config_folder
    around = Surroundings(folder, defaults.home)
    reader = TableReader(document, (), TOP_KEYS, problems)
    language = reader.value("language", choice(LANGUAGES), "")
    state_directory = reader.value("state_directory", path(around, _FOLDER), defaults.state_directory)
    cache_directory = reader.value("cache_directory", path(around, _FOLDER), defaults.cache_directory)
    repositories = _read_repositories(reader, around)
    tables = reader.named_tables("jobs", JOB_KEYS, check_name, "[jobs.planter]")
    named = document.get("repositories")
    known = list(named) if isinstance(named, Mapping) else []
    jobs = {name: read_job(name, table, known, around) for name, table in tables.items()}
    repositories = fill_hostnames(repositories, jobs, defaults.hostname, problems)
    refuse_same_places(repositories, problems)
    settings = Settings(
        state_directory=state_directory, repositories=repositories, jobs=jobs,
        path=None if file is None else Path(os.path.abspath(file)), language=language, cache_directory=cache_directory,
        notify=_read_notify(reader), metrics_listen=_read_metrics(reader))
    if problems.all():
        raise SettingsError(path=str(file or "kuramori.toml"), problems=problems.all(), language=language)
    return settings


def _read_repositories(reader: TableReader, around: Surroundings) -> dict[str, RepositorySettings]:
    tables = reader.named_tables("repositories", REPOSITORY_KEYS, check_name, "[repositories.usb]")
    return {name: read_repository(name, table, around) for name, table in tables.items()}


def _read_notify(reader: TableReader) -> NotifySettings:
    table = reader.table("notify", NOTIFY_KEYS)
    if table is None:
        return NotifySettings()
    return NotifySettings(apprise=table.values("apprise", _APPRISE), ping=table.value("ping", WEB_ADDRESS, ""),
                          webhook=table.value("webhook", WEB_ADDRESS, ""))


def _read_metrics(reader: TableReader) -> str:
    table = reader.table("metrics", METRICS_KEYS)
    return "" if table is None else table.value("listen", LISTEN, "")
