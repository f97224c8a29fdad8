"""``[repositories.NAME]``: where backups are kept, how that place is reached, and where the password comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kuramori.errors import N_, KuramoriError, Phrase
from kuramori.settings.hostnames import check_placeholders
from kuramori.settings.model import (
    DEFAULT_CHECK_DAYS,
    DEFAULT_STALE_AFTER,
    MaintenanceSettings,
    RepositorySettings,
    StoreSettings,
)
from kuramori.settings.reader import Expected, Problems, Refused, TableReader, number_of
from kuramori.settings.schedules import SCHEDULE
from kuramori.settings.schema import MAINTENANCE_KEYS
from kuramori.settings.values import (
    COMMAND_LINE,
    FLAG,
    SIZE,
    Surroundings,
    absolute_path,
    checked,
    choice,
    duration,
    one_word,
    path,
    text,
    whole_number,
)
from kuramori.storage.location import parse_location

PASSWORD_FILE = Phrase(N_("the path of a file that holds nothing but the password"))
_ENVIRONMENT_FILE = Phrase(N_("the path of a file with lines such as AWS_ACCESS_KEY_ID=..."))
_CERTIFICATES = Phrase(N_("the path of a PEM file"))
_LOCATION = Phrase(N_('a folder such as "/mnt/usb/backup"'))
_MIB = 1024 * 1024
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PASSWORDS = ("password_file", "password_command", "password_keyring")


def read_repository(name: str, reader: TableReader, around: Surroundings) -> RepositorySettings:
    """Return what a repository's table says. ``{hostname}`` still stands in its locations:
    :func:`~kuramori.settings.hostnames.fill_hostnames` fills it in."""
    password_file, password_command, password_keyring = _read_password(reader, around)
    generated = not any(reader.has(key) for key in _PASSWORDS)
    return RepositorySettings(
        name=name, location=reader.required("location", _location(around), ""),
        password_file=around.folder / f"password-{name}" if generated else password_file,
        password_command=password_command, password_keyring=password_keyring, password_generated=generated,
        key_hint=reader.value("key_hint", one_word(Phrase(N_("the id of a key, or its beginning"))), ""),
        compression=reader.value("compression", choice(("auto", "off", "fastest", "better", "max")), "auto"),
        pack_size=reader.value("pack_size", whole_number(4, 128), 16) * _MIB,
        max_size=reader.value("max_size", SIZE, None),
        use_cache=reader.value("cache", FLAG, True),
        stale_after=reader.value("stale_after", _PATIENCE, DEFAULT_STALE_AFTER),
        run_when_attached=_read_attachment(reader),
        check=reader.value("check", SCHEDULE, None),
        check_days=reader.value("check_days", whole_number(1, 3650), DEFAULT_CHECK_DAYS),
        check_budget=reader.value("check_budget", SIZE, None),
        store=_read_store(reader, around), maintenance=_read_maintenance(reader, around),
    )


def _read_attachment(reader: TableReader) -> bool:
    wanted = reader.value("run_when_attached", FLAG, False)
    location = reader.raw("location")
    if wanted and isinstance(location, str) and _SCHEME.match(location) and not location.startswith("local:"):
        reader.problems.add((*reader.keys, "run_when_attached"), Phrase(
            N_("found true, but only a folder of this machine can be seen to come and go")))
    return wanted


def _read_password(reader: TableReader, around: Surroundings) -> tuple[Path | None, tuple[str, ...], str]:
    given = [key for key in _PASSWORDS if reader.has(key)]
    for key in given[1:]:
        reader.problems.add((*reader.keys, key), Phrase(
            N_("there is a {other!s} as well, and only one of them can count"), other=given[0]))
    return (reader.value("password_file", path(around, PASSWORD_FILE), None),
            reader.value("password_command", COMMAND_LINE, ()), reader.value("password_keyring", _KEYRING_ENTRY, ""))


def _read_store(reader: TableReader, around: Surroundings) -> StoreSettings:
    return StoreSettings(
        connections=reader.value("connections", whole_number(1, 1000), None),
        limit_upload=reader.value("limit_upload", SIZE, None),
        limit_download=reader.value("limit_download", SIZE, None),
        options=reader.value("options", _OPTIONS, {}),
        environment=reader.value("environment", _ENVIRONMENT, {}),
        environment_file=reader.value("environment_file", path(around, _ENVIRONMENT_FILE), None),
        environment_keyring=reader.value("environment_keyring", _KEYRING_ENTRIES, {}),
        ca_certificates=reader.value("ca_certificates", path(around, _CERTIFICATES), None),
        client_certificate=reader.value("client_certificate", path(around, _CERTIFICATES), None),
        insecure_tls=reader.value("insecure_tls", FLAG, False),
        object_lock_days=reader.value("object_lock_days", whole_number(1, 36_500), None),
    )


def _read_maintenance(reader: TableReader, around: Surroundings) -> MaintenanceSettings | None:
    table = reader.table("maintenance", MAINTENANCE_KEYS)
    if table is None:
        return None
    password_file, password_command, password_keyring = _read_password(table, around)
    return MaintenanceSettings(
        location=table.value("location", _location(around), ""), password_file=password_file,
        password_command=password_command, password_keyring=password_keyring,
        environment=table.value("environment", _ENVIRONMENT, {}),
        environment_file=table.value("environment_file", path(around, _ENVIRONMENT_FILE), None),
        environment_keyring=table.value("environment_keyring", _KEYRING_ENTRIES, {}),
    )


# --- values of these tables ------------------------------------------------------------------


def _patience_of(value: object) -> float | None:
    return None if value == "never" else _STALE_AFTER.convert(value)


_STALE_AFTER = duration(3600, 1000 * 86_400, "7d")
_PATIENCE = Expected(Phrase(N_('a duration such as "7d", from 1 hour to 1000 days, or "never"')), _patience_of)


def _location(around: Surroundings) -> Expected[str]:
    plain = text(_LOCATION, secret=True)

    def convert(value: object) -> str:
        written = check_placeholders(plain.convert(value))
        try:
            scheme, address = parse_location(written)
        except KuramoriError as error:
            raise Refused(Phrase("{detail}", detail=error)) from None
        return str(absolute_path(address, around)) if scheme == "local" else written

    return Expected(_LOCATION, convert, secret=True)


def _check_keyring_entry(entry: str) -> Phrase | None:
    service, slash, user = entry.partition("/")
    return None if service and slash and user else Phrase(N_("found no name of a service and a user with / between"))


_KEYRING_ENTRY = checked(Phrase(N_('"service/user", as the keyring has them')), _check_keyring_entry)


def _texts_of(value: object) -> dict[str, str]:
    """Return the entries of a table of texts; numbers and true and false are taken as they are written."""
    if not isinstance(value, Mapping):
        raise Refused
    found = {}
    for key, each in value.items():
        number = number_of(each)
        if isinstance(each, bool):
            found[str(key)] = str(each).lower()
        elif number is not None:
            found[str(key)] = str(number)
        elif isinstance(each, str) and "\0" not in each:
            found[str(key)] = each
        else:
            raise Refused(Phrase(N_("the value of {key!s} is no text"), key=str(key)[:60]))
    return found


def _options_of(value: object) -> Mapping[str, str]:
    """Return options of stores. TOML makes tables of keys with dots in them, so those are joined again."""
    if not isinstance(value, Mapping):
        raise Refused
    found: dict[str, str] = {}
    for key, each in value.items():
        if isinstance(each, Mapping):
            found.update({f"{key}.{below}".lower(): text for below, text in _texts_of(each).items()})
        else:
            found.update({name.lower(): text for name, text in _texts_of({key: each}).items()})
    return found


def _variables_of(value: object) -> Mapping[str, str]:
    found = _texts_of(value)
    for name in found:
        if _VARIABLE.fullmatch(name) is None:
            raise Refused(Phrase(N_("{name!s} cannot be the name of a variable"), name=name[:60]))
    return found


def _keyring_entries_of(value: object) -> Mapping[str, str]:
    return {name: _KEYRING_ENTRY.convert(entry) for name, entry in _variables_of(value).items()}


_OPTIONS = Expected(Phrase(N_('a table such as {{ "s3.storage-class" = "STANDARD_IA" }}')), _options_of, secret=True)
_ENVIRONMENT = Expected(Phrase(N_('a table such as {{ AWS_DEFAULT_REGION = "eu-west-1" }}')), _variables_of,
                        secret=True)
_KEYRING_ENTRIES = Expected(Phrase(N_('a table such as {{ AWS_SECRET_ACCESS_KEY = "kuramori/aws" }}')),
                            _keyring_entries_of)


def refuse_same_places(repositories: dict[str, RepositorySettings], problems: Problems) -> None:
    """Report repositories that lie at the same place: a copy beside itself is no second copy."""
    first: dict[str, str] = {}
    for name, repository in repositories.items():
        other = first.setdefault(repository.location, name) if repository.location else name
        if other != name:
            problems.add(("repositories", name, "location"),
                         Phrase(N_("this is where the repository {name!s} is already"), name=other))
