"""The keys of a settings file: all that are known, and which kind of component takes which.

The readers beside this file give the values their meaning; this list says what is a key at all, so
that an unknown one can be answered with the nearest. The user's guides have a row for each.
"""

from __future__ import annotations

from kuramori.settings.model import ComponentKind

TOP_KEYS = ("language", "state_directory", "cache_directory", "repositories", "jobs", "notify", "metrics")

_PASSWORD_KEYS = ("password_file", "password_command", "password_keyring")

_ENVIRONMENT_KEYS = ("environment", "environment_file", "environment_keyring")

REPOSITORY_KEYS = ("location", *_PASSWORD_KEYS, "key_hint", "compression", "pack_size", "cache", "stale_after",
                   "run_when_attached", "check", "check_days", "check_budget", "connections",
                   "max_size", "limit_upload", "limit_download", "options", *_ENVIRONMENT_KEYS, "ca_certificates",
                   "client_certificate", "insecure_tls", "object_lock_days", "maintenance")

MAINTENANCE_KEYS = ("location", *_PASSWORD_KEYS, *_ENVIRONMENT_KEYS)
"""Of ``[repositories.NAME.maintenance]``."""

JOB_KEYS = ("repositories", "schedule", "every", "cleanup", "hostname", "before", "after", "on_failure", "hook_timeout",
            "components")

RETENTION_KEYS = ("retention_days", "keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly",
                  "keep_yearly", "keep_within", "keep_within_hourly", "keep_within_daily", "keep_within_weekly",
                  "keep_within_monthly", "keep_within_yearly", "keep_tag")

EVERY_KIND = ("kind", "enabled", "max_loss", *RETENTION_KEYS)
"""Keys that a component of any kind takes."""

_SERVER_KEYS = ("database", "host", "port", "user", "password_file", "defaults_file")

KIND_KEYS = {
    ComponentKind.SQLITE: ("source", "busy_timeout"),
    ComponentKind.POSTGRES: _SERVER_KEYS,
    ComponentKind.MYSQL: _SERVER_KEYS,
    ComponentKind.FILES: ("source", "exclude", "exclude_caches", "exclude_if_present", "exclude_larger_than",
                          "one_file_system", "databases", "busy_timeout"),
    ComponentKind.COMMAND: ("command", "restore_command", "filename"),
}
"""And those that only some kinds take."""

COMPONENT_KEYS = tuple(dict.fromkeys((*EVERY_KIND, *(key for keys in KIND_KEYS.values() for key in keys))))

NOTIFY_KEYS = ("apprise", "ping", "webhook")

METRICS_KEYS = ("listen",)

SECTIONS = {
    "": TOP_KEYS,
    "repositories": REPOSITORY_KEYS,
    "maintenance": MAINTENANCE_KEYS,
    "jobs": JOB_KEYS,
    "components": COMPONENT_KEYS,
    "notify": NOTIFY_KEYS,
    "metrics": METRICS_KEYS,
}
"""All of them by the table they stand in."""
