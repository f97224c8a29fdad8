"""The documentation is true: links lead somewhere, commands and variables exist, examples run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from kuramori.cli.main import make_group
from kuramori.settings.schema import (
    COMPONENT_KEYS,
    JOB_KEYS,
    MAINTENANCE_KEYS,
    METRICS_KEYS,
    NOTIFY_KEYS,
    REPOSITORY_KEYS,
    TOP_KEYS,
)
from samples.settings_files import parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"])
PAIRS = [(ROOT / "README.md", ROOT / "README.ja.md"), (ROOT / "docs" / "guide.md", ROOT / "docs" / "guide.ja.md"),
         (ROOT / "docs" / "fleet.md", ROOT / "docs" / "fleet.ja.md"),
         (ROOT / "docs" / "remote.md", ROOT / "docs" / "remote.ja.md")]
CLI = make_group()
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_OPTIONS_IN_TEXT = re.compile(r"`(--[a-z][a-z-]+)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def _blocks(page: Path, language: str) -> Iterator[str]:
    for _, found, block in _FENCE.findall(page.read_text()):
        if found == language:
            yield block


def _anchor(heading: str) -> str:
    """Return the anchor that a heading gets where the page is shown."""
    kept = "".join(character for character in heading.lower() if character.isalnum() or character in " -_")
    return kept.replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    return {_anchor(heading.replace("`", "")) for heading in re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(_prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{_name(page)} links to {target}"
        assert linked.is_relative_to(ROOT)
        if anchor:
            assert anchor in _anchors(linked), f"{_name(page)} links to {target}"


# --- commands ------------------------------------------------------------------------------------


def _commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of every line that runs kuramori, in examples and between backquotes."""
    lines = [line.strip().removeprefix("$ ") for language in ("console", "sh", "")
             for block in _blocks(page, language) for line in block.splitlines() if "kuramori " in line]
    lines += re.findall(r"`(kuramori [a-z][^`]*)`", _prose(page))
    for line in lines:
        found = re.match(r"(?:[A-Z_]+=\S* +)*(?:[0-9* ]+ +[A-Z_]+=.*?)?(?:\S*/)?kuramori ((?:-r \S+ )?[a-z-].*)", line)
        if found:
            yield shlex.split(found[1])


def _check_command(words: list[str], group: click.Group) -> None:
    """Go through words as the command line does, without running anything."""
    context = click.Context(group)
    command: click.Command = group
    arguments = [word for word in words if word != "..."]
    while isinstance(command, click.Group):
        while arguments and arguments[0].startswith("-"):
            option = _option(group, arguments.pop(0))
            if not option.is_flag:
                arguments.pop(0)
        if not arguments:
            return
        name = arguments.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command = found
    for word in arguments:
        if word == "--":
            break
        if word.startswith("-") and len(word) > 1:
            _option(command, word.partition("=")[0])


def _option(command: click.Command, word: str) -> click.Option:
    options = {name: parameter for source in (command, CLI) for parameter in source.params
               if isinstance(parameter, click.Option) for name in (*parameter.opts, *parameter.secondary_opts)}
    if not word.startswith("--") and len(word) > 2:
        word = word[:2]  # -vv
    assert word in options, f"{command.name} has no option {word}"
    return options[word]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    for words in _commands(page):
        try:
            _check_command(words, CLI)
        except AssertionError as error:
            pytest.fail(f"{_name(page)}: kuramori {' '.join(words)}: {error}")


def test_commands_are_found_at_all() -> None:
    """The test above would pass if it saw none."""
    seen = {words[0] for page in PAGES for words in _commands(page)}
    assert {"init", "backup", "snapshots", "ls", "find", "diff", "dump", "restore", "check", "key", "unlock"} <= seen
    for wrong in (["bakcup", "x"], ["backup", "--tagg", "x"], ["key", "list", "--json", "--nothing"]):
        with pytest.raises(AssertionError):
            _check_command(wrong, CLI)


@pytest.mark.parametrize("page", [page for pair in PAIRS for page in pair] + [ROOT / "docs" / "format.md"], ids=_name)
def test_every_option_in_the_text_exists(page: Path) -> None:
    context = click.Context(CLI)
    known = {name for command in _all_commands(CLI, context) for parameter in command.params
             for name in parameter.opts}
    for option in _OPTIONS_IN_TEXT.findall(_prose(page)):
        assert option in known, f"{_name(page)} speaks of {option}"


