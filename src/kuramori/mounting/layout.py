"""Under which folders the snapshots are shown: ``ids/``, ``snapshots/``, ``hosts/``, ``tags/`` as
restic has them, and ``runs/`` and ``components/`` for what the manager made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

from kuramori.errors import N_, Phrase, UsageError
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.model.times import parse_datetime
from kuramori.mounting.time_template import RFC3339, format_by_template

DEFAULT_PATHS = ("ids/%i", "snapshots/%T", "hosts/%h/%T", "tags/%t/%T", "runs/%j/%r/%c", "components/%c/%T")
LATEST = b"latest"
_LONGEST_NAME = 240
"""Bytes; a number may follow, and no system takes more than 255."""
_VARIABLE = re.compile("%(.)", re.DOTALL)
_KNOWN = "iIuhtTjrc%"
_MANAGER_TAGS = {"j": "job=", "r": "run=", "c": "component="}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where snapshots are shown.

    Raises:
        UsageError: a template is none.
    """

    path_templates: tuple[str, ...] = DEFAULT_PATHS
    """``%i`` and ``%I`` short and long id, ``%h`` host, ``%u`` user, ``%t`` each tag, ``%T`` time;
    ``%j`` job, ``%r`` run and ``%c`` component of a snapshot that the manager made."""
    time_template: str = RFC3339
    """How ``%T`` looks, in the way of Go's layouts."""

    def __post_init__(self) -> None:
        if not self.time_template or set(self.time_template) & set("/\\\0"):
            raise UsageError(detail=Phrase(N_("a time template is not empty and has no slash in it: {shown}"),
                                           shown=self.time_template))
        if not self.path_templates:
            raise UsageError(detail=N_("there is no path template"))
        for template in self.path_templates:
            parts = [part for part in template.split("/") if part]
            unknown = [name for name in _VARIABLE.findall(template) if name not in _KNOWN]
            if not parts or unknown or template.replace("%%", "").endswith("%") or {".", ".."} & set(parts):
                raise UsageError(detail=Phrase(N_("{shown} is no path template; one looks like hosts/%h/%T"),
                                               shown=template))


class Menu:
    """A folder that holds snapshots or more such folders."""

    def __init__(self) -> None:
        """Begin empty."""
        self.menus: dict[bytes, Menu] = {}
        self.snapshots: dict[bytes, StoredSnapshot] = {}
        self.latest: bytes | None = None
        """The name that ``latest`` leads to."""
        self.newest = 0
        """Time of the newest snapshot below, in nanoseconds since 1970-01-01 UTC."""


@dataclass(slots=True)
class NameBook:
    """Which name was given to which snapshot, so that a name means the same as long as the
    repository is shown: the kernel keeps what it has read."""

    _owners: dict[tuple[bytes, ...], str] = field(default_factory=dict)
    _names: dict[tuple[tuple[bytes, ...], bytes, str], bytes] = field(default_factory=dict)

    def name(self, folder: tuple[bytes, ...], wanted: bytes, snapshot: str) -> bytes:
        """Return the wanted name, or where another snapshot has it, that and a number."""
        known = self._names.get((folder, wanted, snapshot))
        if known is not None:
            return known
        name, number = wanted, 0
        while name == LATEST or self._owners.setdefault((*folder, name), snapshot) != snapshot:
            number += 1
            name = wanted + b"-%d" % number
        self._names[folder, wanted, snapshot] = name
        return name


def build_menus(snapshots: Iterable[StoredSnapshot], layout: Layout, book: NameBook) -> Menu:
    """Return the outermost folder.

    Args:
        snapshots: the oldest first.
        book: the same one each time.
    """
    root = Menu()
    for stored in snapshots:
        for template in layout.path_templates:
            for path in _paths(template, stored, layout.time_template):
                _add(root, path, _ordered_levels(template), stored, book)
    return root


def _ordered_levels(template: str) -> list[bool]:
    """Tell of each level whether its names follow time, so that one of them is the latest."""
    return ["%T" in part or "%r" in part for part in template.split("/") if part]


def _add(root: Menu, path: tuple[bytes, ...], ordered: list[bool], stored: StoredSnapshot, book: NameBook) -> None:
    menu, time = root, stored.snapshot.time_nanoseconds
    root.newest = max(root.newest, time)
    for level, name in enumerate(path[:-1]):
        # A snapshot of another template may have the name; both cannot be shown.
        if name in menu.snapshots or name == LATEST:
            name += b"-1"
        above, menu = menu, menu.menus.setdefault(name, Menu())
        menu.newest = max(menu.newest, time)
        if ordered[level]:
            above.latest = name
    name = book.name(path[:-1], path[-1], stored.id)
    if name in menu.menus:
        name += b"-1"
    menu.snapshots[name] = stored
    if ordered[-1]:
        menu.latest = name


def _paths(template: str, stored: StoredSnapshot, time_template: str) -> Iterator[tuple[bytes, ...]]:
    """Yield where a snapshot is shown by one template: at no place if it lacks what is named there, at
    several if it has several tags."""
    wanted = dict.fromkeys(_VARIABLE.findall(template))
    values = [_values(variable, stored, time_template) for variable in wanted]
    for chosen in product(*values):
        by_variable = dict(zip(wanted, chosen, strict=True))
        yield tuple(_safe_name(_VARIABLE.sub(lambda match: by_variable[match[1]], part))  # noqa: B023  (used at once)
                    for part in template.split("/") if part)


def _values(variable: str, stored: StoredSnapshot, time_template: str) -> list[str]:
    snapshot = stored.snapshot
    if variable == "t":
        return list(dict.fromkeys(snapshot.tags or ()))
    if variable in _MANAGER_TAGS:
        return _manager_values(snapshot, _MANAGER_TAGS[variable])
    if variable == "T":
        return [format_by_template(parse_datetime(snapshot.time), time_template)]
    return [{"i": stored.short_id, "I": stored.id, "u": snapshot.username, "h": snapshot.hostname, "%": "%"}[variable]]


def _manager_values(snapshot: Snapshot, prefix: str) -> list[str]:
    tags = snapshot.tags or ()
    if "kuramori" not in tags:
        return []
    return [tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)][:1]


def _safe_name(text: str) -> bytes:
    """Return a name for a folder; tags and hosts may hold anything."""
    name = text.replace("/", "_").replace("\0", "_").encode("utf-8", "surrogatepass")
    if name in (b"", b"."):
        return b"_"
    if name == b"..":
        return b"__"
    return name[:_LONGEST_NAME].decode("utf-8", "ignore").encode() if len(name) > _LONGEST_NAME else name
