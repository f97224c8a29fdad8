"""A new settings file from a few answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kuramori.errors import N_
from kuramori.settings.findings import SourceFinding
from kuramori.settings.model import ComponentKind, DailyAt, Schedule
from kuramori.settings.names import check_component_name
from kuramori.settings.toml_text import to_toml

_MOUNTS = ("/media/", "/run/media/", "/mnt/")


@dataclass(frozen=True, slots=True)
class DraftComponent:
    """A component of the new file."""

    name: str
    kind: ComponentKind
    sources: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsDraft:
    """The answers."""

    repository: str
    location: Path
    job: str
    components: tuple[DraftComponent, ...]
    schedule: str
    cleanup: str = ""
    """Empty for none."""
    retention_days: int | None = None
    """None keeps everything."""
    password_file: Path | None = None
    """None for one that is generated beside the settings file."""
    language: str = ""
    check: str = ""
    """When a part of the backups is read back; empty for never by itself."""


def propose_components(findings: Sequence[SourceFinding], servers: Sequence[ComponentKind]) -> list[DraftComponent]:
    """Return one component for each database, each folder and each kind of server, and one for all
    single files. Their names come from the paths and are all different."""
    names: set[str] = set()
    components = []
    for finding in findings:
        if finding.kind is ComponentKind.SQLITE or finding.folder:
            name = finding.path.stem if finding.kind is ComponentKind.SQLITE else finding.path.name
            components.append(DraftComponent(_free_name(name, names), finding.kind, (finding.path,)))
    single = tuple(finding.path for finding in findings if finding.kind is ComponentKind.FILES and not finding.folder)
    if single:
        components.append(DraftComponent(_free_name("files", names), ComponentKind.FILES, single))
    return components + [DraftComponent(_free_name(kind.value, names), kind) for kind in servers]


def _free_name(wished: str, taken: set[str]) -> str:
    plain = re.sub(r"[,=/\\:\s]+", "-", wished).strip(".- ") or "files"
    if check_component_name(plain) is not None:
        plain = "files"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name)
    return name


def repository_name(location: Path) -> str:
    """Return a name for a repository at a place."""
    return "usb" if str(location).startswith(_MOUNTS) else "local"


def cleanup_after(schedule: Schedule | None) -> str:
    """Return when to clean up for a job: an hour after a daily backup."""
    if isinstance(schedule, DailyAt):
        return str(DailyAt((schedule.hour + 1) % 24, schedule.minute))
    return "03:00"


def check_after(schedule: Schedule | None) -> str:
    """Return when to read back a part of the backups: three hours after a daily backup, so also after the cleanup."""
    if isinstance(schedule, DailyAt):
        return str(DailyAt((schedule.hour + 3) % 24, schedule.minute))
    return "05:00"


def render_draft(draft: SettingsDraft, password_file: Path, translate: Callable[[str], str]) -> str:
    """Return the text of the file.

    Args:
        password_file: where the password is or will be, for the comment.
        translate: maps a text to the user's language.
    """
    repository: dict[str, object] = {"location": str(draft.location)}
    if draft.password_file is not None:
        repository["password_file"] = str(draft.password_file)
    if draft.check:
        repository["check"] = draft.check
    job: dict[str, object] = {"repositories": [draft.repository], "schedule": draft.schedule}
    if draft.cleanup:
        job["cleanup"] = draft.cleanup
    job["components"] = {component.name: _component(component, draft) for component in draft.components}
    document: dict[str, object] = {"language": draft.language} if draft.language else {}
    document |= {"repositories": {draft.repository: repository}, "jobs": {draft.job: job}}
    comments = [
        translate(N_("Made by kuramori setup. What else can be set here: kuramori settings example")),
        translate(N_("The password of the backups is in {path}. Keep a copy of it elsewhere.")).format(
            path=to_comment(str(password_file))),
    ]
    return "".join(f"# {line}\n" for line in comments) + "\n" + to_toml(document)


def to_comment(text: str) -> str:
    """Return a text that cannot end a comment."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _component(component: DraftComponent, draft: SettingsDraft) -> dict[str, object]:
    found: dict[str, object] = {"kind": component.kind.value}
    paths = [str(source) for source in component.sources]
    if paths:
        found["source"] = paths[0] if len(paths) == 1 else paths
    if draft.retention_days is not None:
        found["retention_days"] = draft.retention_days
    return found
