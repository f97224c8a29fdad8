"""The questions of ``kuramori setup``, and what their answers mean. Nothing is written here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kuramori.cli.output import complain, say, shown, size_text
from kuramori.cli.questions import ask_hidden, ask_line, ask_until, ask_yes
from kuramori.cli.translation import current_language, translate_count
from kuramori.cli.translation import translate as _
from kuramori.errors import UsageError, WrongPasswordError
from kuramori.secret import Secret
from kuramori.settings.draft import (
    DraftComponent,
    SettingsDraft,
    check_after,
    cleanup_after,
    propose_components,
    repository_name,
)
from kuramori.settings.findings import (
    SourceFinding,
    examine_source,
    find_disks,
    find_servers,
    suggest_sources,
)
from kuramori.settings.model import ComponentKind, Schedule
from kuramori.settings.names import check_name
from kuramori.settings.reader import Refused
from kuramori.settings.schedules import SCHEDULE
from kuramori.settings.store_checks import StoreFinding, check_store

_DEFAULT_DAYS = 30
_MOST_DAYS = 36_500
_STORE_NAME = "kuramori-backup"


@dataclass(frozen=True)
class SetupRequest:
    """What the command line says already; None and empty are asked for, or get a default with ``--yes``."""

    sources: tuple[str, ...] = ()
    store: str | None = None
    schedule: str | None = None
    keep_days: str | None = None
    password_file: str | None = None
    job: str = "main"
    yes: bool = False


@dataclass(frozen=True)
class SetupAnswers:
    """All that is needed to begin."""

    draft: SettingsDraft
    findings: tuple[SourceFinding, ...]
    store: StoreFinding
    password: Secret | None = field(default=None)
    """As it was typed; None where one is to be made, or where a file has it."""


def ask_for_settings(request: SetupRequest) -> SetupAnswers:
    """Ask for everything that the command line does not say.

    Raises:
        UsageError: what the command line says cannot be.
        Interrupted: the input ended, or Ctrl-C.
    """
    wrong = check_name(request.job)
    if wrong is not None:
        raise UsageError(detail=wrong)
    findings, servers = _ask_sources(request)
    sources = [finding.path for finding in findings]
    store = _ask_store(request, sources, sum(finding.size for finding in findings))
    schedule, text = _ask_schedule(request)
    days = _ask_days(request)
    password_file, password = _ask_password(request, store)
    components: list[DraftComponent] = propose_components(findings, servers)
    draft = SettingsDraft(
        repository=repository_name(store.folder), location=store.folder, job=request.job, components=tuple(components),
        schedule=text, cleanup=cleanup_after(schedule) if days is not None else "",
        check=check_after(schedule), retention_days=days, password_file=password_file,
        language="" if current_language() == "en" else current_language())
    return SetupAnswers(draft, tuple(findings), store, password)


# --- sources ---------------------------------------------------------------------------------


def absolute(text: str) -> Path:
    """Return a path that was typed as an absolute one.

    Raises:
        ValueError: a settings file could not hold it, because it is no UTF-8.
    """
    path = os.path.abspath(os.path.expanduser(text))
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(_("{path} is not written in UTF-8, and a settings file cannot hold such a name").format(
            path=shown(path))) from None
    return Path(path)


def _ask_sources(request: SetupRequest) -> tuple[list[SourceFinding], list[ComponentKind]]:
    if request.sources:
        try:
            return [_source(text) for text in dict.fromkeys(request.sources)], []
        except ValueError as error:
            raise UsageError(detail=str(error)) from None
    if request.yes:
        raise UsageError(detail=_("say what is to be protected: --source"))
    suggestions = suggest_sources([place for place in dict.fromkeys((Path.cwd(), Path.home())) if place.is_dir()])
    say(_("What shall be protected? Databases, files and folders, one in a line; an empty line ends the list."))
    if suggestions:
        say(_("Found on this machine, to be named by its number:"))
        for number, path in enumerate(suggestions, start=1):
            say(f"    {number}  {shown(str(path))}")
    findings: list[SourceFinding] = []
    while True:
        text = ask_line(_("path or number") if suggestions else _("path"))
        if not text and findings:
            break
        _add_source(text, suggestions, findings)
    return findings, [kind for kind in find_servers() if _wants_server(kind)]


def _add_source(text: str, suggestions: Sequence[Path], findings: list[SourceFinding]) -> None:
    if not text:
        say(_("please name at least one"))
        return
    if text.isdecimal() and 1 <= int(text) <= len(suggestions):
        text = str(suggestions[int(text) - 1])
    try:
        finding = _source(text)
    except ValueError as error:
        say(str(error))
        return
    for other in findings:
        if finding.path == other.path or (other.folder and finding.path.is_relative_to(other.path)
                                          and finding.kind is ComponentKind.FILES):
            say(_("{path} is in the list already").format(path=shown(str(other.path))))
            return
    findings.append(finding)
    say("    " + describe_finding(finding))


def _source(text: str) -> SourceFinding:
    path = absolute(text)
    finding = examine_source(path)
    if finding is None:
        raise ValueError(_("{path} does not exist, or you may not read it").format(path=shown(str(path))))
    return finding


def describe_finding(finding: SourceFinding) -> str:
    """Return what a source is, in a line."""
    size = size_text(finding.size)
    if finding.kind is ComponentKind.SQLITE:
        return _("an SQLite database, {size}").format(size=size)
    if not finding.folder:
        return _("a file, {size}").format(size=size)
    files = translate_count("{count} file", "{count} files", finding.files).format(count=finding.files)
    text = _("a folder: {files}, {size}") if finding.whole else _("a folder: more than {files}, {size}")
    said = text.format(files=files, size=size)
    if finding.databases:
        said += "; " + translate_count(
            "{count} SQLite database in it, which will be saved as a database",
            "{count} SQLite databases in it, which will be saved as databases",
            len(finding.databases)).format(count=len(finding.databases))
    return said


def _wants_server(kind: ComponentKind) -> bool:
    name = "PostgreSQL" if kind is ComponentKind.POSTGRES else "MySQL/MariaDB"
    return ask_yes(_("A {name} server runs on this machine. Protect its databases too? (You must be allowed to read "
                     "them.)").format(name=name), default=False)


# --- store -----------------------------------------------------------------------------------


def _ask_store(request: SetupRequest, sources: Sequence[Path], needed: int) -> StoreFinding:
    if request.store is not None or request.yes:
        if request.store is None:
            raise UsageError(detail=_("say where backups are to be kept: --store"))
        found = _store_at(request.store, sources, needed)
        if found.faults:
            raise UsageError(detail=found.faults[0])
        for doubt in found.doubts:
            complain(_("note: {text}").format(text=doubt.text(_)))
        return found
    say()
    say(_("Where shall backups be kept? Best on another disk, such as a USB disk."))
    disks = [disk for disk in find_disks() if not check_store(disk / _STORE_NAME, sources, needed).faults]
    default = str((disks[0] if disks else Path.home()) / _STORE_NAME)
    while True:
        try:
            found = _store_at(ask_line(_("folder"), default), sources, needed)
        except UsageError as error:
            say(error.text(_))
            continue
        for phrase in found.faults or found.doubts:
            say(_("note: {text}").format(text=phrase.text(_)))
        if not found.faults and (not found.doubts or ask_yes(_("Use it all the same?"))):
            return found


def _store_at(text: str, sources: Sequence[Path], needed: int) -> StoreFinding:
    """Look at a place.

    Raises:
        UsageError: it names no folder on this machine.
    """
    from kuramori.settings.inspection import local_folder

    folder = local_folder(text)
    if folder is None:
        raise UsageError(detail=_("setup can use a folder only; write other stores into the settings file"))
    try:
        return check_store(absolute(str(folder)), sources, needed)
    except ValueError as error:
        raise UsageError(detail=str(error)) from None


# --- when, how long, and the password --------------------------------------------------------


def _ask_schedule(request: SetupRequest) -> tuple[Schedule, str]:
    if request.schedule is not None or request.yes:
        try:
            return _schedule(request.schedule or "02:00")
        except ValueError as error:
            raise UsageError(detail=str(error)) from None
    say()
    say(_("When shall it run? Every day at a time such as 02:00, or every so often, such as: every 6h"))
    return ask_until(_("when"), _schedule, "02:00")


def _schedule(text: str) -> tuple[Schedule, str]:
    try:
        schedule = SCHEDULE.convert(text)
    except Refused as error:
        raise ValueError(_("allowed: {allowed}").format(
            allowed=(error.allowed or SCHEDULE.allowed).text(_))) from None
    return schedule, str(schedule)


def _ask_days(request: SetupRequest) -> int | None:
    if request.keep_days is not None or request.yes:
        try:
            return _days(request.keep_days or str(_DEFAULT_DAYS))
        except ValueError as error:
            raise UsageError(detail=str(error)) from None
    say()
    say(_("How many days shall backups be kept? 0 keeps all of them; the newest one always stays."))
    return ask_until(_("days"), _days, str(_DEFAULT_DAYS))


def _days(text: str) -> int | None:
    if not text.isdecimal() or not text.isascii() or int(text[:6]) > _MOST_DAYS or len(text) > 6:
        raise ValueError(_("please give a number of days from 0 to {most}").format(most=_MOST_DAYS))
    return int(text) or None


def _ask_password(request: SetupRequest, store: StoreFinding) -> tuple[Path | None, Secret | None]:
    """Return where the password is, and what it is where it was typed; neither where one is to be made."""
    if request.password_file is not None:
        try:
            path = absolute(request.password_file)
        except ValueError as error:
            raise UsageError(detail=str(error)) from None
        _read_and_try(path, store)
        return path, None
    if not store.existing:
        return None, None if request.yes or not sys.stdin.isatty() else _ask_new_password()
    if request.yes or not sys.stdin.isatty():
        raise UsageError(detail=_("there is a repository at {path} already: say with --password-file where its "
                                  "password is").format(path=shown(str(store.folder))))
    say()
    say(_("There is a repository at {path} already; it will be used.").format(path=shown(str(store.folder))))
    return None, _ask_existing_password(store)


def _ask_new_password() -> Secret | None:
    say()
    say(_("Backups are encrypted with a password. An empty line has a good one made, which is then kept in a file; or "
          "type one of your own."))
    while True:
        password = ask_hidden(_("password, not shown [a new one]"))
        if not password or ask_hidden(_("the same again")) == password:
            return Secret(password) if password else None
        say(_("the two passwords differ"))


def _ask_existing_password(store: StoreFinding) -> Secret:
    from kuramori.cli.passwords import ask

    while True:
        password = ask(_("its password: "))
        try:
            _try_password(password, store)
        except WrongPasswordError as error:
            say(error.text(_))
            continue
        return password


def _read_and_try(path: Path, store: StoreFinding) -> None:
    """Read a password file and, where there is a repository, open that with it.

    Raises:
        CredentialError, RepositoryError: as reading and opening raise them.
    """
    from kuramori.errors import CredentialError
    from kuramori.settings.credentials import read_secret_file

    password = read_secret_file(path, name=str(store.folder))
    if not password:
        raise CredentialError(repository=str(store.folder), detail=_("it is empty"))
    if store.existing:
        _try_password(password, store)


def _try_password(password: Secret, store: StoreFinding) -> None:
    from kuramori.repository.opening import open_repository
    from kuramori.storage.location import open_backend

    backend = open_backend(str(store.folder))
    try:
        open_repository(backend, password)
    finally:
        backend.close()
