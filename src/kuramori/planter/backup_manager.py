"""``BackupManager`` of the smart-planter guide.

Every method and result key is the guide's. Behind them stand the manager and the engine: what is
saved is encrypted and deduplicated, databases are saved as of one instant, nothing is replaced
without being kept, and ``success`` is true only where nothing is missing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kuramori.clock import Clock, SystemClock
from kuramori.crypto.derivation import KdfParameters
from kuramori.errors import (
    N_,
    KuramoriError,
    Phrase,
    RepositoryAwayError,
    UnknownComponentError,
    UnknownRunError,
    suggest,
)
from kuramori.history.history import History, history_path
from kuramori.manager.manager import Manager
from kuramori.manager.model import (
    CleanUpResult,
    ComponentOutcome,
    ComponentState,
    RestoreRunOptions,
    RestoreRunResult,
    RunOptions,
    RunResult,
    RunState,
    StoredComponent,
    StoredRun,
)
from kuramori.planter.component_settings import read_components
from kuramori.planter.folder_backups import FolderBackup, find_folder_backups
from kuramori.planter.texts import translator
from kuramori.settings.credentials import generate_password_file, read_secret_file
from kuramori.settings.model import ComponentKind, ComponentSettings, JobSettings, RepositorySettings, Settings

JOB = "planter"
REPOSITORY = "backup"
REPOSITORY_FOLDER = "repository"
"""Below ``backup_dir``: beside it lie the folder backups that the guide's own code made."""


def _never() -> bool:
    return False


