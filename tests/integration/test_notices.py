"""Notices, pings and webhooks, at a real server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kuramori.errors import MissingExtraError, NotifierError, SourceError
from kuramori.notify.apprise_notifier import AppriseNotifier
from kuramori.notify.notices import Notice, NoticeKind, write_notice
from kuramori.notify.ping import PingWatcher
from kuramori.notify.teller import Teller, make_teller
from kuramori.notify.webhook import WebhookNotifier
from kuramori.settings.model import NotifySettings
from samples.webhook_server import WebhookServer

_TOKYO = ZoneInfo("Asia/Tokyo")
_CANARY = "canary-5f3a"
_ERROR = SourceError(path="/mnt/usb/images", detail="No such file or directory")
_NOTICE = Notice(NoticeKind.FAILED, datetime(2026, 11, 23, 17, 0, tzinfo=UTC), "raspi", "planter", "backup",
                 "full_backup_20261124_020000", (_ERROR,), retry=datetime(2026, 11, 23, 17, 5, tzinfo=UTC))


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    started = WebhookServer()
    yield started
    started.close()


def _teller(*notifiers: Any, watchers: Any = (), longest: float = 20.0, **more: Any) -> Teller:
    return Teller(notifiers, watchers, translate=str, zone=_TOKYO, longest=longest, **more)


def test_a_webhook_receives_json(server: WebhookServer) -> None:
    deliveries = _teller(WebhookNotifier(server.url(f"hook?token={_CANARY}"))).tell(_NOTICE)
    assert [delivery.error for delivery in deliveries] == [None]
    [(method, path, body)] = server.requests
    assert (method, path) == ("POST", f"/hook?token={_CANARY}")
    fields = json.loads(body)
    assert fields["event"] == "failed"
    assert (fields["job"], fields["work"], fields["hostname"]) == ("planter", "backup", "raspi")
    assert fields["time"] == "2026-11-23T17:00:00+00:00"
    assert fields["errors"] == [_ERROR.text()]
    assert fields["title"] == "[raspi] the backup of planter failed"
    assert "2026-11-24 02:05" in fields["text"]  # local time, for people


def test_a_ping_says_start_success_and_fail(server: WebhookServer) -> None:
    teller = _teller(watchers=[PingWatcher(server.url("ping/uuid/?create=1"))])
    for deliveries in (teller.started(), teller.succeeded(), teller.failed(_NOTICE)):
        assert [delivery.error for delivery in deliveries] == [None]
    assert [(method, path) for method, path, _body in server.requests] == [
        ("GET", "/ping/uuid/start?create=1"), ("GET", "/ping/uuid?create=1"), ("POST", "/ping/uuid/fail?create=1")]
    assert _ERROR.text() in server.requests[-1][2].decode()


def test_apprise_delivers_to_a_real_server(server: WebhookServer) -> None:
    deliveries = _teller(AppriseNotifier(f"json://127.0.0.1:{server.port}/{_CANARY}")).tell(_NOTICE)
    assert [delivery.error for delivery in deliveries] == [None]
    [(method, _path, body)] = server.requests
    assert method == "POST"
    fields = json.loads(body)
    assert fields["title"] == "[raspi] the backup of planter failed"
    assert _ERROR.text() in fields["message"]
    assert fields["type"] == "failure"


@pytest.mark.parametrize("path", ["500/x", "404", "slow"])
def test_a_service_that_refuses_or_hangs_is_said_and_no_more(server: WebhookServer, path: str) -> None:
    address = server.url(f"{path}/{_CANARY}")
    apprise_url = address.replace("http", "json") + "?rto=0.2"  # its own time-out
    teller = _teller(WebhookNotifier(address, timeout=0.2), AppriseNotifier(apprise_url),
                     watchers=[PingWatcher(address, timeout=0.2)])
    deliveries = [*teller.tell(_NOTICE), *teller.started(), *teller.failed(_NOTICE)]
    assert [delivery.notifier for delivery in deliveries] == ["webhook", "apprise json", "ping", "ping"]
    for delivery in deliveries:
        assert isinstance(delivery.error, NotifierError)
        assert _CANARY not in str(delivery.error)


def test_nobody_is_waited_for_beyond_the_limit(server: WebhookServer) -> None:
    teller = _teller(WebhookNotifier(server.url("slow"), timeout=30), longest=0.3)
    [delivery] = teller.tell(_NOTICE)
    assert isinstance(delivery.error, NotifierError)
    stopped = _teller(WebhookNotifier(server.url("slow"), timeout=30), longest=600, cancelled=lambda: True)
    [delivery] = stopped.tell(_NOTICE)
    assert isinstance(delivery.error, NotifierError)


@pytest.mark.parametrize("address", [
    "http://127.0.0.1:1/canary-5f3a", "file:///etc/passwd?canary-5f3a", "http://[::bad/canary-5f3a",
    "http://no-such-host.invalid/canary-5f3a", "ftp://127.0.0.1/canary-5f3a", "http://127.0.0.1:x/canary-5f3a"])
def test_addresses_that_lead_nowhere_are_never_shown(address: str) -> None:
    for notifier in (WebhookNotifier(address, timeout=1), AppriseNotifier(address)):
        [delivery] = _teller(notifier).tell(_NOTICE)
        assert isinstance(delivery.error, NotifierError)
        assert _CANARY not in str(delivery.error)
        assert _CANARY not in delivery.notifier


def test_a_plug_in_with_a_bug_is_no_reason_to_fail() -> None:
    class Broken:
        name = "broken"

        def tell(self, notice: object, text: object) -> None:
            raise ZeroDivisionError(_CANARY)

    [delivery] = _teller(Broken()).tell(_NOTICE)
    assert "ZeroDivisionError" in str(delivery.error)
    assert _CANARY not in str(delivery.error)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    [delivery] = _teller(AppriseNotifier("json://127.0.0.1")).tell(_NOTICE)
    assert isinstance(delivery.error, MissingExtraError)
    assert "kuramori[notify]" in str(delivery.error)


def test_the_settings_name_everybody(server: WebhookServer) -> None:
    settings = NotifySettings(apprise=(f"json://127.0.0.1:{server.port}/a",), ping=server.url("p"),
                              webhook=server.url("w"))
    teller = make_teller(settings, translate=str, zone=_TOKYO)
    assert [notifier.name for notifier in teller.notifiers] == ["apprise json", "webhook"]
    assert [watcher.name for watcher in teller.watchers] == ["ping"]
    assert make_teller(NotifySettings(), translate=str, zone=_TOKYO).tell(_NOTICE) == []


@pytest.mark.parametrize("kind", list(NoticeKind))
def test_every_notice_has_words_in_both_languages(kind: NoticeKind) -> None:
    import gettext

    from kuramori.cli.translation import LOCALE_DIRECTORY

    japanese = gettext.translation("kuramori", LOCALE_DIRECTORY, ["ja"])
    few = {NoticeKind.STALE: ("copy",), NoticeKind.CAUGHT_UP: ("copy",), NoticeKind.OVERDUE: ("backup",),
           NoticeKind.DAMAGED: ("check",), NoticeKind.PARTIAL: ("backup", "cleanup", "copy")}
    for work in few.get(kind, ("backup", "cleanup", "copy", "check")):
        notice = Notice(kind, _NOTICE.time, "raspi", "planter\x1b[31m", work, "run", (_ERROR,) * 30, _NOTICE.time,
                        _NOTICE.retry, "usb\x1b[31m")
        english, translated = write_notice(notice, str, _TOKYO), write_notice(notice, japanese.gettext, _TOKYO)
        assert english.title != translated.title
        assert english.body != translated.body
        for text in (english, translated):
            assert "\x1b" not in text.title + text.body
            assert "{" not in text.title + text.body


# --- the command -----------------------------------------------------------------------------


def _settings(folder: Path, notify: str) -> Path:
    path = folder / "kuramori.toml"
    path.write_text(f"""
