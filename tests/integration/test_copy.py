"""Copying snapshots: what is read and written, and the command's settings, words and interruption."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import UsageError
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.copy import CopyAction, CopyOptions, CopyOutcome, copy_snapshots
from kuramori.model.blob import BlobType
from kuramori.repository.compression import Compression
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import FileType
from kuramori.storage.local import LocalBackend
from kuramori.testing.faulty_backend import FaultyBackend
from samples.kuramori_command import Kuramori
from samples.repositories import PASSWORD as SAMPLE_PASSWORD
from samples.repositories import make_repository, reopened

SOURCE, TARGET = "the source's", "the target's"


def _fill(folder: Path, files: int = 30) -> Path:
    chance = random.Random(1)
    (folder / "deep").mkdir(parents=True)
    for number in range(files):
        (folder / "deep" / f"{number}.jpg").write_bytes(chance.randbytes(20_000 + number))
        (folder / f"{number}.log").write_text(f"line {number}\n" * 3000)
    return folder


def _back_up(folder: Path, *paths: Path) -> None:
    for path in paths:
        back_up(reopened(folder, "source"), BackupOptions(paths=(os.fsencode(path),)))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file())


def test_each_pack_is_read_once_for_all_snapshots(tmp_path: Path) -> None:
    planter = _fill(tmp_path / "planter")
    make_repository(tmp_path, "source")
    _back_up(tmp_path, planter / "deep", planter)
    watched = FaultyBackend(LocalBackend(tmp_path / "source"))
    source = open_repository(watched, SAMPLE_PASSWORD, OpenOptions())
    source.load_index()
    data = {pack.hex() for pack, blobs in source.index.packs() if blobs[0].type is BlobType.DATA}
    watched.operations.clear()
    target = make_repository(tmp_path, "target")
    result = copy_snapshots(source, target)
    assert len(result.of(CopyAction.COPIED)) == 2
    loads = Counter(operation.subject.split("/")[-1] for operation in watched.operations
                    if operation.kind == "load" and operation.subject.startswith("data/"))
    assert len(data) == 2
    assert {name: loads[name] for name in data} == dict.fromkeys(data, 1)
    assert len(list(target.backend.list(FileType.PACK))) == 2, "small snapshots share packs"
    writes = [operation for operation in watched.operations if operation.kind in ("save", "remove", "commit")]
    assert all("locks" in operation.subject for operation in writes)


def test_only_what_the_target_lacks_is_read(tmp_path: Path) -> None:
    planter = _fill(tmp_path / "planter")
    make_repository(tmp_path, "source")
    _back_up(tmp_path, planter)
    target = make_repository(tmp_path, "target")
    first = copy_snapshots(reopened(tmp_path, "source"), target)
    (planter / "new").write_bytes(os.urandom(5000))
    _back_up(tmp_path, planter)
    second = copy_snapshots(reopened(tmp_path, "source"), reopened(tmp_path, "target"))
    assert [outcome.action for outcome in second.outcomes] == [CopyAction.SKIPPED, CopyAction.COPIED]
    assert second.bytes_copied < first.bytes_copied / 10
    target = reopened(tmp_path, "target")
    assert not check(target, CheckOptions(read_data=True)).errors
    assert sum(1 for _ in target.index.duplicates()) == 0
    older, newer = load_snapshots(target)
    assert (older.snapshot.parent, newer.snapshot.parent) == (None, None)


@pytest.mark.parametrize(("compression", "compare"), [
    (Compression.OFF, lambda source, target: target > 1.5 * source),
    (Compression.AUTO, lambda source, target: abs(source - target) < source / 100),
    (Compression.MAX, lambda source, target: target < source),
])
def test_compression_is_left_or_made_anew(tmp_path: Path, compression: Compression, compare: object) -> None:
    planter = _fill(tmp_path / "planter")
    make_repository(tmp_path, "source")
    back_up(reopened(tmp_path, "source"), BackupOptions(
        paths=(os.fsencode(planter),), compression=Compression.FASTEST))
    target = make_repository(tmp_path, "target")
    copy_snapshots(reopened(tmp_path, "source"), target, CopyOptions(compression=compression))
    assert callable(compare)
    assert compare(_bytes(tmp_path / "source"), _bytes(tmp_path / "target"))
    assert not check(reopened(tmp_path, "target"), CheckOptions(read_data=True)).errors


def test_everybody_is_told_at_once(tmp_path: Path) -> None:
    planter = _fill(tmp_path / "planter", 3)
    make_repository(tmp_path, "source")
    _back_up(tmp_path, planter, planter / "deep")
    told: list[CopyOutcome] = []
    target = make_repository(tmp_path, "target")
    result = copy_snapshots(reopened(tmp_path, "source"), target, CopyOptions(told=told.append))
    assert told == result.outcomes
    assert [outcome.source.id for outcome in told] == [
        stored.id for stored in load_snapshots(reopened(tmp_path, "source"))]
    assert {outcome.snapshot_id for outcome in told} == {stored.id for stored in load_snapshots(target)}
    with pytest.raises(UsageError):
        copy_snapshots(reopened(tmp_path, "source"), target, CopyOptions(pack_size=1))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A source with a snapshot, and a target."""
    source, target = tmp_path / "source", tmp_path / "target"
    ours = Kuramori(source, SOURCE)
    ours.init_quickly()
    ours.backup(_fill(tmp_path / "planter", 3))
    Kuramori(target, TARGET).init_quickly()
    return source, target


def _secret(path: Path, text: str) -> str:
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


