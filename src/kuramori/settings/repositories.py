"""``[repositories.NAME]``: where backups are kept, and where the password comes from."""

from __future__ import annotations

from kuramori.errors import N_, KuramoriError, Phrase
from kuramori.settings.hostnames import check_placeholders
from kuramori.settings.model import RepositorySettings
from kuramori.settings.reader import Expected, Problems, Refused, TableReader
from kuramori.settings.values import (
    COMMAND_LINE,
    FLAG,
    Surroundings,
    absolute_path,
    choice,
    one_word,
    path,
    text,
    whole_number,
)
from kuramori.storage.location import parse_location

PASSWORD_FILE = Phrase(N_("the path of a file that holds nothing but the password"))
_LOCATION = Phrase(N_('a folder such as "/mnt/usb/backup"'))
_MIB = 1024 * 1024


def read_repository(name: str, reader: TableReader, around: Surroundings) -> RepositorySettings:
    """Return what a repository's table says. ``{hostname}`` still stands in its location:
    :func:`~kuramori.settings.hostnames.fill_hostnames` fills it in."""
    password_file = reader.value("password_file", path(around, PASSWORD_FILE), None)
    password_command = reader.value("password_command", COMMAND_LINE, ())
    if reader.has("password_file") and reader.has("password_command"):
        reader.problems.add((*reader.keys, "password_command"),
                            Phrase(N_("there is a password_file as well, and only one of them can count")))
    generated = not (reader.has("password_file") or reader.has("password_command"))
    return RepositorySettings(
        name=name, location=reader.required("location", _location(around), ""),
        password_file=around.folder / f"password-{name}" if generated else password_file,
        password_command=password_command, password_generated=generated,
        key_hint=reader.value("key_hint", one_word(Phrase(N_("the id of a key, or its beginning"))), ""),
        compression=reader.value("compression", choice(("auto", "off", "fastest", "better", "max")), "auto"),
        pack_size=reader.value("pack_size", whole_number(4, 128), 16) * _MIB,
        use_cache=reader.value("cache", FLAG, True),
    )


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


def refuse_same_places(repositories: dict[str, RepositorySettings], problems: Problems) -> None:
    """Report repositories that lie at the same place: a copy beside itself is no second copy."""
    first: dict[str, str] = {}
    for name, repository in repositories.items():
        other = first.setdefault(repository.location, name) if repository.location else name
        if other != name:
            problems.add(("repositories", name, "location"),
                         Phrase(N_("this is where the repository {name!s} is already"), name=other))
