"""The commands ``forget`` and ``tag``: what they print, what they refuse, what they do when
something fails."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.cli.application import Application
from kuramori.cli.main import run
from kuramori.errors import (
    FileNotInStorageError,
    LastSnapshotError,
    RepositoryLockedError,
    StoragePermissionError,
    UnreadableSnapshotsError,
    UsageError,
)
from kuramori.maintenance.forget import ForgetOptions, ForgetResult, forget
from kuramori.maintenance.prune_plan import PrunePolicy
from kuramori.maintenance.tag import TagChange, TagOptions, tag_snapshots
from kuramori.model.blob import BlobType
from kuramori.model.retention import RetentionPolicy
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import SnapshotFilter, save_snapshot
from kuramori.secret import Secret
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.local import LocalBackend
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, copy, create, make_source

NEWEST = ForgetOptions(policy=RetentionPolicy(last=1))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with four snapshots of one folder, each with data of its own."""
    folder = tmp_path_factory.mktemp("command")
    source = folder / "source"
    make_source(source)
    create(folder / "repository")
    repository = Workshop(folder / "repository").repository
    for number in range(4):
        (source / "new").write_bytes(os.urandom(100_000))
        back_up(repository, BackupOptions(paths=(os.fsencode(source),), hostname="planter", tags=(f"day{number}",)))
    return folder / "repository"


@pytest.fixture
def shop(base: Path, tmp_path: Path) -> Workshop:
    return copy(base, tmp_path / "repository")


def _run(shop: Workshop, *arguments: str, code: int = 0) -> str:
    return Kuramori(shop.folder, PASSWORD).run(*arguments, codes=(code,))


def _complaint(shop: Workshop, *arguments: str, code: int = 1) -> str:
    process = Kuramori(shop.folder, PASSWORD).start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert stdout == b""
    return stderr.decode()


# --- what is printed -----------------------------------------------------------------------------


def test_a_dry_run_says_what_then_happens(shop: Workshop) -> None:
    before = shop.names(FileType.SNAPSHOT)
    planned = _run(shop, "forget", "--dry-run", "--keep-last", "2").splitlines()
    assert shop.names(FileType.SNAPSHOT) == before
    done = _run(shop, "forget", "--keep-last", "2").splitlines()
    assert planned[:-1] == done[:-1]
    assert planned[0] == f"host: planter; paths: {shop.latest().paths[0]}"
    assert planned[1] == "keep 2 snapshots:"
    assert sum("last snapshot" in line for line in planned) == 2
    assert planned[-1] == "2 snapshots would be removed"
    assert done[-1] == "removed 2 snapshots"
    left = shop.names(FileType.SNAPSHOT)
    assert len(left) == 2
    for name in before:
        (line,) = [line for line in planned if line.startswith(name[:8])]
        assert ("last snapshot" in line) == (name in left)
    assert _run(shop, "forget", "--keep-last", "2").splitlines()[-1] == "there is nothing to remove"


def test_japanese(shop: Workshop) -> None:
    said = _run(shop, "--language", "ja", "forget", "-n", "-d", "unlimited", "--keep-tag", "day0")
    assert "残すスナップショット 2 個:" in said
    assert "タグ [day0] 付き" in said
    assert "最も古いもの(1 日ごと)" in said
    assert "snapshot" not in said


def test_compact_is_one_line_for_each(shop: Workshop) -> None:
    said = _run(shop, "forget", "-n", "-c", "-l", "4", "-d", "1", "-w", "1", "--keep-within", "1d").splitlines()
    (newest,) = [line for line in said if "daily snapshot" in line]
    assert "within 1d,last snapshot,daily snapshot,weekly snapshot" in newest
    assert sum("last snapshot" in line for line in said) == 4


def test_quiet_is_quiet(shop: Workshop) -> None:
    assert _run(shop, "forget", "-q", "--keep-last", "3", "--prune") == ""
    assert len(shop.names(FileType.SNAPSHOT)) == 3
    assert _run(shop, "tag", "-q", "-v", "--add", "x") == ""
    (group,) = json.loads(_run(shop, "forget", "-q", "--json", "--keep-last", "3"))
    assert group["remove"] is None


def test_named_snapshots_are_shown_in_a_dry_run(shop: Workshop) -> None:
    names = shop.names(FileType.SNAPSHOT)
    said = _run(shop, "forget", "-n", names[0], names[1][:10]).splitlines()
    assert {line[:8] for line in said} >= {names[0][:8], names[1][:8]}
    assert said[-1] == "2 snapshots would be removed"


