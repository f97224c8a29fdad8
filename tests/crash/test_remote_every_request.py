"""Something goes wrong between us and the server, at each request of a command, one after the other. What passes by
itself is not noticed; what does not is an error like any other. Afterwards nothing is lost, nothing is reported that is
not so, and the next run succeeds without help."""

from __future__ import annotations

import pytest

from kuramori.testing.proxy_faults import (
    Answer,
    FlipBit,
    LateDuplicate,
    Moment,
    RangeLie,
    Reset,
    Stall,
    TruncateAnswer,
    WrongRange,
)
from samples.broken_runs import Scene
from samples.remote_faults import Case, disturb
from samples.remote_links import Link

PASSING = [
    Case(Answer(500)), Case(Answer(503, retry_after=3), every=2), Case(Answer(429, retry_after=3), every=2),
    Case(Reset(Moment.BEFORE)), Case(Reset(Moment.IN_REQUEST), "PUT POST"), Case(Reset(Moment.IN_ANSWER), "GET"),
    Case(Reset(Moment.AFTER)), Case(TruncateAnswer(), "GET"), Case(FlipBit(), "GET", listing=False),
    *(Case(WrongRange(lie), "GET", "data") for lie in RangeLie),
    Case(LateDuplicate(1), "PUT POST"), Case(LateDuplicate(3), "PUT POST DELETE"),
]


@pytest.mark.exhaustive(except_each=17)
@pytest.mark.parametrize("case", PASSING, ids=str)
def test_what_passes_by_itself_is_not_noticed(link: Link, scene: Scene, case: Case) -> None:
    for run in disturb(link, scene, case, passes=True):
        assert len(run.disturbed) == 1


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("moment", Moment)
def test_a_transfer_that_stalls_is_given_up_and_tried_again(link: Link, scene: Scene, moment: Moment) -> None:
    link.stall_seconds = 0.25
    for run in disturb(link, scene, Case(Stall(moment), every=4), passes=True):
        assert run.attempts_again


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("case", [Case(Answer(503), times=None), Case(Reset(), times=None)], ids=str)
def test_what_lasts_is_an_error_after_some_patience(link: Link, scene: Scene, case: Case) -> None:
    for run in disturb(link, scene, case, passes=False):
        assert run.errors or run.only_its_end
        assert run.attempts_again > 2


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("status", [401, 403])
def test_what_is_refused_is_an_error_at_once(link: Link, scene: Scene, status: int) -> None:
    for run in disturb(link, scene, Case(Answer(status), times=None), passes=False):
        assert run.errors or run.only_its_end
        assert not run.attempts_again
