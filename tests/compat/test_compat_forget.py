"""Forgets beside restic: of the same history both keep the same snapshots and say the same of it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD
from samples.snapshot_histories import make_history

ZONES = ["UTC", "Europe/Berlin", "Europe/London", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", ""]

POLICIES: list[tuple[str, ...]] = [
    ("--keep-last", "1"), ("-l", "3"), ("--keep-last", "unlimited"), ("--keep-hourly", "5"), ("-H", "unlimited"),
    ("--keep-daily", "2"), ("-d", "4"), ("-w", "3"), ("--keep-weekly", "unlimited"), ("-m", "3"), ("-y", "2"),
    ("--keep-yearly", "40"), ("-d", "7", "-w", "5", "-m", "12"),
    ("-l", "1", "-H", "2", "-d", "3", "-w", "4", "-y", "1"), ("--keep-within", "1m"),
    ("--keep-within", "1y5m7d2h"), ("--keep-within", "8m1h"), ("--keep-within", "0d1h"),
    ("--keep-within", "999y"), ("--keep-within", "3d2d"), ("--keep-within-hourly", "1y"),
    ("--keep-within-daily", "7m26d"), ("--keep-within-weekly", "2y"), ("--keep-within-monthly", "13m"),
    ("--keep-within-yearly", "3y"), ("--keep-tag", "keep", "-l", "1"), ("--keep-tag", "keep,nightly", "-m", "1"),
    ("--keep-tag", "", "--keep-last", "1"), ("--keep-tag", "a b , é", "--keep-tag", "nightly", "-y", "1"),
    ("--keep-tag", ",keep", "--keep-tag", "keep,", "-l", "1"),
    ("-l", "2", "--group-by", ""), ("-d", "3", "-g", "host"), ("-d", "3", "-g", "tags"), ("-w", "3", "-g", "path,tag"),
    ("-l", "1", "-g", "hosts,paths,tags"), ("--keep-within", "1y", "-g", ""), ("--keep-within-daily", "1y", "-g", ""),
    ("-l", "1", "--host", "planter"), ("-l", "1", "--host", "planter", "--host", "shed", "--tag", "nightly"),
    ("-l", "1", "--hostname", "shed"), ("-l", "1", "--tag", "keep,nightly", "--tag", ""), ("-l", "1", "--path", "/etc"),
    ("-l", "1", "--path", "/etc", "--path", "/home/mika/planter"), ("-l", "1", "--host", "nobody"),
    ("--unsafe-allow-remove-all", "--host", "shed"), ("--unsafe-allow-remove-all", "--tag", "", "-g", "tags"),
    ("--keep-tag", "keep", "--tag", "keep", "-g", ""), ("-l", "0", "-d", "1"),
]
REFUSED: list[tuple[str, ...]] = [
    (), ("--keep-last", "0"), ("--keep-last", "-1"), ("--keep-last", "x"), ("--keep-daily", "1.5"),
    ("--keep-within", "1w"), ("--keep-within", "1"), ("--keep-within", "-1d"), ("--keep-within", "d"),
    ("--keep-within", "0d"), ("--unsafe-allow-remove-all",), ("--keep-tag", "no such"), ("-l", "1", "-g", "user"),
    ("-l", "1", "--prune", "--max-unused", "x"), ("-g", "", "--keep-tag", "no such", "--unsafe-allow-remove-all"),
    ("--compact",), ("--prune",),
]


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two repositories that must be copied before they are changed."""
    folder = tmp_path_factory.mktemp("histories")
    for seed in (1, 2):
        make_history(folder / str(seed), seed)
    return [folder / "1", folder / "2"]


def _both(folder: Path, restic: str, **environment: str) -> tuple[Restic, Kuramori]:
    return (Restic(restic, folder, PASSWORD, environment=environment),
            Kuramori(folder, PASSWORD, environment=environment))


def _groups(output: str) -> list[dict[str, Any]]:
    """Return the groups of restic's JSON, which has them in no order."""
    found = json.loads(output) if output.strip() else []
    return sorted(found, key=lambda group: (group["host"], group["paths"] or [], group["tags"] or []))


def _said_alike(restic: Restic, ours: Kuramori, options: Sequence[str]) -> list[dict[str, Any]]:
    theirs = _groups(restic.run("forget", "--dry-run", "--json", *options).stdout)
    assert _groups(ours.run("forget", "--dry-run", "--json", *options)) == theirs, options
    return theirs


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("policy", POLICIES, ids=" ".join)
def test_the_same_is_kept_for_the_same_reasons(restic_new: str, histories: list[Path], policy: tuple[str, ...]) -> None:
    for history in histories:
        restic, ours = _both(history, restic_new, TZ="Europe/Berlin")
        groups = _said_alike(restic, ours, policy)
        assert "nobody" in policy or groups


def _random_policy(chance: random.Random) -> list[str]:
    options = ["--keep-last", "1"]
    for name in chance.sample(["hourly", "daily", "weekly", "monthly", "yearly"], 2):
        options += [f"--keep-{name}", chance.choice(["1", "2", "5", "30", "unlimited"])]
    for name in chance.sample(["", "-hourly", "-daily", "-weekly", "-monthly", "-yearly"], 3):
        duration = "".join(f"{chance.choice(numbers)}{unit}" for unit, numbers in
                           {"y": (0, 0, 1), "m": (0, 1, 8, 13), "d": (0, 3, 26, 31), "h": (1, 0, 2, 30)}.items())
        options += [f"--keep-within{name}", duration]
    return [*options, "--group-by", chance.choice(["host,paths", "host", "", "tags"])]


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("zone", ZONES)
def test_in_every_time_zone(restic_new: str, histories: list[Path], zone: str) -> None:
    """Days are counted back from the newest snapshot through the changes of the clock of whoever asks."""
    chance = random.Random(zone)
    for number in range(12):
        restic, ours = _both(histories[number % 2], restic_new, TZ=zone)
        _said_alike(restic, ours, _random_policy(chance))


