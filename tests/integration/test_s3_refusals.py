"""What S3 servers refuse, and what is none: one error each, with its cause, at once."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import (
    CertificateFileError,
    DeletionRefusedError,
    FileNotInStorageError,
    MissingCredentialsError,
    NoSuchBucketError,
    NotARepositoryServerError,
    OddObjectError,
    StorageError,
    StoragePermissionError,
    StoreOptionError,
    StoreUnreachableError,
    UnknownHostError,
    WrongClockError,
    WrongCredentialsError,
)
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.model.retention import RetentionPolicy
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, FileType, Handle
from kuramori.storage.location import open_backend
from kuramori.storage.s3 import S3Backend
from kuramori.storage.s3_location import parse_s3_address
from kuramori.testing.backend_contract import handle_of
from kuramori.testing.clock import FakeClock
from samples.repositories import PASSWORD, QUICK
from samples.seaweedfs import ADMIN, BUCKET, WRITER, SeaweedServer, free_ports

_ACCESS = StoreAccess(variables=ADMIN.variables())


def _address(seaweed: SeaweedServer) -> str:
    return seaweed.location(f"refusals/{uuid.uuid4().hex}")


def _failure_of_loading(location: str, access: StoreAccess = _ACCESS) -> StorageError:
    backend = open_backend(location, access)
    with pytest.raises(StorageError) as caught:
        backend.load(CONFIG_HANDLE)
    error = caught.value
    assert backend.location in str(error)
    for value in access.variables.values():
        assert value not in str(error)
    return error


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys(seaweed: SeaweedServer, name: str) -> None:
    access = StoreAccess(variables={**ADMIN.variables(), name: "something-else-entirely"})
    error = _failure_of_loading(_address(seaweed), access)
    assert isinstance(error, WrongCredentialsError)
    assert "AWS_ACCESS_KEY_ID" in str(error)
    backend = open_backend(_address(seaweed), access)
    with pytest.raises(WrongCredentialsError):
        backend.save(CONFIG_HANDLE, [b"config"])
    with pytest.raises(WrongCredentialsError):
        list(backend.list(FileType.PACK))
    with pytest.raises(WrongCredentialsError):
        backend.remove(CONFIG_HANDLE)


def test_no_keys(seaweed: SeaweedServer, tmp_path: Path) -> None:
    nobody = StoreAccess(variables={"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"})
    assert isinstance(_failure_of_loading(_address(seaweed), nobody), MissingCredentialsError)


def test_a_bucket_that_is_not_there(seaweed: SeaweedServer) -> None:
    location = seaweed.location("x", bucket="there-is-no-such-bucket")
    assert isinstance(_failure_of_loading(location), NoSuchBucketError)
    backend = open_backend(location, _ACCESS)
    with pytest.raises(NoSuchBucketError):
        list(backend.list(FileType.KEY))
    with pytest.raises(NoSuchBucketError):
        backend.save(handle_of(FileType.KEY, b"key"), [b"key"])


def test_the_bucket_is_made_where_that_is_allowed(seaweed: SeaweedServer) -> None:
    location = seaweed.location("x", bucket=f"made-{uuid.uuid4().hex}")
    with pytest.raises(StoragePermissionError):
        open_backend(location, StoreAccess(variables=WRITER.variables())).create()
    backend = open_backend(location, _ACCESS)
    backend.create()
    backend.create()
    backend.save(CONFIG_HANDLE, [b"config"])
    assert backend.load(CONFIG_HANDLE) == b"config"


def test_a_login_that_may_not_delete(seaweed: SeaweedServer) -> None:
    backend = open_backend(_address(seaweed), StoreAccess(variables=WRITER.variables()))
    backend.create()
    pack, lock = handle_of(FileType.PACK, b"pack"), handle_of(FileType.LOCK, b"lock")
    backend.save(pack, [b"pack"])
    backend.save(lock, [b"lock"])
    backend.remove(lock)
    with pytest.raises(StoragePermissionError) as caught:
        backend.remove(pack)
    assert "AccessDenied" in str(caught.value)
    assert backend.load(pack) == b"pack"


def test_a_backup_with_a_login_that_may_not_delete(seaweed: SeaweedServer, tmp_path: Path) -> None:
    location = _address(seaweed)
    create_repository(open_backend(location, _ACCESS), PASSWORD, CreateOptions(kdf=QUICK))
    (tmp_path / "file").write_bytes(b"content" * 1000)
    backend = open_backend(location, StoreAccess(variables=WRITER.variables()))
    repository = open_repository(backend, PASSWORD)
    for _ in range(2):
        back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path),)))
    assert list(backend.list(FileType.LOCK)) == []
    with pytest.raises(DeletionRefusedError):
        forget(repository, ForgetOptions(policy=RetentionPolicy(last=1)))
    assert len(list(backend.list(FileType.SNAPSHOT))) == 2
    forget(open_repository(open_backend(location, _ACCESS), PASSWORD), ForgetOptions(policy=RetentionPolicy(last=1)))
    assert len(list(backend.list(FileType.SNAPSHOT))) == 1


def test_another_server(seaweed: SeaweedServer) -> None:
    filer = f"s3:http://127.0.0.1:{seaweed.ports[4]}/{BUCKET}/x"
    assert isinstance(_failure_of_loading(filer), NotARepositoryServerError)
    without_tls = f"s3:{seaweed.endpoint.replace('http:', 'https:')}/{BUCKET}/x"
    assert "http://" in str(_failure_of_loading(without_tls))
    with pytest.raises(NotARepositoryServerError):
        open_backend(without_tls, _ACCESS).save(CONFIG_HANDLE, [b"config"])


def test_nobody_there() -> None:
    closed = f"s3:http://127.0.0.1:{free_ports(1)[0]}/{BUCKET}"
    assert isinstance(_failure_of_loading(closed), StoreUnreachableError)
    assert isinstance(_failure_of_loading(f"s3:http://no-such-host.invalid/{BUCKET}"), UnknownHostError)


def test_a_clock_that_is_wrong(seaweed: SeaweedServer) -> None:
    at_boot = FakeClock(0)
    backend = S3Backend(parse_s3_address(_address(seaweed).removeprefix("s3:")), _ACCESS, at_boot)
    with pytest.raises(WrongClockError):
        backend.save(CONFIG_HANDLE, [b"config"])


def test_an_object_that_is_missing_in_a_bucket_that_is_there(seaweed: SeaweedServer) -> None:
    backend = open_backend(_address(seaweed), _ACCESS)
    for handle in (CONFIG_HANDLE, Handle(FileType.PACK, "0" * 64)):
        with pytest.raises(FileNotInStorageError):
            backend.load(handle)


def test_a_name_that_cannot_be_understood(seaweed: SeaweedServer) -> None:
    backend = S3Backend(parse_s3_address(_address(seaweed).removeprefix("s3:")), _ACCESS)
    backend._requests.put(f"{backend._place.prefix}/snapshots/two\nlines", [b"odd"], "odd")
    with pytest.raises(OddObjectError) as caught:
        list(backend.list(FileType.SNAPSHOT))
    assert "two\\nlines" in str(caught.value)
    assert list(backend.list(FileType.KEY)) == []


@pytest.mark.parametrize(("option", "value"), [
    ("s3.storage-class", "GLACIER"), ("s3.storage-class", "not a class"), ("s3.bucket-lookup", "perhaps"),
    ("s3.list-objects-v1", "true")])
def test_options_that_cannot_be(option: str, value: str) -> None:
    with pytest.raises(StoreOptionError, match=option):
        open_backend("s3:host/bucket", replace(_ACCESS, options={option: value}))


def test_certificates_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    for content in (None, b"no certificate"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(CertificateFileError, match=r"ca\.pem"):
            open_backend("s3:https://host/bucket", replace(_ACCESS, ca_certificates=path))
