"""``kuramori cleanup`` with a ``max_size``, as a user types it: words, JSON, the daemon's log, Japanese."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from integration.test_manager_commands import Commands

IMAGE = 60_000


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """Return one with three runs, each with 60 KB that the others do not have."""
    commands = Commands(tmp_path, 'cleanup = "03:00"\n')
    for number in range(3):
        (tmp_path / "images" / "0.txt").write_bytes(random.Random(number).randbytes(IMAGE))
        commands.run("backup")
    return commands


def _limit(commands: Commands, name: str = "usb", below: int = IMAGE) -> int:
    """Let a repository have so many bytes less than it has."""
    folder = commands.planter.repository(name)
    limit = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) - below
    head = f"[repositories.{name}]\n"
    commands.settings.write_text(commands.settings.read_text().replace(head, f"{head}max_size = {limit}\n"))
    return limit


def _runs(commands: Commands, name: str = "usb") -> list[str]:
    return [run.name for run in commands.planter.manager.list_runs(repository=name)]


def test_it_shows_the_cost_before_it_does_it(commands: Commands) -> None:
    _limit(commands)
    oldest, *others = _runs(commands)
    dry = commands.run("cleanup", "--dry-run").stdout
    assert "1 run has to go for that, the oldest:" in dry
    assert oldest in dry
    assert "images, logs" in dry
    assert "are left then, at most" in dry
    assert "usb: 3 snapshots would go" in dry
    assert "nas: nothing is old enough to go" in dry
    assert _runs(commands) == [oldest, *others]
    said = commands.run("cleanup").stdout
    lines = said.splitlines()
    cost = next(number for number, line in enumerate(lines) if "has to go" in line)
    assert cost < next(number for number, line in enumerate(lines) if "usb: removed 3 snapshots" in line)
    assert any(line.startswith("usb has ") and "now; its limit is" in line for line in lines)
    assert "the oldest go, for the repository may have" in said
    assert (_runs(commands), _runs(commands, "nas")) == (others, [oldest, *others])
    assert commands.run("-q", "cleanup").stdout == ""


@pytest.mark.exhaustive
def test_json(commands: Commands) -> None:
    limit = _limit(commands, below=2 * IMAGE)
    names = _runs(commands)
    lines = [json.loads(line) for line in commands.run("cleanup", "--json").stdout.splitlines()]
    [announced, result] = lines
    assert (announced["message_type"], announced["repository"], announced["limit"]) == ("size_limit", "usb", limit)
    assert [run["run"] for run in announced["runs"]] == names[:2]
    assert announced["bytes_after"] is None
    size = result["repositories"]["usb"]["size_limit"]
    assert size["runs"] == announced["runs"]
    assert set(size["runs"][0]) == {"job", "run", "time", "components", "freed_bytes"}
    assert size["runs"][0]["freed_bytes"] > IMAGE
    assert size["bytes_after"] <= size["bytes_expected"] <= limit < size["bytes_before"]
    assert result["repositories"]["nas"]["size_limit"] is None
    assert {gone["run"] for gone in result["repositories"]["usb"]["removed"]} == set(names[:2])
    status = commands.json("status")
    assert (status["repositories"]["usb"]["max_size"], status["repositories"]["nas"]["max_size"]) == (limit, None)


def test_too_small_a_limit_is_an_error_with_advice(commands: Commands) -> None:
    commands.settings.write_text(
        commands.settings.read_text().replace("[repositories.usb]\n", '[repositories.usb]\nmax_size = "10K"\n'))
    done = commands.run("cleanup", code=1)
    assert "usb cannot be kept within its max_size of 10.000 KiB" in done.stderr
    assert "give it a larger max_size" in done.stderr
    assert len(_runs(commands)) == 3
    result = commands.json("cleanup", code=1)
    assert result["repositories"]["usb"]["error"]["kind"] == "MaxSizeUnreachableError"
    assert commands.run("status", code=3).stdout.startswith("Please look: the repository usb has ")


@pytest.mark.exhaustive
def test_a_size_for_one_time(commands: Commands) -> None:
    folder = commands.planter.repository()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) - IMAGE
    said = commands.run("cleanup", "--max-size", str(size), code=1).stderr
    assert "--max-size usb=" in said, "it is not guessed which one is meant"
    assert "did you mean usb" in commands.run("cleanup", "--max-size", f"ubs={size}", code=1).stderr
    assert "a size looks like" in commands.run("cleanup", "--max-size", "usb=much", code=1).stderr
    assert commands.run("cleanup", "--max-size", f"usb={size}").returncode == 0
    assert (len(_runs(commands)), len(_runs(commands, "nas"))) == (2, 3)


@pytest.mark.exhaustive
def test_japanese_and_the_daemons_log(commands: Commands) -> None:
    japanese = {"LC_ALL": "ja_JP.UTF-8", "LANG": "ja_JP.UTF-8"}
    limit = _limit(commands)
    assert "古いほうから 1 件" in commands.run("cleanup", "-n", **japanese).stdout
    assert "max_size" in commands.run("status", code=3, **japanese).stdout
    log = commands.run("daemon", "--once", **japanese).stderr
    assert "古いバックアップを 1 件消しました" in log
    [told] = [line for line in log.splitlines() if "max_size" in line]
    assert "usb" in told
    assert commands.json("status")["repositories"]["usb"]["stored_bytes"] <= limit
