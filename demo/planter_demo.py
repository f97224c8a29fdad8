"""The main job, on real data: a sample planter is protected by a settings file, backed up while it
writes, changed, backed up again, lost and restored; every claim is proven without any code of kuramori.

Run it with ``make demo``. Everything lies in ``demo/output`` and can be looked at afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from planter_data import change_planter, make_planter
from planter_life import content_of, is_one_instant, make_totals
from tree_compare import describe_difference, read_tree
from words import say

_ROOT = Path(__file__).resolve().parent
_OUTPUT = _ROOT / "output"
_PLANTER = _OUTPUT / "planter"
_DATABASE = _PLANTER / "database" / "smart_planter.db"
_SETTINGS = _OUTPUT / "kuramori.toml"
_FOLDERS = ("images", "logs", "settings")

_SETTINGS_TEXT = """\
state_directory = "state"

[repositories.usb]
location = "usb-disk/backup"

[repositories.shed]
location = "garden-shed/backup"

[jobs.planter]
repositories = ["usb", "shed"]
schedule = "02:00"
cleanup = "03:00"

[jobs.planter.components.database]
kind = "sqlite"
source = "planter/database/smart_planter.db"
retention_days = 30

[jobs.planter.components.images]
kind = "files"
source = "planter/images"
retention_days = 90

[jobs.planter.components.logs]
kind = "files"
source = "planter/logs"
retention_days = 30

