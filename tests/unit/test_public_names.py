"""What `import kuramori` offers, and the example of docs/library.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import kuramori

_ROOT = Path(__file__).resolve().parents[2]


def _run(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    path = f"import sys; sys.path[:0] = [{str(_ROOT / 'src')!r}]\n"
    return subprocess.run([sys.executable, "-c", path + code], cwd=directory, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)


@pytest.mark.parametrize("name", kuramori.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(kuramori, name).__doc__
    assert name in dir(kuramori)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        kuramori.no_such_thing  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    source = (_ROOT / "src" / "kuramori" / "__init__.py").read_text()
    block = source.split("if TYPE_CHECKING:")[1].split("_HOMES")[0]
    imported = {name.strip() for line in re.findall(r"import (.+)", block) for name in line.split(",")}
    assert imported == set(kuramori.__all__)


def test_importing_loads_nothing_of_weight(tmp_path: Path) -> None:
    done = _run("import kuramori\nheavy = {'click', 'rich', 'cryptography', 'zstandard', 'msgspec', 'logging'}\n"
                "print(sorted(heavy & set(sys.modules)))", tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_a_command_loads_nothing_that_it_has_no_use_for(tmp_path: Path) -> None:
    """What each of these takes is a tenth of a short command, or more."""
    done = _run("from kuramori.cli.main import main\nimport kuramori.cli.commands.backup, kuramori.archiving.backup\n"
                "from kuramori.cli import named_repositories\nfrom kuramori.crypto import scrypt\n"
                "scrypt.compute(scrypt.ScryptInput(b'password', bytes(64), 16, 8, 1, 64))\n"
                "heavy = {'difflib', 'nacl.bindings', 'rich', 'argparse', 'http.client', 'ssl', 'tomllib', 'asyncio',\n"
                "         'multiprocessing', 'kuramori.settings.reader'}\n"
                "print(sorted(heavy & set(sys.modules)))", tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_the_engine_does_not_load_the_command_line(tmp_path: Path) -> None:
    done = _run("import kuramori, sys\nfor name in kuramori.__all__: getattr(kuramori, name)\n"
                "print(sorted(m for m in sys.modules if m in ('click', 'rich') or m.startswith('kuramori.cli')))",
                tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    example = (_ROOT / "docs" / "library.md").read_text().split("```python\n")[1].split("```")[0]
    planter = tmp_path / "planter"
    planter.mkdir()
    (planter / "soil.txt").write_text("moist")
    (planter / "image.png").write_bytes(bytes(range(256)) * 5000)
    done = _run(example, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "not saved" not in done.stdout
    assert done.stdout.endswith("sound: True\n")
    restored = tmp_path / "restored" / "planter"
    assert (restored / "soil.txt").read_text() == "moist"
    assert (restored / "image.png").read_bytes() == (planter / "image.png").read_bytes()
