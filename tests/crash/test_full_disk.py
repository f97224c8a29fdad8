"""A repository on a disk that fills up: one clear error, nothing lost, nothing left lying about, and
the next run succeeds once there is room."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import NoReturn

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.crypto.derivation import KdfParameters
from kuramori.errors import StorageFullError
from kuramori.maintenance.check import CheckOptions, check
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.secret import Secret
from kuramori.storage.backend import FileType
from kuramori.storage.cache import CacheBackend
from kuramori.storage.local import LocalBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.backend_contract import handle_of, noise
from kuramori.testing.contents import folder_contents, snapshot_contents
from samples import mounted

PASSWORD = "a password"
MEGABYTE = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path, skip_or_fail: Callable[[str], NoReturn]) -> Iterator[Callable[[str], Path]]:
    """Return what mounts a disk in memory with the options of tmpfs(5) and returns its folder."""
    with ExitStack() as disks:
        numbers = count()

        def mount(options: str) -> Path:
            return disks.enter_context(mounted.small_disk(tmp_path / f"disk {next(numbers)}", options, skip_or_fail))

        yield mount


class Archive:
    """A repository on a small disk, with one snapshot, and a source that has changed since."""

    def __init__(self, disk: Path, source: Path) -> None:
        self.repository = disk / "repository"
        self.source = source
        chance = random.Random(1)
        (source / "many").mkdir(parents=True)
        for number in range(1200):
            (source / "many" / str(number)).write_bytes(b"%d\n" % number * 20)
        (source / "image").write_bytes(chance.randbytes(1_500_000))
        create_repository(LocalBackend(self.repository), Secret(PASSWORD),
                          CreateOptions(kdf=KdfParameters(16, 8, 1)))
        self.back_up()
        self.known = {self.only_snapshot(): folder_contents(source)}
        (source / "image 2").write_bytes(chance.randbytes(5_000_000))
        for number in range(1200):
            (source / "many" / str(number)).write_bytes(b"now %d\n" % number * 30)

    def only_snapshot(self) -> str:
        """Return the id of the only snapshot."""
        (snapshot,) = (self.repository / "snapshots").iterdir()
        return snapshot.name

    def back_up(self) -> None:
        """Back the source up, with worker processes where that is worth it."""
        repository = open_repository(LocalBackend(self.repository), Secret(PASSWORD))
        result = back_up(repository, BackupOptions(paths=(os.fsencode(self.source),), workers=2,
                                                   pack_size=4 * MEGABYTE))
        assert not result.errors

    def judge(self) -> None:
        """Nothing is wrong, lost or left over."""
        assert [*(self.repository / "locks").iterdir()] == []
        assert [path.name for path in self.repository.rglob("*-tmp-*")] == []
        repository = open_repository(LocalBackend(self.repository), Secret(PASSWORD))
        found = check(repository, CheckOptions(read_data=True))
        assert not found.errors, found.errors
        repository.load_index()
        now = folder_contents(self.source)
        stored = load_snapshots(repository)
        assert set(self.known) <= {snapshot.id for snapshot in stored}
        for snapshot in stored:
            contents = snapshot_contents(repository, snapshot.snapshot.tree, self.source)
            assert contents == self.known.get(snapshot.id, now)


def fill_up(disk: Path, leave: int) -> Path:
    """Write a file that leaves so many bytes free on a disk."""
    ballast = disk / "ballast"
    free = shutil.disk_usage(disk).free
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - leave)
    return ballast


def test_a_backup_runs_into_a_full_disk(small_disk: Callable[[str], Path], tmp_path: Path) -> None:
    disk = small_disk("size=32m")
    archive = Archive(disk, tmp_path / "source")
    template = shutil.copytree(archive.repository, tmp_path / "template")
    for leave in [0, 4096, 3 * 4096, 32_768, MEGABYTE, 3 * MEGABYTE, 4 * MEGABYTE, 9 * MEGABYTE // 2]:
        shutil.rmtree(archive.repository)
        shutil.copytree(template, archive.repository)
        ballast = fill_up(disk, leave)
        with pytest.raises(StorageFullError) as caught:
            archive.back_up()
        assert str(archive.repository) in str(caught.value)
        assert caught.value.exit_code == 1
        ballast.unlink()
        archive.judge()
        archive.back_up()
        archive.judge()


@pytest.mark.exhaustive
def test_a_backup_runs_out_of_files(small_disk: Callable[[str], Path], tmp_path: Path) -> None:
    disk = small_disk("size=64m,nr_inodes=1000")
    archive = Archive(disk, tmp_path / "source")
    template = shutil.copytree(archive.repository, tmp_path / "template")
    for leave in range(5):
        shutil.rmtree(archive.repository)
        shutil.copytree(template, archive.repository)
        ballast = disk / "ballast"
        ballast.mkdir()
        for number in range(os.statvfs(disk).f_ffree - leave):
            (ballast / str(number)).touch()
        with pytest.raises(StorageFullError):
            archive.back_up()
        shutil.rmtree(ballast)
        archive.judge()
        archive.back_up()
        archive.judge()


def test_the_program_says_that_the_disk_is_full(small_disk: Callable[[str], Path], tmp_path: Path) -> None:
    disk = small_disk("size=16m")
    archive = Archive(disk, tmp_path / "source")
    ballast = fill_up(disk, MEGABYTE)
    command = [sys.executable, "-m", "kuramori", "backup", str(archive.source)]
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("RESTIC_", "KURAMORI_", "LANG", "LC_"))}
    environment |= {"RESTIC_REPOSITORY": str(archive.repository), "RESTIC_PASSWORD": PASSWORD,
                    "XDG_CACHE_HOME": str(tmp_path / "cache"), "LC_ALL": "C.UTF-8",
                    "KURAMORI_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "no space is left" in done.stderr
    assert "Traceback" not in done.stderr
    ballast.unlink()
    archive.judge()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    archive.judge()


def test_a_new_repository_does_not_fit(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("size=1m,nr_inodes=100")
    with pytest.raises(StorageFullError):
        create_repository(LocalBackend(disk / "repository"), Secret(PASSWORD),
                          CreateOptions(kdf=KdfParameters(16, 8, 1)))


def test_a_cache_on_a_full_disk_is_no_hindrance(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("size=1m")
    contents = [noise(300_000, number) for number in range(6)]
    handles = [handle_of(FileType.INDEX, content) for content in contents]
    cache = CacheBackend(MemoryBackend(dict(zip(handles, contents, strict=True))), disk / "cache", "5" * 64)
    for _ in range(2):
        assert [cache.load(handle) for handle in handles] == contents
    copies = [path for path in (disk / "cache").rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]
    assert 1 <= len(copies) <= 3
    assert {path.name for path in copies} <= {handle.name for handle in handles}
