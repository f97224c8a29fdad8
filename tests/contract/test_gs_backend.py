"""The contract of backends in Google Cloud Storage's protocol, before SeaweedFS; Google itself is not asked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.errors import (
    MissingCredentialsError,
    NoSuchBucketError,
    StorageError,
    StoreOptionError,
    WrongCredentialsError,
)
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType, Handle
from kuramori.storage.location import open_backend
from kuramori.testing.backend_contract import BackendContract
from samples.google_gateway import TOKEN, GoogleGateway
from samples.seaweedfs import BUCKET, SeaweedServer


@pytest.fixture(scope="module")
def gateway(seaweed: SeaweedServer) -> Iterator[GoogleGateway]:
    found = GoogleGateway(seaweed)
    yield found
    found.close()


def _access(gateway: GoogleGateway, token: str = TOKEN) -> StoreAccess:
    return StoreAccess(variables={"STORAGE_EMULATOR_HOST": gateway.host, "GOOGLE_ACCESS_TOKEN": token})


@pytest.mark.exhaustive(except_each=4)
class TestGoogleBackend(BackendContract):
    removing_tells_missing = False

    @pytest.fixture
    def backend(self, gateway: GoogleGateway) -> Backend:
        return open_backend(f"gs:{BUCKET}:/google/a b/{uuid.uuid4().hex}", _access(gateway))


def test_what_is_refused(gateway: GoogleGateway) -> None:
    with pytest.raises(WrongCredentialsError):
        open_backend(f"gs:{BUCKET}:/x", _access(gateway, "another")).load(CONFIG_HANDLE)
    missing = open_backend("gs:there-is-no-such-bucket:/x", _access(gateway))
    with pytest.raises(NoSuchBucketError):
        missing.load(CONFIG_HANDLE)
    with pytest.raises(NoSuchBucketError):
        missing.save(Handle(FileType.KEY, "0" * 64), [b"key"])


def test_the_location_for_people(gateway: GoogleGateway) -> None:
    assert open_backend(f"gs:{BUCKET}:a//b/", _access(gateway)).location == f"gs:{BUCKET}:/a/b"


@pytest.mark.parametrize("content", [None, "no JSON", "{}"])
def test_credentials_that_are_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "credentials.json"
    if content is not None:
        path.write_text(content)
    access = StoreAccess(variables={"GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    with pytest.raises((MissingCredentialsError, WrongCredentialsError)) as caught:
        open_backend("gs:bucket:/x", access)
    assert isinstance(caught.value, StorageError)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(caught.value)


def test_an_emulator_that_is_none() -> None:
    with pytest.raises(StoreOptionError):
        open_backend("gs:bucket:/x", StoreAccess(variables={"STORAGE_EMULATOR_HOST": "http://host:0"}))
