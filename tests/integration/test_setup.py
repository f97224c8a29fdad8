"""``kuramori setup``: asked on a terminal and without, to a file that works and a backup that is there."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from kuramori.cli import main
from kuramori.cli.application import Application
from samples.terminal import Terminal

SETUP = [sys.executable, "-m", "kuramori", "setup"]
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a database, a folder with another database in it, and a file."""
    home = tmp_path / "home"
    (home / "images").mkdir(parents=True)
    (home / "images" / "leaf.png").write_bytes(b"green" * 200)
    (home / "note.txt").write_text("water")
    for path in (home / "planter.db", home / "images" / "index.sqlite"):
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE readings (value)")
            database.execute("INSERT INTO readings VALUES (7)")
    return home


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> dict[str, str]:
    """What the command sees: everything of its own is below the temporary folder, and no systemctl."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "HOME": str(home), "LC_ALL": "C.UTF-8",
            "KURAMORI_SETTINGS": str(home / "settings" / "kuramori.toml"), "XDG_CONFIG_HOME": str(home / "config"),
            "KURAMORI_STATE_DIR": str(tmp_path / "state"), "KURAMORI_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def terminal(home: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    """The command, asking."""
    with Terminal(SETUP, environment=environment, directory=home) as running:
        yield running


def run(*arguments: str | Path, home: Path, environment: Mapping[str, str], code: int = 0) -> tuple[str, str]:
    """Run a command without a terminal; return what it says."""
    done = subprocess.run([sys.executable, "-m", "kuramori", *arguments], cwd=home, env=dict(environment), text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def tree(folder: Path) -> set[str]:
    """Return everything below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# --- on a terminal ---------------------------------------------------------------------------


