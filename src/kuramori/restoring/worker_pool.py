"""The main process's side of the workers that make small files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kuramori.errors import N_, KuramoriError, Phrase
from kuramori.ids import Id
from kuramori.model.blob import PackedBlob
from kuramori.processors import available_processors
from kuramori.repository.repository import Repository
from kuramori.repository.worker_channel import wait_for_messages
from kuramori.repository.worker_process import WorkerProcess, end_workers
from kuramori.restoring import wire
from kuramori.restoring.jobs import FileJob
from kuramori.restoring.target import TargetFolder

_TASK_BLOBS = 512
_TASKS_AHEAD = 3
_MAXIMUM_WORKERS = 8

Jobs = dict[PackedBlob, list[FileJob]]


class _Link(WorkerProcess):
    """One worker and what it has to do."""

    def __init__(self, settings: wire.RestoreSettings, target: int) -> None:
        super().__init__("kuramori.restoring.worker", [target])
        self.tasks: list[Jobs] = []
        self.send_settings(wire.encode(settings))


class SmallFilePool:
    """Several workers that make files of one small blob each, in folders that this restore made.
    A folder belongs to one worker: two that make files in the same folder wait for each other in
    the kernel. Used by one thread."""

    def __init__(self, repository: Repository, target: TargetFolder, count: int, *,
                 made: Callable[[Sequence[FileJob]], None], failed: Callable[[FileJob, str], None],
                 damaged: Callable[[PackedBlob, FileJob], None]) -> None:
        """Start ``count`` workers.

        Args:
            made: told of the files that are there, many at once.
            failed: told of every file that could not be made, and why.
            damaged: told of every file whose blob could not be opened.
        """
        self._made = made
        self._failed = failed
        self._damaged = damaged
        self._places: dict[bytes, int] = {}
        location = repository.backend.worker_location
        assert location is not None
        settings = wire.RestoreSettings(location, repository.key.reveal())
        self._links: list[_Link] = []
        try:
            for _ in range(count):
                self._links.append(_Link(settings, target.descriptor))
        except BaseException:
            self.close()
            raise

    def submit(self, needs: dict[Id, Jobs]) -> None:
        """Have files made; blobs are given by their packs. Returns when all is handed out."""
        for pack, jobs in needs.items():
            shares: list[Jobs] = [{} for _ in self._links]
            for blob, files in jobs.items():
                for job in files:
                    place = self._places.setdefault(job.folder, len(self._places)) % len(self._links)
                    shares[place].setdefault(blob, []).append(job)
            for link, share in zip(self._links, shares, strict=True):
                blobs = sorted(share, key=lambda blob: blob.offset)
                for start in range(0, len(blobs), _TASK_BLOBS):
                    self._give(link, pack, {blob: share[blob] for blob in blobs[start : start + _TASK_BLOBS]})

    def _give(self, link: _Link, pack: Id, jobs: Jobs) -> None:
        while len(link.tasks) >= _TASKS_AHEAD:
            self._poll()
        task = wire.RestoreTask(pack, [
            wire.SmallBlob(blob.id, blob.offset, blob.length, blob.uncompressed_length,
                           [_small_file(job) for job in files])
            for blob, files in jobs.items()
        ])
        link.tasks.append(jobs)
        try:
            link.connection.send_bytes(wire.encode(task))
        except OSError:
            self._ended(link)

    def _poll(self) -> None:
        by_connection = {link.connection: link for link in self._links if link.tasks}
        for ready in wait_for_messages(by_connection):
            link = by_connection[ready]
            try:
                done = wire.decode_done(ready.recv_bytes())
            except (EOFError, OSError):
                self._ended(link)
            self._take(link.tasks.pop(0), done)

    def _ended(self, link: _Link) -> None:
        raise KuramoriError(
            detail=Phrase(N_("a worker process ended unexpectedly (status {code})"), code=link.wait()))

    def _take(self, jobs: Jobs, done: wire.RestoreTaskDone) -> None:
        if not done.damaged and not done.failed:
            self._made([job for files in jobs.values() for job in files])
            return
        damaged = set(done.damaged)
        failed = {(folder, name): reason for folder, name, reason in done.failed}
        for blob, files in jobs.items():
            for job in files:
                if blob.id in damaged:
                    self._damaged(blob, job)
                elif failed and (job.folder, job.name) in failed:
                    self._failed(job, failed[job.folder, job.name])
                else:
                    self._made([job])

    def finish(self) -> None:
        """Return when all files were dealt with."""
        while any(link.tasks for link in self._links):
            self._poll()

    def close(self) -> None:
        """End the workers. May be called more than once."""
        end_workers(self._links)


def _small_file(job: FileJob) -> wire.SmallFile:
    node = job.node
    return wire.SmallFile(job.folder, job.name, node.uid, node.gid, node.permissions, node.mtime, node.atime,
                          node.extended_attributes)


def worker_count(repository: Repository) -> int:
    """Return how many workers are worth it here; 0 where the backend cannot be opened by them."""
    if repository.backend.worker_location is None:
        return 0
    available = available_processors()
    return 0 if available < 2 else min(available, _MAXIMUM_WORKERS)
