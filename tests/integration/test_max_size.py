"""``--max-size`` as a user types it."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import SizeLimitError, UsageError
from kuramori.maintenance.forget import ForgetOptions, forget
from samples.kuramori_command import Kuramori
from samples.repositories import make_repository, reopened


@pytest.fixture
def ours(tmp_path: Path) -> Kuramori:
    repository = make_repository(tmp_path)
    (tmp_path / "source").mkdir()
    for day in range(4):
        (tmp_path / "source" / "image").write_bytes(os.urandom(100_000))
        back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path / "source"),), tags=(f"day{day}",), workers=0,
                                          time=datetime(2026, 11, day + 1, tzinfo=UTC)))
    return Kuramori(tmp_path / "repository", "x")


def _size(ours: Kuramori) -> int:
    return sum(path.stat().st_size for path in ours.repository.rglob("*") if path.is_file())


def test_the_oldest_go(ours: Kuramori) -> None:
    dry = ours.run("forget", "--max-size", "250K", "--prune", "--dry-run")
    assert "2 snapshots have to go" in dry
    assert "day0" in dry
    assert len(ours.snapshots()) == 4
    said = ours.run("forget", "--max-size", "250K", "--prune")
    assert "the limit is" in said
    assert [found["tags"] for found in ours.snapshots()] == [["day2"], ["day3"]]
    assert _size(ours) <= 250 * 1024
    ours.run("check", "--read-data")
    assert "no snapshot has to go" in ours.run("prune", "--max-size", "250K")


def test_prune_does_it_too_and_json(ours: Kuramori) -> None:
    lines = [json.loads(line) for line in ours.run("prune", "--max-size", "350K", "--json").splitlines()]
    plan = next(line for line in lines if line.get("message_type") == "size_limit")
    assert [found["tags"] for found in plan["remove"]] == [["day0"]]
    assert plan["remove"][0]["freed"] > 100_000
    assert len(ours.snapshots()) == 3


def test_tags_protect_and_too_small_a_limit_removes_nothing(ours: Kuramori) -> None:
    ours.run("forget", "--max-size", "250K", "--prune", "--keep-tag", "day0", "--keep-last", "3")
    assert [found["tags"] for found in ours.snapshots()] == [["day0"], ["day3"]]
    ours.run("prune", "--max-size", "50K", codes=(1,))
    assert len(ours.snapshots()) == 2


def test_unused_data_goes_too(ours: Kuramori) -> None:
    ours.run("forget", *[found["id"] for found in ours.snapshots()[:-1]])
    ours.run("prune", "--max-size", "150K")
    assert _size(ours) <= 150 * 1024


def test_what_a_prune_may_not_remove_is_said(tmp_path: Path) -> None:
    """The unused data stays because of another option: that is an error, after the fact."""
    repository = make_repository(tmp_path)
    (tmp_path / "source").mkdir()
    for name in ("stays", "goes"):
        (tmp_path / "source" / name).write_bytes(os.urandom(100_000))
    back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path / "source"),), workers=0))
    (tmp_path / "source" / "goes").unlink()
    back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path / "source"),), workers=0))
    ours = Kuramori(tmp_path / "repository", "x")
    process = ours.start("prune", "--max-size", "150K", "--max-repack-size", "0", stdout=-1, stderr=-1)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "more than the limit" in stderr.decode()
    assert "no snapshot has to go" in ours.run("prune", "--max-size", "150K")
    assert _size(ours) <= 150 * 1024
    assert len(ours.snapshots()) == 1


@pytest.mark.parametrize("options", [
    ForgetOptions(max_size=1), ForgetOptions(max_size=1, prune=True, ids=("latest",)),
])
def test_requests_that_make_no_sense(tmp_path: Path, options: ForgetOptions) -> None:
    with pytest.raises(UsageError):
        forget(make_repository(tmp_path), options)


def test_sets_go_whole_in_the_order_that_is_given(tmp_path: Path, ours: Kuramori) -> None:
    """Not by age; one that somebody else has removed meanwhile counts no more."""
    days = {found["tags"][0]: found["id"] for found in ours.snapshots()}
    repository = reopened(tmp_path)
    sets = ((days["day2"], "f" * 64), (days["day3"], days["day0"]))
    result = forget(repository, ForgetOptions(max_size=250 * 1024, prune=True, expendable=sets))
    assert {stored.id for stored in result.removed} == {days["day0"], days["day2"], days["day3"]}
    assert [found["tags"] for found in ours.snapshots()] == [["day1"]]
    with pytest.raises(SizeLimitError):
        forget(reopened(tmp_path), ForgetOptions(max_size=50_000, prune=True, expendable=()))
    assert forget(reopened(tmp_path), ForgetOptions(max_size=250 * 1024, prune=True, expendable=())).removed == []


def test_wrong_words(ours: Kuramori) -> None:
    ours.run("prune", "--max-size", "much", codes=(1,))
    ours.run("prune", "--max-size", "1G", "--unsafe-allow-remove-all", codes=(1,))
    ours.run("forget", "--max-size", "1G", codes=(1,))


def test_what_each_snapshot_holds_alone(ours: Kuramori) -> None:
    said = ours.run("stats", "--mode", "unique")
    assert all(97 < float(size) < 101 for size in re.findall(r"([\d.]+) KiB", said))
    assert said.count("KiB") == 4
    found = json.loads(ours.run("stats", "--mode", "unique", "--json", "latest"))
    assert found["snapshots_count"] == 1
    assert 100_000 < found["snapshots"][0]["unique_size"] < 103_000
