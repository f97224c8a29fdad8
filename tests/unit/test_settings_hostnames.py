"""``{hostname}`` in a location: whose name it is, that it is safe, and what the repositories of a fleet lie below."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuramori.errors import SettingsError
from kuramori.settings.hostnames import fleet_prefix, path_part
from kuramori.settings.loading import SettingsDefaults, parse_settings
from samples.settings_files import DEFAULTS, FILE, parse


def content(location: str, *hostnames: str) -> str:
    """Return a file with a repository and a job for each hostname; an empty one is left out."""
    jobs = [f'[jobs.j{number}]\n{f"hostname = {chr(34)}{name}{chr(34)}" if name else ""}\n'
            f'[jobs.j{number}.components.c]\nkind = "files"\nsource = "/s"\n' for number, name in enumerate(hostnames)]
    return f'[repositories.usb]\nlocation = "{location}"\n' + "".join(jobs)


def location(text: str) -> str:
    """Return the location that a file means."""
    return parse(text).repositories["usb"].location


def problem(text: str) -> str:
    """Return the only thing that is wrong with a file."""
    with pytest.raises(SettingsError) as caught:
        parse(text)
    [found] = caught.value.problems
    assert found.place == "repositories.usb.location"
    return found.text()


def test_without_a_name_of_the_job_it_is_the_machines() -> None:
    assert location(content("/b/{hostname}/x", "", "")) == f"/b/{DEFAULTS.hostname}/x"


def test_the_name_of_the_job_comes_before_the_machines() -> None:
    found = parse(content("/b/{hostname}", "pi-7", "pi-7")).repositories["usb"]
    assert (found.location, found.location_pattern) == ("/b/pi-7", "/b/{hostname}")


def test_a_location_without_it_has_no_pattern() -> None:
    assert parse(content("/b/x", "pi-7")).repositories["usb"].location_pattern == ""


def test_jobs_with_different_names_cannot_share_it() -> None:
    said = problem(content("/b/{hostname}", "pi-7", "pi-8"))
    assert "pi-7, pi-8" in said
    assert "{hostname}" in said


def test_one_named_and_one_unnamed_job_cannot_share_it() -> None:
    assert f"pi-7, {DEFAULTS.hostname}" in problem(content("/b/{hostname}", "pi-7", ""))


def test_different_names_do_not_matter_without_it() -> None:
    assert location(content("/b/x", "pi-7", "pi-8")) == "/b/x"


def test_two_repositories_that_become_one_are_reported() -> None:
    text = content("/b/pi-7", "pi-7") + '[repositories.other]\nlocation = "/b/{hostname}"\n'
    text = text.replace("[jobs.j0]", '[jobs.j0]\nrepositories = ["usb", "other"]')
    with pytest.raises(SettingsError, match="already"):
        parse(text)


@pytest.mark.parametrize("written", ["{host}", "{hostnam}", "{HOSTNAME}", "${HOSTNAME}", "{ hostname }", "{name}"])
def test_another_placeholder_is_answered_with_the_nearest(written: str) -> None:
    said = problem(content(f"/b/{written}", ""))
    assert "did you mean {hostname}?" in said


@pytest.mark.parametrize("written", ["{}", "{pa:ss/w}", "{9}", "{秘密}"])
def test_other_braces_are_refused_without_showing_them(written: str) -> None:
    said = problem(content(f"/b/x{written}", ""))
    assert written not in said
    assert "{hostname}, or no braces" in said


def test_the_machines_name_is_made_safe_as_well() -> None:
    defaults = SettingsDefaults(FILE.parent, FILE.parent, hostname="../etc/pi 7")
    settings = parse_settings(content("/b/{hostname}", ""), FILE, defaults)
    assert settings.repositories["usb"].location == "/b/etc-pi-7"


@pytest.mark.parametrize(("name", "meant"), [
    ("pi-7", "pi-7"), ("pi_7.local", "pi_7.local"), ("プランター", "プランター"), ("a:b", "a-b"), ("..", "localhost"),
    ("", "localhost"), (".hidden", "hidden"), ("-rf", "rf"), ("a\\b?c*d", "a-b-c-d"), ("カ\u3099", "ガ"),
    ("a\x00b\n", "a-b"), ("é" * 150, "é" * 100)])
def test_what_becomes_of_names(name: str, meant: str) -> None:
    assert path_part(name) == meant


@given(st.text(max_size=300))
def test_a_name_is_always_one_visible_part_of_a_path(name: str) -> None:
    part = path_part(name)
    assert part
    assert part[0] not in ".-"
    assert posixpath.normpath(f"/b/{part}") == f"/b/{part}"
    assert posixpath.dirname(f"/b/{part}") == "/b"
    assert not set(part) & set("/\\:?#@%{} \0")
    assert part.isprintable()
    assert len(part.encode()) <= 200
    assert path_part(part) == part


@pytest.mark.parametrize(("pattern", "prefix"), [
    ("/b/{hostname}", "/b"), ("/{hostname}", "/"), ("{hostname}", "."), ("/b/fleet/pi-{hostname}/x", "/b/fleet"),
    ("/b/x", "/b/x"), ("local:{hostname}", "local:"), ("sftp:pi@nas:{hostname}", "sftp:pi@nas:"),
    ("sftp:pi@nas:/b/{hostname}", "sftp:pi@nas:/b"), ("sftp:pi@nas:/{hostname}", "sftp:pi@nas:/"),
    ("sftp://pi@nas//b/{hostname}", "sftp://pi@nas//b"), ("s3:https://h/bucket/{hostname}", "s3:https://h/bucket"),
    ("s3:https://h/bucket/a/{hostname}/x", "s3:https://h/bucket/a"), ("s3:https://h/{hostname}", "s3:https://h"),
    ("gs:bucket:/{hostname}", "gs:bucket:/"), ("azure:container:/a/{hostname}", "azure:container:/a"),
    ("rclone:remote:{hostname}", "rclone:remote:"), ("rclone:remote:a/{hostname}", "rclone:remote:a"),
    ("rest:http://h:8000/{hostname}/", "rest:http://h:8000")])
def test_what_a_fleet_lies_below(pattern: str, prefix: str) -> None:
    assert fleet_prefix(pattern) == prefix
