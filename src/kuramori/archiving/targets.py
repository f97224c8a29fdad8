"""From the paths that were named to the top of the tree (format section 2.5).

An absolute target ``/a/b/c`` gives the folders ``a`` and ``a/b`` in the snapshot, with the real
ones' metadata; a relative one puts its cleaned components at the root; ``.`` and ``/`` put their
entries there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Target:
    """A place in the tree that leads to something named, or is it."""

    path: bytes
    """Where it is on this machine."""
    named: bool = False
    """True if this very path was given, so that excludes do not apply to it."""
    whole: bool = False
    """True if all below it is to be saved; False if only :attr:`children` are."""
    children: dict[bytes, Target] = field(default_factory=dict)


class TargetError(Exception):
    """A target cannot be listed. ``path`` names it, ``error`` says why."""

    def __init__(self, path: bytes, error: OSError) -> None:
        super().__init__(path, error)
        self.path = path
        self.error = error


def arrange_targets(paths: Sequence[bytes]) -> tuple[Target, list[TargetError]]:
    """Return the root above all targets, and what of ``.`` and ``/`` could not be listed."""
    root = Target(b"")
    errors: list[TargetError] = []
    for path in paths:
        if _components(path):
            _insert(root, path, named=True)
            continue
        clean = os.path.normpath(path)
        try:
            entries = sorted(os.listdir(clean))
        except OSError as error:
            errors.append(TargetError(path, error))
            continue
        for entry in entries:
            _insert(root, os.path.join(clean, entry), named=False)
    return root, errors


def _components(path: bytes) -> list[bytes]:
    return [part for part in os.path.normpath(path).split(b"/") if part not in (b"", b".", b"..")]


def _insert(root: Target, path: bytes, *, named: bool) -> None:
    clean = os.path.normpath(path)
    parts = _components(clean)
    base = clean[: len(clean) - len(b"/".join(parts))]
    here, walked = root, base
    for number, part in enumerate(parts):
        walked = part if walked == b"" else os.path.join(walked, part)
        last = number == len(parts) - 1
        following = _child(here, part, walked)
        if following.whole:
            following.named = following.named or (named and last)
            return  # it lies inside another target
        if last:
            following.whole = True
            following.named = named
            following.children.clear()
        here = following


def _child(here: Target, part: bytes, path: bytes) -> Target:
    name, number = part, 0
    while name in here.children and os.path.abspath(here.children[name].path) != os.path.abspath(path):
        number += 1
        name = part + b"-%d" % number
    return here.children.setdefault(name, Target(path))


def absolute_paths(paths: Iterable[bytes]) -> list[bytes]:
    """Return the targets as a snapshot records them: absolute and cleaned, in the order given."""
    return list(dict.fromkeys(os.path.abspath(path) for path in paths))
