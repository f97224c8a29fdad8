"""Settings as a document again: every default filled in, secrets masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields

from kuramori.model.calendar import CalendarDuration
from kuramori.model.retention import UNLIMITED
from kuramori.settings.model import (
    ComponentKind,
    ComponentRetention,
    ComponentSettings,
    Hook,
    JobSettings,
    MaintenanceSettings,
    RepositorySettings,
    Settings,
    StoreSettings,
)
from kuramori.storage.access import looks_secret

MASK = "***"
_PASSWORD = re.compile(r"(://[^/@:]*:)[^/@]+@")


def describe_settings(settings: Settings, *, masked: bool = True) -> dict[str, object]:
    """Return what a settings file with every key would say. Keys without a value are left out.

    Args:
        masked: passwords, addresses with tokens and the arguments of password commands become
            :data:`MASK`. Without it the document can be read again and means the same.
    """
    notify = settings.notify
    return _given({
        "language": settings.language, "state_directory": str(settings.state_directory),
        "cache_directory": _text(settings.cache_directory),
        "repositories": {name: _repository(each, masked) for name, each in settings.repositories.items()},
        "jobs": {name: _job(each) for name, each in settings.jobs.items()},
        "notify": _given({"apprise": [mask_address(each) if masked else each for each in notify.apprise],
                          "ping": mask_address(notify.ping) if masked else notify.ping,
                          "webhook": mask_address(notify.webhook) if masked else notify.webhook}),
        "metrics": _given({"listen": settings.metrics_listen}),
    })


def mask_location(location: str) -> str:
    """Return a location without its password."""
    return _PASSWORD.sub(rf"\g<1>{MASK}@", location)


def mask_address(address: str) -> str:
    """Return only the scheme of an address: tokens stand everywhere in the rest."""
    scheme, found, _ = address.partition("://")
    return f"{scheme}://{MASK}" if found else (MASK if address else "")


def _given(table: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in table.items() if value is not None and value not in ("", [], {})}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _repository(repository: RepositorySettings, masked: bool) -> dict[str, object]:
    store = repository.store
    return _given({
        **_location_and_password(repository, masked),
        "key_hint": repository.key_hint, "compression": repository.compression,
        "pack_size": repository.pack_size // 1024**2, "max_size": repository.max_size, "cache": repository.use_cache,
        "stale_after": "never" if repository.stale_after is None else duration_text(repository.stale_after),
        "run_when_attached": repository.run_when_attached or None,
        "check": _text(repository.check), "check_days": repository.check_days,
        "check_budget": repository.check_budget,
        "connections": store.connections, "limit_upload": store.limit_upload, "limit_download": store.limit_download,
        "options": {name: MASK if masked and looks_secret(name) else value for name, value in store.options.items()},
        **_environment(store, masked),
        "ca_certificates": _text(store.ca_certificates), "client_certificate": _text(store.client_certificate),
        "insecure_tls": store.insecure_tls or None, "object_lock_days": store.object_lock_days,
        "maintenance": {} if repository.maintenance is None else _given({
            **_location_and_password(repository.maintenance, masked), **_environment(repository.maintenance, masked)}),
    })


def _location_and_password(table: RepositorySettings | MaintenanceSettings, masked: bool) -> dict[str, object]:
    command = list(table.password_command)
    return {"location": mask_location(table.location) if masked else table.location,
            "password_file": _text(table.password_file),
            "password_command": [command[0], *[MASK] * (len(command) > 1)] if masked and command else command,
            "password_keyring": table.password_keyring}


def _environment(table: StoreSettings | MaintenanceSettings, masked: bool) -> dict[str, object]:
    return {"environment": {name: MASK if masked and looks_secret(name) else value
                            for name, value in table.environment.items()},
            "environment_file": _text(table.environment_file),
            "environment_keyring": dict(table.environment_keyring)}


def _job(job: JobSettings) -> dict[str, object]:
    hooks = [*job.before, *job.after, *job.on_failure]
    return _given({
        "repositories": list(job.repositories), "schedule": _text(job.schedule), "cleanup": _text(job.cleanup),
        "hostname": job.hostname, "before": _commands(job.before), "after": _commands(job.after),
        "on_failure": _commands(job.on_failure), "hook_timeout": duration_text(hooks[0].timeout) if hooks else "",
        "components": {name: _component(each) for name, each in job.components.items()},
    })


def _commands(hooks: tuple[Hook, ...]) -> list[list[str]]:
    return [list(hook.command) for hook in hooks]


def duration_text(seconds: float) -> str:
    """Return a duration as the file has them, in seconds."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def _component(component: ComponentSettings) -> dict[str, object]:
    return {"kind": component.kind.value, "enabled": component.enabled, **_given(_of_kind(component)),
            "max_loss": component.max_loss, **_retention(component.retention)}


def _of_kind(component: ComponentSettings) -> dict[str, object]:
    sources = [str(source) for source in component.sources]
    if component.kind is ComponentKind.SQLITE:
        return {"source": sources[0] if sources else "", "busy_timeout": duration_text(component.busy_timeout)}
    if component.kind is ComponentKind.COMMAND:
        return {"command": list(component.command), "restore_command": list(component.restore_command),
                "filename": component.filename}
    if component.kind is not ComponentKind.FILES:
        server = component.server
        return {"database": server.database, "host": server.host, "port": server.port, "user": server.user,
                "password_file": _text(server.password_file), "defaults_file": _text(server.defaults_file)}
    return {"source": sources, "exclude": list(component.exclude), "exclude_caches": component.exclude_caches,
            "exclude_if_present": list(component.exclude_if_present),
            "exclude_larger_than": component.exclude_larger_than, "one_file_system": component.one_file_system,
            "databases": component.databases, "busy_timeout": duration_text(component.busy_timeout)}


def _retention(retention: ComponentRetention) -> dict[str, object]:
    rules: dict[str, object] = {"retention_days": retention.days}
    for each in fields(retention.policy):
        value = getattr(retention.policy, each.name)
        if each.name == "tags":
            rules["keep_tag"] = [",".join(tags) for tags in value]
        elif isinstance(value, CalendarDuration):
            rules[f"keep_{each.name}"] = str(value)
        else:
            rules[f"keep_{each.name}"] = {UNLIMITED: "unlimited", 0: None}.get(value, value)
    return _given(rules)
