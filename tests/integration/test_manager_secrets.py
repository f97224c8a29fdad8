"""No secret anywhere: canaries are planted wherever the settings know a secret, and searched for
wherever somebody could read: what commands say, the daemon's log, state, cache, repository, processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.secret import Secret
from kuramori.storage.local import LocalBackend
from samples.process_watching import watched_processes
from samples.repositories import QUICK
from samples.webhook_server import WebhookServer

_CANARY = "canary-8d1f"
"""In all secrets; what follows it tells them apart."""

_SETTINGS = """
state_directory = "{folder}/state"
cache_directory = "{folder}/cache"
[repositories.usb]
location = "{folder}/repository"
password_file = "{folder}/password"
[jobs.planter]
every = "1h"
cleanup = "03:00"
before = [["{python}", "-c", "import os; open('hook', 'a').write(str(dict(os.environ)))"]]
on_failure = [["{python}", "-c", "raise SystemExit('no')", "{canary}-hook-argument"]]
[jobs.planter.components.images]
kind = "files"
source = "{folder}/images"
retention_days = 1
[jobs.planter.components.pg]
kind = "postgres"
host = "127.0.0.1"
port = 1
user = "planter"
database = "planter"
password_file = "{folder}/pg-password"
[jobs.planter.components.maria]
kind = "mysql"
host = "127.0.0.1"
port = 1
user = "planter"
database = "planter"
password_file = "{folder}/maria-password"
[jobs.planter.components.report]
kind = "command"
command = ["{python}", "-c", "raise SystemExit(3)", "{canary}-command-argument"]
[notify]
apprise = ["json://user:{canary}-apprise@127.0.0.1:{port}/500/{canary}-apprise-path"]
webhook = "http://127.0.0.1:{port}/{status}/{canary}-webhook?key={canary}-webhook-key"
ping = "http://127.0.0.1:{port}/{status}/{canary}-ping"
"""
_WITHOUT_ANSWER = 500
_EXEMPT = (f"{_CANARY}-hook-argument", f"{_CANARY}-command-argument")
"""Arguments that the user himself gave to a program of his own: everybody sees them while it runs, and he
sees them in ``settings show``; nowhere else."""


class _Site:
    """A folder with all that can hold a secret."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self._port = port
        self.said: list[str] = []
        (folder / "images").mkdir()
        (folder / "images" / "leaf.txt").write_text("green\n")
        for name in ("password", "pg-password", "maria-password"):
            self.plant(name, f"{_CANARY}-{name}")
        self.write()

    def plant(self, name: str, secret: str) -> None:
        """Write a file with a secret."""
        (self.folder / name).write_text(secret)
        (self.folder / name).chmod(0o600)

    def write(self, status: int = 200, change: tuple[str, str] = ("", "")) -> None:
        """Write the settings. Those that are told answer with a status."""
        text = _SETTINGS.format(folder=self.folder, python=sys.executable, port=self._port, status=status,
                                canary=_CANARY).replace(*change)
        self.plant("kuramori.toml", text)

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,), language: str = "en") -> str:
        """Run a command; return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "kuramori", *arguments], capture_output=True, text=True, check=False, timeout=120,
            cwd=self.folder, env={
                **os.environ, "KURAMORI_SETTINGS": str(self.folder / "kuramori.toml"), "KURAMORI_LANGUAGE": language,
                "KURAMORI_PASSWORD": f"{_CANARY}-variable", "RESTIC_PASSWORD": f"{_CANARY}-restic-variable",
                "PGPASSWORD": f"{_CANARY}-pgpassword"})
        assert done.returncode in codes, (arguments, done.stdout, done.stderr)
        self.said.append(done.stdout + done.stderr)
        return self.said[-1]

    def leaks(self) -> list[str]:
        """Return where a canary is that none may be in."""
        found = [text for text in self.said if _CANARY in text]
        secret_files = {self.folder / name for name in ("password", "pg-password", "maria-password", "kuramori.toml")}
        found += [str(path) for path in self.folder.rglob("*") if path.is_file() and path not in secret_files
                  and path.name != "hook" and (_CANARY.encode() in path.read_bytes() or _CANARY in path.name)]
        return found


@pytest.fixture
def webhook_server() -> Iterator[WebhookServer]:
    """Whoever is told."""
    started = WebhookServer()
    yield started
    started.close()


def _without_own_arguments(text: str) -> str:
    for exempt in _EXEMPT:
        text = text.replace(exempt, "")
    return text


def _visible(seen: set[bytes]) -> list[bytes]:
    """Return the command lines that show a canary (variables are for their owner only)."""
    found = []
    for text in seen:
        if b"KURAMORI_SETTINGS=" in text or b"PATH=" in text:
            continue  # variables, not arguments
        if _CANARY in _without_own_arguments(text.decode(errors="replace")):
            found.append(text)
    return found


def test_no_secret_is_anywhere(tmp_path: Path, webhook_server: WebhookServer) -> None:
    site = _Site(tmp_path, webhook_server.port)
    create_repository(LocalBackend(tmp_path / "repository"), Secret(f"{_CANARY}-password"), CreateOptions(kdf=QUICK))
    site.run("init")
    with watched_processes() as seen:
        said = site.run("backup", codes=(3,))
        for part in ("images: saved", "pg: not saved", "maria: not saved", "report: not saved"):
            assert part in said
        site.run("daemon", "--once", codes=(1,))
        site.run("notify", "test", codes=(1, 3))
    for arguments in (("backup", "--json"), ("status",), ("status", "--json"), ("list", "--json"), ("history",),
                      ("history", "--json"), ("history", "1"), ("schedule", "--json"), ("settings", "check"),
                      ("settings", "units"), ("cleanup", "--json"),
                      ("restore", "latest", "--component", "images", "--target", "out", "--json"),
                      ("restore", "latest", "--component", "pg", "--target", "out")):
        site.run(*arguments, codes=(0, 1, 3), language="ja")
    shown = site.run("settings", "show", "--json")
    assert "report" in shown
    site.said[-1] = _without_own_arguments(shown)
    site.write(_WITHOUT_ANSWER)
    assert "500" in site.run("notify", "test", codes=(1, 3))
    site.run("daemon", "--once", "--json", codes=(0, 1))
    site.run("notify", "test", "--json", codes=(1, 3))
    site.plant("password", f"{_CANARY}-wrong")
    site.run("backup", codes=(12,))
    site.run("status", "--json", codes=(1,))
    for change in (("[notify]", "[notify"), ("password_file", "password"), ("http://127", "gopher://127")):
        site.write(change=change)
        site.run("backup", codes=(1,))
    assert site.leaks() == []
    assert _visible(seen) == []
    assert any(_CANARY in path for _method, path, _body in webhook_server.requests), "they were told"
    assert not any(_CANARY.encode() in body for _method, _path, body in webhook_server.requests)
    hook = (tmp_path / "hook").read_text()
    for kept in ("variable", "restic-variable"):
        assert f"{_CANARY}-{kept}" not in hook, "a hook does not get this program's passwords"
