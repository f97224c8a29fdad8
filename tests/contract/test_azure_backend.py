"""The contract of backends in Azure Blob Storage, as its emulator has it. Node runs that, which not everybody has."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from kuramori.errors import (
    MissingCredentialsError,
    NoSuchBucketError,
    StoragePermissionError,
    StoreOptionError,
    WrongCredentialsError,
)
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType, Handle
from kuramori.storage.location import open_backend
from kuramori.testing.backend_contract import BackendContract
from samples.azurite import ACCOUNT, CONTAINER, KEY, Azurite, azurite_program


@pytest.fixture(scope="module")
def azurite(skip_or_fail: Callable[[str], NoReturn]) -> Iterator[Azurite]:
    found = Azurite(azurite_program() or skip_or_fail("azurite is not installed: npm install azurite"))
    yield found
    found.remove()


def _access(azurite: Azurite, **variables: str) -> StoreAccess:
    return StoreAccess(variables={"AZURE_ACCOUNT_NAME": ACCOUNT, "AZURE_ACCOUNT_KEY": KEY, **variables},
                       options={"azure.endpoint": azurite.endpoint})


@pytest.mark.exhaustive(except_each=4)
class TestAzureBackend(BackendContract):
    @pytest.fixture
    def backend(self, azurite: Azurite) -> Backend:
        return open_backend(f"azure:{CONTAINER}:/a b/{uuid.uuid4().hex}", _access(azurite))


def test_what_is_refused(azurite: Azurite) -> None:
    other_key = open_backend(f"azure:{CONTAINER}:/x", _access(azurite, AZURE_ACCOUNT_KEY="c2VjcmV0"))
    with pytest.raises(StoragePermissionError) as caught:
        other_key.load(CONFIG_HANDLE)
    assert "c2VjcmV0" not in str(caught.value)
    missing = open_backend("azure:there-is-no-container:/x", _access(azurite))
    with pytest.raises(NoSuchBucketError):
        missing.load(CONFIG_HANDLE)
    with pytest.raises(NoSuchBucketError):
        list(missing.list(FileType.PACK))
    with pytest.raises(NoSuchBucketError):
        missing.save(Handle(FileType.PACK, "0" * 64), [b"x" * (3 << 20)])


def test_variables_that_cannot_be() -> None:
    with pytest.raises(MissingCredentialsError, match="AZURE_ACCOUNT_NAME"):
        open_backend("azure:c:/x")
    with pytest.raises(WrongCredentialsError, match="AZURE_ACCOUNT_KEY") as caught:
        open_backend("azure:c:/x", StoreAccess(variables={"AZURE_ACCOUNT_NAME": "a", "AZURE_ACCOUNT_KEY": "no!base64"}))
    assert "no!base64" not in str(caught.value)
    with pytest.raises(StoreOptionError, match=r"azure\.endpoint"):
        open_backend("azure:c:/x", StoreAccess(variables={"AZURE_ACCOUNT_NAME": "a"},
                                               options={"azure.endpoint": "nowhere"}))