def _all_commands(command: click.Command, context: click.Context) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _all_commands(found, context)


# --- the rest ------------------------------------------------------------------------------------


def test_every_variable_in_the_guide_is_one_that_is_read() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src" / "kuramori" / "cli").rglob("*.py"))
    guide = (ROOT / "docs" / "guide.md").read_text()
    variables = set(re.findall(r"`KURAMORI_([A-Z_]+)`", guide))
    assert {"REPOSITORY", "PASSWORD_FILE", "CACHE_DIR"} <= variables
    for name in {variable.removeprefix("FROM_") for variable in variables}:
        assert f'"{name}"' in sources or f'"KURAMORI_{name}"' in sources, name


@pytest.mark.parametrize(("page", "other"), PAIRS, ids=lambda page: _name(page))
def test_a_page_and_its_translation_have_the_same_parts(page: Path, other: Path) -> None:
    def shape(text: str) -> list[str]:
        return [line.split(" ")[0] for line in re.findall(r"^#+ .*$", text, re.MULTILINE)]

    def typed(path: Path) -> list[str]:
        """What is typed, without ids, which differ."""
        lines = [line.strip() for block in _blocks(path, "console") for line in block.splitlines()]
        return [re.sub(r"\b[0-9a-f]{8,64}\b", "ID", line) for line in lines if line.startswith("$ ")]

    assert shape(_prose(page)) == shape(_prose(other))
    assert typed(page) == typed(other)
    assert page.read_text().count("\n|") == other.read_text().count("\n|")


@pytest.mark.parametrize("name", ["library.md", "testing.md"])
def test_the_python_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planter").mkdir()
    (tmp_path / "planter" / "log").write_text("watered\n" * 50_000)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in _blocks(ROOT / "docs" / name, "python"):
        exec(compile(block, name, "exec"), names)
    assert "Secret" in names or "kuramori" in names


def test_the_folders_of_tests_are_those_that_are_described() -> None:
    described = set(re.findall(r"^\| `tests/(\w+)`", (ROOT / "docs" / "testing.md").read_text(), re.MULTILINE))
    there = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert there <= described


def test_every_dependency_is_explained() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    assert block is not None
    needed = set(re.findall(r'"([a-z0-9]+)[<>=]', block[1]))
    optional = set(re.findall(r'^\w+ = \["([a-z0-9-]+)[<>=]|, "([a-z0-9-]+)[<>=]', project, re.MULTILINE))
    page = (ROOT / "docs" / "dependencies.md").read_text()
    explained = set(re.findall(r"^\| \[([\w-]+)\]\(https", page, re.MULTILINE))
    assert needed
    assert needed <= explained <= needed | {name for names in optional for name in names}


@pytest.mark.parametrize("page", PAIRS[1], ids=_name)
def test_every_key_of_a_settings_file_is_in_the_guides(page: Path) -> None:
    """In the table of its section, and no key that there is not."""
    sections: dict[str, set[str]] = {}
    for heading, text in re.findall(r"^#### ([^\n]*)\n(.*?)(?=^##)", page.read_text(), re.DOTALL | re.MULTILINE):
        names = re.findall(r"`\[(?:[a-z]+\.NAME\.)*([a-z]+)(?:\.NAME)?\]`", heading) or [""]
        cells = re.findall(r"^\| (`[^|]*?) \|", text, re.MULTILINE)
        sections[" ".join(names)] = {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}
    assert sections == {
        "": set(TOP_KEYS), "repositories": set(REPOSITORY_KEYS),
        "maintenance": set(MAINTENANCE_KEYS), "jobs": set(JOB_KEYS),
        "components": set(COMPONENT_KEYS), "notify metrics": {*NOTIFY_KEYS, *METRICS_KEYS}}


@pytest.mark.parametrize("page", PAIRS[1], ids=_name)
def test_the_settings_file_of_the_guides_loads(page: Path) -> None:
    [example] = _blocks(page, "toml")
    assert set(parse(example).jobs["planter"].components) == {"database", "images"}
