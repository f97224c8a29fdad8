"""The daemon as a process: its first run, signals, crashes, new settings, and the commands that look at it."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kuramori.clock import SystemClock
from kuramori.history.history import History, history_path
from kuramori.history.records import OperationKind, OperationState
from kuramori.manager.manager import Manager
from kuramori.secret import Secret
from kuramori.settings.credentials import read_password
from kuramori.settings.loading import SettingsDefaults, load_settings
from samples.repositories import QUICK

_PASSWORD = "canary-1c9e77"
_PATIENCE = 60
"""Seconds after which something that never came is given up; nothing waits so long unless it fails."""


class _Site:
    """A folder with settings, a source and a repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.settings = folder / "kuramori.toml"
        (folder / "images").mkdir()
        (folder / "images" / "leaf.txt").write_text("green\n")
        (folder / "password").write_text(_PASSWORD)
        (folder / "password").chmod(0o600)
        self.write()
        self.manager().initialise()

    def write(self, *, job: str = 'every = "1h"', more: str = "", source: str = "images", place: str = "") -> None:
        """Write the settings file."""
        self.settings.write_text(f"""
state_directory = "{self.state}"
[repositories.usb]
location = "{self.folder}/repository"
password_file = "{self.folder}/password"
{place}
[jobs.planter]
repositories = ["usb"]
{job}
[jobs.planter.components.images]
kind = "files"
source = "{self.folder}/{source}"
{more}
""")
        self.settings.chmod(0o600)

    def history(self) -> History:
        return History(history_path(self.state), SystemClock())

    def manager(self) -> Manager:
        defaults = SettingsDefaults(config_folder=self.folder, state_directory=self.state,
                                    cache_directory=self.folder / "cache", hostname="raspi", home=None)

        def secrets(repository: Any) -> Secret:
            return read_password(repository, credentials_directory=None)

        return Manager(load_settings(self.settings, defaults), clock=SystemClock(), history=self.history(),
                       secrets=secrets, kdf=QUICK)

    def states(self, kind: OperationKind = OperationKind.BACKUP) -> list[OperationState]:
        """Return how operations ended, the oldest first."""
        return [record.state for record in reversed(self.history().operations(kind=kind))]

    def run(self, *arguments: str, language: str = "en") -> tuple[int, str, str]:
        """Run a command to its end."""
        done = subprocess.run(_command(self, *arguments), capture_output=True, text=True, timeout=_PATIENCE,
                              check=False, env=_environment(language))
        return done.returncode, done.stdout, done.stderr


def _command(site: _Site, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "kuramori", *arguments, "--settings", str(site.settings)]


def _environment(language: str = "en", **more: str) -> dict[str, str]:
    return {**os.environ, "KURAMORI_LANGUAGE": language, **more}


class _Daemon:
    """A daemon that runs."""

    def __init__(self, site: _Site, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(_command(site, "daemon", "--json", *arguments), stderr=subprocess.PIPE,
                                        text=True, env=_environment(**environment))
        self.lines: list[str] = []
        self._coming: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._coming.put(line)

    def wait_for(self, text: str) -> None:
        """Return when a line of the log holds ``text``; lines before it are used up."""
        while True:
            try:
                line = self._coming.get(timeout=_PATIENCE)
            except queue.Empty:
                raise AssertionError(f"{text!r} never came after {self.lines}") from None
            self.lines.append(line)
            if text in json.loads(line)["message"]:
                return

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = _PATIENCE) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self._reader.join(_PATIENCE)
        while not self._coming.empty():
            self.lines.append(self._coming.get())
        return code


@pytest.fixture
def site(tmp_path: Path) -> _Site:
    return _Site(tmp_path)


@pytest.fixture
def daemons() -> Iterator[list[_Daemon]]:
    """Started daemons; they are killed when the test ends."""
    started: list[_Daemon] = []
    yield started
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_backs_up_at_once_and_ends_within_two_seconds(site: _Site, daemons: list[_Daemon],
                                                               number: signal.Signals) -> None:
    daemon = _Daemon(site)
    daemons.append(daemon)
    daemon.wait_for("the backup of planter is complete")
    assert daemon.end(number, seconds=2) == 0
    assert site.states() == [OperationState.COMPLETE]
    assert site.states(OperationKind.DAEMON) == [OperationState.COMPLETE]
    assert len(site.manager().list_runs()) == 1
    assert _PASSWORD not in "".join(daemon.lines)
    [record] = site.history().operations(kind=OperationKind.DAEMON)
    assert [line.text.partition(";")[0] for line in site.history().log_lines(record.id)] == [
        "the daemon works", "the backup of planter begins", "the backup of planter is complete", "the daemon ends"]


_SLOW = """
before = [["sh", "-c", "echo $$ > {folder}/hook; exec sleep 600"]]
every = "1h"
"""


_SECOND_JOB = """
[jobs.second]
repositories = ["usb"]
every = "2h"
[jobs.second.components.images]
kind = "files"
source = "{folder}/images"
"""