def test_json_with_a_prune_is_two_documents(shop: Workshop) -> None:
    for arguments in (["--dry-run"], []):
        groups, summary = map(json.loads, _run(shop, "forget", "--json", "-l", "1", "--prune", "--max-unused", "0",
                                               *arguments).splitlines())
        assert len(groups[0]["remove"]) == 3
        assert groups[0]["reasons"][0]["matches"] == ["last snapshot"]
        assert groups[0]["reasons"][0]["snapshot"]["id"] == groups[0]["keep"][0]["id"]
        assert summary["dry_run"] == bool(arguments)
        assert summary["bytes"]["unused"] > 250_000
    assert json.loads(_run(shop, "prune", "--json", "--max-unused", "0"))["bytes"]["unused"] == 0


def test_no_prune_where_nothing_goes(shop: Workshop) -> None:
    (line,) = _run(shop, "forget", "--json", "-l", "9", "--prune").splitlines()
    assert json.loads(line)[0]["remove"] is None


def test_tags_say_what_changed(shop: Workshop) -> None:
    before = shop.names(FileType.SNAPSHOT)
    said = _run(shop, "tag", "-v", "--add", "x", before[0][:12]).splitlines()
    (new,) = set(shop.names(FileType.SNAPSHOT)) - set(before)
    assert said == [f"snapshot {before[0]} is now {new}", "changed the tags of 1 snapshot"]


# --- what is refused -----------------------------------------------------------------------------


def test_nothing_goes_when_a_snapshot_cannot_be_read(shop: Workshop) -> None:
    names = shop.names(FileType.SNAPSHOT)
    shop.flip(FileType.SNAPSHOT, names[0], 40)
    shop.truncate(FileType.SNAPSHOT, names[2], 0)
    for arguments in (["forget", "--keep-last", "1"], ["forget", "latest"], ["forget", names[1], names[2]],
                      ["forget", "--keep-last", "1", "--dry-run"], ["tag", "--add", "x"]):
        said = _complaint(shop, *arguments)
        assert names[2] in said
        assert (names[0] in said) == (names[1] not in arguments)
        assert said.count("\n") == 1
        assert shop.names(FileType.SNAPSHOT) == names
        assert shop.names(FileType.LOCK) == []
    _run(shop, "forget", names[1])
    assert shop.names(FileType.SNAPSHOT) == [names[0], *names[2:]], "what is named and whole may go"


def test_a_snapshot_that_vanishes_while_it_is_read_is_not_passed_over(shop: Workshop) -> None:
    class Vanishing(ForwardingBackend):
        def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
            if handle.type is FileType.SNAPSHOT and handle.name == names[3]:
                raise FileNotInStorageError(location="x", name=handle)
            return super().load(handle, offset, length)

    names = shop.names(FileType.SNAPSHOT)
    with pytest.raises(UnreadableSnapshotsError, match=names[3]):
        forget(_opened(Vanishing(LocalBackend(shop.folder))), NEWEST)
    assert shop.names(FileType.SNAPSHOT) == names


@pytest.mark.parametrize(("options", "error"), [
    (ForgetOptions(), UsageError),
    (ForgetOptions(allow_remove_all=True), UsageError),
    (ForgetOptions(policy=RetentionPolicy(tags=(("none",),))), LastSnapshotError),
    (ForgetOptions(policy=RetentionPolicy(tags=(("none",),)), allow_remove_all=True,
                   snapshot_filter=SnapshotFilter(hosts=("planter",))), LastSnapshotError),
    (ForgetOptions(policy=RetentionPolicy(last=1), no_lock=True), UsageError),
    (ForgetOptions(policy=RetentionPolicy(last=1), prune=True,
                   prune_policy=PrunePolicy(repack_smaller_than=2**40)), UsageError),
], ids=["no rule", "all of all", "no tag", "no tag, all", "no lock", "nonsense for the prune"])
def test_refusals_leave_everything(shop: Workshop, options: ForgetOptions, error: type[Exception]) -> None:
    names = shop.names(FileType.SNAPSHOT)
    with pytest.raises(error):
        forget(shop.repository, options)
    assert shop.names(FileType.SNAPSHOT) == names
    assert shop.names(FileType.LOCK) == []


def test_a_refusal_in_one_group_saves_all_groups(shop: Workshop) -> None:
    """The first group could lose a snapshot; the second would lose its last one."""
    names = shop.names(FileType.SNAPSHOT)
    other = shop.latest()
    other.hostname, other.tags = "zoo", None
    save_snapshot(shop.repository, other)
    said = _complaint(shop, "forget", "--keep-tag", "day1")
    assert "zoo" in said
    assert set(names) < set(shop.names(FileType.SNAPSHOT))


