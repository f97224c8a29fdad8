"""``kuramori fleet`` as a person or a dashboard uses it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kuramori.cli.manager_access import schedule_interval
from kuramori.clock import SystemClock
from kuramori.secret import Secret
from kuramori.settings.model import DailyAt
from kuramori.testing.clock import FakeClock
from samples.fleets import Fleet
from samples.terminal import Terminal

_DAY = 86_400


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """pi-7 fell silent four days ago, pi-1 and pi-2 were saved two hours ago, and pi-9 has a password of its own."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    fleet.clock = FakeClock(SystemClock().now_nanoseconds() - 4 * _DAY * 10**9)
    fleet.add("pi-7", schedule=DailyAt(2, 0))
    fleet.clock.advance(4 * _DAY - 7200)
    fleet.add("pi-1")
    fleet.add("pi-2")
    fleet.add("pi-9", password=Secret("nine"))
    (fleet.folder / "keys").mkdir()
    for path, password in ((fleet.folder / "x", "x"), (fleet.folder / "nine", "nine"),
                           (fleet.folder / "keys" / "pi-9", "nine")):
        path.write_text(f"{password}\n")
        path.chmod(0o600)
    return fleet


def run(*arguments: str | Path, codes: Sequence[int] = (0,), environment: Mapping[str, str] | None = None) -> str:
    """Run the command; return what it says, errors after the rest."""
    done = subprocess.run([sys.executable, "-m", "kuramori", "fleet", *map(str, arguments)], capture_output=True,
                          text=True, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, check=False,
                          timeout=300)
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout + done.stderr


def report(fleet: Fleet, *arguments: str | Path, codes: Sequence[int] = (0,)) -> dict[str, Any]:
    """Return what it says to programs, with a device for each name."""
    found = json.loads(run(fleet.place, "--json", "-p", fleet.folder / "x", *arguments, codes=codes))
    return {**found, "devices": {device["name"]: device for device in found["devices"]}}


def test_the_first_sentence_says_what_is_worst(fleet: Fleet) -> None:
    lines = run(fleet.place, "-p", fleet.folder / "x", "--password-file", fleet.folder / "nine", codes=[1]).splitlines()
    assert lines[0] == "3 of 4 devices well; pi-7 has not been backed up for 4 d 0 h"
    assert [line.split()[0] for line in lines[4:8]] == ["-" * len(lines[4]), "pi-7", "pi-1", "pi-2"]
    assert lines[5].endswith("overdue")


def test_all_well(fleet: Fleet) -> None:
    said = run(fleet.place, "-p", fleet.folder / "x", "--password-directory", fleet.folder / "keys", "--stale-after",
               "5d")
    assert said.startswith("4 devices: all well\n")
    assert run(fleet.place / "pi-1", "-p", fleet.folder / "x", "-q") == "1 device: all well\n"


def test_json_and_exit_codes(fleet: Fleet) -> None:
    found = report(fleet, codes=[1])
    assert (found["message_type"], found["health"], found["device_count"], found["well_count"]) == (
        "fleet_report", "alarm", 4, 2)
    assert {name: device["state"] for name, device in found["devices"].items()} == {
        "pi-1": "well", "pi-2": "well", "pi-7": "overdue", "pi-9": "locked out"}
    assert found["devices"]["pi-7"]["jobs"][0]["allowed_seconds"] == 2 * _DAY
    assert found["devices"]["pi-7"]["problems"][0]["kind"] == "OverdueDeviceProblem"
    assert 7200 <= found["devices"]["pi-1"]["age_seconds"] < 7200 + 3600
    assert found["devices"]["pi-9"]["problems"][0]["advice"].startswith("give its password as well")


def test_japanese(fleet: Fleet) -> None:
    said = run(fleet.place, "-p", fleet.folder / "x", codes=[1], environment={"LC_ALL": "ja_JP.UTF-8"})
    assert said.startswith("4 台中 2 台が正常です。pi-7 は4日0時間バックアップされていません")
    assert "期限切れ" in said


