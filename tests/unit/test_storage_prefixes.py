"""What lies below a location: names of folders, and how their locations are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from kuramori.errors import FileNotInStorageError, PrefixListingError, StorageError
from kuramori.storage.access import NO_ACCESS
from kuramori.storage.prefixes import Prefix, last_part, list_prefixes, location_below


def test_folders_of_this_machine(tmp_path: Path) -> None:
    for name in ("pi-1", "プランター", "with space"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "linked").symlink_to(tmp_path / "pi-1")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert set(list_prefixes(f"local:{tmp_path}/")) == {
        Prefix(name, f"local:{tmp_path}/{name}") for name in ("pi-1", "プランター", "with space", "linked")}


def test_a_name_that_is_no_text_is_a_folder_as_well(tmp_path: Path) -> None:
    (tmp_path / "x\udcff").mkdir()
    [found] = list_prefixes(str(tmp_path))
    assert Path(found.location).is_dir()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotInStorageError):
        list(list_prefixes(str(tmp_path / "nowhere")))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        list(list_prefixes(str(tmp_path / "file")))


def test_a_store_that_does_not_tell() -> None:
    with pytest.raises(PrefixListingError) as caught:
        list(list_prefixes("rest:http://127.0.0.1:1/", NO_ACCESS))
    assert "kuramori fleet LOCATION LOCATION" in caught.value.advice_text()


@pytest.mark.parametrize(("location", "name", "below"), [
    ("/b", "x", "/b/x"), ("/", "x", "/x"), ("local:b", "x", "local:b/x"), ("/b", "a%20 b", "/b/a%20 b"),
    ("sftp:pi@nas:", "x%", "sftp:pi@nas:x%"), ("sftp://pi@nas//b", "a b", "sftp://pi@nas//b/a%20b"),
    ("rest:http://h/a/", "x", "rest:http://h/a/x")])
def test_locations_below(location: str, name: str, below: str) -> None:
    assert location_below(location, name) == below


@pytest.mark.parametrize(("location", "name"), [
    ("/b/pi-1", "pi-1"), ("/b/pi-1/", "pi-1"), ("/", "/"), ("local:b", "b"), ("sftp:pi@nas:pi-1", "pi-1"),
    ("sftp://pi@nas//b/with%20space", "with space"), ("rest:http://h:8000/", "h:8000"),
    ("rest:http://h:8000/with%20space/", "with space"), ("rclone:remote:a/pi%201", "pi%201"),
    ("s3:h/bucket/pi%201", "pi%201"), ("s3:http://h/bucket/pi%201", "pi 1")])
def test_what_a_location_is_called(location: str, name: str) -> None:
    assert last_part(location) == name
