"""The manager's commands as a user runs them: words, JSON, exit codes, and no secret anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from samples.planter import HOST, JOB, Planter, make_planter
from samples.repositories import PASSWORD


class Commands:
    """A planter with a settings file."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.planter: Planter = make_planter(folder)
        self.folder = folder
        password = folder / "password"
        password.write_text(PASSWORD.reveal())
        password.chmod(0o600)
        self.settings = folder / "kuramori.toml"
        places = "".join(f'[repositories.{name}]\nlocation = "{self.planter.repository(name)}"\n'
                         f'password_file = "{password}"\n' for name in ("usb", "nas"))
        components = "".join(f'[jobs.{JOB}.components.{name}]\nkind = "files"\nsource = "{folder / name}"\n'
                             f'retention_days = 30\n' for name in ("images", "logs"))
        self.settings.write_text(
            f'state_directory = "{folder}/state"\n{places}[jobs.{JOB}]\nrepositories = ["usb", "nas"]\n'
            f'hostname = "{HOST}"\n{more}{components}')

    def run(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command by the settings file."""
        done = subprocess.run([sys.executable, "-m", "kuramori", *arguments], capture_output=True, text=True,
                              check=False, timeout=120, cwd=self.folder,
                              env={**os.environ, "KURAMORI_SETTINGS": str(self.settings), **environment})
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Return the last line of JSON that it prints."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout.splitlines()[-1])


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


def test_the_whole_story_in_words(commands: Commands) -> None:
    assert "is at" in commands.run("init").stdout
    assert "Something is wrong" in commands.run("status", code=1).stdout
    said = commands.run("backup").stdout
    assert f"{JOB}: full_backup_" in said
    assert "images: saved: 3 files" in said
    assert "copy in nas: up to date" in said
    assert commands.run("status").stdout.startswith("All is well")
    assert "images, logs" in commands.run("list").stdout
    (commands.folder / "images" / "0.txt").write_text("spoilt")
    said = commands.run("restore", "latest", "--component", "images").stdout
    assert "restored to" in said
    assert "kuramori restore --undo" in said
    assert (commands.folder / "images" / "0.txt").read_text() != "spoilt"
    assert "as it was before" in commands.run("restore", "--undo").stdout
    assert (commands.folder / "images" / "0.txt").read_text() == "spoilt"
    commands.run("restore", "latest", "--target", "out")
    assert (commands.folder / "out" / "images" / "0.txt").exists()
    assert "nothing is old enough" in commands.run("cleanup", "--dry-run").stdout


def test_the_whole_story_in_json(commands: Commands) -> None:
    run = commands.json("backup", JOB)
    assert run["message_type"] == "run"
    assert (run["state"], run["success"]) == ("complete", True)
    assert set(run["components"]) == {"images", "logs"}
    listed = commands.json("list")
    assert {entry["repository"] for entry in listed} == {"usb", "nas"}
    assert {entry["run"] for entry in listed} == {run["run"]}
    status = commands.json("status")
    assert (status["health"], status["problems"]) == ("well", [])
    restored = commands.json("restore", run["run"], "--dry-run")
    assert restored["components"]["images"]["target"] == str(commands.folder / "images")
    cleaned = commands.json("cleanup", "-n")
    assert (cleaned["success"], cleaned["removed_count"]) == (True, 0)


def test_exit_codes_and_sentences(commands: Commands) -> None:
    shutil.rmtree(commands.folder / "images")
    done = commands.run("backup", code=3)
    assert "is the USB disk mounted?" in done.stderr
    assert "is not complete: images" in done.stderr
    assert commands.json("backup", code=3)["components"]["images"]["errors"][0]["kind"] == "SourceGoneError"
    shutil.rmtree(commands.folder / "logs")
    assert "nothing was saved" in commands.run("backup", code=1).stderr
    assert "did you mean planter?" in commands.run("backup", "plantre", code=1).stderr
    assert "there is no component" in commands.run("backup", "--component", "image", code=1).stderr
    assert "there is no run" in commands.run("restore", "nonsense", code=1).stderr
    assert "cannot be the name" in commands.run("backup", "--name", "../x", code=1).stderr
    assert "settings file says what is done" in commands.run("backup", "--exclude", "x", code=1).stderr
    assert "is no job" in commands.run("backup", "/etc", code=1).stderr
    for command in ("status", "history", "schedule", "cleanup", "daemon"):
        assert "leave out -r" in commands.run("-r", str(commands.planter.repository()), command, code=1).stderr
    (commands.folder / "password").write_text("wrong")
    said = commands.run("backup", code=12).stderr
    assert "password_file or password_command of usb" in said
    assert "RESTIC_PASSWORD" not in said, "the settings go before it"
    (commands.folder / "password").chmod(0o644)
    assert "others can read" in commands.run("backup", code=1).stderr
    for name in ("usb", "nas"):
        shutil.rmtree(commands.planter.repository(name))
        commands.planter.repository(name).mkdir()
    assert "is the disk mounted" in commands.run("backup", code=10).stderr
    assert list(commands.planter.repository("usb").iterdir()) == []
    assert json.loads(commands.run("backup", "--json", code=10).stderr.splitlines()[-1])["code"] == 10


def test_the_engines_verbs_keep_their_meaning_with_a_repository(commands: Commands) -> None:
    commands.run("backup", KURAMORI_PASSWORD="x")
    repository = str(commands.planter.repository())
    environment = {"KURAMORI_PASSWORD": PASSWORD.reveal()}
    assert "snapshot" in commands.run("backup", "-r", repository, "images", **environment).stdout
    assert len(commands.run("list", "snapshots", "-r", repository, **environment).stdout.split()) == 4
    said = commands.run("backup", "-r", repository, "--accept-loss", "images", code=1, **environment).stderr
    assert "goes with the settings file" in said
    assert "--target" in commands.run("restore", "latest", "-r", repository, code=1, **environment).stderr
    commands.run("restore", "latest", "-r", repository, "--target", "out", **environment)
    assert (commands.folder / "out" / "images" / "0.txt").exists()


def test_japanese(commands: Commands) -> None:
    environment = {"LC_ALL": "ja_JP.UTF-8", "LANG": "ja_JP.UTF-8"}
    assert "保存" in commands.run("backup", **environment).stdout
    assert commands.run("status", **environment).stdout.startswith("正常です")
    shutil.rmtree(commands.folder / "images")
    assert "USBディスクはマウントされていますか" in commands.run("backup", code=3, **environment).stderr
    assert "ご確認ください" in commands.run("status", code=3, **environment).stdout


@pytest.mark.exhaustive
def test_planted_secrets_are_nowhere(tmp_path: Path) -> None:
    secret = "canary-in-the-password-file"
    program, argument = "import os; print(dict(os.environ)); raise SystemExit(1)", "canary-in-the-hook-arguments"
    commands = Commands(tmp_path, f'on_failure = [["{sys.executable}", "-c", "{program}", "{argument}"]]\n'
                                  f'before = [["{sys.executable}", "-c", "pass", "{argument}"]]\n')
    environment = {"KURAMORI_PASSWORD": "canary-in-the-password-variable"}
    for name in ("usb", "nas"):
        shutil.rmtree(commands.planter.repository(name))
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "password").write_text(secret)
    said = [commands.run("init", **environment)]
    said += [commands.run(*arguments, **environment) for arguments in (
        ("backup",), ("backup", "--json"), ("list", "--json"), ("status",), ("cleanup",), ("restore", "latest"),
        ("restore", "--undo", "--json"))]
    shutil.rmtree(tmp_path / "images")
    said += [commands.run("backup", code=3, **environment), commands.run("backup", "--json", code=3, **environment),
             commands.run("status", "--json", code=3, **environment), commands.run("history", **environment)]
    (tmp_path / "password").write_text("canary-that-is-wrong")
    said += [commands.run("backup", code=12, **environment), commands.run("list", code=12, **environment)]
    text = "".join(done.stdout + done.stderr for done in said)
    state = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert "exit status 1" in text, "the failing hook is told"
    assert "canary" not in text
    assert b"canary" not in state
