"""What lies below a location on real servers, and the fleet that is found there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from kuramori.clock import SystemClock
from kuramori.errors import NoFleetError, PrefixListingError
from kuramori.manager.fleet import survey_fleet
from kuramori.manager.fleet_model import DeviceState, FleetOptions
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, FileType, Handle
from kuramori.storage.local import LocalBackend
from kuramori.storage.location import open_backend
from kuramori.storage.prefixes import list_prefixes, location_below
from samples.azurite import ACCOUNT, CONTAINER, KEY, Azurite, azurite_program
from samples.google_gateway import TOKEN, GoogleGateway
from samples.rclone_server import RcloneServer
from samples.repositories import PASSWORD, make_repository
from samples.seaweedfs import ADMIN, BUCKET, SeaweedServer
from samples.ssh_server import SshServer

NAMES = ("pi-1", "プランター", "with space")


class Store:
    """A place of a real server that holds three repositories without a run, and something else."""

    def __init__(self, location: str, access: StoreAccess, folder: Path) -> None:
        """Copy a repository of this machine into it, thrice."""
        self.location = location
        self.access = access
        make_repository(folder).close()
        source = LocalBackend(folder / "repository")
        [key] = source.list(FileType.KEY)
        for name in NAMES:
            target = open_backend(location_below(location, name), access)
            target.create()
            for handle in (Handle(FileType.KEY, key.name), CONFIG_HANDLE):
                target.save(handle, [source.load(handle)])
            target.close()


@pytest.fixture
def sftp(ssh_server: SshServer, tmp_path: Path) -> Store:
    folder = ssh_server.folder_for("fleet")
    shutil.rmtree(folder, ignore_errors=True)
    return Store(f"sftp:vault:{folder}", ssh_server.access(), tmp_path)


@pytest.fixture
def s3(seaweed: SeaweedServer, tmp_path: Path) -> Store:
    return Store(seaweed.location(f"fleet-{secrets.token_hex(4)}"), StoreAccess(variables=ADMIN.variables()), tmp_path)


@pytest.fixture
def gs(seaweed: SeaweedServer, tmp_path: Path) -> Iterator[Store]:
    gateway = GoogleGateway(seaweed)
    variables = {"STORAGE_EMULATOR_HOST": gateway.host, "GOOGLE_ACCESS_TOKEN": TOKEN}
    yield Store(f"gs:{BUCKET}:/fleet-{secrets.token_hex(4)}", StoreAccess(variables=variables), tmp_path)
    gateway.close()


@pytest.fixture
def azure(tmp_path: Path, skip_or_fail: Callable[[str], NoReturn]) -> Iterator[Store]:
    emulator = Azurite(azurite_program() or skip_or_fail("azurite is not installed: npm install azurite"))
    access = StoreAccess(variables={"AZURE_ACCOUNT_NAME": ACCOUNT, "AZURE_ACCOUNT_KEY": KEY},
                         options={"azure.endpoint": emulator.endpoint})
    yield Store(f"azure:{CONTAINER}:/fleet", access, tmp_path)
    emulator.remove()


@pytest.fixture
def webdav(webdav_server: RcloneServer, tmp_path: Path) -> Store:
    return Store(f"webdav:{webdav_server.url(f'fleet-{secrets.token_hex(4)}')}", StoreAccess(), tmp_path)


@pytest.fixture
def rclone_remote(rclone: str, tmp_path: Path) -> Store:
    access = StoreAccess(variables={"HOME": str(tmp_path), "PATH": os.defpath}, options={"rclone.program": rclone})
    return Store(f"rclone::local:{tmp_path / 'fleet'}", access, tmp_path)


def find_store(request: pytest.FixtureRequest, name: str) -> Store:
    """Return the place of a server."""
    store = request.getfixturevalue(name)
    assert isinstance(store, Store)
    return store


STORES = pytest.mark.parametrize("kind", ["sftp", "s3", "gs", "azure", "webdav", "rclone_remote"])


@pytest.mark.exhaustive(except_each=3)
@STORES
def test_a_fleet_on_a_server(request: pytest.FixtureRequest, kind: str) -> None:
    store = find_store(request, kind)
    found = list(list_prefixes(store.location, store.access))
    assert sorted(prefix.name for prefix in found) == sorted(NAMES)
    status = survey_fleet(FleetOptions([(store.location, store.access)], lambda _: [PASSWORD], SystemClock()))
    assert [(device.name, device.state) for device in status.devices] == [
        (name, DeviceState.NEVER) for name in sorted(NAMES)]
    assert all(device.repository_id for device in status.devices)


@pytest.mark.exhaustive(except_each=3)
@STORES
def test_nothing_there(request: pytest.FixtureRequest, kind: str) -> None:
    store = find_store(request, kind)
    nowhere = location_below(store.location, "nowhere")
    with pytest.raises(NoFleetError):
        survey_fleet(FleetOptions([(nowhere, store.access)], lambda _: [PASSWORD], SystemClock()))


def test_a_server_that_does_not_tell_is_given_the_repositories_themselves(rest_server: RcloneServer,
                                                                          tmp_path: Path) -> None:
    store = Store(f"rest:{rest_server.url(f'fleet-{secrets.token_hex(4)}')}", StoreAccess(), tmp_path)
    with pytest.raises(PrefixListingError, match="name the repository of each device"):
        survey_fleet(FleetOptions([(store.location, store.access)], lambda _: [PASSWORD], SystemClock()))
    names = ["pi-1", "with space", "nowhere"]
    status = survey_fleet(FleetOptions([(location_below(store.location, name), store.access) for name in names],
                                       lambda _: [PASSWORD], SystemClock()))
    assert [(device.name, device.state) for device in status.devices] == [
        ("pi-1", DeviceState.NEVER), ("with space", DeviceState.NEVER), ("nowhere", DeviceState.UNUSABLE)]
