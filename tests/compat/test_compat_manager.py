"""The real restic sees runs as ordinary snapshots: it checks, lists and restores them, and what it does
to them the manager understands."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

import pytest

from kuramori.errors import SnapshotsVanishedError
from kuramori.manager.model import RestoreRunOptions, RunState
from kuramori.settings.model import ComponentKind, ComponentRetention
from kuramori.testing.contents import folder_contents
from kuramori.testing.restic_judge import Restic
from samples.planter import HOST, JOB, Planter, make_planter
from samples.repositories import PASSWORD


def _planter(folder: Path) -> Planter:
    planter = make_planter(folder)
    connection = sqlite3.connect(folder / "planter.db")
    connection.execute("CREATE TABLE reading (value TEXT)")
    connection.executemany("INSERT INTO reading VALUES (?)", [("x",)] * 50)
    connection.commit()
    connection.close()
    planter.change_component("database", kind=ComponentKind.SQLITE, sources=(folder / "planter.db",))
    return planter


def test_restic_reads_checks_and_restores_what_the_manager_wrote(tmp_path: Path, restic_binary: str) -> None:
    planter = _planter(tmp_path)
    first, second = planter.back_up(), planter.back_up()
    for name in ("usb", "nas"):
        restic = Restic(restic_binary, planter.repository(name), PASSWORD.reveal())
        restic.check()
        snapshots = restic.snapshots()
        assert len(snapshots) == 8
        tags = {tuple(sorted(snapshot["tags"])) for snapshot in snapshots}
        assert tags == {("component=" + component, "job=" + JOB, "kuramori", "run=" + run.run)
                        for component in ("images", "logs", "database", "manifest") for run in (first, second)}
        assert {snapshot["hostname"] for snapshot in snapshots} == {HOST}
        (found,) = restic.snapshots("--tag", f"run={second.run},component=images")
        restic.restore(found["id"], tmp_path / "out" / name)
        restored = tmp_path / "out" / name / (tmp_path / "images").relative_to("/")
        assert folder_contents(restored) == folder_contents(tmp_path / "images")
        (database,) = restic.snapshots("--tag", f"run={second.run},component=database")
        restic.restore(database["id"], tmp_path / "out" / name)
        connection = sqlite3.connect(tmp_path / "out" / name / (tmp_path / "planter.db").relative_to("/"))
        assert connection.execute("SELECT count(*) FROM reading").fetchone() == (50,)
        connection.close()
        (manifest,) = restic.snapshots("--tag", f"run={second.run},component=manifest")
        info = json.loads(restic.run("dump", manifest["id"], "/backup_info.json").stdout)
        assert info["backup_name"] == second.run
        assert info["components"]["database"]["databases"][0]["tables"] == [{"name": "reading", "rows": 50}]


def test_restic_finds_no_fault_after_a_cleanup(tmp_path: Path, restic_binary: str) -> None:
    planter = _planter(tmp_path)
    planter.change_component("logs", retention=ComponentRetention(days=1))
    planter.back_up()
    planter.clock.advance(5 * 86400)
    planter.back_up()
    assert len(planter.manager.clean_up().removed) == 2
    for name in ("usb", "nas"):
        restic = Restic(restic_binary, planter.repository(name), PASSWORD.reveal())
        restic.check()
        assert len(restic.snapshots()) == 7


@pytest.mark.exhaustive
def test_restic_finds_no_fault_after_a_cleanup_for_the_size(tmp_path: Path, restic_binary: str) -> None:
    planter = _planter(tmp_path)
    for number in range(3):
        (tmp_path / "images" / "0.txt").write_bytes(random.Random(number).randbytes(60_000))
        planter.back_up()
    size = sum(path.stat().st_size for path in planter.repository().rglob("*") if path.is_file())
    result = planter.manager.clean_up(max_sizes={"usb": size - 100_000})
    assert result.success
    assert len(result.removed) == 8
    restic = Restic(restic_binary, planter.repository(), PASSWORD.reveal())
    restic.check()
    assert len(restic.snapshots()) == 4
    (found,) = restic.snapshots("--tag", "component=images")
    restic.restore(found["id"], tmp_path / "out")
    assert folder_contents(tmp_path / "out" / (tmp_path / "images").relative_to("/")) == folder_contents(
        tmp_path / "images")


def test_what_restic_forgets_or_adds_is_understood(tmp_path: Path, restic_binary: str) -> None:
    planter = _planter(tmp_path)
    first = planter.back_up()
    second = planter.back_up()
    restic = Restic(restic_binary, planter.repository(), PASSWORD.reveal())
    restic.backup(tmp_path / "images", options=("--time", "2026-11-23 00:30:00"))
    (found,) = restic.snapshots("--tag", f"run={first.run},component=images")
    restic.forget(found["id"])
    runs = {run.name: run for run in planter.manager.list_runs(repository="usb")}
    assert set(runs) == {first.run, second.run}
    assert runs[first.run].components["images"].snapshot_id == ""
    assert runs[second.run].state is RunState.COMPLETE
    refused = planter.manager.clean_up(dry_run=True).repositories["usb"].error
    assert isinstance(refused, SnapshotsVanishedError)
    result = planter.manager.restore(RestoreRunOptions(first.run, target=tmp_path / "out"))
    assert result.success, "the copy in the other repository has it"
    assert folder_contents(tmp_path / "out" / "images") == folder_contents(tmp_path / "images")
