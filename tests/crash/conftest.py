"""Servers behind the fault proxy, and commands on what lies there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from samples.broken_runs import Scene
from samples.rclone_server import RcloneServer
from samples.remote_links import Link, rest_link, s3_link
from samples.remote_scenes import SCENES, RemoteScenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> RemoteScenes:
    return RemoteScenes(tmp_path_factory.mktemp("remote scenes"))


@pytest.fixture(scope="module")
def rest_on_memory(rclone: str) -> Iterator[RcloneServer]:
    """A server that may leave half a file, as one on a disk does; a folder for each repository costs less here."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        Path(folder).chmod(0o777)
        server = RcloneServer(rclone, "restic", files=Path(folder))
        yield server
        server.remove()


@pytest.fixture(params=["rest", "s3"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    rest = request.param == "rest"
    with rest_link(request.getfixturevalue("rest_on_memory")) if rest else s3_link(
            request.getfixturevalue("seaweed")) as made:
        yield made


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest, scenes: RemoteScenes) -> Scene:
    return scenes.scene(request.param)()
