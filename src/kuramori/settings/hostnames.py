"""``{hostname}`` in the location of a repository: each device of a fleet has a repository of its own.

The name is that under which the jobs of the repository make their snapshots: the job's ``hostname``, or this
machine's. So devices that all came with the same name (``raspberrypi``) are told apart by one line in their settings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace

from kuramori.errors import N_, Phrase
from kuramori.settings.model import JobSettings, RepositorySettings
from kuramori.settings.reader import Problems, Refused, nearest_name

HOSTNAME = "hostname"
_PLACEHOLDER = "{hostname}"
_KNOWN = (_PLACEHOLDER,)
_BRACES = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")
_LONGEST_BYTES = 200
_NAMELESS = "localhost"


def check_placeholders(location: str) -> str:
    """Return a location in which nothing but ``{hostname}`` stands between braces.

    Raises:
        Refused: something else does; with the nearest that is known.
    """
    for name in _BRACES.findall(location):
        if name == HOSTNAME:
            continue
        allowed = Phrase(N_("{{hostname}}, or no braces"))
        if _NAME.fullmatch(name.strip()) is None:  # it may be a part of a password
            raise Refused(Phrase(N_("found braces with something between them that is no placeholder")), allowed)
        near = nearest_name("{" + name.strip() + "}", _KNOWN)
        raise Refused(Phrase(N_("found the placeholder {{{name!s}}}, which does not exist"), name=name), allowed, near)
    return location


def path_part(hostname: str) -> str:
    """Return a machine's name as it may stand in a path, an address or the name of a bucket's object: letters and
    digits of every language, ``.``, ``-`` and ``_``; everything else becomes a hyphen. Never empty, never hidden,
    never a way to another folder."""
    plain = unicodedata.normalize("NFC", hostname.strip())
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in plain).lstrip(".-")
    return safe.encode()[:_LONGEST_BYTES].decode("utf-8", "ignore") or _NAMELESS


def fill_hostnames(repositories: Mapping[str, RepositorySettings], jobs: Mapping[str, JobSettings], machine: str,
                   problems: Problems) -> dict[str, RepositorySettings]:
    """Return the repositories with ``{hostname}`` in their locations filled in.

    Args:
        machine: the name of this machine, for jobs that have none of their own, and repositories without jobs.
        problems: is told of a repository whose jobs go by several names.
    """
    return {name: _filled(each, [job for job in jobs.values() if name in job.repositories], machine, problems)
            for name, each in repositories.items()}


def _filled(repository: RepositorySettings, jobs: list[JobSettings], machine: str,
            problems: Problems) -> RepositorySettings:
    own = repository.maintenance
    if _PLACEHOLDER not in repository.location + (own.location if own is not None else ""):
        return repository
    names = sorted({path_part(job.hostname or machine) for job in jobs}) or [path_part(machine)]
    if len(names) > 1:
        problems.add(("repositories", repository.name, "location"), Phrase(
            N_("the jobs that use it have different hostnames ({names!s}), and {{hostname}} can only be one of them"),
            names=", ".join(names)), Phrase(N_("a repository for each of them, or the same hostname")))
    if own is not None:
        own = replace(own, location=own.location.replace(_PLACEHOLDER, names[0]))
    return replace(repository, location=repository.location.replace(_PLACEHOLDER, names[0]), maintenance=own,
                   location_pattern=repository.location if _PLACEHOLDER in repository.location else "")


def fleet_prefix(location: str) -> str:
    """Return what the repositories of a fleet lie below: the location up to the part that holds ``{hostname}``; a
    location without it as it is."""
    before, found, _ = location.partition(_PLACEHOLDER)
    if not found:
        return location
    head = before[:max(before.rfind("/"), before.rfind(":")) + 1]
    bare = head.removesuffix("/")
    return (head if not bare or bare.endswith((":", "/")) else bare) or "."
