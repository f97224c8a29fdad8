"""kuramori.toml: what each key means, and that everything wrong is said at once, with its place."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path

import pytest

from kuramori.errors import (
    NoSettingsError,
    SettingsError,
    SettingsFileMissingError,
    UntrustedSettingsError,
    WritableSettingsError,
)
from kuramori.model.calendar import CalendarDuration
from kuramori.model.retention import UNLIMITED, RetentionPolicy
from kuramori.settings.loading import find_settings, load_settings, refuse_foreign_file
from kuramori.settings.model import ComponentKind, CronExpression, DailyAt, DatabaseServer, Every, Hook
from samples.settings_files import DEFAULTS, EVERYTHING, FILE, SMALLEST, parse

GOOD = SMALLEST + "\n"


def problems(content: str) -> dict[str, str]:
    """Return what is wrong with a text, by its place."""
    with pytest.raises(SettingsError) as caught:
        parse(content)
    assert caught.value.exit_code == 1
    return {problem.place: problem.text() for problem in caught.value.problems}


def component(lines: str) -> str:
    """Return a file whose one component has these lines."""
    return f'[repositories.usb]\nlocation = "/b"\n[jobs.j.components.c]\n{lines}\n'


def job(lines: str) -> str:
    """Return a file whose one job has these lines."""
    return f'[repositories.usb]\nlocation = "/b"\n[jobs.j]\n{lines}\n[jobs.j.components.c]\nkind="files"\nsource="/s"\n'


# --- what is right ---------------------------------------------------------------------------


def test_the_smallest_file_gets_every_default() -> None:
    settings = parse(SMALLEST)
    repository = settings.repositories["usb"]
    assert (repository.password_file, repository.password_generated) == (FILE.parent / "password-usb", True)
    assert (repository.compression, repository.pack_size, repository.use_cache) == ("auto", 16 * 1024**2, True)
    planter = settings.jobs["planter"]
    assert (planter.repositories, planter.schedule, planter.cleanup) == (("usb",), None, None)
    images = planter.components["images"]
    assert (images.enabled, images.databases, images.max_loss, images.busy_timeout) == (True, True, 0.9, 60.0)
    assert images.retention.keeps_everything
    assert (settings.state_directory, settings.cache_directory) == (Path("/state"), Path("/cache"))
    assert settings.language == ""
    assert settings.path == FILE


def test_every_key_means_something() -> None:
    settings = parse(EVERYTHING)
    assert (settings.language, settings.metrics_listen) == ("ja", "127.0.0.1:9470")
    assert (settings.state_directory, settings.cache_directory) == (FILE.parent / "state", Path("/home/mika/cache"))
    usb, second = settings.repositories["usb"], settings.repositories["second"]
    assert (usb.location, usb.password_file, usb.password_generated) == (
        "/mnt/usb/pot", FILE.parent / "secret", False)
    assert (usb.key_hint, usb.compression, usb.pack_size, usb.use_cache) == ("abcd", "max", 64 * 1024**2, False)
    assert (usb.max_size, second.max_size) == (50 * 1024**3, None)
    assert (second.location, second.password_command, second.password_file) == (
        str(FILE.parent / "second"), ("pass", "show", "my backup"), None)
    planter = settings.jobs["planter"]
    assert planter.repositories == ("usb", "second")
    assert (planter.schedule, planter.cleanup) == (DailyAt(2, 0), CronExpression("0 3 * * 1-5"))
    assert planter.hostname == "pot"
    assert planter.before == (Hook(("systemctl", "stop", "planter"), 300.0),)
    assert [hook.command[0] for hook in planter.after] == ["systemctl", "logger"]
    assert planter.on_failure == (Hook(("logger", "failed"), 300.0),)
    assert settings.notify.apprise[0].startswith("ntfy:")
    assert (settings.notify.ping[:8], settings.notify.webhook[:8]) == ("https://", "https://")


def test_every_key_of_components() -> None:
    settings = parse(EVERYTHING)
    database, images = settings.jobs["planter"].components.values()
    assert (database.kind, database.sources, database.busy_timeout) == (
        ComponentKind.SQLITE, (Path("/mnt/data/planter.db"),), 120.0)
    assert (database.retention.days, database.retention.policy) == (30, RetentionPolicy())
    assert (images.name, images.enabled, images.databases, images.max_loss) == ("画像", False, False, 0.5)
    assert images.sources == (Path("/home/mika/images"), Path("/mnt/data/more"))
    assert (images.exclude, images.exclude_if_present) == (("*.tmp", "cache/*"), (".nobackup",))
    assert (images.exclude_caches, images.one_file_system, images.exclude_larger_than) == (True, True, 10 * 1024**2)
    days = CalendarDuration
    assert images.retention.policy == RetentionPolicy(
        last=1, hourly=2, daily=3, weekly=4, monthly=5, yearly=UNLIMITED, within=days(1, 2, 3, 4),
        within_hourly=days(days=1), within_daily=days(days=2), within_weekly=days(months=3),
        within_monthly=days(months=4), within_yearly=days(years=5), tags=(("keep",), ("a", "b")))
    servers = settings.jobs["servers"]
    assert (servers.schedule, servers.repositories) == (Every(6 * 3600.0, "6h"), ("second",))
    pg, maria, packages = servers.components.values()
    assert pg.server == DatabaseServer("planter", "/run/postgresql", 5433, "mika", Path("/etc/kuramori/pg"))
    assert maria.server == DatabaseServer(defaults_file=FILE.parent / "my.cnf")
    assert (packages.command, packages.restore_command, packages.filename) == (
        ("dpkg", "--get-selections"), ("dpkg", "--set-selections"), "packages.txt")


def test_when_a_repository_is_read_back() -> None:
    settings = parse(EVERYTHING)
    usb, second = settings.repositories["usb"], settings.repositories["second"]
    assert (usb.check, usb.check_days, usb.check_budget) == (None, 30, None)
    assert (second.check, second.check_days, second.check_budget) == (CronExpression("0 5 * * 0"), 60, 5 * 1024**3)
    every = parse(SMALLEST.replace("[jobs.", 'check = { every = "12h" }\n[jobs.', 1)).repositories["usb"]
    assert every.check == Every(43_200.0, "12h")
    assert settings.beside("usb") == ("second",)


@pytest.mark.parametrize(("written", "meant"), [
    ('schedule = "2:05"', DailyAt(2, 5)), ('schedule = "*/15 * * * *"', CronExpression("*/15 * * * *")),
    ('schedule = "@weekly"', CronExpression("0 0 * * 0")), ('schedule = { every = "90m" }', Every(5400.0, "90m")),
    ('schedule = "every 1d"', Every(86400.0, "1d")), ('every = "1h30m"', Every(5400.0, "1h30m")),
    ('schedule = "0 0 29 2 *"', CronExpression("0 0 29 2 *")),
    ('schedule = "0  2 * * SUN"', CronExpression("0 2 * * SUN")),
])
def test_schedules(written: str, meant: object) -> None:
    assert parse(job(written)).jobs["j"].schedule == meant


def test_everything_wrong_with_checks_is_said_at_once() -> None:
    found = problems(SMALLEST.replace("[jobs.", """
        check = "25:00"
        check_day = 3
        check_days = 4000
        check_budget = "much"
        [jobs.""", 1))
    place = "repositories.usb."
    assert set(found) == {place + key for key in ("check", "check_day", "check_days", "check_budget")}
    assert "no clock shows" in found[place + "check"]
    assert "did you mean check_days?" in found[place + "check_day"]
    assert "1 to 3650" in found[place + "check_days"]
    assert '"2G"' in found[place + "check_budget"]
    assert set(problems(SMALLEST.replace("[jobs.", "check_days = 0\ncheck_budget = 0\n[jobs.", 1))) == {
        place + "check_days", place + "check_budget"}


# --- what is wrong ---------------------------------------------------------------------------


def test_everything_wrong_is_said_at_once() -> None:
    """Over all parts of the file, each at its place."""
    found = problems("""
        langauge = "ja"
        [repositories.usb]
        loction = "/b"
        pack_size = "16"
        max_size = "50 gigs"
        [jobs.planter]
        repositories = ["usc"]
        schedule = "25:00"
        [jobs.planter.components.database]
        kind = "sqlte"
        retention_days = "30"
        [jobs.planter.components.images]
        kind = "files"
        source = "/mnt/images"
        port = 3
        [metrics]
        listen = 9470
    """)
    assert set(found) == {
        "langauge", "repositories.usb.loction", "repositories.usb.location", "repositories.usb.pack_size",
        "repositories.usb.max_size", "jobs.planter.repositories", "jobs.planter.schedule",
        "jobs.planter.components.database.kind",
        "jobs.planter.components.database.source", "jobs.planter.components.database.retention_days",
        "jobs.planter.components.images.port", "metrics.listen"} - {
        "jobs.planter.repositories"} | {"jobs.planter.repositories[0]"}
    assert "did you mean language?" in found["langauge"]
    assert "did you mean location?" in found["repositories.usb.loction"]
    assert '"2G"' in found["repositories.usb.max_size"]
    assert "did you mean usb?" in found["jobs.planter.repositories[0]"]
    assert "did you mean sqlite?" in found["jobs.planter.components.database.kind"]
    assert "postgres, mysql" in found["jobs.planter.components.images.port"]


@pytest.mark.parametrize(("content", "place", "words"), [
    ("", "jobs", "is missing"),
    ("jobs = 3", "jobs", "[jobs.planter]"),
    ("[repositories]", "repositories", "is missing"),
    ('[repositories.usb]\nlocation = ""', "repositories.usb.location", "empty text"),
    ('[repositories]\nusb = "/b"', "repositories.usb", "found a text"),
    ('[repositories."a,b"]\nlocation = "/b"', 'repositories."a,b"', "cannot hold ,"),
    ('[repositories."-x"]\nlocation = "/b"', "repositories.-x", "hyphen"),
    ('[repositories."a/b"]\nlocation = "/b"', 'repositories."a/b"', "cannot hold /"),
    ('[repositories."x\\n"]\nlocation = "/b"', 'repositories."x\\n"', "space"),
    ('[repositories."a\\u0007b"]\nlocation = "/b"', 'repositories."a\\x07b"', "control"),
    ('[repositories."カ\\u3099"]\nlocation = "/b"', 'repositories."カ\u3099"', "stored apart"),
    ('[repositories.usb]\nlocation = "b2:bucket"', "repositories.usb.location", "b2"),
    ('[repositories.usb]\nlocation = "/b/{host}"', "repositories.usb.location", "{hostname}"),
    ('[repositories.a]\nlocation = "/b"\n[repositories.b]\nlocation = "/b/"', "repositories.b.location",
     "repository a"),
    ('[repositories.a]\nlocation = "/b"\npassword_file = "x"\npassword_command = "y"',
     "repositories.a.password_command", "only one"),
    ('[repositories.a]\nlocation = "/b"\npassword_command = "echo \'"', "repositories.a.password_command", "quotes"),
    ('[repositories.a]\nlocation = "/b"\ncompression = "min"', "repositories.a.compression", '"max"'),
    ('[repositories.a]\nlocation = "/b"\npack_size = 200', "repositories.a.pack_size", "from 4 to 128"),
    ('[repositories.a]\nlocation = "/b"\ncache = "true"', "repositories.a.cache", "without quotes"),
    ('[repositories.a]\nlocation = "~bob/b"', "repositories.a.location", "~/"),
    (job("schedule = 02:00:00"), "jobs.j.schedule", "time without quotes"),
    (job('schedule = "0 0 30 2 *"'), "jobs.j.schedule", "Bad day-of-month"),
    (job('schedule = "* * * * * *"'), "jobs.j.schedule", "five fields"),
    (job('schedule = "daily"'), "jobs.j.schedule", '"daily"'),
    (job('every = "5s"'), "jobs.j.every", "1 minute"),
    (job("every = 6"), "jobs.j.every", '"6h"'),
    (job('every = "6h"\nschedule = "02:00"'), "jobs.j.every", "only one"),
    (job('repositories = []'), "jobs.j.repositories", "empty list"),
    (job('repositories = ["usb", "usb"]'), "jobs.j.repositories", "twice"),
    (job('before = "systemctl stop x"'), "jobs.j.before", "list of words"),
    (job('before = [["a"], [3]]'), "jobs.j.before[1]", "word 1"),
    (job('before = ["a", ["b"]]'), "jobs.j.before", "word 2"),
    (job('hook_timeout = 5'), "jobs.j.hook_timeout", "without a unit"),
    ('[repositories.usb]\nlocation = "/b"\n[jobs.j]\nschedule = "02:00"', "jobs.j.components", "is missing"),
    (component('kind = "files"\nsource = "/s"\n[repositories.b]\nlocation = "/c"'), "jobs.j.repositories",
     "is missing"),
    (component('source = "/s"'), "jobs.j.components.c.kind", "is missing"),
    (component('kind = "files"'), "jobs.j.components.c.source", "is missing"),
    (component('kind = "files"\nsource = []'), "jobs.j.components.c.source", "empty list"),
    (component('kind = "files"\nsource = ["/a", 3]'), "jobs.j.components.c.source[1]", "number 3"),
    (component('kind = "files"\nsource = ["/a", "/a/../a"]'), "jobs.j.components.c.source", "already a source"),
    (component('kind = "files"\nsource = "/a"\nsources = "/b"'), "jobs.j.components.c.sources", "did you mean source?"),
    (component('kind = "files"\nsource = "/a"\nexclude = ["a", "["]'), "jobs.j.components.c.exclude[1]", "malformed"),
    (component('kind = "files"\nsource = "/a"\nexclude_larger_than = "big"'),
     "jobs.j.components.c.exclude_larger_than", '"10M"'),
    (component('kind = "files"\nsource = "/a"\nmax_loss = 90'), "jobs.j.components.c.max_loss", "0.9"),
    (component('kind = "files"\nsource = "/a"\nmax_loss = nan'), "jobs.j.components.c.max_loss", "0.9"),
    (component('kind = "files"\nsource = "/a"\nkeep_last = 0'), "jobs.j.components.c.keep_last", "from 1"),
    (component('kind = "files"\nsource = "/a"\nretention_days = true'), "jobs.j.components.c.retention_days", "true"),
    (component('kind = "files"\nsource = "/a"\nretention_days = 1.5'), "jobs.j.components.c.retention_days", "1.5"),
    (component('kind = "files"\nsource = "/a"\nkeep_within = "1w"'), "jobs.j.components.c.keep_within", "1y5m7d2h"),
    (component('kind = "sqlite"\nsource = ["/a"]'), "jobs.j.components.c.source", "found a list"),
    (component('kind = "command"'), "jobs.j.components.c.command", "is missing"),
    (component('kind = "command"\ncommand = []'), "jobs.j.components.c.command", "empty list"),
    (component('kind = "command"\ncommand = ["x"]\nfilename = "a/b"'), "jobs.j.components.c.filename", "folders"),
    (component('kind = "postgres"\nuser = "-x"'), "jobs.j.components.c.user", "user"),
    (component('kind = "mysql"\nport = 70000'), "jobs.j.components.c.port", "65535"),
    (GOOD.replace("components.images", "components.manifest"), "jobs.planter.components.manifest", "each run writes"),
    (GOOD + "[notify]\nping = 'ftp://x'", "notify.ping", "https://"),
    (GOOD + "notify = 3", "jobs.planter.components.images.notify", "no such key"),
    ("notify = 3\n" + GOOD, "notify", "[notify]"),
    (GOOD + "[metrics]\nlisten = '1.2.3.4:99999'", "metrics.listen", "127.0.0.1:9470"),
])
def test_what_is_wrong_and_where(content: str, place: str, words: str) -> None:
    found = problems(content)
    assert place in found
    assert words in found[place]
    assert all("\n" not in text for text in found.values())


@pytest.mark.parametrize(("content", "words"), [
    ("a = 02:00\n", "line 1, column 6"), ("\n\na = hello\n", "line 3"), ('a = "x\nb = 1', "closing quote"),
    ("a\n", "there should be ="), ("[a\n", "bracket"), ("a = 1\na = 2\n", "already"), ("[a]\n[a]\n", "exists already"),
    ("a = [1,\n", "line 1"), ('a = "\\q"', "backslash"), ("日本 = 1", "Japanese names"), ("a = 2026-02-31", "date"),
    ("a = " + "[" * 5000, "nested too deep"), ("a = " + "9" * 5000, "too long"), ("a = '\x01'", "control"),
])
def test_what_is_not_toml(content: str, words: str) -> None:
    [text] = problems(content).values()
    assert words in text


def test_a_wrong_name_or_kind_hides_nothing_of_what_stands_below_it() -> None:
    """Who corrects everything that was said must not be told of more the next time."""
    found = problems("""
[repositories."a,b"]
location = "ftp://host/x"
[jobs."x=y"]
schedule = "25:00"
[jobs."x=y".components.manifest]
kind = "files"
source = []
[jobs."x=y".components.database]
kind = "sqlit"
retention_days = -1
[jobs."x=y".components.images]
kind = "zzz"
""")
    below = 'jobs."x=y".components'
    assert set(found) == {
        'repositories."a,b"', 'repositories."a,b".location', 'jobs."x=y"', 'jobs."x=y".schedule', f"{below}.manifest",
        f"{below}.manifest.source", f"{below}.database.kind", f"{below}.database.source",
        f"{below}.database.retention_days", f"{below}.images.kind"}
    assert "did you mean sqlite?" in found[f"{below}.database.kind"]


def test_no_secret_is_in_an_error() -> None:
    """Wherever a password may stand, the value is not repeated, whatever is wrong with it."""
    canary = "canary-3141"
    for content in (
        f'[repositories.a]\nlocation = "s3:https://u:{canary}@h/b"',
        f'[repositories.a]\nlocation = "x:{canary}"', f'[repositories.a]\nlocation = ["{canary}"]',
        f'[repositories.a]\nlocation = "/b"\npassword = "{canary}"',
        f'[repositories.a]\nlocation = "/b"\npassword_command = ["echo", ["{canary}"]]',
        f'[repositories.a]\nlocation = "/b"\npassword_command = "echo \'{canary}"',
        f'[repositories]\na = "{canary}"',
        f'[notify]\nping = "{canary}"', f'[notify]\nwebhook = "x://{canary}"', f'notify = "{canary}"',
        f'[notify]\napprise = [["{canary}"]]', job(f'before = "curl {canary}"'), job(f'before = ["{canary}", 3]'),
        component(f'kind = "command"\ncommand = "curl {canary}"'),
        f'[notify]\nping = "{canary}', f'[notify]\nping = {canary}', f'[notify]\nping = "a" {canary}',
    ):
        with pytest.raises(SettingsError) as caught:
            parse(content)
        assert canary not in str(caught.value), content
        assert "canary" not in repr(caught.value.__cause__)


def test_an_error_travels_between_processes_and_says_the_same() -> None:
    with pytest.raises(SettingsError) as caught:
        parse("a = 1\nb = 2")
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value)
    assert len(error.problems) == 4


# --- the file --------------------------------------------------------------------------------


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a file with a mode."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for content, words in ((b"\xff\xfea\x00", "UTF-8"), (b"a = 1\n# \x93\xfa\x96{", "line 2 is no UTF-8"),
                           (b"", "is missing"), (b"#" * 5_000_000, "too large")):
        with pytest.raises(SettingsError, match=words):
            load_settings(write(tmp_path / "k.toml", content), DEFAULTS)
    for make in (lambda path: path.mkdir(), lambda path: os.mkfifo(path)):
        make(tmp_path / "odd")
        with pytest.raises(SettingsError, match=r"folder|regular"):
            load_settings(tmp_path / "odd", DEFAULTS)
        subprocess.run(["rm", "-r", str(tmp_path / "odd")], check=True)
    with pytest.raises(SettingsFileMissingError):
        load_settings(tmp_path / "missing", DEFAULTS)


def test_a_byte_order_mark_and_windows_lines_are_taken(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode()
    assert load_settings(write(tmp_path / "k.toml", content, 0o644), DEFAULTS).jobs


def test_secrets_in_a_file_that_others_may_read_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "k.toml", EVERYTHING.encode(), 0o640)
    with pytest.raises(SettingsError, match="chmod 600") as caught:
        load_settings(path, DEFAULTS)
    assert [problem.place for problem in caught.value.problems] == ["notify.apprise", "notify.ping", "notify.webhook"]
    path.chmod(0o600)
    assert load_settings(path, DEFAULTS).notify.ping


def test_a_file_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WritableSettingsError):
        load_settings(write(tmp_path / "k.toml", SMALLEST.encode(), 0o646), DEFAULTS)


def test_a_file_of_somebody_else_is_refused_where_it_was_only_found(tmp_path: Path) -> None:
    path = write(tmp_path / "k.toml", SMALLEST.encode())
    refuse_foreign_file(path, path.stat().st_uid)
    if os.geteuid() == 0:
        os.chown(path, 4242, -1)
        with pytest.raises(UntrustedSettingsError):
            refuse_foreign_file(path, 0)
    else:
        with pytest.raises(UntrustedSettingsError):
            refuse_foreign_file(path, path.stat().st_uid + 1)


def test_the_first_file_that_exists_counts(tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(NoSettingsError, match=r"one, .*two"):
        find_settings(None, places)
    (tmp_path / "two").touch()
    assert find_settings(None, places) == tmp_path / "two"
    (tmp_path / "one").symlink_to("nowhere")  # a broken link is no reason to use another file in silence
    assert find_settings(None, places) == tmp_path / "one"
    with pytest.raises(SettingsFileMissingError):
        find_settings(tmp_path / "three", places)
