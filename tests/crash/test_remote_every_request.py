"""Something goes wrong between us and the server, at each request of a command, one after the other. What passes by
itself is not noticed; what does not is an error like any other. Afterwards nothing is lost, nothing is reported that is
not so, and the next run succeeds without help."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple

import pytest

from kuramori.errors import KuramoriError
from kuramori.storage.backend import FileType
from kuramori.testing.clock import FakeClock
from kuramori.testing.proxy_faults import (
    Answer,
    Fault,
    FlipBit,
    LateDuplicate,
    Moment,
    ProxiedRequest,
    RangeLie,
    Reset,
    Stall,
    TruncateAnswer,
    Which,
    WrongRange,
    requests_of,
)
from samples.broken_runs import Scene, files_of, moments
from samples.rclone_server import RcloneServer
from samples.remote_links import Link, rest_link
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


@pytest.fixture(params=["rest"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    with rest_link(request.getfixturevalue("rest_on_memory")) as made:
        yield made


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest, scenes: RemoteScenes) -> Scene:
    return scenes.scene(request.param)()


class Case(NamedTuple):
    """A fault, the requests that it meets, and how they are tried."""

    fault: Fault
    methods: str = ""
    kinds: str = ""
    listing: bool | None = None
    every: int = 1
    """Each so-many-th request; fewer on every day."""
    times: int | None = 1

    def __str__(self) -> str:
        said = " ".join(str(getattr(value, "value", value)) for value in astuple(self.fault) if value is not None)
        return f"{type(self.fault).__name__} {said}".replace("out of order", "").strip()

    def which(self, number: int) -> Which:
        return requests_of(self.methods, self.kinds, listing=self.listing, first=number, times=self.times)


class Run(NamedTuple):
    """How a disturbed command went."""

    errors: list[KuramoriError]
    requests: list[ProxiedRequest]
    attempts_again: int
    """Operations on the store that were tried again."""

    @property
    def disturbed(self) -> list[ProxiedRequest]:
        """The requests that a fault has met."""
        return [request for request in self.requests if request.faults]

    @property
    def only_its_end(self) -> bool:
        """Whether nothing was disturbed but that it gave its lock back."""
        return all(request.what == "DELETE locks" for request in self.disturbed)


def disturb(link: Link, scene: Scene, case: Case, *, passes: bool) -> Iterator[Run]:
    """Run a scene's command with a fault at each of the ``moments``, until a run has fewer requests than that. What
    each run leaves is judged, and where it failed or left a lock, its next run must succeed. Yield the runs that a
    fault has met.

    Args:
        passes: whether the command must succeed all the same.
    """
    for number in moments(case.every):
        clock = FakeClock()
        clock.advance(24 * 3600)
        name = link.plant(scene.before, clock)
        link.proxy.forget_requests()
        link.proxy.inject(case.fault, case.which(number))
        try:
            run = _run(link, scene, name, clock)
            link.proxy.heal()
            link.proxy.deliver_late()
            if passes or not run.disturbed:
                assert not run.errors, run.errors
            clock.advance(60)
            with link.reach(name, clock, direct=True) as backend:
                files = files_of(backend)
                scene.judge(files, clock)
                clock.advance(60)
                if run.errors or not run.disturbed or any(handle.type is FileType.LOCK for handle in files):
                    scene.again(backend, clock)
        except BaseException as error:
            error.add_note(f"{case} at request {number}: {link.proxy.injured}")
            raise
        if not run.disturbed:
            return
        yield run


def _run(link: Link, scene: Scene, name: str, clock: FakeClock) -> Run:
    notices: list[str] = []
    with link.reach(name, clock, notice=lambda operation, error, wait: notices.append(operation)) as backend:
        try:
            errors = scene.act(backend, clock)
        except KuramoriError as error:
            errors = [error]
    assert isinstance(errors, list)
    return Run(errors, link.proxy.requests, len(notices))


PASSING = [
    Case(Answer(500)), Case(Answer(503, retry_after=3), every=2), Case(Answer(429, retry_after=3), every=2),
    Case(Reset(Moment.BEFORE)), Case(Reset(Moment.IN_REQUEST), "PUT POST"), Case(Reset(Moment.IN_ANSWER), "GET"),
    Case(Reset(Moment.AFTER)), Case(TruncateAnswer(), "GET"), Case(FlipBit(), "GET", listing=False),
    *(Case(WrongRange(lie), "GET", "data") for lie in RangeLie),
    Case(LateDuplicate(1), "PUT POST"), Case(LateDuplicate(3), "PUT POST DELETE"),
]


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize("case", PASSING, ids=str)
def test_what_passes_by_itself_is_not_noticed(link: Link, scene: Scene, case: Case) -> None:
    for run in disturb(link, scene, case, passes=True):
        assert len(run.disturbed) == 1


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize("moment", Moment)
def test_a_transfer_that_stalls_is_given_up_and_tried_again(link: Link, scene: Scene, moment: Moment) -> None:
    link.stall_seconds = 0.5
    for run in disturb(link, scene, Case(Stall(moment), every=4), passes=True):
        assert run.attempts_again


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize("case", [Case(Answer(503), times=None), Case(Reset(), times=None)], ids=str)
def test_what_lasts_is_an_error_after_some_patience(link: Link, scene: Scene, case: Case) -> None:
    for run in disturb(link, scene, case, passes=False):
        assert run.errors or run.only_its_end
        assert run.attempts_again > 2


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize("status", [401, 403])
def test_what_is_refused_is_an_error_at_once(link: Link, scene: Scene, status: int) -> None:
    for run in disturb(link, scene, Case(Answer(status), times=None), passes=False):
        assert run.errors or run.only_its_end
        assert not run.attempts_again
