"""SeaweedFS for tests: a real object store that speaks S3, alone or as a cluster; on loopback, ended with the tests."""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

_LOOPBACK = "127.0.0.1"
_PATIENCE = 60.0
_PORTS = (10_000, 32_000)
_VOLUME_GROWTH = """\
[master.volume_growth]
copy_1 = 2
copy_2 = 2
copy_other = 1
"""


class S3Login(NamedTuple):
    """One user of the server."""

    access_key: str
    secret_key: str

    def variables(self) -> dict[str, str]:
        """Return the environment variables by which programs are told."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


ADMIN = S3Login("ADMINISTRATOR", "administrators-secret-0123456789")
"""May do everything, and make buckets."""
WRITER = S3Login("WRITERWITHOUTDELETE", "writers-secret-0123456789")
"""May list, read and write in every bucket, and delete nothing but locks."""
BUCKET = "kuramori-tests"
"""Is there from the beginning."""


def weed_program() -> str | None:
    """Return the path of ``weed``: of the environment that runs the tests, else of the machine; None without one."""
    own = Path(sysconfig.get_path("scripts"), "weed")
    return str(own) if own.exists() else shutil.which("weed")


class SeaweedServer:
    """A master, a volume server, a filer and the S3 gateway in one process."""

    def __init__(self, weed: str) -> None:
        """Start it in a temporary folder of its own, and return when it stores files."""
        self.folder = Path(tempfile.mkdtemp(prefix="kuramori-weed-"))
        self._weed = weed
        self._process: _WeedProcess | None = None
        try:
            _write_configuration(self.folder)
            self.ports = free_ports(8)
            self.start()
            make_bucket(self.ports[4], BUCKET)
        except BaseException:
            self.remove()
            raise

    @property
    def endpoint(self) -> str:
        """The address of the S3 gateway."""
        return f"http://{_LOOPBACK}:{self.ports[6]}"

    def location(self, prefix: str, bucket: str = BUCKET) -> str:
        """Return the location of a repository, as restic and kuramori take it."""
        return f"s3:{self.endpoint}/{bucket}/{prefix}"

    def start(self) -> None:
        """Start it (again), with the same ports and what it has stored."""
        master, master_grpc, volume, volume_grpc, filer, filer_grpc, gateway, gateway_grpc = self.ports
        self._process = _WeedProcess(self._weed, self.folder, "server", [
            f"-dir={self.folder}", f"-ip={_LOOPBACK}", f"-ip.bind={_LOOPBACK}", "-master.telemetry=false",
            "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=64", "-volume.max=200",
            "-volume.minFreeSpace=0", "-filer", "-s3",
            f"-master.port={master}", f"-master.port.grpc={master_grpc}", f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}",
            f"-s3.port={gateway}", f"-s3.port.grpc={gateway_grpc}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-filer.localSocket={self.folder / 'filer'}", f"-s3.localSocket={self.folder / 's3'}",
            f"-s3.config={self.folder / 'logins.json'}", "-s3.autoCreateBucket=false"])
        wait_until_it_stores(filer, gateway, [self._process])

    def kill(self) -> None:
        """End it as a power cut does. What it had confirmed is there again after :meth:`start`."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def remove(self) -> None:
        """End it and remove all of it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class SeaweedCluster:
    """A master, three volume servers, a filer and the S3 gateway, each a process of its own. Every file lies on two of
    the volume servers (replication 001)."""

    def __init__(self, weed: str) -> None:
        """Start all of it, and return when it stores files."""
        self.folder = Path(tempfile.mkdtemp(prefix="kuramori-cluster-"))
        self._weed = weed
        self._master, self._master_grpc, self._filer, self._filer_grpc, self._gateway, self._gateway_grpc, \
            *self._volumes = free_ports(12)
        self._processes: dict[str, _WeedProcess] = {}
        try:
            _write_configuration(self.folder)
            self._start("master", [
                f"-mdir={self.folder}", f"-ip={_LOOPBACK}", f"-ip.bind={_LOOPBACK}", f"-port={self._master}",
                f"-port.grpc={self._master_grpc}", "-defaultReplication=001", "-volumeSizeLimitMB=64",
                "-telemetry=false"])
            self._wait_for("master", self._master, "/cluster/healthz")
            for number in range(3):
                self.start_volume_server(number)
            self._start("filer", [
                f"-master={self._master_address}", f"-ip={_LOOPBACK}", f"-ip.bind={_LOOPBACK}",
                f"-port={self._filer}", f"-port.grpc={self._filer_grpc}", f"-defaultStoreDir={self.folder}",
                f"-localSocket={self.folder / 'filer'}", "-defaultReplicaPlacement=001"])
            self._wait_for("filer", self._filer, "/")
            self._start("s3", [
                f"-filer={_LOOPBACK}:{self._filer}.{self._filer_grpc}", f"-ip.bind={_LOOPBACK}",
                f"-port={self._gateway}", f"-port.grpc={self._gateway_grpc}", "-port.iceberg=0", "-port.lance=0",
                f"-localSocket={self.folder / 's3'}", f"-config={self.folder / 'logins.json'}",
                "-autoCreateBucket=false"])
            wait_until_it_stores(self._filer, self._gateway, list(self._processes.values()))
            make_bucket(self._filer, BUCKET)
        except BaseException:
            self.remove()
            raise

    @property
    def endpoint(self) -> str:
        """The address of the S3 gateway."""
        return f"http://{_LOOPBACK}:{self._gateway}"

    def location(self, prefix: str, bucket: str = BUCKET) -> str:
        """Return the location of a repository, as restic and kuramori take it."""
        return f"s3:{self.endpoint}/{bucket}/{prefix}"

    def start_volume_server(self, number: int) -> None:
        """Start one of the three, 0 to 2 (again): what it had stored is there. It joins when it is ready."""
        folder = self.folder / f"volume-{number}"
        folder.mkdir(exist_ok=True)
        self._start(f"volume-{number}", [
            f"-dir={folder}", f"-ip={_LOOPBACK}", f"-ip.bind={_LOOPBACK}", f"-master={self._master_address}",
            f"-port={self._volumes[2 * number]}", f"-port.grpc={self._volumes[2 * number + 1]}", "-max=100",
            "-minFreeSpace=0"])

    def kill_volume_server(self, number: int) -> None:
        """End one of the three as a power cut does."""
        self._processes.pop(f"volume-{number}").kill()

    def wait_until_whole(self) -> None:
        """Return when the master knows all three volume servers.

        Raises:
            AssertionError: a minute was not enough.
        """
        deadline = time.monotonic() + _PATIENCE
        while self._known_volume_servers() < len(self._volumes) // 2:
            assert time.monotonic() < deadline, "a volume server has not joined"
            time.sleep(0.05)

    def _known_volume_servers(self) -> int:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{_LOOPBACK}:{self._master}/dir/status", timeout=10) as answer:
            centers = json.load(answer)["Topology"]["DataCenters"]
        return sum(len(rack["DataNodes"]) for center in centers for rack in center["Racks"])

    def remove(self) -> None:
        """End all of it and remove it."""
        for process in self._processes.values():
            process.kill()
        self._processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _master_address(self) -> str:
        return f"{_LOOPBACK}:{self._master}.{self._master_grpc}"

    def _wait_for(self, name: str, port: int, path: str) -> None:
        """Return when a process answers a question with 200. Whoever asks it earlier waits for five seconds before the
        next attempt."""
        deadline = time.monotonic() + _PATIENCE
        while _status("GET", f"http://{_LOOPBACK}:{port}{path}") != 200:
            self._processes[name].assert_running()
            assert time.monotonic() < deadline, f"the {name} did not become ready"
            time.sleep(0.05)

    def _start(self, name: str, options: Sequence[str]) -> None:
        self._processes[name] = _WeedProcess(self._weed, self.folder, name.partition("-")[0], options, name)


class _WeedProcess:
    """One process, which dies with the process of the tests."""

    def __init__(self, weed: str, folder: Path, command: str, options: Sequence[str], name: str = "server") -> None:
        self._log = folder / f"{name}.log"
        guard = ["setpriv", "--pdeathsig=KILL"] if shutil.which("setpriv") else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*guard, weed, "-logtostderr", command, *options], cwd=folder,
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def assert_running(self) -> None:
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        # SIGTERM would make it wait for half a minute; SIGKILL is the harder test besides.
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def free_ports(count: int) -> list[int]:
    """Return different ports of the loopback address on which nobody listens. They are none that the system gives to
    connections, which could take them before a server does, or while it is dead."""
    found: list[int] = []
    chance = random.SystemRandom()
    with ExitStack() as stack:
        for _ in range(100 * count):
            port, attempt = chance.randrange(*_PORTS), stack.enter_context(socket.socket())
            try:
                attempt.bind((_LOOPBACK, port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise AssertionError("no ports are free")


def make_bucket(filer: int, bucket: str) -> None:
    """Make a bucket, which is a folder of the filer.

    Args:
        filer: port of the filer.
    """
    assert _status("POST", f"http://{_LOOPBACK}:{filer}/buckets/{bucket}/") == 201


def wait_until_it_stores(filer: int, gateway: int, processes: Sequence[_WeedProcess]) -> None:
    """Return when the filer stores a file and the gateway asks for a login.

    Raises:
        AssertionError: a process ended, or a minute was not enough.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for process in processes:
            process.assert_running()
        stored = _status("PUT", f"http://{_LOOPBACK}:{filer}/ready", b"does it store files, larger than a line?" * 100)
        if stored == 201 and _status("GET", f"http://{_LOOPBACK}:{gateway}/") == 403:
            return
        time.sleep(0.05)
    raise AssertionError("SeaweedFS did not become ready")


def _status(method: str, url: str, content: bytes | None = None) -> int:
    """Return the status that a server answers with, or 0 without an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, content, method=method), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _write_configuration(folder: Path) -> None:
    (folder / "master.toml").write_text(_VOLUME_GROWTH)
    append_only = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Resource": ["arn:aws:s3:::*"],
         "Action": ["s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"]},
        {"Effect": "Allow", "Resource": ["arn:aws:s3:::*/locks/*"], "Action": ["s3:DeleteObject"]}]}
    logins = {
        "identities": [
            {"name": "administrator", "actions": ["Admin", "Read", "List", "Tagging", "Write"],
             "credentials": [{"accessKey": ADMIN.access_key, "secretKey": ADMIN.secret_key}]},
            {"name": "writer", "policyNames": ["append-only"],
             "credentials": [{"accessKey": WRITER.access_key, "secretKey": WRITER.secret_key}]}],
        "policies": [{"name": "append-only", "content": json.dumps(append_only)}]}
    (folder / "logins.json").write_text(json.dumps(logins))