@pytest.mark.parametrize("exclusive", [False, True])
def test_nobody_else_may_work(shop: Workshop, exclusive: bool) -> None:
    names = shop.names(FileType.SNAPSHOT)
    other = open_repository(LocalBackend(shop.folder), Secret(PASSWORD))
    with hold_lock(other, exclusive=exclusive):
        for work in (lambda: forget(shop.repository, NEWEST),
                     lambda: tag_snapshots(shop.repository, TagOptions(add=("x",)))):
            with pytest.raises(RepositoryLockedError):
                work()
        assert len(forget(shop.repository, replace(NEWEST, dry_run=True, no_lock=True)).removed) == 3
        assert "in use" in _complaint(shop, "forget", "--keep-last", "1", code=11)
    assert shop.names(FileType.SNAPSHOT) == names


# --- what fails ----------------------------------------------------------------------------------


class _Stubborn(ForwardingBackend):
    """Keeps some snapshots, whatever is asked of it."""

    def __init__(self, inner: LocalBackend, names: list[str]) -> None:
        super().__init__(inner)
        self._names = names

    def remove(self, handle: Handle) -> None:
        if handle.name in self._names:
            raise StoragePermissionError(location="x", operation="remove", name=handle, detail="forbidden")
        super().remove(handle)


def _opened(backend: ForwardingBackend) -> Repository:
    return open_repository(backend, Secret(PASSWORD))


def test_one_that_cannot_be_removed_does_not_keep_the_others(shop: Workshop) -> None:
    names = shop.names(FileType.SNAPSHOT)
    packs = shop.names(FileType.PACK)
    told: list[ForgetResult] = []
    options = ForgetOptions(ids=tuple(names[:3]), prune=True, before_prune=told.append)
    result = forget(_opened(_Stubborn(LocalBackend(shop.folder), [names[1]])), options)
    assert shop.names(FileType.SNAPSHOT) == [names[1], names[3]]
    assert [error.fields["name"] for error in result.errors] == [Handle(FileType.SNAPSHOT, names[1])]
    assert [stored.id for stored in result.removed] == [names[0], names[2]]
    assert not told
    assert shop.names(FileType.PACK) == packs, "no prune after a failure"
    assert forget(shop.repository, options).prune is not None
    assert shop.names(FileType.SNAPSHOT) == [names[3]]


class _StubbornApplication(Application):
    """The command on a store that keeps some snapshots."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        super().__init__()
        self._store = _Stubborn(LocalBackend(folder), names)

    def backend(self) -> Backend:
        return self._store


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["forget"], 3, "removed 1 snapshot\n"), (["tag", "--add", "x"], 1, "changed the tags of 1 snapshot\n"),
])
def test_the_command_names_what_it_could_not_remove(
        shop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str],
        code: int, said: str) -> None:
    names = shop.names(FileType.SNAPSHOT)
    monkeypatch.setenv("KURAMORI_PASSWORD", PASSWORD)
    assert run([*arguments, *names[:2]], _StubbornApplication(shop.folder, names[1:])) == code
    captured = capsys.readouterr()
    assert captured.out == said
    assert names[1] in captured.err
    assert names[0] not in captured.err
    assert set(names[1:]) <= set(shop.names(FileType.SNAPSHOT))


def test_tags_that_cannot_be_changed_leave_the_old_ones(shop: Workshop) -> None:
    names = shop.names(FileType.SNAPSHOT)
    changes: list[TagChange] = []
    options = TagOptions(add=("x",), told=changes.append)
    result = tag_snapshots(_opened(_Stubborn(LocalBackend(shop.folder), names[:2])), options)
    assert len(result.errors) == 2
    assert result.changes == changes
    assert {change.old_id for change in changes} == set(names[2:])
    assert len(shop.names(FileType.SNAPSHOT)) == 6, "two with their old tags and with their new"
    assert len(tag_snapshots(shop.repository, options).changes) == 2
    assert len(shop.names(FileType.SNAPSHOT)) == 4


def test_a_prune_that_refuses_says_so_after_what_was_forgotten(shop: Workshop) -> None:
    shop.remove(FileType.PACK, shop.packs(BlobType.TREE)[0])
    process = Kuramori(shop.folder, PASSWORD).start("forget", "-l", "1", "--json", "--prune", stdout=subprocess.PIPE,
                                                    stderr=subprocess.PIPE)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(json.loads(stdout)[0]["remove"]) == 3
    assert b"prune stopped" in stderr
    assert len(shop.names(FileType.SNAPSHOT)) == 1


def test_what_is_told_before_the_prune_is_what_comes_of_it(shop: Workshop) -> None:
    told: list[int] = []
    options = replace(NEWEST, prune=True, before_prune=lambda result: told.append(len(result.removed)))
    result = forget(shop.repository, options)
    assert told == [3]
    assert result.prune is not None
    assert result.prune.packs_removed >= 1
