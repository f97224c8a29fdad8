"""``[jobs.NAME.components.NAME]``: one thing that a job protects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kuramori.errors import N_, KuramoriError, Phrase
from kuramori.settings.model import DEFAULT_MAX_LOSS, ComponentKind, ComponentSettings, DatabaseServer
from kuramori.settings.reader import Expected, Problems, Refused, TableReader, nearest_name
from kuramori.settings.repositories import PASSWORD_FILE
from kuramori.settings.retention_rules import read_retention
from kuramori.settings.schema import EVERY_KIND, KIND_KEYS
from kuramori.settings.values import (
    FLAG,
    SHARE,
    SIZE,
    WORDS,
    Surroundings,
    checked,
    choice,
    duration,
    one_word,
    path,
    whole_number,
)
from kuramori.sources.patterns import PatternList

_KINDS = tuple(kind.value for kind in ComponentKind)
_DATABASE_FILE = Phrase(N_("the path of the database file"))
_FILES = Phrase(N_("the path of a file or folder, or a list of them"))
_DATABASE = Phrase(N_("the name of a database"))
_WAIT = duration(0, 86_400, "60s")


def read_component(name: str, reader: TableReader, around: Surroundings) -> ComponentSettings | None:
    """Return what a component's table says, None where nobody can tell of which kind it is meant to be."""
    kind_name = reader.required("kind", choice(_KINDS), None)
    retention = read_retention(reader)
    enabled = reader.value("enabled", FLAG, True)
    max_loss = reader.value("max_loss", SHARE, DEFAULT_MAX_LOSS)
    if kind_name is None:
        # Where it is clear what was meant, the other mistakes are found by it.
        written = reader.raw("kind")
        kind_name = nearest_name(written, _KINDS) if isinstance(written, str) else ""
        if not kind_name:
            return None
    kind = ComponentKind(kind_name)
    _refuse_foreign_keys(reader, kind)
    files, command = kind is ComponentKind.FILES, kind is ComponentKind.COMMAND
    has_source = files or kind is ComponentKind.SQLITE
    serves = kind in (ComponentKind.POSTGRES, ComponentKind.MYSQL)
    return ComponentSettings(
        name=name, kind=kind, enabled=enabled, retention=retention, max_loss=max_loss,
        sources=_sources(reader, around, several=files) if has_source else (),
        busy_timeout=reader.value("busy_timeout", _WAIT, 60.0) if has_source else 60.0,
        server=_server(reader, around) if serves else DatabaseServer(),
        command=reader.required("command", WORDS, ()) if command else (),
        restore_command=reader.value("restore_command", WORDS, ()) if command else (),
        filename=reader.value("filename", _FILENAME, "") if command else "",
        exclude=reader.values("exclude", _PATTERN) if files else (),
        exclude_caches=reader.value("exclude_caches", FLAG, False) if files else False,
        exclude_if_present=reader.values("exclude_if_present", _MARKER) if files else (),
        exclude_larger_than=reader.value("exclude_larger_than", SIZE, None) if files else None,
        one_file_system=reader.value("one_file_system", FLAG, False) if files else False,
        databases=reader.value("databases", FLAG, True) if files else True,
    )


def _refuse_foreign_keys(reader: TableReader, kind: ComponentKind) -> None:
    """Report keys that only other kinds take."""
    known = {*EVERY_KIND, *KIND_KEYS[kind]}
    for key in {key: None for keys in KIND_KEYS.values() for key in keys}:
        if key not in known and reader.has(key):
            owners = ", ".join(other.value for other in KIND_KEYS if key in KIND_KEYS[other])
            reader.problems.add(
                (*reader.keys, key),
                Phrase(N_("a component of the kind {kind!s} has no such key; only {others!s}"), kind=kind.value,
                       others=owners),
                Phrase("{names!s}", names=", ".join(KIND_KEYS[kind])))


# --- sources ---------------------------------------------------------------------------------


def _sources(reader: TableReader, around: Surroundings, *, several: bool) -> tuple[Path, ...]:
    expected = path(around, _FILES if several else _DATABASE_FILE)
    if not several:
        found = reader.required("source", expected, None)
        return () if found is None else (found,)
    if not reader.has("source"):
        reader.required("source", expected, None)
        return ()
    if reader.raw("source") == []:
        reader.problems.add((*reader.keys, "source"), Phrase(N_("found an empty list")), _FILES)
    return reader.values("source", expected)


def refuse_same_sources(job: str, components: Iterable[ComponentSettings], problems: Problems) -> None:
    """Report sources that a job names twice: they would be stored twice, and restored over each other."""
    first: dict[Path, str] = {}
    for component in components:
        for source in component.sources:
            place = ("jobs", job, "components", component.name, "source")
            if source not in first:
                first[source] = component.name
            else:
                problems.add(place, Phrase(N_("{path!s} is already a source of the component {name!s}"),
                                           path=str(source), name=first[source]))


def _pattern_fault(pattern: str) -> Phrase | None:
    try:
        PatternList([pattern.encode()])
    except KuramoriError as error:
        return Phrase("{detail}", detail=error)
    return None


def _marker_fault(marker: str) -> Phrase | None:
    name = marker.partition(":")[0]
    if not name or "/" in name:
        return Phrase(N_('found the text "{value!s}"'), value=marker[:60])
    return None


_PATTERN = checked(Phrase(N_('a pattern such as "*.tmp", or a list of them')), _pattern_fault)
_MARKER = checked(Phrase(N_('the name of a file such as ".nobackup", or a list of them')), _marker_fault)


# --- commands and servers --------------------------------------------------------------------


def _filename_of(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or "/" in value or \
            value in (".", "..") or len(value.encode()) > 255:
        raise Refused
    return value


_FILENAME = Expected(Phrase(N_("the name of a file, without folders")), _filename_of)


def _server(reader: TableReader, around: Surroundings) -> DatabaseServer:
    host = reader.value("host", one_word(Phrase(N_("a name, an address, or the folder of the server's socket"))), "")
    if host.startswith("~"):
        host = str(around.home or "") + host[1:]
    server = DatabaseServer(
        database=reader.value("database", one_word(_DATABASE), ""), host=host,
        port=reader.value("port", whole_number(1, 65_535), None),
        user=reader.value("user", one_word(Phrase(N_("the name of a user of the server"))), ""),
        password_file=reader.value("password_file", path(around, PASSWORD_FILE), None),
        defaults_file=reader.value("defaults_file", path(around, Phrase(
            N_("the path of a .pgpass file (postgres) or of an option file (mysql)"))), None),
    )
    if reader.has("password_file") and reader.has("defaults_file"):
        reader.problems.add((*reader.keys, "defaults_file"),
                            Phrase(N_("there is a password_file as well, and only one of them can count")))
    return server