@pytest.mark.exhaustive(except_each=4)
@pytest.mark.parametrize("way", ["options", "files", "ours", "restic's", "ours first", "options first"])
def test_where_the_source_is_said(tmp_path: Path, pair: tuple[Path, Path], way: str) -> None:
    source, target = pair
    password = _secret(tmp_path / "password", SOURCE)
    wrong = _secret(tmp_path / "wrong", "wrong")
    options: list[str] = []
    environment = {}
    if way == "options":
        options = ["--from-repo", str(source), "--from-password-command", f"cat {password}"]
    elif way == "files":
        options = ["--from-repository-file", _secret(tmp_path / "location", str(source)),
                   "--from-password-file", password]
    elif way == "ours":
        environment = {"KURAMORI_FROM_REPOSITORY": str(source), "KURAMORI_FROM_PASSWORD_FILE": password}
    elif way == "restic's":
        environment = {"RESTIC_FROM_REPOSITORY_FILE": _secret(tmp_path / "location", str(source)),
                       "RESTIC_FROM_PASSWORD_COMMAND": f"cat {password}"}
    elif way == "ours first":
        environment = {"KURAMORI_FROM_REPOSITORY": str(source), "RESTIC_FROM_REPOSITORY": "/nowhere",
                       "KURAMORI_FROM_PASSWORD": SOURCE, "RESTIC_FROM_PASSWORD_FILE": wrong}
    else:
        environment = {"KURAMORI_FROM_REPOSITORY": "/nowhere", "KURAMORI_FROM_PASSWORD": "wrong"}
        options = ["--from-repo", str(source), "--from-password-file", password]
    ours = Kuramori(target, TARGET, environment=environment)
    ours.run("copy", *options)
    assert len(ours.snapshots()) == 1
    fresh = Kuramori(tmp_path / "fresh", TARGET, environment=environment)
    fresh.run("init", "--copy-chunker-params", *options)
    configs = [json.loads(command.run("cat", "config"))
               for command in (Kuramori(source, SOURCE), Kuramori(tmp_path / "fresh", TARGET))]
    assert configs[0]["chunker_polynomial"] == configs[1]["chunker_polynomial"]


def test_what_is_missing_is_said_of_the_source(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    source, target = pair
    for environment, code, words in (
        ({}, 1, "--from-repo, --from-repository-file"),
        ({"RESTIC_FROM_REPOSITORY": str(source)}, 1, "--from-password-file"),
        ({"RESTIC_FROM_REPOSITORY": str(source), "RESTIC_FROM_PASSWORD": "no"}, 12, "RESTIC_FROM_PASSWORD"),
        ({"RESTIC_FROM_REPOSITORY": str(tmp_path / "none"), "RESTIC_FROM_PASSWORD": "no"}, 10, "none"),
    ):
        process = Kuramori(target, TARGET, environment=environment).start(
            "copy", stdin=-3, stdout=-1, stderr=-1)
        stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, stdout) == (code, b"")
        assert words in stderr.decode()
        assert len(stderr.decode().splitlines()) == 1


def test_what_the_command_says(pair: tuple[Path, Path]) -> None:
    source, target = pair
    environment = {"KURAMORI_FROM_REPOSITORY": str(source), "KURAMORI_FROM_PASSWORD": SOURCE}
    ours = Kuramori(target, TARGET, environment=environment)
    (original,) = (found["id"] for found in Kuramori(source, SOURCE).snapshots())
    copied, summary = (json.loads(line) for line in ours.run("copy", "--json").splitlines())
    (found,) = ours.snapshots()
    assert copied == {"message_type": "snapshot", "action": "copied", "source_snapshot_id": original,
                      "snapshot_id": found["id"]}
    assert (summary["message_type"], summary["snapshots_copied"], summary["num_errors"]) == ("summary", 1, 0)
    assert summary["blobs_copied"] > 5
    skipped, summary = (json.loads(line) for line in ours.run("copy", "--json").splitlines())
    assert (skipped["action"], skipped["snapshot_id"]) == ("skipped", found["id"])
    assert (summary["snapshots_skipped"], summary["blobs_copied"]) == (1, 0)
    assert ours.run("copy", "-q") == ""
    assert "以前に" in Kuramori(target, TARGET, environment=environment).run("copy", "--language", "ja")


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ctrl_c_keeps_what_was_copied(tmp_path: Path, number: signal.Signals) -> None:
    source, target = Kuramori(tmp_path / "source", SOURCE), tmp_path / "target"
    source.init_quickly()
    planter = tmp_path / "planter"
    planter.mkdir()
    chance = random.Random(5)
    for each in range(40):
        (planter / str(each)).write_bytes(chance.randbytes(8 << 20))
    source.backup(planter)
    ours = Kuramori(target, TARGET, environment={
        "KURAMORI_FROM_REPOSITORY": str(tmp_path / "source"), "KURAMORI_FROM_PASSWORD": SOURCE})
    ours.init_quickly()
    process = ours.start("copy", stdout=-1, stderr=-1, start_new_session=True,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    deadline = time.monotonic() + 60
    while _bytes(target) < 48 << 20 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, "it ended before it could be interrupted"
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.decode().strip() == \
        "kuramori: interrupted; what was uploaded is kept, and the next run goes on from there"
    assert not list((target / "locks").iterdir())
    assert not list((tmp_path / "source" / "locks").iterdir())
    assert ours.snapshots() == []
    kept = _bytes(target)
    ours.run("check", "--read-data")
    summary = json.loads(ours.run("copy", "--json").splitlines()[-1])
    assert summary["bytes_copied"] < _bytes(tmp_path / "source") - kept * 0.9
    assert len(ours.snapshots()) == 1
    ours.run("check", "--read-data")
