"""A restore of a run: to a folder, or in place, where what stood there before is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from secrets import token_hex

from kuramori.errors import (
    N_,
    BlobsFromElsewhereNote,
    Interrupted,
    KuramoriError,
    OutdatedRepositoryNote,
    RestoreError,
    RestoreTargetError,
    UnknownComponentError,
    UsageError,
    suggest,
)
from kuramori.history.history import History
from kuramori.history.operation import Operation
from kuramori.history.records import KeptComponent
from kuramori.ids import parse_id
from kuramori.manager.exchange import move
from kuramori.manager.holders import Holder, Holders
from kuramori.manager.manifest import ManifestComponent
from kuramori.manager.model import RestoredComponent, RestoreRunOptions, RestoreRunResult
from kuramori.manager.restore_plan import Placement, place_in_folder, place_in_place
from kuramori.manager.restore_proof import live_databases, prove_databases
from kuramori.manager.server_restoring import FED_KINDS, Feeding, describe_target, feed_component, require_way_back
from kuramori.manager.staging import (
    Staged,
    remove_leftovers,
    repository_is_to_blame,
    stage,
    sync_everything,
)
from kuramori.manager.swap_journal import (
    DONE,
    SWAPPING,
    RestoreJournal,
    RestoreJournals,
    ServedDatabase,
    SwappedComponent,
)
from kuramori.manager.swapping import do_swap, plan_swaps, sync_folders_of
from kuramori.model.databases import DatabaseRecord
from kuramori.model.snapshot import Snapshot
from kuramori.progress import Progress
from kuramori.repository.repository import Repository
from kuramori.settings.model import ComponentKind, ComponentSettings
from kuramori.sources.dump_plan import dumped_database


@dataclass(slots=True)
class _Component:
    """One component on its way back."""

    name: str
    kind: ComponentKind | None
    record: ManifestComponent | None
    settings: ComponentSettings | None
    staged: list[Staged] = field(default_factory=list)
    errors: list[KuramoriError] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    fed_bytes: int = 0
    repository: str = ""
    fetched: dict[str, int] = field(default_factory=dict)
    swapping: bool = False
    done: bool = False

    @property
    def records(self) -> Sequence[DatabaseRecord]:
        """What was recorded of its databases."""
        return self.record.databases if self.record is not None else ()

    def result(self) -> RestoredComponent:
        """Return what became of it."""
        return RestoredComponent(
            self.name, self.done and not self.errors, target=os.pathsep.join(self.targets),
            kept=os.pathsep.join(self.kept), files=sum(one.files for one in self.staged),
            size_bytes=self.fed_bytes + sum(one.size_bytes for one in self.staged),
            verified=self.done and bool(self.staged or (self.fed_bytes and self.records)),
            errors=tuple(self.errors), repository=self.repository, fetched=self.fetched)


class RunRestore:
    """One restore."""

    def __init__(self, options: RestoreRunOptions, holders: Holders, journals: RestoreJournals, history: History,
                 components: Mapping[str, ComponentSettings], now: datetime, progress: Progress,
                 operation: Operation) -> None:
        """Nothing is touched yet.

        Args:
            components: what the settings say of the job's components.
            now: names what is kept.
        """
        self._options = options
        self._holders = holders
        self._journals = journals
        self._history = history
        self._settings = components
        self._now = now
        self._progress = progress
        self._operation = operation
        self._restore_id = f"{now:%Y%m%d_%H%M%S}_{token_hex(2)}"
        self._holder = holders.first()

    def execute(self) -> RestoreRunResult:
        """Do it; what goes wrong with a component is in the result.

        Raises:
            UnknownComponentError: the run has no component of a name that was asked for.
            StateError: the journal cannot be written; nothing was replaced.
            Interrupted: ``options.cancelled`` said so, before anything was replaced.
        """
        chosen = self._choose()
        replaced = False
        try:
            for component in chosen:
                if self._options.cancelled():
                    raise Interrupted
                if self._feeds(component):
                    self._prepare_feeding(component)
                else:
                    self._stage(component)
            if self._options.target is None:
                replaced = self._swap([one for one in chosen if not one.errors and not one.done and (
                    one.staged or self._feeds(one))])
            else:
                self._move_to_folder(chosen)
        finally:
            for component in chosen:
                # Broken off in the middle of a swap, what was there before may be where the restored one
                # waited: then it stays until the restore is undone.
                for staged in component.staged if component.done or not component.swapping else ():
                    staged.discard()
        key = self._holder.run.key
        return RestoreRunResult(key.run, key.job, self._holder.name, self._restore_id if replaced else "",
                                {component.name: component.result() for component in chosen})

    # --- choosing ----------------------------------------------------------------------------

    def _choose(self) -> list[_Component]:
        manifest = self._holder.catalogue.manifest(self._holder.run)
        recorded = dict(manifest.components) if manifest is not None else {}
        names = list(dict.fromkeys([*recorded, *sorted(self._holder.run.components)]))
        for name in self._options.components:
            if name not in names:
                raise UnknownComponentError(name=name, where=self._holder.run.key.run, suggestion=suggest(name, names))
        chosen = [self._describe(name, recorded.get(name)) for name in names
                  if not self._options.components or name in self._options.components]
        return chosen if not self._options.database else self._choose_for_database(chosen)

    def _choose_for_database(self, chosen: list[_Component]) -> list[_Component]:
        """Return the one component that goes into another database: nothing else is to be touched."""
        servers = [one for one in chosen if one.kind in (ComponentKind.POSTGRES, ComponentKind.MYSQL)]
        if self._options.target is not None or len(servers) != 1 or (self._options.components and len(chosen) > 1):
            raise UsageError(detail=N_("--database is for one component that is a server's database, and not for "
                                       "--target; name it with --component"))
        return servers

    def _describe(self, name: str, record: ManifestComponent | None) -> _Component:
        settings = self._settings.get(name)
        kind = record.component_kind if record is not None else None
        if kind is None and settings is not None:
            kind = settings.kind
        return _Component(name, kind, record, settings)

    # --- staging -----------------------------------------------------------------------------

    def _stage(self, component: _Component) -> None:
        """Bring a component beside its target, from the nearest repository that holds it whole."""
        failures: list[KuramoriError] = []
        found = False
        for holder in self._holders:
            stored = holder.run.components.get(component.name)
            if stored is None:
                continue
            found = True
            try:
                with self._read_from(component, holder):
                    placements = self._place(component, holder, stored.snapshot)
                if self._options.dry_run:
                    self._foresee(component, placements)
                    return
                with self._read_from(component, holder):
                    self._stage_from(component, holder, stored.id, placements)
                self._note_failures(failures)
                return
            except KuramoriError as error:
                if isinstance(error, Interrupted):
                    raise
                failures.append(OutdatedRepositoryNote(name=holder.name, detail=error))
                if not repository_is_to_blame(error):
                    failures[-1] = error
                    break
        self._fail(component, failures if found else [_nowhere(component)])

    @contextmanager
    def _read_from(self, component: _Component, holder: Holder) -> Iterator[None]:
        """Note where a component comes from, and say which of its parts others had to give, if all went well."""
        before = self._holders.given_to(holder.name).copy()
        yield
        component.repository = holder.name
        for name, count in (self._holders.given_to(holder.name) - before).items():
            component.fetched[name] = component.fetched.get(name, 0) + count
            self._note_failures([BlobsFromElsewhereNote(component=component.name, count=count, name=holder.name,
                                                        other=name)])

    def _fail(self, component: _Component, failures: list[KuramoriError]) -> None:
        component.errors = failures
        for failure in failures:
            self._progress.warning(failure)

    def _note_failures(self, failures: list[KuramoriError]) -> None:
        for failure in failures:
            self._progress.warning(failure)
            self._operation.log(str(failure))

    def _place(self, component: _Component, holder: Holder, snapshot: Snapshot) -> list[Placement]:
        paths = [path for path in snapshot.paths if path.startswith("/")]
        if self._options.target is not None:
            holder.repository.load_index() if not holder.repository.index_names else None
            folders = folders_among(holder.repository, snapshot, paths)
            return place_in_folder(paths, Path(os.path.abspath(self._options.target)) / component.name, folders)
        if component.kind not in (ComponentKind.FILES, ComponentKind.SQLITE):
            raise RestoreTargetError(path=component.name, detail=N_("it is not known where it was; restore it to a "
                                                                    "folder with --target"))
        return place_in_place(paths, component.settings)

    def _stage_from(self, component: _Component, holder: Holder, snapshot_id: str,
                    placements: list[Placement]) -> None:
        known = {folder for journal in self._journals.all() for one in journal.components for folder in one.stagings}
        try:
            for placement in placements:
                if self._options.target is None:
                    remove_leftovers(placement.target, known)
                component.staged.append(
                    stage(holder.repository, snapshot_id, placement, self._restore_id, self._progress))
                prove_databases(component.staged[-1], component.records)
                sync_everything(component.staged[-1].folder)
        except BaseException as error:
            for staged in component.staged:
                staged.discard()
            component.staged.clear()
            if isinstance(error, OSError):
                raise RestoreTargetError(path=placements[0].target, detail=error.strerror or str(error)) from None
            raise
        component.targets = [placement.target for placement in placements]

    def _foresee(self, component: _Component, placements: list[Placement]) -> None:
        component.targets = [placement.target for placement in placements]
        if self._options.target is None:
            component.kept = [self._kept_name(target) for target in component.targets if os.path.lexists(target)]
        component.done = True

    # --- putting in place --------------------------------------------------------------------

    def _move_to_folder(self, chosen: list[_Component]) -> None:
        for component in chosen:
            try:
                for staged in component.staged:
                    target = staged.placement.target
                    with suppress(FileNotFoundError):
                        os.rmdir(target)  # it is empty, or it stays and the move refuses
                    move(staged.path, target)
                    sync_folders_of(target)
                component.done = component.done or bool(component.staged)
            except OSError as error:
                component.errors.append(RestoreTargetError(path=staged.placement.target,
                                                           detail=error.strerror or str(error)))
                self._progress.warning(component.errors[-1])

    def _kept_name(self, target: str) -> str:
        name = f"{target}.before-restore-{self._now:%Y%m%d_%H%M%S}"
        number = 1
        while os.path.lexists(name):
            number += 1
            name = f"{target}.before-restore-{self._now:%Y%m%d_%H%M%S}_{number}"
        return name

    def _swap(self, ready: list[_Component]) -> bool:
        """Let what was restored and what is there change places; return whether there was anything to do."""
        if not ready:
            return False
        key = self._holder.run.key
        journal = RestoreJournal(
            self._restore_id, self._now.isoformat(), key.job, key.run, self._holder.name, SWAPPING,
            [self._plan(component) for component in ready])
        self._journals.write(journal)
        for component, swapped in zip(ready, journal.components, strict=True):
            if self._feeds(component):
                self._feed(component, swapped, journal)
                swapped.done = component.done
            else:
                self._swap_component(component, swapped)
        if not any(swapped.roots or swapped.served for swapped in journal.components):
            self._journals.remove(journal.restore_id)  # only commands were fed: nobody can take that back
            return False
        journal.state = DONE
        self._journals.write(journal)
        self._remember(journal)
        return True

    def _plan(self, component: _Component) -> SwappedComponent:
        swapped = SwappedComponent(component.name, component.kind.value if component.kind else "", [])
        if component.settings is not None:
            swapped.busy_timeout = component.settings.busy_timeout
        for staged in component.staged:
            target = staged.placement.target
            kept = self._kept_name(target)
            swapped.swaps += plan_swaps(staged.path, target, kept, live_databases(staged, component.records))
            swapped.roots.append((target, kept))
            swapped.stagings.append(staged.folder)
            if os.path.lexists(target):
                component.kept.append(kept)
        return swapped

    def _swap_component(self, component: _Component, swapped: SwappedComponent) -> None:
        component.swapping = True
        try:
            for swap in swapped.swaps:
                do_swap(swap, swapped.busy_timeout)
            component.done = swapped.done = True
        except OSError as error:
            component.errors.append(RestoreTargetError(path=error.filename or component.targets[0],
                                                       detail=error.strerror or str(error)))
        except KuramoriError as error:
            component.errors.append(error)
        for failure in component.errors:
            self._progress.warning(failure)

    # --- what is fed back --------------------------------------------------------------------

    def _feeds(self, component: _Component) -> bool:
        return self._options.target is None and component.kind in FED_KINDS

    def _prepare_feeding(self, component: _Component) -> None:
        """Find out where a component goes."""
        assert component.kind is not None
        try:
            settings = require_way_back(component.kind, component.settings, component.name)
        except KuramoriError as error:
            self._fail(component, [error])
            return
        names = [dumped_database(record.path) for record in component.records]
        component.targets = [describe_target(settings, name) for name in
                             ([self._options.database] if self._options.database else names or [""])]
        component.done = self._options.dry_run

    def _feed(self, component: _Component, swapped: SwappedComponent, journal: RestoreJournal) -> None:
        """Feed a component from the nearest repository that holds it whole."""
        assert component.settings is not None
        feeding = Feeding(component.settings, self._options.database, self._options.disconnect, component.records,
                          self._options.cancelled)

        @contextmanager
        def noted(served: ServedDatabase) -> Iterator[None]:
            swapped.served.append(served)
            self._journals.write(journal)
            try:
                yield
            except BaseException:  # it is as it was, also after Ctrl-C
                swapped.served.remove(served)
                self._journals.write(journal)
                raise

        failures: list[KuramoriError] = []
        for holder in self._holders:
            stored = holder.run.components.get(component.name)
            if stored is None:
                continue
            try:
                with self._read_from(component, holder):
                    component.fed_bytes, warnings = feed_component(feeding, holder.repository, stored, noted)
            except KuramoriError as error:
                failures.append(error)
                if isinstance(error, Interrupted) or not repository_is_to_blame(error):
                    break
                failures[-1] = OutdatedRepositoryNote(name=holder.name, detail=error)
                continue
            self._note_failures([*failures, *warnings])
            component.done = True
            component.kept = [served.kept for served in swapped.served if served.kept]
            return
        self._fail(component, failures or [_nowhere(component)])

    def _remember(self, journal: RestoreJournal) -> None:
        kept = [KeptComponent(component.name, component.kind, target, place if os.path.lexists(place) else "")
                for component in journal.components for target, place in component.roots]
        kept += [KeptComponent(component.name, component.kind, served.database, served.kept)
                 for component in journal.components for served in component.served]
        self._history.remember_restore(journal.restore_id, job=journal.job, run=journal.run,
                                       repository=journal.repository, components=kept)


def _nowhere(component: _Component) -> KuramoriError:
    return RestoreError(path=component.name, detail=N_("no repository that can be reached has it: it was not saved in "
                                                       "this run, or was cleaned up since"))


def folders_among(repository: Repository, snapshot: Snapshot, paths: list[str]) -> frozenset[str]:
    """Return those of some paths of a snapshot that are folders. The index must be loaded.

    Raises:
        DamagedError, StorageError: a tree on the way cannot be read.
    """
    found = set()
    for path in paths:
        tree_id, kind = snapshot.tree, "dir"
        for part in filter(None, os.fsencode(path).split(b"/")):
            node = next((node for node in repository.load_tree(parse_id(tree_id)).nodes if node.name_bytes == part),
                        None)
            kind = node.type if node is not None else ""
            if node is None or node.subtree is None:
                break
            tree_id = node.subtree
        if kind == "dir":
            found.add(path)
    return frozenset(found)