class BackupManager:
    """バックアップ管理クラス: saves the components of ``backup_settings`` and brings them back.

    Attributes:
        backup_dir: where backups lie.
        backup_settings: component -> ``enabled``, ``source_path``, ``retention_days``. The caller may change
            it in place at any time; every operation reads it anew.
        key_file: what opens the repository. Without it nobody can read the backups: keep a copy elsewhere.
    """

    def __init__(self, backup_dir: str | Path = "/mnt/usb-storage/backup", *, key_file: str | Path | None = None,
                 state_dir: str | Path | None = None, language: str = "ja", clock: Clock | None = None,
                 kdf: KdfParameters | None = None) -> None:
        """Only remember it: nothing is read or written before the first operation.

        Args:
            backup_dir: a folder, made with the first backup.
            key_file: made with the first backup; by default ``planter.key`` in the user's folder of settings.
            state_dir: for the history; by default in the user's folder of states.
            language: of the messages: ``ja`` or ``en``.
            clock: what time it is.
            kdf: how expensive it is to derive the key of a new repository.
        """
        self.backup_dir = Path(backup_dir)
        self.logger = logging.getLogger("backup_manager")
        self.clock = clock or SystemClock()
        self.key_file = Path(key_file) if key_file is not None else _default_key_file()
        self.state_dir = Path(state_dir) if state_dir is not None else _default_state_dir()
        self.translate = translator(language)
        self._kdf = kdf
        self.backup_settings: dict[str, dict[str, Any]] = {
            "database": {"enabled": True, "source_path": "/mnt/usb-storage/smart_planter.db", "retention_days": 30},
            "images": {"enabled": True, "source_path": "/mnt/usb-storage/images", "retention_days": 90},
            "logs": {"enabled": True, "source_path": "/mnt/usb-storage/logs", "retention_days": 30},
            "settings": {"enabled": True, "source_path": "/home/pi/smart-planter/config", "retention_days": 90},
        }

    # --- backing up --------------------------------------------------------------------------

    def create_full_backup(self, backup_name: str | None = None,
                           cancelled: Callable[[], bool] | None = None) -> dict[str, Any]:
        """フルバックアップを作成: save every enabled component.

        Args:
            backup_name: a name of your own; by default ``full_backup_`` and the time.
            cancelled: asked often; True ends the backup soon.

        Returns:
            The guide's keys. ``success`` is true only if every enabled component was saved whole.
        """
        try:
            if not self._repository_exists() and not self._anything_to_save():
                return self._nothing_to_save()
            made_key = self._make_ready()
            options = RunOptions(run_name=backup_name or "", cancelled=cancelled or _never)
            with self.manager() as manager:
                manager.initialise()
                result = manager.back_up(JOB, options)
        except (KuramoriError, OSError) as error:
            return self._failure(N_("the full backup failed: {detail}"), error)
        return self._describe_run(result, made_key)

    def _anything_to_save(self) -> bool:
        enabled = [component for component in read_components(self.backup_settings).values() if component.enabled]
        return any(path.exists() for component in enabled for path in component.sources)

    def _nothing_to_save(self) -> dict[str, Any]:
        """Where no source is there, the disk is most likely not mounted: then neither a key nor a repository
        is made, which would lie on the wrong disk."""
        components = {
            component.name: {
                "success": False, "size_bytes": 0,
                "message": self._say(N_("the source does not exist: {path}"), path=str(component.sources[0]))}
            for component in read_components(self.backup_settings).values() if component.enabled
        }
        failure = self._failure(N_("the full backup failed: {detail}"), None,
                                detail=self._say(N_("no source is there; is the disk mounted?")))
        return failure | {"components": components, "total_size_bytes": 0}

    def _describe_run(self, result: RunResult, made_key: bool) -> dict[str, Any]:
        components = {name: self._describe_component(outcome) for name, outcome in result.components.items()}
        missing = ", ".join(name for name, entry in components.items() if not entry["success"])
        errors = "; ".join(error.text(self.translate) for error in result.errors)
        if result.state is RunState.COMPLETE:
            message = self._say(N_("the full backup was made"))
        elif result.state is RunState.PARTIAL:
            message = self._say(N_("the full backup is incomplete; not saved whole: {names}"), names=missing or errors)
        else:
            message = self._say(N_("the full backup failed: {detail}"), detail=errors or missing)
        if made_key:
            message = self._say(N_("{message} (a new key was made: {path}; keep a copy of it elsewhere)"),
                                message=message, path=str(self.key_file))
        success = result.state is RunState.COMPLETE and not result.errors
        self._log(success, message)
        return {
            "success": success, "message": message, "backup_name": result.run, "backup_path": str(self.repository_path),
            "total_size_bytes": result.size_bytes, "components": components, "timestamp": self._timestamp(),
            "state": result.state.value, "stored_size_bytes": result.added_bytes, "key_file": str(self.key_file),
        }

    def _describe_component(self, outcome: ComponentOutcome) -> dict[str, Any]:
        success = outcome.state is ComponentState.COMPLETE
        if not success:
            reasons = "; ".join(error.text(self.translate) for error in outcome.errors[:3])
            message = self._say(N_("{name} was not saved whole: {detail}"), name=outcome.name, detail=reasons)
            if not outcome.snapshot_id:
                return {"success": False, "message": message, "size_bytes": 0}
        else:
            message = self._say(N_("{name} was saved"), name=outcome.name)
        return {
            "success": success, "message": message, "source_path": next(iter(outcome.sources), ""),
            "backup_path": str(self.repository_path), "size_bytes": outcome.size_bytes,
            "snapshot_id": outcome.snapshot_id, "files": outcome.files,
        }

    def renew_repository(self) -> dict[str, Any]:
        """Make a new repository where the one that was there is gone for good. A backup never does that by
        itself: a disk that is not mounted looks the same."""
        try:
            self._make_ready()
            with self.manager() as manager:
                manager.initialise(renew=True)
        except (KuramoriError, OSError) as error:
            return self._failure(N_("no repository could be made: {detail}"), error)
        message = self._say(N_("the repository is ready"))
        self._log(True, message)
        return {"success": True, "message": message, "timestamp": self._timestamp()}

    # --- restoring ---------------------------------------------------------------------------

    def restore_from_backup(self, backup_name: str, components: Sequence[str] | None = None) -> dict[str, Any]:
        """バックアップから復元: bring components back to their ``source_path``.

        What stands there is kept beside it. A live database is replaced through SQLite.

        Args:
            backup_name: as :meth:`list_backups` names it.
            components: only these; none for all of ``backup_settings`` that the backup has.
        """
        try:
            wanted = self._restorable(backup_name, components)
            with self.manager() as manager:
                result = manager.restore(RestoreRunOptions(run=backup_name, job=JOB, components=wanted))
        except UnknownRunError:
            return self._failure(N_("there is no backup {name}"), None, name=backup_name)
        except (KuramoriError, OSError) as error:
            return self._failure(N_("the restore failed: {detail}"), error)
        return self._describe_restore(backup_name, result)

    def _restorable(self, backup_name: str, components: Sequence[str] | None) -> tuple[str, ...]:
        """Return the components that are to be brought back. A folder backup is imported first.

        Raises:
            UnknownRunError: there is no such backup.
            UnknownComponentError: ``backup_settings`` have no component of that name, so nobody knows where it
                belongs; or the backup has none that they have.
        """
        folder = self._folder_backup(backup_name)
        if folder is not None and not self._is_stored(backup_name):
            self._import(folder)
        run = self._stored_run(backup_name)
        wanted = tuple(components) if components else tuple(
            name for name in run.components if name in self.backup_settings)
        unknown = next((name for name in wanted if name not in self.backup_settings), None)
        if unknown is not None or not wanted:
            raise UnknownComponentError(name=unknown or "-", where="backup_settings",
                                        suggestion=suggest(unknown or "", self.backup_settings))
        return wanted

    def _stored_run(self, name: str) -> StoredRun:
        found = [run for run in self._stored_runs() if run.name == name]
        if found:
            return found[-1]
        raise UnknownRunError(name=name, suggestion="")

    def _stored_runs(self) -> list[StoredRun]:
        """Return what lies in the repository. That does not depend on ``backup_settings``: a mistake in them must not
        look as if there were no backups."""
        if not self._repository_exists():
            return []
        with self.manager({}) as manager:
            return manager.list_runs(JOB)

    def _is_stored(self, name: str) -> bool:
        try:
            self._stored_run(name)
        except UnknownRunError:
            return False
        return True

    # --- the guide's own backups -------------------------------------------------------------

    def import_folder_backups(self, names: Sequence[str] = ()) -> dict[str, Any]:
        """Take folder backups that the guide's own code made into the repository, with their names and
        times. They stay where they are. What was imported before is left out, so it may be called again.

        Args:
            names: only these; none for all.
        """
        imported: dict[str, Any] = {}
        try:
            for folder in find_folder_backups(self.backup_dir, self.clock):
                if folder.name in (names or (folder.name,)) and not self._is_stored(folder.name):
                    imported[folder.name] = self._describe_run(self._import(folder), made_key=False)
        except (KuramoriError, OSError) as error:
            return self._failure(N_("the import failed: {detail}"), error) | {"imported_backups": imported}
        success = all(entry["success"] for entry in imported.values())
        message = self._say(N_("folder backups imported: {count}"), count=len(imported))
        self._log(success, message)
        return {"success": success, "message": message, "imported_backups": imported, "timestamp": self._timestamp()}

    def _import(self, folder: FolderBackup) -> RunResult:
        self._make_ready()
        components = {
            name: ComponentSettings(name=name, kind=ComponentKind.FILES,
                                    sources=(folder.component_path(name).absolute(),))
            for name in folder.components()
        }
        with self.manager(components) as manager:
            manager.initialise()
            return manager.back_up(JOB, RunOptions(run_name=folder.name, time=folder.created, accept_loss=True))

    def _describe_restore(self, backup_name: str, result: RestoreRunResult) -> dict[str, Any]:
        restored = {}
        for name, component in result.components.items():
            reasons = "; ".join(error.text(self.translate) for error in component.errors[:3])
            message = self._say(N_("{name} was restored"), name=name) if component.success else \
                self._say(N_("{name} was not restored: {detail}"), name=name, detail=reasons)
            restored[name] = {"success": component.success, "message": message}
            if component.success:
                restored[name] |= {"target_path": component.target, "kept_path": component.kept or None}
        message = self._say(N_("restored from the backup")) if result.success else self._say(
            N_("not everything was restored: {names}"),
            names=", ".join(name for name, entry in restored.items() if not entry["success"]))
        self._log(result.success, message)
        return {"success": result.success, "message": message, "backup_name": backup_name,
                "restored_components": restored, "timestamp": self._timestamp(), "restore_id": result.restore_id}

    # --- cleaning up -------------------------------------------------------------------------

    def cleanup_old_backups(self, cancelled: Callable[[], bool] | None = None) -> dict[str, Any]:
        """古いバックアップをクリーンアップ: remove what is older than ``retention_days``, by component.

        The newest whole backup of a component always stays. Folder backups that the guide's own code
        made are never touched.
        """
        try:
            components = read_components(self.backup_settings)
            deleted: Mapping[str, tuple[int, int]] = {}
            freed = 0
            if self._repository_exists():
                with self.manager() as manager:
                    result = manager.clean_up(JOB, cancelled=cancelled or _never)
                error = next((one.error for one in result.repositories.values() if one.error is not None), None)
                if error is not None:
                    return self._failure(N_("the cleanup failed: {detail}"), error)
                deleted, freed = _deleted(result), result.freed_bytes
        except (KuramoriError, OSError) as error:
            return self._failure(N_("the cleanup failed: {detail}"), error)
        results = {
            name: {"deleted_count": deleted.get(name, (0, 0))[0], "deleted_size_bytes": deleted.get(name, (0, 0))[1],
                   "retention_days": settings.retention.days}
            for name, settings in components.items()
        }
        message = self._say(N_("old backups were cleaned up"))
        self._log(True, message)
        return {
            "success": True, "message": message, "cleanup_results": results,
            "total_deleted_count": sum(entry["deleted_count"] or 0 for entry in results.values()),
            "total_deleted_size_bytes": sum(entry["deleted_size_bytes"] or 0 for entry in results.values()),
            "timestamp": self._timestamp(), "freed_size_bytes": freed,
        }

    # --- looking -----------------------------------------------------------------------------

    def list_backups(self) -> list[dict[str, Any]]:
        """バックアップ一覧を取得: all backups, the newest first; also the folder backups of the guide's own
        code. Empty, with a line in the log, where they cannot be read."""
        try:
            return self._list_backups()
        except (KuramoriError, OSError) as error:
            self._log(False, self._say(N_("the backups cannot be listed: {detail}"), detail=self._reason(error)))
            return []

    def _list_backups(self) -> list[dict[str, Any]]:
        found: list[tuple[float, dict[str, Any]]] = []
        runs = self._stored_runs()
        imported = {run.name for run in runs}
        found += [(run.time.timestamp(), self._describe_stored(run)) for run in runs]
        found += [(folder.created.timestamp(), _describe_folder(folder))
                  for folder in find_folder_backups(self.backup_dir, self.clock) if folder.name not in imported]
        return [entry for _time, entry in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def _describe_stored(self, run: StoredRun) -> dict[str, Any]:
        components = {name: self._describe_stored_component(component) for name, component in run.components.items()}
        return {
            "backup_name": run.name, "created_at": run.time.isoformat(), "components": components,
            "total_size_bytes": run.size_bytes, "backup_type": "full", "backup_size_bytes": run.size_bytes,
            "backup_path": str(self.repository_path), "state": run.state.value if run.state else "unfinished",
        }

    def _describe_stored_component(self, component: StoredComponent) -> dict[str, Any]:
        success = component.state is ComponentState.COMPLETE
        message = self._say(N_("{name} was saved"), name=component.name) if success else \
            self._say(N_("{name} was not saved whole: {detail}"), name=component.name, detail=component.error)
        if not component.snapshot_id:
            return {"success": False, "message": message, "size_bytes": 0}
        return {"success": success, "message": message, "source_path": next(iter(component.sources), ""),
                "backup_path": str(self.repository_path), "size_bytes": component.size_bytes,
                "snapshot_id": component.snapshot_id}

    def get_backup_status(self) -> dict[str, Any]:
        """バックアップ状態を取得: how many backups there are, and how old the newest one is."""
        try:
            backups = self._list_backups()
        except (KuramoriError, OSError) as error:
            reason = self._reason(error)
            self._log(False, self._say(N_("the backups cannot be listed: {detail}"), detail=reason))
            return {"error": reason, "timestamp": self._timestamp()}
        latest = backups[0] if backups else None
        age = None
        if latest is not None:
            from datetime import datetime

            now = self.clock.now()
            created = datetime.fromisoformat(latest["created_at"])
            age = (now - (created if created.tzinfo else created.replace(tzinfo=now.tzinfo))).total_seconds() / 3600
        return {
            "total_backups": len(backups),
            "total_size_bytes": sum(backup["backup_size_bytes"] for backup in backups),
            "latest_backup": latest,
            "last_backup_age_hours": age,
            # A copy that JSON knows, whatever the caller has put there.
            "backup_settings": json.loads(json.dumps(self.backup_settings, default=str, skipkeys=True)),
            "timestamp": self._timestamp(),
        }

    # --- what stands behind ------------------------------------------------------------------

    @property
    def repository_path(self) -> Path:
        """The repository: any restic can read it."""
        return self.backup_dir / REPOSITORY_FOLDER

    @property
    def history_path(self) -> Path:
        """What was done and when, and what is due."""
        return history_path(self.state_dir)

    def settings(self, components: Mapping[str, ComponentSettings] | None = None) -> Settings:
        """Return what ``backup_settings`` means to the manager.

        Args:
            components: instead of those of ``backup_settings``.

        Raises:
            PlanterSettingsError: something in it cannot be meant.
        """
        if components is None:
            components = read_components(self.backup_settings)
        job = JobSettings(name=JOB, repositories=(REPOSITORY,), components=components)
        repository = RepositorySettings(name=REPOSITORY, location=f"local:{self.repository_path.absolute()}",
                                        password_file=self.key_file, use_cache=False)
        return Settings(state_directory=self.state_dir, repositories={REPOSITORY: repository}, jobs={JOB: job})

    @contextmanager
    def manager(self, components: Mapping[str, ComponentSettings] | None = None) -> Iterator[Manager]:
        """Give the manager behind this object for a ``with`` block.

        Args:
            components: instead of those of ``backup_settings``.

        Raises:
            PlanterSettingsError: as :meth:`settings`.
        """
        settings = self.settings(components)
        history = History(self.history_path, self.clock)
        try:
            yield Manager(settings, clock=self.clock, history=history, kdf=self._kdf,
                          secrets=lambda repository: read_secret_file(self.key_file, name=repository.name))
        finally:
            history.close()

    def _make_ready(self) -> bool:
        """Make the key if there is none; return whether it was made. Where a repository is already, a key
        made now would not open it: then the key that is missing is the error."""
        self.settings()
        if self.key_file.exists() or self._repository_exists():
            return False
        generate_password_file(self.key_file)
        return True

    def _repository_exists(self) -> bool:
        return (self.repository_path / "config").exists()

    def _folder_backup(self, name: str) -> FolderBackup | None:
        found = find_folder_backups(self.backup_dir, self.clock)
        return next((folder for folder in found if folder.name == name), None)

    # --- words -------------------------------------------------------------------------------

    def _say(self, template: str, **fields: object) -> str:
        return Phrase(template, **fields).text(self.translate)

    def _reason(self, error: KuramoriError | OSError) -> str:
        if isinstance(error, KuramoriError):
            advice = error.advice_text(self.translate)
            if isinstance(error, RepositoryAwayError):
                advice = self._say(N_("is the disk mounted? nothing was written; if the repository is gone for good: "
                                      "renew_repository()"))
            return f"{error.text(self.translate)} ({advice})" if advice else error.text(self.translate)
        return self.translate(error.strerror or type(error).__name__)

    def _failure(self, template: str, error: KuramoriError | OSError | None, **fields: object) -> dict[str, Any]:
        if error is not None:
            fields["detail"] = self._reason(error)
        message = self._say(template, **fields)
        self._log(False, message)
        return {"success": False, "message": message, "timestamp": self._timestamp()}

    def _log(self, success: bool, message: str) -> None:
        self.logger.log(logging.INFO if success else logging.ERROR, "%s", message)

    def _timestamp(self) -> float:
        return self.clock.now().timestamp()


def _describe_folder(folder: FolderBackup) -> dict[str, Any]:
    known = {key: value for key, value in folder.info.items() if isinstance(key, str)}
    return known | {
        "backup_name": folder.name, "created_at": folder.created.isoformat(),
        "backup_type": known.get("backup_type", "unknown"), "backup_size_bytes": folder.size_bytes,
        "backup_path": str(folder.path), "format": "folder",
    }


def _deleted(result: CleanUpResult) -> dict[str, tuple[int, int]]:
    """Return, by component, how many snapshots went and how many bytes restores of them would have
    written."""
    found: dict[str, tuple[int, int]] = {}
    for removed in result.removed:
        count, size = found.get(removed.component, (0, 0))
        found[removed.component] = count + 1, size + removed.size_bytes
    return found


def _default_key_file() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir("kuramori")) / "planter.key"


def _default_state_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_dir("kuramori")) / "planter"
