"""The language follows the environment, the output survives every terminal, and scripts see one language."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kuramori import __version__
from samples.kuramori_command import Kuramori

PASSWORD = "language"
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
COMMANDS = ["backup", "cat", "check", "copy", "diff", "dump", "find", "forget", "init", "key", "list", "ls", "prune",
            "recover", "repair", "restore", "rewrite", "settings", "setup", "snapshots", "stats", "tag", "unlock",
            "version"]


def run(*arguments: str | bytes | Path, repository: Path | None = None, **variables: str) -> tuple[int, str, str]:
    """Run the command with only these variables; return its exit code, output and complaints."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    if repository is not None:
        environment |= {"KURAMORI_REPOSITORY": str(repository), "KURAMORI_PASSWORD": PASSWORD}
    done = subprocess.run([sys.executable, "-m", "kuramori", *arguments], env=environment, capture_output=True,
                          stdin=subprocess.DEVNULL, check=False, timeout=120)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One snapshot of a folder with Japanese and impossible names."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "植木鉢.txt").write_text("水")
    (source / os.fsdecode(b"byte\xff")).write_text("x")
    (source / "line\nbreak\x1b[31m").write_text("x")
    command = Kuramori(tmp_path / "repository", PASSWORD)
    command.init_quickly()
    command.backup(source)
    return tmp_path / "repository"


@pytest.mark.parametrize(("variables", "japanese"), [
    ({"LANG": "ja_JP.UTF-8"}, True), ({"LANG": "ja"}, True), ({"LC_ALL": "ja_JP.UTF-8", "LANG": "C"}, True),
    ({"LC_MESSAGES": "ja_JP.UTF-8", "LANG": "en_US.UTF-8"}, True),
    ({"LANGUAGE": "ja:en", "LANG": "en_US.UTF-8"}, True), ({"LANGUAGE": "en:ja", "LANG": "ja_JP.UTF-8"}, False),
    ({"LANG": "C"}, False), ({"LANG": "C.UTF-8"}, False), ({}, False), ({"LANG": "en_US.UTF-8"}, False),
    ({"LC_ALL": "C", "LANG": "ja_JP.UTF-8"}, False), ({"LANG": "de_DE.UTF-8"}, False), ({"LANG": "nonsense"}, False),
], ids=str)
def test_the_language_is_the_environments(variables: dict[str, str], japanese: bool) -> None:
    code, said, complaints = run("--help", **variables)
    assert (code, complaints) == (0, "")
    assert bool(JAPANESE.search(said)) is japanese


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_complete_in_japanese(command: str) -> None:
    """Each option has its text, and none in English beside it."""
    code, said, _ = run(command, "--help", LANG="ja_JP.UTF-8")
    assert code == 0
    assert JAPANESE.search(said)
    said_of_commands = re.sub(r"^  show  ", "", said, flags=re.MULTILINE)  # a command's name stays as it is
    assert not re.search(r"(?<!-)\b(the|show|only|read|with|Usage|Options|Commands)\b(?!-)", said_of_commands)
    english = run(command, "--help", LANG="C.UTF-8")[1]
    assert not JAPANESE.search(english)
    assert set(re.findall(r"--[a-z][a-z-]+", said)) == set(re.findall(r"--[a-z][a-z-]+", english))


def test_errors_in_japanese(repository: Path, tmp_path: Path) -> None:
    for arguments, code, word in (
            (("snapshots", "--nonsense"), 1, "--nonsense"), (("snapshot",), 1, "snapshots"),
            (("ls", "ffff"), 1, "ffff"), (("restore", "latest"), 1, "--target"),
            (("backup", tmp_path / "missing"), 1, "missing"), (("dump", "latest", "/nowhere"), 1, "/nowhere")):
        found, _, said = run(*arguments, repository=repository, LANG="ja_JP.UTF-8")
        assert found == code, said
        assert word in said
        assert JAPANESE.search(said), said
    code, _, said = run("snapshots", repository=tmp_path / "none", LANG="ja_JP.UTF-8")
    assert (code, bool(JAPANESE.search(said))) == (10, True)
    code, _, said = run("snapshots", LANG="ja_JP.UTF-8", KURAMORI_REPOSITORY=str(repository), KURAMORI_PASSWORD="no")
    assert (code, "パスワード" in said) == (12, True)


