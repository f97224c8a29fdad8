"""The real command on a real server behind the fault proxy: killed in the middle of a request, left alone by the
server, or annoyed now and then. restic says what is left, and the next run succeeds by itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kuramori.testing.contents import folder_contents
from kuramori.testing.fault_proxy import FaultProxy
from kuramori.testing.proxy_faults import (
    Answer,
    Call,
    Fault,
    FlipBit,
    LateDuplicate,
    Moment,
    Reset,
    TruncateAnswer,
    Which,
    requests_of,
)
from kuramori.testing.restic_judge import Restic
from samples.broken_runs import OLD
from samples.kuramori_command import Kuramori
from samples.rclone_server import RcloneServer
from samples.remote_links import Link, rest_link, s3_link
from samples.remote_scenes import empty_repository
from samples.seaweedfs import SeaweedServer

_PASSWORD = OLD.reveal()
_UPLOADS = "PUT POST"


class House:
    """A repository behind the proxy, and something to back up."""

    def __init__(self, link: Link, folder: Path, restic: str) -> None:
        name = link.plant(*empty_repository())
        self.proxy: FaultProxy = link.proxy
        self.source = folder / "source"
        self._folder = folder
        self._numbers = iter(range(1000))
        location = link.location(name)
        self.command = Kuramori(Path(location), _PASSWORD, environment={
            **link.variables, "KURAMORI_REPOSITORY": location, "XDG_CACHE_HOME": str(folder / "cache")})
        self.restic = Restic(restic, link.location(name, direct=True), _PASSWORD, environment=link.variables)

    def change_source(self) -> None:
        """Make the source differ from what any snapshot has."""
        number = next(self._numbers)
        chance = random.Random(number)
        (self.source / "notes").mkdir(parents=True, exist_ok=True)
        (self.source / f"{number}.jpg").write_bytes(chance.randbytes(1_500_000))
        (self.source / "database").write_bytes(chance.randbytes(3_000_000))
        for file in range(5):
            (self.source / "notes" / f"{file}").write_text(f"note {number} {file}\n" * 50)

    def history(self, snapshots: int) -> None:
        """Back up so many times."""
        for _ in range(snapshots):
            self.change_source()
            self.command.run("backup", self.source)

    def kill_at(self, which: Which, moment: Moment, *arguments: str | Path) -> None:
        """Run the command and kill it at a moment of a request."""
        process: subprocess.Popen[bytes] | None = None

        def kill() -> None:
            assert process is not None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

        self.proxy.inject(Call(kill, moment), which)
        process = self.command.start(*arguments, start_new_session=True, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
        assert process.wait(300) == -signal.SIGKILL
        self.proxy.heal()

    def judge(self) -> None:
        """Everything is whole, and the newest snapshot is the source."""
        self.restic.check()
        target = self._folder / f"restored {next(self._numbers)}"
        self.restic.restore("latest", target)
        assert folder_contents(target / self.source.relative_to("/")) == folder_contents(self.source)
        assert self.restic.list("locks") == []


@pytest.fixture
def house(link: Link, tmp_path: Path, restic_new: str) -> House:
    return House(link, tmp_path, restic_new)


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize(("kinds", "number", "moment"), [
    ("data", 1, Moment.IN_REQUEST), ("data", 2, Moment.AFTER), ("index", 1, Moment.IN_REQUEST),
    ("index", 1, Moment.AFTER), ("snapshots", 1, Moment.IN_REQUEST), ("snapshots", 1, Moment.AFTER),
    ("locks", 1, Moment.AFTER),
])
def test_a_backup_that_is_killed_in_an_upload(house: House, kinds: str, number: int, moment: Moment) -> None:
    house.history(1)
    house.change_source()
    house.kill_at(requests_of(_UPLOADS, kinds, first=number), moment, "backup", house.source)
    house.restic.run("check", "--read-data", "--no-lock")
    house.command.run("backup", house.source)
    house.judge()


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize(("methods", "kinds", "moment"), [
    ("DELETE", "snapshots", Moment.AFTER), (_UPLOADS, "data", Moment.IN_REQUEST), (_UPLOADS, "index", Moment.AFTER),
    ("DELETE", "index", Moment.AFTER), ("DELETE", "data", Moment.AFTER),
])
def test_a_prune_that_is_killed_in_a_request(house: House, methods: str, kinds: str, moment: Moment) -> None:
    house.history(3)
    forget = ("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    # The first removal of an index file may be a question whether removals are allowed.
    first = 2 if (methods, kinds) == ("DELETE", "index") else 1
    house.kill_at(requests_of(methods, kinds, first=first), moment, *forget)
    house.restic.run("check", "--read-data", "--no-lock")
    house.command.run(*forget)
    house.command.run("prune", "--max-unused", "0")
    house.judge()
    assert len(house.restic.snapshots()) == 1


NUISANCES: list[tuple[Fault, Which]] = [
    (Answer(503, retry_after=1), requests_of("GET", first=3)),
    (Reset(Moment.IN_ANSWER), requests_of("GET", listing=True, first=2)),
    (Reset(Moment.IN_REQUEST), requests_of(_UPLOADS, "data")),
    (Reset(Moment.AFTER), requests_of(_UPLOADS, "index snapshots", times=2)),
    (TruncateAnswer(), requests_of("GET", "data index snapshots")),
    (FlipBit(), requests_of("GET", "data", listing=False)),
    (FlipBit(), requests_of("GET", "data", listing=True)),
    (FlipBit(), requests_of("GET", "config keys")),
    (LateDuplicate(2), requests_of(_UPLOADS, "data index snapshots")),
    (Reset(Moment.AFTER), requests_of("DELETE")),
]


@pytest.mark.exhaustive
def test_commands_that_are_annoyed_now_and_then(house: House, tmp_path: Path) -> None:
    def annoy() -> None:
        house.proxy.heal()
        for fault, which in NUISANCES:
            house.proxy.inject(fault, which)

    house.history(2)
    house.change_source()
    forget = ("forget", "--keep-last", "2", "--prune", "--max-unused", "0")
    for arguments in (("backup", house.source), ("snapshots",), ("check", "--read-data"), forget,
                      ("restore", "latest", "--target", tmp_path / "restored", "--verify")):
        annoy()
        said = house.command.run(*arguments)
        assert "damaged" not in said
        assert house.proxy.injured, arguments
        house.proxy.forget_requests()
    house.proxy.heal()
    assert folder_contents(tmp_path / "restored" / house.source.relative_to("/")) == folder_contents(house.source)
    house.judge()
    assert len(house.restic.snapshots()) == 2


@pytest.fixture
def mortal_rest(rclone: str) -> Iterator[tuple[Link, Callable[[], None], Callable[[], None]]]:
    server = RcloneServer(rclone, "restic")
    with rest_link(server) as link:
        yield link, server.kill, server.begin
    server.remove()


@pytest.fixture
def mortal_s3(seaweed: SeaweedServer) -> Iterator[tuple[Link, Callable[[], None], Callable[[], None]]]:
    with s3_link(seaweed) as link:
        yield link, seaweed.kill, seaweed.start


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["rest", "s3"])
def test_a_server_that_dies_in_an_upload_and_comes_back(kind: str, request: pytest.FixtureRequest, tmp_path: Path,
                                                        restic_new: str) -> None:
    """The same run waits until it is back."""
    link, die, come_back = request.getfixturevalue(f"mortal_{kind}")
    house = House(link, tmp_path, restic_new)
    house.history(1)
    house.change_source()
    dead = threading.Event()
    house.proxy.inject(Call(lambda: (die(), dead.set()), Moment.IN_REQUEST), requests_of(_UPLOADS, "data"))
    process = house.command.start("backup", house.source, stderr=subprocess.PIPE)
    assert dead.wait(120)
    come_back()  # by this thread: the server ends when the thread ends that started it
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    house.proxy.heal()
    house.judge()
    assert len(house.restic.snapshots()) == 2