def _wait_for_file(path: Path) -> str:
    for _attempt in range(_PATIENCE * 20):
        if path.exists() and path.read_text().strip():
            return path.read_text().strip()
        threading.Event().wait(0.05)
    raise AssertionError(f"{path} never came")


def test_a_run_in_progress_is_broken_off_in_good_order_and_done_after_the_restart(
        site: _Site, daemons: list[_Daemon]) -> None:
    site.write(job=_SLOW.format(folder=site.folder))
    daemon = _Daemon(site)
    daemons.append(daemon)
    hook = int(_wait_for_file(site.folder / "hook"))
    assert daemon.end(seconds=2) == 0
    assert any("broken off" in line for line in daemon.lines)
    assert site.states() == [OperationState.INTERRUPTED]
    with pytest.raises(ProcessLookupError):  # no orphan
        os.kill(hook, 0)
    site.write()
    again = _Daemon(site)
    daemons.append(again)
    again.wait_for("the backup of planter is complete")
    assert again.end() == 0
    assert site.states() == [OperationState.INTERRUPTED, OperationState.COMPLETE]


def test_a_killed_daemon_leaves_an_unfinished_operation_and_the_next_one_tries_again(
        site: _Site, daemons: list[_Daemon]) -> None:
    site.write(job=_SLOW.format(folder=site.folder))
    daemon = _Daemon(site)
    daemons.append(daemon)
    hook = int(_wait_for_file(site.folder / "hook"))
    assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    os.kill(hook, signal.SIGKILL)  # a hook is a program of its own, and outlives what cannot say farewell
    assert site.states() == [OperationState.RUNNING]
    site.write()
    again = _Daemon(site)
    daemons.append(again)
    again.wait_for("marked as unfinished now: 2")  # the backup, and the daemon itself
    assert again.end() == 0
    assert site.states() == [OperationState.UNFINISHED]
    assert site.states(OperationKind.DAEMON) == [OperationState.UNFINISHED, OperationState.COMPLETE]
    code, stdout, _stderr = site.run("schedule", "--json")
    assert code == 0
    [entry] = json.loads(stdout)["schedule"]
    assert (entry["is_retry"], entry["failures"], entry["running"]) == (True, 1, False)