[jobs.planter.components.settings]
kind = "files"
source = "planter/settings"
keep_last = 1
"""


def _kuramori(*arguments: str, hidden: bool = False) -> str:
    """Run the command as a user would, show it, and return what it printed."""
    program = Path(sys.executable).parent / "kuramori"
    environment = {**os.environ, "KURAMORI_SETTINGS": str(_SETTINGS), "KURAMORI_STATE_DIR": str(_OUTPUT / "state")}
    result = subprocess.run([str(program), *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8",
                            stderr=None if hidden else subprocess.STDOUT, check=False, env=environment)
    if not hidden:
        print(f"   $ kuramori {' '.join(arguments).replace(str(_OUTPUT), 'demo/output')}", flush=True)
        for line in result.stdout.splitlines():
            print(f"     {line}".replace(str(_OUTPUT), "demo/output").rstrip(), flush=True)
    if result.returncode != 0:
        sys.exit(f"kuramori {arguments[0]} ended with exit code {result.returncode}")
    return result.stdout


@contextmanager
def _living() -> Iterator[None]:
    """Let the planter write at full speed meanwhile."""
    program = [sys.executable, str(_ROOT / "planter_life.py"), str(_DATABASE)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        try:
            yield
        finally:
            writer.terminate()
            if writer.wait(60) != 0:
                sys.exit("the planter's application failed")


def _keep(name: str) -> None:
    """Copy the folders aside, to compare with later."""
    for folder in _FOLDERS:
        subprocess.run(["cp", "-a", str(_PLANTER / folder), str(_OUTPUT / f"kept-{name}" / folder)], check=True)


def _compare(name: str, kept: Path, restored: Path) -> bool:
    """Compare the folders byte for byte."""
    count = 0
    for folder in _FOLDERS:
        expected, found = read_tree(kept / folder), read_tree(restored / folder)
        difference = describe_difference(expected, found)
        if difference:
            say("   {name} DIFFERS: {what}", name=name, what=f"{folder}/{difference}")
            return False
        count += len(expected)
    say("   {name}: {files} files and folders, equal byte for byte, with times, modes and owners", name=name,
        files=count)
    return True


def _prove_instant(name: str, database: Path) -> bool:
    sound, readings = is_one_instant(database)
    say("   {name}: {count} readings, of one instant, and SQLite finds nothing wrong" if sound
        else "   {name}: the database DIFFERS: its two tables do not fit together", name=name, count=readings)
    return sound


def _runs() -> list[str]:
    """Return the names of all runs, the oldest first."""
    listed = json.loads(_kuramori("list", "--json", hidden=True))
    return [run["run"] for run in listed if run["repository"] == "usb"]


def _prepare() -> None:
    shutil.rmtree(_OUTPUT, ignore_errors=True)
    for folder in ("usb-disk", "garden-shed", "kept-morning", "kept-evening"):
        (_OUTPUT / folder).mkdir(parents=True)
    say("1. A sample planter: a database of sensor readings, images, logs, settings")
    make_planter(_PLANTER)
    make_totals(_DATABASE)
    files = [path for path in _PLANTER.rglob("*") if path.is_file()]
    say("   {files} files, {size:.1f} MB in {path}", files=len(files),
        size=sum(path.stat().st_size for path in files) / 1e6, path="demo/output/planter")
    say("2. What to protect, said once: demo/output/kuramori.toml")
    _SETTINGS.write_text(_SETTINGS_TEXT, encoding="utf-8")
    print("".join(f"     {line}\n" for line in _SETTINGS_TEXT.splitlines()[8:16]), end="")
    _kuramori("init")
    _kuramori("settings", "check")


def _back_up_twice() -> str:
    """Back up in the morning and in the evening; return the name of the first run."""
    say("3. The first backup, while the planter writes at full speed; a second place gets a copy")
    _keep("morning")
    with _living():
        _kuramori("backup", "planter")
    say("4. The planter lives on: new readings, new images, a changed setting, deleted and renamed files")
    change_planter(_PLANTER)
    with closing(sqlite3.connect(_DATABASE)) as database, database:
        database.execute("UPDATE totals SET (readings, light) = (SELECT count(*), sum(light) FROM readings)")
    say("5. The second backup: only what changed is stored")
    _keep("evening")
    _kuramori("backup", "planter")
    say("6. What there is, and whether all is well")
    _kuramori("list")
    _kuramori("status")
    return _runs()[0]


def _lose_and_restore() -> bool:
    """Lose things, bring them back in place, and take that back."""
    evening = content_of(_DATABASE)
    say("7. An accident: readings and images are lost. They are restored while the application has the database open")
    with closing(sqlite3.connect(_DATABASE)) as application:
        with application:
            application.execute("DELETE FROM readings WHERE id % 2 = 0")
        shutil.rmtree(_PLANTER / "images")
        lost = content_of(_DATABASE)
        _kuramori("restore", "latest", "--component", "database", "--component", "images")
        seen = application.execute("SELECT count(*), (SELECT readings FROM totals) FROM readings").fetchone()
    proven = _compare("evening", _OUTPUT / "kept-evening", _PLANTER)
    same = content_of(_DATABASE) == evening and seen[0] == seen[1]
    say("   the open connection sees all {count} readings again" if same else "   the database DIFFERS", count=seen[0])
    say("8. Nothing was destroyed: the restore can be taken back")
    _kuramori("restore", "--undo")
    undone = content_of(_DATABASE) == lost and not (_PLANTER / "images").exists()
    say("   the database and the images are as they were before the restore" if undone else "   they DIFFER")
    _kuramori("restore", "latest", "--component", "database", "--component", "images")
    return proven and same and undone


def _restore_and_check(first: str) -> bool:
    """Restore both states beside, and read every byte of both places."""
    say("9. Both states are restored, each into a folder of its own")
    _kuramori("restore", first, "--target", str(_OUTPUT / "restored-morning"))
    _kuramori("restore", "latest", "--from", "shed", "--target", str(_OUTPUT / "restored-evening"))
    say("10. Every byte of both places is read and verified")
    passwords = {name: str(_OUTPUT / f"password-{name}") for name in ("usb", "shed")}
    _kuramori("check", "--read-data", "-r", str(_OUTPUT / "usb-disk" / "backup"), "-p", passwords["usb"])
    _kuramori("check", "--read-data", "-r", str(_OUTPUT / "garden-shed" / "backup"), "-p", passwords["shed"])
    say("11. What a cleanup would remove")
    _kuramori("cleanup", "--dry-run")
    say("12. The restored folders against the real ones")
    proofs = [_compare("morning", _OUTPUT / "kept-morning", _OUTPUT / "restored-morning"),
              _prove_instant("morning", _OUTPUT / "restored-morning" / "database" / _DATABASE.name),
              _compare("evening", _OUTPUT / "kept-evening", _OUTPUT / "restored-evening"),
              _prove_instant("evening", _OUTPUT / "restored-evening" / "database" / _DATABASE.name)]
    return all(proofs)


def main() -> int:
    """Run the demonstration; return 0 if all is proven."""
    _prepare()
    first = _back_up_twice()
    if not all([_lose_and_restore(), _restore_and_check(first)]):
        return 1
    print()
    say("Done. Look at it yourself:")
    print("   export KURAMORI_SETTINGS=$PWD/demo/output/kuramori.toml")
    print("   venv/bin/kuramori status; venv/bin/kuramori history; venv/bin/kuramori list")
    print("   ls -lR demo/output/restored-evening")
    print("   restic -r demo/output/usb-disk/backup -p demo/output/password-usb snapshots")
    return 0


if __name__ == "__main__":
    sys.exit(main())