def test_the_zone_matters(tmp_path: Path, restic_new: str) -> None:
    """An hour of the clock decides about a snapshot, and restic sees it differently in two places."""
    from kuramori.model.snapshot import Snapshot
    from kuramori.repository.snapshots import save_snapshot
    from samples.repository_workshop import Workshop, create, node, tree

    create(tmp_path / "repository")
    shop = Workshop(tmp_path / "repository")
    root = shop.add_tree(tree(node("file", "file", ',"content":[]'))).hex()
    for time in ("2026-04-10T02:30:00+02:00", "2026-03-10T02:00:00+01:00", "2026-03-10T03:00:00+01:00"):
        save_snapshot(shop.repository, Snapshot(time=time, tree=root, paths=["/"]))
    counts = []
    for zone in ("Europe/Berlin", "UTC"):
        (group,) = _said_alike(*_both(tmp_path / "repository", restic_new, TZ=zone), ["--keep-within", "1m"])
        counts.append(len(group["keep"]))
    assert counts == [2, 3]


def test_the_variable_names_the_host(restic_new: str, histories: list[Path]) -> None:
    restic, ours = _both(histories[0], restic_new, RESTIC_HOST="shed")
    for options in (["-l", "1"], ["-l", "1", "--host", "planter"], ["-l", "1", "--host", ""]):
        hosts = {group["host"] for group in _said_alike(restic, ours, options)}
        assert len(hosts) == (4 if options[-1] == "" else 1)


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize("options", REFUSED, ids=" ".join)
def test_what_restic_refuses_we_refuse(tmp_path: Path, restic_new: str, histories: list[Path],
                                       options: tuple[str, ...]) -> None:
    shutil.copytree(histories[0], tmp_path / "repository")
    restic, ours = _both(tmp_path / "repository", restic_new)
    before = set(restic.list("snapshots"))
    restic.run("forget", *options, codes=(1,))
    assert ours.run("forget", *options, codes=(1,)) == ""
    assert set(restic.list("snapshots")) == before


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("options", [
    ("-d", "7", "-w", "5", "-m", "12"), ("-l", "1", "--prune"), ("--keep-within", "6m", "-g", "host"),
    ("--unsafe-allow-remove-all", "--host", "shed", "--host", "planter"),
], ids=" ".join)
def test_the_same_snapshots_remain(tmp_path: Path, restic_old: str, restic_new: str, histories: list[Path],
                                   options: tuple[str, ...]) -> None:
    for name in ("theirs", "ours"):
        shutil.copytree(histories[1], tmp_path / name)
    restic, _ = _both(tmp_path / "theirs", restic_new)
    judge, ours = _both(tmp_path / "ours", restic_new)
    restic.forget(*options)
    ours.run("forget", *options)
    left = set(restic.list("snapshots"))
    assert set(judge.list("snapshots")) == left
    assert 0 < len(left) < 60
    assert not judge.list("locks")
    for binary in (restic_old, restic_new):
        Restic(binary, tmp_path / "ours", PASSWORD).check()
    assert sorted(judge.list("blobs")) == sorted(restic.list("blobs"))
    again = json.loads(ours.run("forget", "--json", *options) or "[]")
    assert not any(group["remove"] for group in again)


@pytest.mark.exhaustive
def test_snapshots_that_are_named(tmp_path: Path, restic_old: str, restic_new: str, histories: list[Path]) -> None:
    for name in ("theirs", "ours"):
        shutil.copytree(histories[0], tmp_path / name)
    restic, _ = _both(tmp_path / "theirs", restic_new)
    judge, ours = _both(tmp_path / "ours", restic_new)
    names = restic.list("snapshots")
    for arguments in (
        [names[0]], [names[1][:12], names[1], names[2][:10]], ["latest"], ["latest", "--host", "shed"], ["nosuch"],
        ["nosuch", names[3], "latest", "latest", "--tag", "keep,nightly"], [names[4], "--host", "nobody"],
        [names[5] + ":etc", names[5][:12] + ":/"], ["latest:etc"], ["latest", "--host", "nobody", names[6]],
        [names[7], "--keep-last", "99"], [names[0]],
    ):
        restic.run("forget", *arguments)
        said = ours.run("forget", *arguments)
        assert set(judge.list("snapshots")) == set(restic.list("snapshots")), arguments
        assert said
        assert restic.run("forget", "--json", arguments[0]).stdout == ours.run("forget", "--json", arguments[0]) == ""
    assert set(judge.list("snapshots")) < set(names) - {names[0], names[1], names[2], names[3], names[4], names[6]}
    for binary in (restic_old, restic_new):
        Restic(binary, tmp_path / "ours", PASSWORD).check()


def test_nothing_remains(tmp_path: Path, restic_old: str, restic_new: str, histories: list[Path]) -> None:
    shutil.copytree(histories[0], tmp_path / "repository")
    judge, ours = _both(tmp_path / "repository", restic_new)
    assert "60 snapshots would be removed" in ours.run("forget", "--dry-run", "--prune", *judge.list("snapshots"))
    ours.run("forget", "--prune", *judge.list("snapshots"))
    assert judge.list("packs") == judge.list("snapshots") == judge.list("blobs") == []
    for binary in (restic_old, restic_new):
        Restic(binary, tmp_path / "repository", PASSWORD).check()
