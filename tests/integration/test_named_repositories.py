"""The engine's commands on a repository of the settings, by its name; and what is lost comes from the job's others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from integration.test_manager_commands import Commands
from kuramori.cli.application import Application
from kuramori.cli.named_repositories import find_named
from kuramori.errors import SettingsError, UnknownRepositoryNameError, UsageError


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    made = Commands(tmp_path)
    made.run("backup")
    return made


def _damage(commands: Commands) -> str:
    """Flip a bit in the largest pack of the first repository; return its id."""
    packs = [path for path in (Path(commands.planter.repository("usb")) / "data").rglob("*") if path.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[100] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(bytes(content))
    return pack.name


def test_damage_is_repaired_from_the_other_repository_of_the_job_as_the_advice_says(commands: Commands) -> None:
    pack = _damage(commands)
    found = commands.run("-r", "usb", "check", "--read-data", code=1)
    advice = f"kuramori -r usb repair packs {pack} saves what is intact in them and fetches the rest from nas"
    assert advice in found.stderr
    assert "is damaged" in commands.run("status", code=1).stdout, "the settings' own memory was used"
    assert "1 blob was fetched" in commands.run("-r", "usb", "repair", "packs", pack).stdout
    commands.run("-r", "usb", "check", "--read-data")
    assert commands.run("status").stdout.startswith("All is well")
    for path in (Path(commands.planter.repository("usb")) / "data").rglob("*"):
        if path.is_file():
            path.unlink()
    fetched = commands.json("-r", "usb", "repair", "blobs")
    assert fetched["blobs_fetched"] > 3
    assert fetched["blobs_lost"] == []
    commands.run("-r", "usb", "check", "--read-data")


def test_another_repository_that_is_away_is_said(commands: Commands) -> None:
    pack = _damage(commands)
    Path(commands.planter.repository("nas")).rename(commands.folder / "in a drawer")
    done = commands.run("-r", "usb", "repair", "packs", pack)
    assert "nothing can be fetched from nas" in done.stderr
    assert "lost: " in done.stderr
    (commands.folder / "in a drawer").rename(commands.planter.repository("nas"))
    assert commands.json("-r", "usb", "repair", "blobs")["blobs_fetched"] == 1


@pytest.mark.exhaustive
def test_a_check_by_hand_goes_by_the_settings_and_is_in_their_history(commands: Commands) -> None:
    settings = commands.settings.read_text()
    commands.settings.write_text(settings.replace("[repositories.usb]", """[repositories.usb]
        check = "05:00"
        check_days = 7
        check_budget = 1""", 1))
    found = commands.json("-r", "usb", "check", "--rolling")
    assert (found["days"], found["packs_read"], found["budget_too_small"]) == (7, 1, True), "the last may go beyond"
    [operation] = commands.json("history", "--kind", "check")
    assert (operation["repository"], operation["job"], operation["state"]) == ("usb", "", "complete")
    assert commands.json("status")["repositories"]["usb"]["check_days"] == 7
    rest = commands.json("-r", "usb", "check", "--rolling", "--days", "3", "--budget", "1G")
    assert (rest["days"], rest["covered_percent"]) == (3, 100)
    assert commands.json("-r", "nas", "check", "--rolling")["days"] == 30
    pack = _damage(commands)
    commands.run("-r", "usb", "check", "--read-data", code=1)
    again = commands.run("-r", "usb", "check", "--rolling", code=1).stderr
    assert f"kuramori -r usb repair packs {pack} saves what is intact" in again, "also where nothing was read now"
    operation = commands.json("history", "--kind", "check")[0]
    assert operation["state"] == "failed"
    assert pack in operation["errors"][0]["message"]
    assert f"repair packs {pack} saves what is intact in them and fetches the rest from nas" in \
        operation["errors"][0]["advice"]


def test_which_repository_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("KURAMORI_REPO", "RESTIC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    job = '[jobs.a]\nrepositories = ["usb"]\n[jobs.a.components.b]\nkind = "files"\nsource = "x"\n'
    settings = tmp_path / "kuramori.toml"
    settings.write_text('[repositories.usb]\nlocation = "far/usb"\n' + job)

    def name_of(text: str | None) -> str | None:
        named = find_named(Application(repository=text))
        return None if named is None else named.name

    assert (name_of("usb"), name_of(None)) == ("usb", "usb")
    assert (name_of("./usb"), name_of("local:usb"), name_of("elsewhere")) == (None, None, None)
    with pytest.raises(UnknownRepositoryNameError, match="usbb"):
        name_of("usbb")
    monkeypatch.setenv("KURAMORI_REPOSITORY", "/somewhere")
    assert (name_of("usb"), name_of(None)) == ("usb", None)
    monkeypatch.delenv("KURAMORI_REPOSITORY")
    (tmp_path / "usb").mkdir()
    assert name_of("usb") is None, "a folder that is there comes first"
    (tmp_path / "usb").rmdir()
    settings.write_text(settings.read_text() + '[repositories.nas]\nlocation = "far/nas"\n')
    assert name_of("nas") == "nas"
    with pytest.raises(UsageError, match="usb, nas"):
        name_of(None)
    settings.write_text("nonsense")
    with pytest.raises(SettingsError):
        name_of("usb")
    assert name_of("/usb") is None, "settings that are not needed are not read"
    settings.unlink()
    assert (name_of("usb"), name_of(None)) == (None, None)


def test_options_come_before_the_settings_and_names_serve_as_sources(commands: Commands) -> None:
    wrong = commands.folder / "wrong"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    copied = commands.run("-r", "nas", "copy", "--from-repo", "usb", KURAMORI_PASSWORD="of another repository").stdout
    assert "skipped 3" in copied
    commands.run("-r", "usb", "-p", str(wrong), "snapshots", code=12)
    assert "-r: usb, nas" in commands.run("snapshots", code=1).stderr
