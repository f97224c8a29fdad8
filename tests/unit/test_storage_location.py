"""What texts mean as locations."""

from pathlib import Path

import pytest

from kuramori.errors import StoreNotBuiltError, UnknownLocationError, UsageError
from kuramori.storage.local import LocalBackend
from kuramori.storage.location import Location, open_backend, parse_location


@pytest.mark.parametrize(("text", "path"), [
    ("/srv/backup", "/srv/backup"), ("backup", "backup"), ("./a:b", "./a:b"), ("../x", "../x"),
    ("/a:b", "/a:b"),
    ("local:/srv/backup", "/srv/backup"), ("local:relative", "relative"), ("local:a:b", "a:b"), (".", "."),
    ("~user", "~user"), ("/", "/"), ("with space", "with space"), ("local:local:x", "local:x"),
    ("\u540d\u524d", "\u540d\u524d"),
])
def test_folders(text: str, path: str) -> None:
    assert parse_location(text) == Location("local", path)


@pytest.mark.parametrize("text", ["", "c:\\backup", "http://host/", "locla:/srv", "s4:bucket", "local:", ":x",
                                  "a b:c", "host:/path", "LOCAL:/srv"])
def test_what_cannot_be_a_location_is_refused(text: str) -> None:
    with pytest.raises(UnknownLocationError) as caught:
        parse_location(text)
    assert isinstance(caught.value, UsageError)
    assert caught.value.advice_text()


@pytest.mark.parametrize("text", ["b2:bucket:path", "swift:container:/", "swift:user:secret@host/"])
def test_stores_that_this_version_does_not_have_are_refused_by_name(text: str) -> None:
    with pytest.raises(StoreNotBuiltError) as caught:
        open_backend(text)
    assert f"{text.partition(':')[0]}:" in str(caught.value)


@pytest.mark.parametrize("text", ["rest:htp://user:secret@host/", "rest:https://user:secret@host:port/",
                                  "htps://user:secret@host/", "user:secret@host"])
def test_no_error_shows_a_password(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_backend(text)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.fields)


def test_opening_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("repo", "local:repo", "./repo", str(tmp_path / "repo"), f"local:{tmp_path}/repo"):
        backend = open_backend(text)
        assert isinstance(backend, LocalBackend)
        assert backend.location == str(tmp_path / "repo")
    assert not (tmp_path / "repo").exists()
