"""``kuramori settings``: check, show and example, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from kuramori.settings.effective import describe_settings
from kuramori.settings.loading import parse_settings
from kuramori.settings.schema import SECTIONS
from kuramori.settings.toml_text import to_toml
from samples.settings_files import DEFAULTS, EVERYTHING, FILE, SMALLEST, parse

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def run(*arguments: str | Path, directory: Path, **variables: str) -> tuple[int, str, str]:
    """Run the command in a folder, which is the home folder too; return exit code, output, complaints."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LC_ALL": "C.UTF-8", **variables}
    done = subprocess.run([sys.executable, "-m", "kuramori", *arguments], env=environment, cwd=directory, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A file about which there is nothing to say."""
    (tmp_path / "images").mkdir()
    (tmp_path / "backup").mkdir()
    (tmp_path / "password").write_text("x")
    (tmp_path / "password").chmod(0o600)
    file = tmp_path / "kuramori.toml"
    file.write_text('[repositories.usb]\nlocation = "backup"\npassword_file = "password"\n'
                    '[jobs.j]\nrepositories = ["usb"]\nschedule = "02:00"\n'
                    '[jobs.j.components.c]\nkind = "files"\nsource = "images"\n')
    return file


# --- where the file is -----------------------------------------------------------------------


def test_the_file_is_found_in_this_order(good: Path, tmp_path: Path) -> None:
    """--settings, the variable, this folder, the user's folder; each answers for itself."""
    text = good.read_text()
    other, user, named = tmp_path / "other", tmp_path / ".config" / "kuramori", tmp_path / "named"
    for folder in (other, user, named):
        folder.mkdir(parents=True)
        (folder / "kuramori.toml").write_text(text.replace('"', '"' + str(tmp_path) + "/", 1).replace(
            str(tmp_path) + "/backup", str(tmp_path / "backup")))
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, where, variables, expected in (
        (["--settings", named / "kuramori.toml"], other, {"KURAMORI_SETTINGS": str(good)}, named),
        ([], other, {"KURAMORI_SETTINGS": str(good)}, tmp_path),
        ([], other, {}, other),
        ([], empty, {}, user),
    ):
        code, said, _ = run(*arguments, "settings", "show", directory=where,
                            XDG_CONFIG_HOME=str(tmp_path / ".config"), **variables)
        assert (code, said.splitlines()[0]) == (0, f"# {expected / 'kuramori.toml'}")


def test_no_file_anywhere(tmp_path: Path) -> None:
    code, _, said = run("settings", "check", directory=tmp_path)
    assert code == 1
    assert str(tmp_path / "kuramori.toml") in said
    assert "/etc/kuramori/kuramori.toml" in said
    assert "kuramori setup" in said
    code, _, said = run("--settings", "nowhere.toml", "settings", "check", directory=tmp_path)
    assert (code, "nowhere.toml" in said) == (1, True)


# --- check -----------------------------------------------------------------------------------


def test_a_good_file(good: Path, tmp_path: Path) -> None:
    code, said, notes = run("settings", "check", directory=tmp_path)
    assert (code, said) == (0, f"{good} is fine: 1 job\n")
    # Whether backups on the same disk are worth a note depends on nothing here: they are.
    assert [line for line in notes.splitlines() if "same disk" not in line] == []
    code, said, _ = run("settings", "check", "--json", directory=tmp_path)
    report = json.loads(said)
    assert (report["valid"], report["problems"], report["path"]) == (True, [], str(good))
    assert [warning["path"] for warning in report["warnings"]] == ["jobs.j.repositories"]


def test_all_problems_in_the_users_language_and_for_programs(tmp_path: Path) -> None:
    (tmp_path / "kuramori.toml").write_text('[repositories.usb]\nlocation = 3\n[jobs.j]\nschedle = "02:00"\n')
    code, said, english = run("settings", "check", directory=tmp_path)
    assert (code, said) == (1, "")
    for words in ("repositories.usb.location: found a number", "jobs.j.schedle", "did you mean schedule?",
                  "jobs.j.components: is missing"):
        assert words in english
    assert len(english.splitlines()) == 4
    code, _, japanese = run("settings", "check", directory=tmp_path, LC_ALL="ja_JP.UTF-8")
    assert (code, len(japanese.splitlines())) == (1, 4)
    assert all(JAPANESE.search(line) for line in japanese.splitlines())
    code, said, _ = run("settings", "check", "--json", directory=tmp_path, LC_ALL="ja_JP.UTF-8")
    report = json.loads(said)
    assert (code, report["valid"], len(report["problems"])) == (1, False, 3)
    nearest = [problem.get("nearest") for problem in report["problems"]]
    assert nearest == [None, "schedule", None]
    assert not JAPANESE.search(said)


def test_a_file_that_names_its_language_speaks_it(good: Path, tmp_path: Path) -> None:
    """Also when it is wrong otherwise; the command line and the variable come first."""
    good.write_text('language = "ja"\n' + good.read_text())
    assert JAPANESE.search(run("settings", "check", directory=tmp_path)[1])
    assert not JAPANESE.search(run("--language", "en", "settings", "check", directory=tmp_path)[1])
    assert not JAPANESE.search(run("settings", "check", directory=tmp_path, KURAMORI_LANGUAGE="en")[1])
    good.write_text(good.read_text() + "retention_days = 0\n")
    assert JAPANESE.search(run("settings", "check", directory=tmp_path)[2])


def test_what_is_worth_knowing(good: Path, tmp_path: Path) -> None:
    """The file is fine, but the world is not."""
    (tmp_path / "password").chmod(0o644)
    (tmp_path / "plain.db").write_text("no database")
    good.write_text(good.read_text() + f"""
        retention_days = 3
        [repositories.lonely]
        location = "{tmp_path}/images/deep"
        password_file = "missing"
        [jobs.empty]
        repositories = ["lonely"]
        cleanup = "03:00"
        [jobs.empty.components.a]
        kind = "sqlite"
        source = "plain.db"
        [jobs.empty.components.b]
        kind = "sqlite"
        source = "nowhere.db"
        [jobs.empty.components.c]
        kind = "files"
        source = "{tmp_path}/images"
        [jobs.off]
        repositories = ["lonely"]
        [jobs.off.components.c]
        kind = "files"
        enabled = false
        source = "images"
        [repositories.idle]
        location = "backup-idle"
    """)
    code, said, notes = run("settings", "check", directory=tmp_path)
    assert (code, "is fine" in said) == (0, True)
    for place, words in (
        ("repositories.usb.password_file", "chmod 600|mode is 0644"), ("repositories.lonely.location", "kuramori init"),
        ("repositories.lonely.password_file", "does not exist"), ("repositories.idle", "no job"),
        ("repositories.idle.password_file", "password-idle does not exist yet"),
        ("jobs.j.cleanup", "only kuramori cleanup"), ("jobs.empty.schedule", "only kuramori backup empty"),
        ("jobs.empty.cleanup", "removes nothing"), ("jobs.empty.components.a.source", "no SQLite database"),
        ("jobs.empty.components.b.source", "does not exist now"), ("jobs.off.components", "disabled"),
        ("repositories.lonely.location", "would save itself"),
    ):
        assert re.search(rf"^note: {re.escape(place)}: .*({words})", notes, re.MULTILINE), (place, words, notes)
    assert "\x1b" not in notes


def test_a_limited_size_needs_a_cleanup_and_gives_it_something_to_do(good: Path, tmp_path: Path) -> None:
    head = "[repositories.usb]\n"
    good.write_text(good.read_text().replace(head, head + 'max_size = "50G"\n'))
    assert "note: repositories.usb.max_size: no job that saves here has a cleanup" in run(
        "settings", "check", directory=tmp_path)[2]
    good.write_text(good.read_text().replace("[jobs.j]\n", '[jobs.j]\ncleanup = "03:00"\n'))
    notes = run("settings", "check", directory=tmp_path)[2]
    assert "max_size" not in notes
    assert "removes nothing" not in notes


# --- show ------------------------------------------------------------------------------------


def test_what_is_shown_has_no_secrets(tmp_path: Path) -> None:
    file = tmp_path / "kuramori.toml"
    file.write_text(EVERYTHING.replace("pass show 'my backup'", "printf canary-password"))
    file.chmod(0o600)
    for arguments in ((), ("--json",)):
        code, said, complaints = run("settings", "show", *arguments, directory=tmp_path)
        assert (code, complaints) == (0, "")
        assert "canary" not in said
        document = json.loads(said) if arguments else tomllib.loads(said)
        assert document["notify"]["apprise"] == ["ntfy://***", "json://***"]
        assert document["repositories"]["second"]["password_command"] == ["printf", "***"]
        assert document["jobs"]["planter"]["components"]["画像"]["keep_yearly"] == "unlimited"
        assert document["jobs"]["planter"]["components"]["database"]["max_loss"] == 0.9


@pytest.mark.parametrize("content", [SMALLEST, EVERYTHING])
def test_what_is_shown_means_the_same_when_it_is_read_again(content: str) -> None:
    settings = parse(content)
    again = parse_settings(to_toml(describe_settings(settings, masked=False)), FILE, DEFAULTS)
    repositories = {name: replace(repository, password_generated=again.repositories[name].password_generated)
                    for name, repository in settings.repositories.items()}
    jobs = {name: replace(job, schedule=again.jobs[name].schedule) for name, job in settings.jobs.items()}
    assert again == replace(settings, repositories=repositories, jobs=jobs)
    assert {name: str(job.schedule) for name, job in again.jobs.items()} == {
        name: str(job.schedule) for name, job in settings.jobs.items()}


# --- example ---------------------------------------------------------------------------------


def example(tmp_path: Path, language: str) -> str:
    """Return the example that is printed in a language."""
    code, said, complaints = run("settings", "example", directory=tmp_path, LC_ALL=language)
    assert (code, complaints) == (0, "")
    return said


@pytest.mark.parametrize("language", ["C.UTF-8", "ja_JP.UTF-8"])
def test_the_example_loads_as_it_is_and_with_everything_switched_on(tmp_path: Path, language: str) -> None:
    said = example(tmp_path, language)
    assert bool(JAPANESE.search(said)) is (language == "ja_JP.UTF-8")
    settings = parse(said)
    assert set(settings.jobs["planter"].components) == {"database", "images"}
    on = re.sub(r"^#(?=\S)", "", said, flags=re.MULTILINE)
    settings = parse(on)
    assert len(settings.jobs["planter"].components) == 5
    assert settings.language == language[:2].replace("C.", "en")
    assert settings.metrics_listen


def test_the_example_shows_every_key(tmp_path: Path) -> None:
    said = example(tmp_path, "C.UTF-8")
    for keys in SECTIONS.values():
        for key in keys:
            assert re.search(rf"\b{key}\b", said), key


def test_both_examples_say_the_same(tmp_path: Path) -> None:
    plain = [re.sub(r"# .*", "", example(tmp_path, language)).replace('"ja"', '"en"')
             for language in ("C.UTF-8", "ja_JP.UTF-8")]
    assert [line.rstrip() for line in plain[0].splitlines()] == [line.rstrip() for line in plain[1].splitlines()]
