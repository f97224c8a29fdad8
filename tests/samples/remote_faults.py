"""Commands on a repository elsewhere, disturbed at one request after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import astuple
from typing import NamedTuple

from kuramori.errors import KuramoriError
from kuramori.storage.backend import FileType
from kuramori.testing.clock import FakeClock
from kuramori.testing.proxy_faults import Fault, Moment, ProxiedRequest, Reset, Which, requests_of
from samples.broken_runs import Files, Scene, moments
from samples.remote_links import Link


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


class _PausingClock(FakeClock):
    """A clock whose waits take a moment.

    rclone writes half a file under its name, and removes it when it notices that no more will come. Who tries again
    half a second later is not disturbed by that; who does so at once may lose what he stored.
    """

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass, and a little of them really."""
        threading.Event().wait(0.03)
        super().sleep(seconds)


def disturb(link: Link, scene: Scene, case: Case, *, passes: bool) -> Iterator[Run]:
    """Run a scene's command with a fault at each of the ``moments``, until a run has fewer requests than that. What
    each run leaves is judged, and where it failed or left a lock, its next run must succeed. Yield the runs that a
    fault has met.

    Args:
        passes: whether the command must succeed all the same.
    """
    judged: Files = {}
    for number in moments(case.every * link.every):
        clock = _PausingClock() if case.fault == Reset(Moment.IN_REQUEST) else FakeClock()
        clock.advance(24 * 3600)
        with link.place(scene.before, clock) as place:
            link.proxy.forget_requests()
            link.proxy.inject(case.fault, case.which(number))
            try:
                run = _run(link, scene, place.name, clock)
                link.proxy.heal()
                link.proxy.deliver_late()
                if passes or not run.disturbed:
                    assert not run.errors, run.errors
                clock.advance(60)
                files = place.files()
                if files != judged:  # what only reads leaves the same each time
                    scene.judge(files, clock)
                    judged = files
                clock.advance(60)
                if run.errors or not run.disturbed or any(handle.type is FileType.LOCK for handle in files):
                    scene.again(place.direct, clock)
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