def test_the_name_of_a_repository_of_the_settings(fleet: Fleet) -> None:
    settings = fleet.folder / "kuramori.toml"
    settings.write_text(f'[repositories.central]\nlocation = "{fleet.place}/{{hostname}}"\npassword_file = "x"\n'
                        '[jobs.j.components.c]\nkind = "files"\nsource = "/etc/hostname"\n')
    environment = {"KURAMORI_SETTINGS": str(settings)}
    for arguments in (["central"], [], [f"{fleet.place}/{{hostname}}", "-p", fleet.folder / "x"]):
        found = json.loads(run(*arguments, "--json", codes=[1], environment=environment))
        assert (found["device_count"], found["well_count"]) == (4, 2)
    assert "did you mean central?" in run("centrall", codes=[1], environment=environment)


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["{folder}/nowhere", "-p", "{folder}/x"], 10, "what stands before {hostname}"),
    (["{folder}/keys", "-p", "{folder}/x"], 10, "there is no repository"), ([], 1, "kuramori fleet LOCATION"),
    (["{folder}/fleet"], 1, "there is no password"), (["{folder}/fleet", "-p", "{folder}/no"], 1, "cannot be read"),
    (["{folder}/fleet", "--password-directory", "{folder}/no"], 1, "does not exist"),
    (["{folder}/fleet", "-p", "{folder}/x", "--stale-after", "soon"], 1, "a duration looks like"),
    (["{folder}/fleet", "-p", "{folder}/x", "--password", "x"], 1, "did you mean --password-"),
    (["ftp://host/place", "-p", "{folder}/x"], 1, "no known kind of store")])
def test_wrong_requests_end_in_one_sentence(fleet: Fleet, arguments: list[str], code: int, words: str) -> None:
    said = run(*[argument.replace("{folder}", str(fleet.folder)) for argument in arguments], codes=[code])
    assert words in said
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said


def test_a_password_file_that_others_may_read_costs_its_own_device_only(fleet: Fleet, tmp_path: Path) -> None:
    for name in ("pi-9", "pi-1"):
        (tmp_path / name).write_text("nine")
    (tmp_path / "pi-1").chmod(0o600)
    (tmp_path / "pi-9").chmod(0o644)
    found = report(fleet, "--password-directory", tmp_path, codes=[1])["devices"]
    assert (found["pi-9"]["state"], found["pi-1"]["state"]) == ("unusable", "well")
    assert "chmod 600" in found["pi-9"]["problems"][0]["advice"]


def test_a_narrow_terminal_gets_lines_instead_of_a_table(fleet: Fleet) -> None:
    command = [sys.executable, "-m", "kuramori", "fleet", fleet.place, "-p", fleet.folder / "x"]
    for columns, expected in (("40", "pi-7: overdue"), ("200", "Device  ")):
        with Terminal(command, environment={**os.environ, "COLUMNS": columns}, directory=fleet.folder) as terminal:
            terminal.expect(expected)
            assert terminal.finish() == 1


def test_ctrl_c_ends_it_although_the_store_does_not_answer(fleet: Fleet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        location = f"rest:http://127.0.0.1:{silent.getsockname()[1]}/place/"
        process = subprocess.Popen([sys.executable, "-m", "kuramori", "fleet", location, "-p", fleet.folder / "x"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        silent.settimeout(60)
        with silent.accept()[0]:  # it asks now, and waits
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, (b"", b"kuramori: interrupted\n"))


_CRON_FIELDS = st.lists(st.text("0123456789*/,-?LW#SUNMONjanfeb", max_size=8), min_size=4, max_size=6).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=30), _CRON_FIELDS,
                 st.from_regex(r"(every )?[0-9]{1,14}(ms|s|m|h|d)", fullmatch=True)))
@example("0 0 29 2 *")
@example("* * * * *")
@example("0 0 31 2 *")
def test_no_schedule_of_a_record_is_a_danger(text: str) -> None:
    """Records are read from repositories, which anybody may have written."""
    interval = schedule_interval()(text)
    assert interval is None or 0 < interval < 20 * 366 * _DAY