@pytest.mark.parametrize(("arguments", "english"), [
    (("snapshots", "--host"), "requires"), (("unlock", "a"), "unexpected"), (("unlock", "a", "b"), "unexpected"),
    (("list", "nonsense"), "is not one of"), (("history", "nonsense"), "is not a valid"),
    (("history", "--limit", "0"), "range"),
])
def test_complaints_of_click_in_japanese(arguments: tuple[str, ...], english: str) -> None:
    """Also those of which it has two forms, by a number: they are one entry of the catalogue."""
    code, _, said = run(*arguments, LANG="ja_JP.UTF-8")
    assert code == 1
    assert JAPANESE.search(said)
    assert english not in said.replace("(integer range)", "")
    code, _, said = run(*arguments)
    assert code == 1
    assert english in said


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("variables", [{"LANG": "C"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "C", "PYTHONUTF8": "0"},
                                       {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                                       {"LC_ALL": "ja_JP.UTF-8"}, {"PYTHONIOENCODING": "ascii"},
                                       {"PYTHONIOENCODING": "euc-jp", "LANG": "ja_JP.eucJP"}], ids=str)
def test_no_name_breaks_the_output(repository: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    """Neither on a terminal that knows no Japanese, nor with bytes that are no text or control it."""
    for arguments in (("ls", "latest", "--long", "--recursive"), ("snapshots",), ("find", "*"),
                      ("restore", "latest", "--target", tmp_path / "target", "-v"), ("ls", "latest", "--json"),
                      ("backup", tmp_path / "source", "-vv"), ("backup", tmp_path / "source", "--json", "-vv"),
                      ("stats",), ("check",)):
        code, said, complaints = run(*arguments, repository=repository, **variables)
        assert code == 0, complaints
        assert "Traceback" not in complaints
        assert "\x1b" not in said
    target = tmp_path / "target"
    assert sorted(os.listdir(os.fsencode(str(target) + str(tmp_path / "source")))) == sorted(
        ["植木鉢.txt".encode(), b"byte\xff", b"line\nbreak\x1b[31m"])


def test_a_path_of_any_bytes_may_be_named(repository: Path, tmp_path: Path) -> None:
    """On the command line, whatever the language."""
    for number, variables in enumerate(({"LANG": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"},
                                        {"LANG": "ja_JP.UTF-8"})):
        path = os.fsencode(tmp_path) + b"/source/byte\xff"
        code, said, complaints = run("dump", "latest", path, repository=repository, **variables)
        assert (code, said) == (0, "x"), complaints
        target = os.fsencode(tmp_path) + b"/t\xff%d" % number
        code, _, complaints = run("restore", b"latest:" + os.fsencode(tmp_path / "source"), "--target", target,
                                  "--include", "/植木*", repository=repository, **variables)
        assert code == 0, complaints
        assert os.listdir(target) == ["植木鉢.txt".encode()]


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize("arguments", [("snapshots",), ("ls", "latest"), ("stats",), ("find", "*.txt"),
                                       ("version",), ("check",)], ids=" ".join)
def test_json_knows_no_language(repository: Path, arguments: tuple[str, ...]) -> None:
    said = [run(*arguments, "--json", repository=repository, LANG=language)[1] for language in
            ("ja_JP.UTF-8", "C", "en_US.UTF-8")]
    assert said[0] == said[1] == said[2]
    assert all(json.loads(line) for line in said[0].splitlines())


def test_the_version_is_said_as_a_command_and_as_an_option() -> None:
    said = [subprocess.run([sys.executable, "-m", "kuramori", word], capture_output=True, text=True, check=True,
                           timeout=120).stdout for word in ("version", "--version")]
    assert said[0] == said[1]
    assert said[0].startswith(f"kuramori {__version__}, ")
