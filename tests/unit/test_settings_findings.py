"""What setup finds on a machine, and what it says of places for backups."""

from __future__ import annotations

import os
import socket
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuramori.settings.draft import DraftComponent, SettingsDraft, propose_components, render_draft
from kuramori.settings.findings import (
    SourceFinding,
    examine_source,
    find_disks,
    find_servers,
    suggest_sources,
)
from kuramori.settings.loading import parse_settings
from kuramori.settings.model import ComponentKind
from kuramori.settings.store_checks import check_store
from kuramori.settings.toml_text import to_toml
from samples.settings_files import DEFAULTS, FILE


def make_database(path: Path) -> Path:
    """Make a database with something in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE t (a)")
    return path


# --- sources ---------------------------------------------------------------------------------


def test_a_path_is_known_by_what_it_holds_and_not_by_its_name(tmp_path: Path) -> None:
    database = make_database(tmp_path / "readings.data")
    (tmp_path / "fake.db").write_text("SQLite format 4")
    assert examine_source(database) == SourceFinding(database, ComponentKind.SQLITE, False, 1, database.stat().st_size)
    found = examine_source(tmp_path / "fake.db")
    assert found is not None
    assert found.kind is ComponentKind.FILES
    assert examine_source(tmp_path / "missing") is None


def test_a_folder_is_counted_with_the_databases_in_it(tmp_path: Path) -> None:
    inside = make_database(tmp_path / "deep" / "er" / "x.sqlite3")
    (tmp_path / "deep" / "plain.db").write_text("no")
    (tmp_path / "five").write_text("5" * 5)
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.db")
    found = examine_source(tmp_path)
    assert found == SourceFinding(tmp_path, ComponentKind.FILES, True, 3, inside.stat().st_size + 7, True, (inside,))


def test_suggestions_are_there_and_not_too_many(tmp_path: Path) -> None:
    (tmp_path / "Documents").mkdir()
    (tmp_path / "画像").mkdir()
    (tmp_path / "fake.db").write_text("no")
    databases = [make_database(tmp_path / f"{number:02}.db") for number in range(3)]
    assert suggest_sources([tmp_path, tmp_path / "missing"]) == [*databases, tmp_path / "Documents", tmp_path / "画像"]
    for number in range(3, 30):
        make_database(tmp_path / f"{number:02}.db")
    assert len(suggest_sources([tmp_path])) == 12


def test_servers_are_found_by_their_sockets(tmp_path: Path) -> None:
    assert find_servers(tmp_path) == []
    for folder in ("postgresql", "mysqld"):
        (tmp_path / folder).mkdir()
    (tmp_path / "postgresql" / ".s.PGSQL.5432.lock").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "mysqld" / "mysqld.sock"))
        assert find_servers(tmp_path) == [ComponentKind.POSTGRES, ComponentKind.MYSQL]


def test_disks_are_read_from_the_systems_list(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(
        "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /media/mika/USB\\040DISK vfat rw 0 0\n"
        "/dev/sdc1 /mnt/庭 ext4 rw 0 0\ntmpfs /mnt/ram tmpfs rw 0 0\nshort\n")
    assert find_disks(tmp_path / "mounts") == [Path("/media/mika/USB DISK"), Path("/mnt/庭")]
    assert find_disks(tmp_path / "missing") == []


# --- stores ----------------------------------------------------------------------------------


def test_places_are_tried_and_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config").touch()
    (tmp_path / "link").symlink_to(tmp_path / "source")
    before = sorted(tmp_path.rglob("*"))
    sources = [tmp_path / "source"]
    good = check_store(tmp_path / "new" / "deep", sources, 10)
    assert (good.faults, good.existing) == ((), False)
    assert good.free is not None
    assert ["same disk" in str(doubt) for doubt in good.doubts] == [True]
    old = check_store(tmp_path / "old", sources, 2**60)
    assert (old.faults, old.existing) == ((), True)
    assert any("MiB are free" in str(doubt) for doubt in check_store(tmp_path / "new", sources, 2**60).doubts)
    for place, words in (("source", "save itself"), ("source/x", "save itself"), ("link/x", "save itself"),
                         ("", "lies inside it"), ("full", "not empty"), ("full/file", "no folder"),
                         ("full/file/x", "no folder")):
        [fault] = check_store(tmp_path / place, sources, 0).faults
        assert words in str(fault), place
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("place", ["/proc/kuramori", "/sys/kuramori"])
def test_a_place_that_cannot_be_written_to(place: str) -> None:
    [fault] = check_store(Path(place), [], 0).faults
    assert "cannot be written to" in str(fault)


# --- the file --------------------------------------------------------------------------------


def test_components_get_names_of_their_own() -> None:
    def folder(path: str) -> SourceFinding:
        return SourceFinding(Path(path), ComponentKind.FILES, True)

    found = propose_components([
        SourceFinding(Path("/a/planter.db"), ComponentKind.SQLITE, False), folder("/a/images"), folder("/b/images"),
        folder("/c/my photos, 2026"), folder("/"), folder("/d/manifest"), folder("/e/.config"),
        SourceFinding(Path("/f/one"), ComponentKind.FILES, False),
        SourceFinding(Path("/f/two"), ComponentKind.FILES, False)], [ComponentKind.POSTGRES])
    assert [(each.name, each.kind.value) for each in found] == [
        ("planter", "sqlite"), ("images", "files"), ("images-2", "files"), ("my-photos-2026", "files"),
        ("files", "files"), ("files-2", "files"), ("config", "files"), ("files-3", "files"), ("postgres", "postgres")]
    assert found[-2].sources == (Path("/f/one"), Path("/f/two"))


_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=30)


@given(st.lists(_NAMES, min_size=1, max_size=5, unique=True), _NAMES)
def test_any_paths_make_a_file_that_loads_and_means_them(names: list[str], store: str) -> None:
    """Quotes, line breaks, control characters and all."""
    paths = [Path("/data", name) for name in names if name not in (".", "..")]
    components = propose_components([SourceFinding(path, ComponentKind.FILES, True) for path in paths], [])
    if not components:
        components = [DraftComponent("x", ComponentKind.FILES, (Path("/x"),))]
    draft = SettingsDraft("usb", Path("/mnt") / "disk" / "x", "main", tuple(components), "02:00", "03:00", 30)
    settings = parse_settings(render_draft(draft, Path("/etc", store), str), FILE, DEFAULTS)
    found = settings.jobs["main"].components.values()
    assert [each.sources for each in found] == [each.sources for each in components]


_VALUES = st.recursive(
    st.booleans() | st.integers(-2**60, 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3), max_leaves=6)
_KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_TABLES = st.recursive(st.dictionaries(_KEYS, _VALUES, max_size=4),
                       lambda inner: st.dictionaries(_KEYS, inner | _VALUES, max_size=3), max_leaves=6)


@given(_TABLES)
def test_what_is_written_as_toml_is_read_the_same(document: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(document)) == document