def test_settings_are_read_anew_and_bad_ones_do_not_count(site: _Site, daemons: list[_Daemon]) -> None:
    daemon = _Daemon(site)
    daemons.append(daemon)
    daemon.wait_for("the backup of planter is complete")
    good = site.settings.read_text()
    site.settings.write_text(good.replace("every", "evry"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("evry")
    daemon.wait_for("the old ones stay")
    site.write(more=_SECOND_JOB.format(folder=site.folder))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("schedules: 2")
    daemon.wait_for("the backup of second is complete")
    good = site.settings.read_text()
    site.settings.write_text(good.replace(str(site.state), f"{site.folder}/elsewhere"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("only after a restart")
    daemon.wait_for("schedules: 2")
    site.settings.write_text(good)
    assert daemon.end() == 0
    assert not (site.folder / "elsewhere").exists()
    assert [run.job for run in site.manager().list_runs()] == ["planter", "second"]


def test_a_daemon_that_was_killed_after_its_work_is_no_reason_to_worry(site: _Site, daemons: list[_Daemon]) -> None:
    daemon = _Daemon(site)
    daemons.append(daemon)
    daemon.wait_for("the backup of planter is complete")
    daemon.end(signal.SIGKILL)
    code, stdout, stderr = site.run("status")
    assert (code, stderr) == (0, "")
    assert stdout.startswith("All is well")
    assert site.states(OperationKind.DAEMON) == [OperationState.UNFINISHED]
    [entry] = json.loads(site.run("schedule", "--json")[1])["schedule"]
    assert not entry["running"]


def test_a_second_daemon_refuses(site: _Site, daemons: list[_Daemon]) -> None:
    daemon = _Daemon(site)
    daemons.append(daemon)
    daemon.wait_for("the backup of planter is complete")
    for arguments in (("daemon",), ("daemon", "--once")):
        code, _stdout, stderr = site.run(*arguments)
        assert code == 1
        assert "another kuramori daemon" in stderr
    code, stdout, stderr = site.run("schedule")
    assert code == 0
    assert "planter" in stdout
    assert "no daemon runs" not in stderr
    assert daemon.end() == 0
    code, _stdout, stderr = site.run("schedule")
    assert "no daemon runs" in stderr


def test_status_says_when_nothing_starts_by_itself(site: _Site) -> None:
    site.manager().back_up("planter")
    code, stdout, _stderr = site.run("status")
    assert (code, stdout.startswith("All is well")) == (0, True)
    assert "no daemon runs here" in stdout
    assert not json.loads(site.run("status", "--json")[1])["starts_by_itself"]
    assert site.run("daemon", "--once")[0] == 0  # as a timer does
    assert "no daemon runs here" not in site.run("status")[1]
    assert json.loads(site.run("status", "--json")[1])["starts_by_itself"]


def test_once_does_what_is_due_and_ends(site: _Site) -> None:
    site.write(job='schedule = "02:00"\ncleanup = "03:00"', more="retention_days = 30", place='check = "05:00"')
    code, _stdout, stderr = site.run("daemon", "--once")
    assert (code, site.states()) == (0, [OperationState.COMPLETE])
    assert site.states(OperationKind.CLEANUP) == [OperationState.COMPLETE]
    assert site.states(OperationKind.CHECK) == [OperationState.COMPLETE]
    assert "the check of usb is complete; the next one is at" in stderr
    assert "Traceback" not in stderr
    entries = json.loads(site.run("schedule", "--json")[1])["schedule"]
    assert [(entry["work"], entry["job"], entry["repository"]) for entry in entries if entry["work"] == "check"] == [
        ("check", None, "usb")]
    assert site.run("history", "--kind", "check")[1].count("usb") == 1
    assert site.run("daemon", "--once")[0] == 0
    assert site.states() == [OperationState.COMPLETE]
    assert site.states(OperationKind.DAEMON) == [OperationState.COMPLETE] * 2


@pytest.mark.exhaustive
def test_a_disk_that_is_plugged_in_starts_a_run_at_once(site: _Site, daemons: list[_Daemon]) -> None:
    site.write(job="", place="run_when_attached = true")
    repository, drawer = site.folder / "repository", site.folder / "drawer"
    repository.rename(drawer)
    daemon = _Daemon(site)
    daemons.append(daemon)
    daemon.wait_for("the daemon works")
    code, stdout, _stderr = site.run("schedule", "--json")
    assert (code, json.loads(stdout)["when_attached"]) == (
        0, [{"repository": "usb", "work": "backup", "job": "planter"}])
    assert site.states() == []
    drawer.rename(repository)
    daemon.wait_for("the backup of planter is complete")
    assert daemon.end() == 0
    assert site.states() == [OperationState.COMPLETE]


def test_a_source_that_is_gone_is_a_failed_run_that_is_tried_again(site: _Site, daemons: list[_Daemon]) -> None:
    site.write(source="unplugged")
    code, _stdout, stderr = site.run("daemon", "--once")
    assert code == 1
    assert "the backup of planter failed; the next attempt is at" in stderr
    assert site.states() == [OperationState.FAILED]
    code, stdout, _stderr = site.run("schedule")
    assert "failed, 1 times in a row" in stdout
    daemon = _Daemon(site)
    daemons.append(daemon)
    daemon.wait_for("the daemon works")
    assert daemon.end() == 0
    assert site.states() == [OperationState.FAILED]  # the pause is kept over restarts


def test_systemd_and_prometheus_are_served(site: _Site, daemons: list[_Daemon]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        manager.bind(str(site.folder / "notify"))
        manager.settimeout(_PATIENCE)
        site.write(more=f'[metrics]\nlisten = "127.0.0.1:{port}"')
        daemon = _Daemon(site, NOTIFY_SOCKET=str(site.folder / "notify"), WATCHDOG_USEC="60000000")
        daemons.append(daemon)
        daemon.wait_for("the backup of planter is complete")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_PATIENCE) as answer:
            metrics = answer.read().decode()
        assert 'kuramori_backup_successes_total{component="images",job="planter",repository="usb"} 1.0' in metrics
        heard = [manager.recv(4096).decode()]
        while not heard[-1].startswith("STATUS=next: the backup of planter"):  # follows what was told above
            heard.append(manager.recv(4096).decode())
        assert daemon.end() == 0
        while heard[-1] != "STOPPING=1":
            heard.append(manager.recv(4096).decode())
    assert "READY=1" in heard
    assert "WATCHDOG=1" in heard


def test_history_lists_and_shows(site: _Site) -> None:
    code, stdout, _stderr = site.run("history")
    assert (code, stdout) == (0, "nothing was done yet\n")
    assert site.run("daemon", "--once")[0] == 0
    site.write(source="unplugged")
    site.manager().back_up("planter")
    code, stdout, _stderr = site.run("history")
    assert code == 0
    assert stdout.index("failed") < stdout.index("complete")
    assert "daemon" not in stdout
    assert "daemon" in site.run("history", "--kind", "daemon")[1]
    records = json.loads(site.run("history", "--json", "--limit", "1")[1])
    assert [(record["state"], record["job"]) for record in records] == [("failed", "planter")]
    assert "unplugged" in records[0]["errors"][0]["message"]
    code, stdout, _stderr = site.run("history", str(records[0]["id"]), language="ja")
    assert code == 0
    assert "失敗" in stdout
    shown = json.loads(site.run("history", str(records[0]["id"]), "--json")[1])
    assert shown["components"][0]["state"] == "failed"
    code, _stdout, stderr = site.run("history", "99")
    assert code == 1
    assert "there is no operation 99" in stderr
