"""From the guide's ``backup_settings`` to what the manager understands.

The dictionary belongs to the caller, who may put anything in: it is read anew for every operation,
and what makes no sense is refused with every problem at once, before anything is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kuramori.errors import N_, Phrase, PlanterSettingsError
from kuramori.settings.model import DEFAULT_MAX_LOSS, ComponentKind, ComponentRetention, ComponentSettings

_KNOWN = ("enabled", "source_path", "retention_days", "kind", "exclude", "max_loss")
_KINDS = {"sqlite": ComponentKind.SQLITE, "files": ComponentKind.FILES}
_DATABASE_ENDINGS = (".db", ".sqlite", ".sqlite3", ".db3")
_RESERVED = "manifest"
_UNUSABLE = frozenset(",=/\\")


def read_components(backup_settings: Mapping[str, Any]) -> dict[str, ComponentSettings]:
    """Return the components that the guide's settings describe.

    Args:
        backup_settings: component -> ``enabled``, ``source_path``, ``retention_days``, and, beyond the
            guide, ``kind`` (``sqlite`` or ``files``), ``exclude`` (patterns) and ``max_loss``.

    Raises:
        PlanterSettingsError: with every problem.
    """
    if not isinstance(backup_settings, Mapping):
        raise PlanterSettingsError(detail=N_("backup_settings must be a dictionary"))
    problems: list[Phrase] = []
    components = {}
    for name, settings in backup_settings.items():
        found = _problems(name, settings)
        problems += found
        if not found:
            components[name] = _component(name, settings)
    if problems:
        raise PlanterSettingsError(detail=tuple(problems))
    return components


def _component(name: str, settings: Mapping[str, Any]) -> ComponentSettings:
    path = Path(settings["source_path"]).expanduser().absolute()
    days = settings.get("retention_days")
    return ComponentSettings(
        name=name, kind=_kind(settings, path), enabled=bool(settings.get("enabled", True)), sources=(path,),
        exclude=tuple(settings.get("exclude", ())), retention=ComponentRetention(days=days),
        max_loss=float(settings.get("max_loss", DEFAULT_MAX_LOSS)))


def _kind(settings: Mapping[str, Any], path: Path) -> ComponentKind:
    """A file that is called like a database is one; whatever else is a database is recognised by its
    header when it is saved."""
    named = settings.get("kind")
    if named is not None:
        return _KINDS[named]
    return ComponentKind.SQLITE if path.suffix.lower() in _DATABASE_ENDINGS and not path.is_dir() \
        else ComponentKind.FILES


def _problems(name: object, settings: object) -> list[Phrase]:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or _UNUSABLE & set(name) \
            or name == _RESERVED:
        return [Phrase(N_("{name} cannot be the name of a component"), name=repr(name)[:60])]
    if not isinstance(settings, Mapping):
        return [Phrase(N_("{name}: the settings of a component must be a dictionary"), name=name)]
    found = [Phrase(N_("{name}: there is no setting {key}; known are {known}"), name=name, key=repr(key)[:60],
                    known=", ".join(_KNOWN)) for key in settings if key not in _KNOWN]
    return found + _source_problems(name, settings) + _value_problems(name, settings)


def _source_problems(name: str, settings: Mapping[str, Any]) -> list[Phrase]:
    source = settings.get("source_path")
    if not isinstance(source, (str, Path)) or not str(source).strip() or "\0" in str(source):
        return [Phrase(N_("{name}: source_path must name a file or folder"), name=name)]
    return []


def _value_problems(name: str, settings: Mapping[str, Any]) -> list[Phrase]:
    found = []
    days = settings.get("retention_days")
    if days is not None and (not isinstance(days, int) or isinstance(days, bool) or days < 1):
        found.append(Phrase(N_("{name}: retention_days must be a whole number of days, 1 or more, not {value}"),
                            name=name, value=repr(days)[:60]))
    if not isinstance(settings.get("enabled", True), bool):
        found.append(Phrase(N_("{name}: enabled must be True or False, not {value}"), name=name,
                            value=repr(settings["enabled"])[:60]))
    if settings.get("kind") not in (None, *_KINDS):
        found.append(Phrase(N_("{name}: kind must be sqlite or files, not {value}"), name=name,
                            value=repr(settings["kind"])[:60]))
    exclude = settings.get("exclude", ())
    if isinstance(exclude, str) or not isinstance(exclude, (list, tuple)) \
            or not all(isinstance(pattern, str) for pattern in exclude):
        found.append(Phrase(N_("{name}: exclude must be a list of patterns"), name=name))
    loss = settings.get("max_loss", 1)
    if not isinstance(loss, (int, float)) or isinstance(loss, bool) or not 0 <= loss <= 1:
        found.append(Phrase(N_("{name}: max_loss must be a number from 0 to 1"), name=name))
    return found
