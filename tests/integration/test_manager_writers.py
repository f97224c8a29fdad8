"""Programs write to databases at full speed while a job runs again and again: what is restored is of one instant."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from kuramori.manager.model import RestoreRunOptions, RunState
from kuramori.settings.model import ComponentKind
from samples.databases import JOURNAL_MODES, make_bank, transfers_of_instant, writer
from samples.planter import JOB, Planter
from samples.thoroughness import is_exhaustive

_EVERYDAY = ("wal",)
_OTHERS = sorted({*JOURNAL_MODES, "memory"} - {*_EVERYDAY})


@pytest.mark.parametrize("mode", [*_EVERYDAY, *(pytest.param(mode, marks=pytest.mark.exhaustive) for mode in _OTHERS)])
def test_every_restored_database_is_of_one_instant(tmp_path: Path, mode: str) -> None:
    """A database that is a component, and one inside a folder that is saved; nobody waits for the other."""
    planter = Planter(tmp_path, repositories=("usb",))
    banks = {"database": tmp_path / "planter.db", "images": tmp_path / "images" / "index.db"}
    planter.change_component("database", kind=ComponentKind.SQLITE, sources=(banks["database"],))
    planter.change_component("logs", enabled=False)
    planter.manager.initialise()
    count = 10 if is_exhaustive() else 4
    with ExitStack() as writers:
        for path in banks.values():
            make_bank(path, mode)
            writers.enter_context(writer(path, mode))
        runs = [planter.back_up() for _ in range(count)]
    assert [run.state for run in runs] == [RunState.COMPLETE] * count, planter.told.texts
    seen: dict[str, list[int]] = {name: [] for name in banks}
    for run in runs:
        target = tmp_path / "restored" / run.run
        restored = planter.manager.restore(RestoreRunOptions(run=run.run, job=JOB, target=target))
        assert restored.success, planter.told.texts
        for name, path in banks.items():
            copy = target / name / path.name
            assert list(copy.parent.glob(f"{path.name}-*")) == [], "nothing of a journal beside it"
            seen[name].append(transfers_of_instant(copy))
    for name, instants in seen.items():
        assert instants == sorted(instants), name
        assert instants[0] < instants[-1], f"{name}: its writer stood still, so nothing was shown"