state_directory = "{folder}/state"
[repositories.usb]
location = "{folder}/repository"
[jobs.planter]
repositories = ["usb"]
[jobs.planter.components.images]
kind = "files"
source = "{folder}"
[notify]
{notify}
""")
    path.chmod(0o600)
    return path


def _run(folder: Path, *arguments: str, language: str = "en") -> tuple[int, str, str]:
    import os
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "kuramori", "notify", "test", "--settings",
                           str(folder / "kuramori.toml"), *arguments], capture_output=True, text=True, check=False,
                          timeout=60, env={**os.environ, "KURAMORI_LANGUAGE": language})
    return done.returncode, done.stdout, done.stderr


def test_notify_test_tells_everybody_in_the_users_language(tmp_path: Path, server: WebhookServer) -> None:
    _settings(tmp_path, f'apprise = ["json://127.0.0.1:{server.port}/{_CANARY}"]\nwebhook = "{server.url("w")}"\n'
                        f'ping = "{server.url("p")}"')
    code, stdout, stderr = _run(tmp_path, language="ja")
    assert (code, stderr) == (0, "")
    assert len(stdout.splitlines()) == 3
    assert _CANARY not in stdout
    webhook = next(json.loads(body) for _method, path, body in server.requests if path == "/w")
    assert webhook["event"] == "test"
    assert "届きました" in webhook["title"]


def test_notify_test_says_who_was_not_reached(tmp_path: Path, server: WebhookServer) -> None:
    _settings(tmp_path, f'webhook = "{server.url(f"500/{_CANARY}")}"\nping = "{server.url("p")}"')
    code, stdout, stderr = _run(tmp_path)
    assert code == 1
    assert "ping: delivered" in stdout
    assert "webhook could not be told: HTTP 500" in stderr
    code, stdout, stderr = _run(tmp_path, "--json")
    assert code == 1
    assert [(entry["notifier"], entry["delivered"]) for entry in json.loads(stdout)] == [
        ("webhook", False), ("ping", True)]
    assert _CANARY not in stdout + stderr


def test_notify_test_without_anybody_to_tell(tmp_path: Path) -> None:
    _settings(tmp_path, "")
    code, _stdout, stderr = _run(tmp_path)
    assert code == 1
    assert "nobody to tell" in stderr
