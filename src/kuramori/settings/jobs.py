"""``[jobs.NAME]``: components that are saved together, where to, when, and what runs around it."""

from __future__ import annotations

from collections.abc import Collection

from kuramori.errors import N_, Phrase
from kuramori.settings.components import read_component, refuse_same_sources
from kuramori.settings.model import DEFAULT_HOOK_TIMEOUT, Hook, JobSettings, Schedule
from kuramori.settings.names import check_component_name
from kuramori.settings.reader import Expected, Refused, TableReader, nearest_name
from kuramori.settings.schedules import INTERVAL, SCHEDULE
from kuramori.settings.schema import COMPONENT_KEYS
from kuramori.settings.values import WORDS, Surroundings, checked, duration

_TIMEOUT = duration(1, 7 * 86_400, "1h")
_HOOKS = ("before", "after", "on_failure")


def read_job(name: str, reader: TableReader, repositories: Collection[str], around: Surroundings) -> JobSettings:
    """Return what a job's table says.

    Args:
        repositories: the names of all repositories, also of those that are wrong otherwise.
    """
    timeout = reader.value("hook_timeout", _TIMEOUT, DEFAULT_HOOK_TIMEOUT)
    hooks = {when: _hooks(reader, when, timeout) for when in _HOOKS}
    tables = reader.named_tables("components", COMPONENT_KEYS, check_component_name,
                                 f"[jobs.{name}.components.images]")
    read = (read_component(each, table, around) for each, table in tables.items())
    components = {component.name: component for component in read if component is not None}
    refuse_same_sources(name, components.values(), reader.problems)
    return JobSettings(
        name=name, repositories=_repositories(reader, repositories), components=components, schedule=_schedule(reader),
        cleanup=reader.value("cleanup", SCHEDULE, None), hostname=reader.value("hostname", _HOSTNAME, ""), **hooks)


def _schedule(reader: TableReader) -> Schedule | None:
    every = reader.value("every", INTERVAL, None)
    if reader.has("every") and reader.has("schedule"):
        reader.problems.add((*reader.keys, "every"),
                            Phrase(N_("there is a schedule as well, and only one of them can count")))
    return every or reader.value("schedule", SCHEDULE, None)


def _hostname_fault(name: str) -> Phrase | None:
    if name.isprintable() and not any(character in " ,/" for character in name):
        return None
    return Phrase(N_('found the text "{value!s}"'), value=name[:60])


_HOSTNAME = checked(Phrase(N_("the name of a machine")), _hostname_fault)


# --- repositories ----------------------------------------------------------------------------


def _repositories(reader: TableReader, known: Collection[str]) -> tuple[str, ...]:
    """Return where a job's backups go. Where there is only one repository, nobody has to say so."""
    if not reader.has("repositories"):
        if len(known) == 1:
            return tuple(known)
        if known:
            reader.required("repositories", _repository(known), None)
        return ()
    if reader.raw("repositories") == []:
        reader.problems.add((*reader.keys, "repositories"), Phrase(N_("found an empty list")),
                            _repository(known).allowed)
    names = reader.values("repositories", _repository(known))
    for number, name in enumerate(names):
        if name in names[:number]:
            reader.problems.add((*reader.keys, "repositories"),
                                Phrase(N_("the repository {name!s} is named twice"), name=name))
    return tuple(dict.fromkeys(names))


def _repository(known: Collection[str]) -> Expected[str]:
    names = ", ".join(f'"{name}"' for name in known)

    def convert(value: object) -> str:
        if not isinstance(value, str):
            raise Refused
        if value not in known:
            raise Refused(Phrase(N_('there is no repository "{name!s}"'), name=value[:60]),
                          nearest=nearest_name(value, known))
        return value

    return Expected(Phrase(N_("a list of repositories' names: {names!s}"), names=names), convert)


# --- hooks -----------------------------------------------------------------------------------


def _hooks(reader: TableReader, when: str, timeout: float) -> tuple[Hook, ...]:
    """Return the commands of a key: one, as a list of words, or several, as a list of such lists."""
    value = reader.raw(when)
    if value is None:
        return ()
    if isinstance(value, list) and value and all(isinstance(each, list) for each in value):
        found = [reader.convert((when, number), each, WORDS, None) for number, each in enumerate(value)]
    else:
        found = [reader.convert((when,), value, WORDS, None)] if value != [] else []
    return tuple(Hook(words, timeout) for words in found if words)