def test_from_answers_to_a_backup(terminal: Terminal, home: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """With every kind of wrong answer on the way."""
    assert str(home / "planter.db") in terminal.expect("path or number")
    terminal.answer(":", "")
    terminal.answer("please name at least one", "/no/such/thing")
    terminal.answer("does not exist", "1")
    terminal.answer("an SQLite database", "images")
    terminal.answer("1 SQLite database in it", "images/leaf.png")
    terminal.answer("is in the list already", "~/note.txt")
    terminal.answer("a file, 5 B", "")
    while terminal.expect_one(("Protect its databases", "Where shall")) != "Where shall":
        terminal.answer("", "n")  # a server runs on the machine of the test
    terminal.answer("folder [", str(home / "images" / "inside"))
    terminal.answer("would save itself", str(tmp_path))
    terminal.answer("lies inside it", "s3:bucket")
    terminal.answer("s3", str(home / "note.txt"))
    terminal.answer("note.txt", str(tmp_path / "disk" / "backup"))
    terminal.answer("Use it all the same? [Y/n]", "perhaps")
    terminal.answer("please answer y (yes) or n (no)", "y")
    terminal.answer("when [02:00]", "at night")
    terminal.answer("HH:MM", "every 6h")
    terminal.answer("days [30]", "many")
    terminal.answer("from 0 to", "14")
    terminal.answer("password, not shown", "")
    written = terminal.expect("Write it, and make the repository and the first backup? [Y/n]")
    assert "every 6h" in written
    assert not (home / "settings").exists()
    terminal.answer(":", "")
    assert terminal.finish() == 0, terminal.said
    assert "full_backup_" in terminal.said
    assert "copy the password" in terminal.said

    file = home / "settings" / "kuramori.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (home / "settings" / "password-local").stat().st_mode & 0o777 == 0o600
    components = tomllib.loads(file.read_text())["jobs"]["main"]["components"]
    assert {name: (each["kind"], each["source"], each["retention_days"]) for name, each in components.items()} == {
        "planter": ("sqlite", str(home / "planter.db"), 14), "images": ("files", str(home / "images"), 14),
        "files": ("files", str(home / "note.txt"), 14)}
    said, notes = run("settings", "check", home=home, environment=environment)
    assert "is fine" in said
    assert [line for line in notes.splitlines() if "same disk" not in line] == []
    runs = json.loads(run("list", "--json", home=home, environment=environment)[0])
    assert len(runs if isinstance(runs, list) else runs["runs"]) == 1
    target = tmp_path / "restored"
    run("restore", "latest", "--target", target, home=home, environment=environment)
    with closing(sqlite3.connect(next(target.rglob("planter.db")))) as database:
        assert database.execute("SELECT value FROM readings").fetchall() == [(7,)]
    secret = (home / "settings" / "password-local").read_text().strip()
    assert secret not in terminal.said


def test_in_japanese(home: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Every question, and はい for yes; the daemon will speak it too."""
    command = [*SETUP, "--source", "note.txt", "--keep-days", "0"]
    with Terminal(command, environment=environment | {"LC_ALL": "ja_JP.UTF-8"}, directory=home) as terminal:
        terminal.answer("フォルダー [", str(tmp_path / "保管"))
        terminal.answer("[Y/n]", "はい")
        terminal.answer("[02:00]", "3:30")
        terminal.answer("新しいもの]", "")
        written = terminal.expect("[Y/n]")
        terminal.answer(":", "はい")
        assert terminal.finish() == 0, terminal.said
    assert 'language = "ja"' in written
    for line in terminal.said.splitlines():
        plain = re.sub(r"[\w./~-]*/[\w./-]*|\[.*?\]|full_backup_\w+", "", line)
        assert JAPANESE.search(plain) or not re.search(r"[a-z]{4,} [a-z]{3,} [a-z]{3,}", plain), line
    document = tomllib.loads((home / "settings" / "kuramori.toml").read_text())
    assert document["language"] == "ja"
    assert document["jobs"]["main"]["schedule"] == "03:30"
    assert "cleanup" not in document["jobs"]["main"]
    assert document["repositories"]["local"]["check"] == "06:30"
    assert document["repositories"]["local"]["location"] == str(tmp_path / "保管")


_ANSWERS = {"path or number": "note.txt", "a file, 5 B": "", "Protect its databases": "n", "folder [": "store",
            "Use it all the same": "y", "when [": "", "days [": "", "password, not shown": "",
            "Write it": "y"}


@pytest.mark.parametrize(("question", "way"), [
    ("path or number", "end"), ("folder [", "interrupt"), ("Use it all the same", "end"), ("when [", "interrupt"),
    ("days [", "end"), ("password, not shown", "end"), ("password, not shown", "interrupt"), ("Write it", "interrupt"),
    ("Write it", "end"),
])
def test_leaving_at_any_question_leaves_nothing(home: Path, tmp_path: Path, terminal: Terminal, question: str,
                                                way: str) -> None:
    before = tree(tmp_path)
    waited = dict(_ANSWERS)
    while (asked := terminal.expect_one(tuple(waited))) != question:
        terminal.answer("", waited.pop(asked))  # each is asked once, but for the list of paths, which goes on
    if way == "interrupt":
        terminal.interrupt()
    else:
        terminal.type(b"\x04")
    assert terminal.finish() == 130, terminal.said
    assert "Traceback" not in terminal.said
    assert tree(tmp_path) == before


def test_no_is_no(home: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    command = [*SETUP, "--source", "note.txt", "--store", str(tmp_path / "store"), "--schedule", "@daily",
               "--keep-days", "7"]
    before = tree(tmp_path)
    with Terminal(command, environment=environment, directory=home) as terminal:
        terminal.answer("password, not shown", "")
        terminal.answer("Write it", "n")
        assert terminal.finish() == 1
    assert "nothing was changed" in terminal.said
    assert tree(tmp_path) == before


def test_a_repository_that_exists_is_used_with_its_password(home: Path, tmp_path: Path,
                                                            environment: dict[str, str]) -> None:
    """As after a new installation: typed wrongly first, never shown, kept in a file of its own."""
    (tmp_path / "old").write_text("the old password\n")
    (tmp_path / "old").chmod(0o600)
    run("-r", tmp_path / "store", "-p", tmp_path / "old", "init", home=home, environment=environment)
    command = [*SETUP, "--source", "note.txt", "--store", str(tmp_path / "store"), "--schedule", "02:00",
               "--keep-days", "7"]
    with Terminal(command, environment=environment, directory=home) as terminal:
        terminal.answer("its password:", "wrong")
        terminal.answer("its password:", "the old password")
        terminal.answer("Write it", "y")
        assert terminal.finish() == 0, terminal.said
    assert "the old password" not in terminal.said
    kept = home / "settings" / "password-local"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("the old password\n", 0o600)
    assert "is at" in terminal.said


@pytest.mark.exhaustive
def test_a_password_of_ones_own_is_typed_twice_and_opens_the_new_repository(home: Path, tmp_path: Path,
                                                                           environment: dict[str, str]) -> None:
    command = [*SETUP, "--source", "note.txt", "--store", str(tmp_path / "store"), "--schedule", "02:00",
               "--keep-days", "7"]
    with Terminal(command, environment=environment, directory=home) as terminal:
        terminal.answer("password, not shown", "my own words")
        terminal.answer("the same again", "my own word")
        terminal.expect("the two passwords differ")
        # Not before it asks: what was typed until then is thrown away where nothing is to be shown.
        terminal.answer("password, not shown", "my own words")
        terminal.answer("the same again", "my own words")
        terminal.answer("Write it", "y")
        assert terminal.finish() == 0, terminal.said
    assert "my own word" not in terminal.said
    kept = home / "settings" / "password-local"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("my own words\n", 0o600)
    assert "full_backup_" in run("list", home=home, environment=environment)[0]


def test_the_service_is_offered_where_there_is_systemd(home: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Whatever systemctl says: here it refuses, because nothing of systemd's runs."""
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text("#!/bin/sh\nexit 1\n")
    systemctl.chmod(0o755)
    command = [*SETUP, "--source", "note.txt", "--store", str(tmp_path / "store"), "--schedule", "02:00",
               "--keep-days", "7", "--no-backup"]
    with Terminal(command, environment=environment, directory=home) as terminal:
        terminal.answer("password, not shown", "")
        terminal.answer("Write it", "y")
        terminal.answer("Install a systemd service", "n")
        assert terminal.finish() == 0
    assert "kuramori settings units --install" in terminal.said


# --- without a terminal ----------------------------------------------------------------------


def test_without_questions(home: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    said, _ = run("setup", "--yes", "--json", "--source", "images", "--source", home / "planter.db", "--store",
                  tmp_path / "store", "--unit", "user", "--job", "庭", home=home, environment=environment)
    events = [json.loads(line) for line in said.splitlines()]
    by_type = {event["message_type"]: event for event in events}
    assert by_type["setup"]["settings"] == str(home / "settings" / "kuramori.toml")
    assert by_type["run"]["state"] == "complete"
    unit = home / "config" / "systemd" / "user" / "kuramori.service"
    assert by_type["units"]["paths"] == [str(unit)]
    assert f"--settings {home / 'settings' / 'kuramori.toml'} daemon" in unit.read_text()
    assert "庭" in tomllib.loads((home / "settings" / "kuramori.toml").read_text())["jobs"]


@pytest.mark.parametrize(("arguments", "words"), [
    ((), "--source"), (("--source", "images"), "--store"), (("--source", "nowhere", "--store", "b"), "nowhere"),
    (("--source", "images", "--store", "images/b"), "would save itself"),
    (("--source", "images", "--store", "b", "--schedule", "25:00"), "HH:MM"),
    (("--source", "images", "--store", "b", "--keep-days", "-3"), "number of days"),
    (("--source", "images", "--store", "b", "--job", "a,b"), "cannot hold ,"),
    (("--source", "images", "--store", "b", "--password-file", "note.txt"), "chmod 600"),
    (("--source", "images", "--store", "note.txt/b"), "no folder"),
    (("--source", "images", "--store", "sftp:host:b"), "a folder only"),
    (("--source", "images", "--store", "config-folder"), "not empty"),
    (("--source", "images", "--store", "/proc/kuramori"), "cannot be written to"),
])
def test_what_cannot_be_is_said_and_nothing_written(home: Path, tmp_path: Path, environment: dict[str, str],
                                                    arguments: tuple[str, ...], words: str,
                                                    monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    (home / "config-folder").mkdir()
    (home / "config-folder" / "something").touch()
    before = tree(tmp_path)
    monkeypatch.chdir(home)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main.run(["setup", "--yes", *arguments], Application()) == 1
    assert words in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_a_settings_file_is_never_replaced_unasked(home: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    file = home / "settings" / "kuramori.toml"
    file.parent.mkdir()
    file.write_text("# mine\n")
    arguments = ("setup", "--yes", "--source", "images", "--store", str(tmp_path / "store"))
    assert "--force" in run(*arguments, home=home, environment=environment, code=1)[1]
    assert (file.read_text(), (tmp_path / "store").exists()) == ("# mine\n", False)
    with Terminal([*SETUP], environment=environment, directory=home) as terminal:
        terminal.answer("Replace it?", "")
        assert terminal.finish() == 1
    assert file.read_text() == "# mine\n"
    run(*arguments, "--force", home=home, environment=environment)
    assert file.with_name("kuramori.toml.old").read_text() == "# mine\n"
    assert "images" in file.read_text()


def test_a_password_file_of_ones_own(home: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    own = tmp_path / "own"
    own.write_text("chosen by myself")
    own.chmod(0o600)
    run("setup", "--yes", "--source", "images", "--store", tmp_path / "store", "-p", own, home=home,
        environment=environment)
    assert tomllib.loads((home / "settings" / "kuramori.toml").read_text())["repositories"]["local"][
        "password_file"] == str(own)
    assert not (home / "settings" / "password-local").exists()
    run("-r", tmp_path / "store", "-p", own, "snapshots", home=home, environment=environment)
