"""systemd units: systemd itself takes them, and their timers fire when the schedules say."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from cronsim import CronSim

from kuramori.cli.unit_installation import install_units
from kuramori.errors import UnitNotInstalledError
from kuramori.settings.calendar_events import calendar_events, timer_lines
from kuramori.settings.model import CronExpression, DailyAt, Every, Settings
from kuramori.settings.unit_syntax import quote_command, quote_word
from kuramori.settings.units import MARK, Unit, UnitOptions, render_service, render_timers, writable_folders
from samples.settings_files import EVERYTHING, SMALLEST, parse

OPTIONS = UnitOptions(("/usr/bin/python3", "-m", "kuramori"), Path("/etc/kuramori/kuramori.toml"))
AWKWARD = EVERYTHING.replace("/mnt/usb/{hostname}", '/mnt/a b/50%/q\\"\\\\ $HOME 庭').replace(
    "jobs.planter", 'jobs."庭 1-2"')


def settings_with(schedule: str) -> Settings:
    """Return settings whose job has a schedule."""
    return parse(SMALLEST.replace("[jobs.planter.components", f'[jobs.planter]\nschedule = "{schedule}"\n'
                                  "[jobs.planter.components"))


def values(unit: Unit, key: str) -> list[str]:
    """Return the values of a key of a unit."""
    return re.findall(rf"^{key}=(.*)$", unit.text, re.MULTILINE)


@pytest.fixture(scope="module")
def systemd_analyze(require_program: Callable[[str], str]) -> str:
    """The program, or a reason to skip."""
    return require_program("systemd-analyze")


# --- systemd's judgement ---------------------------------------------------------------------


@pytest.mark.parametrize("system", [True, False])
def test_systemd_takes_every_unit(systemd_analyze: str, tmp_path: Path, system: bool) -> None:
    """Also with spaces, quotes, percent signs and Japanese names in paths."""
    options = UnitOptions(OPTIONS.program, Path("/etc/kura mori/100% \"x\"/$PATH.toml"), system, language="ja")
    for number, content in enumerate((SMALLEST, EVERYTHING, AWKWARD)):
        settings = parse(content)
        folder = tmp_path / str(number)
        folder.mkdir()
        paths = []
        for unit in [render_service(settings, options), *render_timers(settings, options)]:
            paths.append(folder / unit.name)
            paths[-1].write_text(unit.text)
        command = [systemd_analyze, "verify", "--man=no", *([] if system else ["--user"]), *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, "XDG_RUNTIME_DIR": "/run"})
        about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "kuramori" in line]
        assert about_ours == []


def test_systemd_notices_what_is_wrong(systemd_analyze: str, tmp_path: Path) -> None:
    """The test above would pass if it looked at nothing."""
    unit = render_service(parse(SMALLEST), OPTIONS)
    path = tmp_path / unit.name
    path.write_text(unit.text.replace("ReadWritePaths=-/", "ReadWritePaths=nowhere/").replace("Type=notify", "Type=x"))
    done = subprocess.run([systemd_analyze, "verify", "--man=no", path], capture_output=True, text=True, check=False)
    assert "nowhere" in done.stderr
    assert "Type=" in done.stderr or "service type" in done.stderr


def test_systemd_calls_the_fence_good(systemd_analyze: str, tmp_path: Path) -> None:
    """It counts what a service is allowed; 9.6 of 10 is an open field, below 5 is called OK."""
    settings = parse('state_directory = "/var/lib/kuramori"\n' + SMALLEST)
    come_and_go = parse(SMALLEST.replace("[jobs.planter.", "run_when_attached = true\n[jobs.planter."))
    for unit, limit, code in ((render_service(settings, OPTIONS), 40, 0), (render_service(settings, OPTIONS), 10, 1),
                              (render_timers(settings_with("02:00"), OPTIONS)[0], 40, 0),
                              (render_service(come_and_go, OPTIONS), 40, 0)):
        path = tmp_path / unit.name
        path.write_text(unit.text)
        done = subprocess.run([systemd_analyze, "security", "--offline=true", f"--threshold={limit}", path],
                              capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr


@pytest.mark.parametrize("expression", [
    "0 2 * * *", "*/7 */5 * * 1-5", "0 0 1,15 * 1", "0 0 L * *", "15 3 * * 7#2", "0 0 * * 5L", "30 1 29 2 *",
    "0 0 */9 * 3", "0 0 1 * MON#1", "0 12 31 1-6 *", "5 4 * * SUN", "0 0 13 * 5", "0 0 L 2 0", "59 23 * JAN,DEC SAT",
])
def test_a_timer_fires_when_cron_would(systemd_analyze: str, expression: str) -> None:
    """systemd's own calendar, from any day on."""
    start = datetime(2027, 1, 30, 11, 59, 58)
    cron = CronSim(expression, start)
    expected = [next(cron) for _ in range(8)]
    found: set[datetime] = set()
    for event in calendar_events(CronExpression(expression)):
        base = f"--base-time={start:%Y-%m-%d %H:%M:%S} UTC"
        done = subprocess.run([systemd_analyze, "calendar", "--iterations=8", base, event], capture_output=True,
                              text=True, check=True, env={"TZ": "UTC", "LC_ALL": "C"})
        times = re.findall(r"\w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout)
        assert times, done.stdout
        found |= {datetime.fromisoformat(text) for text in times}
    assert sorted(moment for moment in found if moment > start)[:8] == expected


@pytest.mark.parametrize("expression", ["0 0 LW * *", "0 0 */2 * 5L"])
def test_what_systemd_cannot_say_is_looked_for_every_hour(expression: str) -> None:
    assert timer_lines([CronExpression(expression)]) == ["OnBootSec=5min", "OnUnitActiveSec=3600s"]


def test_a_timer_for_several_schedules() -> None:
    assert timer_lines([DailyAt(2, 5), DailyAt(2, 5), CronExpression("30 4 * * SUN")]) == [
        "OnCalendar=*-*-* 02:05:00", "OnCalendar=Sun *-*-* 04:30:00", "Persistent=true", "OnBootSec=5min",
        "OnUnitActiveSec=3600s"]
    assert timer_lines([Every(5400.0, "90m"), Every(86400.0)])[-1] == "OnUnitActiveSec=450s"
    assert timer_lines([Every(60.0, "1m")])[-1] == "OnUnitActiveSec=60s"


# --- what is in them -------------------------------------------------------------------------


def test_the_service_writes_only_where_it_must() -> None:
    settings = parse(EVERYTHING)
    [paths] = values(render_service(settings, OPTIONS), "ReadWritePaths")
    assert paths.split() == [
        "-/etc/kuramori/state", "-/home/mika/cache", "-/mnt/usb/pot", "-/etc/kuramori/second"]
    components = [each for job in settings.jobs.values() for each in job.components.values()]
    for source in (source for each in components for source in each.sources):
        assert not any(source.is_relative_to(folder) for folder in writable_folders(settings))
    text = render_service(settings, OPTIONS).text
    for line in ("Type=notify", "ProtectSystem=strict", "ProtectHome=read-only", "NoNewPrivileges=true",
                 "PrivateTmp=true", "Restart=on-failure", "KillSignal=SIGTERM", "IOSchedulingClass=idle",
                 "WantedBy=multi-user.target"):
        assert f"\n{line}\n" in text
    assert "canary" not in text


def test_a_disk_that_comes_and_goes_is_not_held_by_the_service() -> None:
    come = SMALLEST.replace('location = "/mnt/usb/backup"', 'location = "/mnt/usb/backup"\nrun_when_attached = true')
    unit = render_service(parse(come), OPTIONS)
    assert values(unit, "ProtectSystem") == ["full"]
    assert "/mnt/usb" not in values(unit, "ReadWritePaths")[0]
    at_home = render_service(parse(come.replace("/mnt/usb", "/home/mika/usb")), OPTIONS)
    assert values(at_home, "ProtectSystem") == ["strict"]
    assert "-/home/mika/usb/backup" in values(at_home, "ReadWritePaths")[0]


def test_a_private_tmp_would_hide_what_lies_there() -> None:
    for content in (SMALLEST.replace("/mnt/data/images", "/tmp/images"), SMALLEST.replace("/mnt/usb", "/var/tmp/usb")):
        unit = render_service(parse(content), OPTIONS)
        assert values(unit, "PrivateTmp") == []
        assert values(unit, "ReadWritePaths")[0].endswith(" -/tmp -/var/tmp")


def test_folders_of_the_system_are_made_by_systemd() -> None:
    content = 'state_directory = "/var/lib/kuramori"\ncache_directory = "/var/cache/kuramori"\n' + SMALLEST
    unit = render_service(parse(content), OPTIONS)
    assert (values(unit, "StateDirectory"), values(unit, "CacheDirectory")) == (["kuramori"], ["kuramori"])
    assert values(render_service(parse(SMALLEST), OPTIONS), "StateDirectory") == []


def test_a_users_unit_asks_for_nothing_that_a_user_cannot_have() -> None:
    unit = render_service(parse(SMALLEST), UnitOptions(OPTIONS.program, OPTIONS.settings_path, system=False))
    assert values(unit, "NoNewPrivileges") == ["true"]
    for key in ("ProtectSystem", "ReadWritePaths", "CapabilityBoundingSet", "PrivateDevices", "StateDirectory"):
        assert values(unit, key) == []
    assert values(unit, "WantedBy") == ["default.target"]


def test_a_timer_starts_what_is_due() -> None:
    service, timer = render_timers(parse(EVERYTHING), OPTIONS)
    assert (service.name, timer.name) == ("kuramori-due.service", "kuramori-due.timer")
    assert values(service, "ExecStart") == [
        "/usr/bin/python3 -m kuramori --settings /etc/kuramori/kuramori.toml daemon --once"]
    assert values(service, "Type") == ["oneshot"]
    assert values(service, "ProtectSystem") == ["strict"]
    assert values(timer, "OnCalendar") == ["*-*-* 02:00:00", "Mon,Tue,Wed,Thu,Fri *-*-* 03:00:00",
                                           "Sun *-*-* 05:00:00"], "of jobs, and of repositories that are read back"
    assert (values(timer, "Persistent"), values(timer, "RandomizedDelaySec")) == (["true"], ["2min"])
    assert render_timers(parse(SMALLEST), OPTIONS) == []


def test_the_language_is_kept_where_the_settings_name_none() -> None:
    options = UnitOptions(OPTIONS.program, OPTIONS.settings_path, language="ja")
    assert values(render_service(parse(SMALLEST), options), "Environment") == ["KURAMORI_LANGUAGE=ja"]
    assert values(render_service(parse('language = "en"\n' + SMALLEST), options), "Environment") == []


@pytest.mark.parametrize(("word", "written"), [
    ("plain-1.2/x", "plain-1.2/x"), ("a b", '"a b"'), ("100%", '"100%%"'), ('q"', '"q\\""'), ("b\\s", '"b\\\\s"'),
    ("", '""'), ("庭", '"庭"'), ("line\nbreak", '"line\\x0abreak"'), ("x;y", '"x;y"'), ("$HOME", '"$HOME"'),
    (os.fsdecode(b"\xff"), '"\\xff"'),
])
def test_words(word: str, written: str) -> None:
    assert quote_word(word) == written
    assert quote_command([word]) == written.replace("$", "$$")


# --- installing ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where units go in these tests."""
    return tmp_path / "systemd" / "user"


def test_installing_again_replaces_ours_and_never_somebody_elses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")  # no systemctl: nothing on this machine is started by a test
    first, second = Unit("a.service", f"{MARK}\n[Unit]\n"), Unit("b.service", f"{MARK}\n[Unit]\n")
    done = install_units([first, second], system=False, folder=folder)
    assert not done.started
    assert done.commands == ("systemctl --user daemon-reload", "systemctl --user enable --now a.service b.service")
    assert [path.read_text() for path in done.paths] == [first.text, second.text]
    assert done.paths[0].stat().st_mode & 0o777 == 0o644
    (folder / "b.service").write_text("[Unit]\nDescription=mine\n")
    with pytest.raises(UnitNotInstalledError, match=r"b\.service"):
        install_units([Unit("a.service", f"{MARK}\nnew\n"), second], system=False, folder=folder)
    assert (folder / "a.service").read_text() == first.text
    assert (folder / "b.service").read_text() == "[Unit]\nDescription=mine\n"


def test_a_folder_that_cannot_be_made_is_said(folder: Path) -> None:
    folder.parent.parent.joinpath("systemd").write_text("a file")
    with pytest.raises(UnitNotInstalledError, match=r"Not a directory|File exists"):
        install_units([Unit("a.service", MARK)], system=False, folder=folder)


def test_timers_are_what_is_enabled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    done = install_units(render_timers(settings_with("02:00"), OPTIONS), system=True, folder=folder)
    assert done.commands[-1] == "systemctl enable --now kuramori-due.timer"


def test_the_daemon_and_the_timer_do_not_run_both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    settings = settings_with("02:00")
    assert len(install_units([render_service(settings, OPTIONS)], system=True, folder=folder).commands) == 2
    done = install_units(render_timers(settings, OPTIONS), system=True, folder=folder)
    assert done.commands[1:] == (
        "systemctl disable --now kuramori.service", "systemctl enable --now kuramori-due.timer")
    done = install_units([render_service(settings, OPTIONS)], system=True, folder=folder)
    assert done.commands[1:] == (
        "systemctl disable --now kuramori-due.timer", "systemctl enable --now kuramori.service")
