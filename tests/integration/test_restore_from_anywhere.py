"""Restores of runs whose repositories are damaged, stale or away: parts come from the next place, and that is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kuramori.errors import AmbiguousRunError, BlobsFromElsewhereNote, StorageRetryableError
from kuramori.manager.manager import Manager
from kuramori.manager.model import RestoreRunOptions, RestoreRunResult
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.repository.opening import open_repository
from kuramori.settings.model import RepositorySettings
from kuramori.storage.local import LocalBackend
from kuramori.testing.contents import folder_contents
from samples.planter import Planter, make_planter
from samples.repositories import PASSWORD, QUICK

_NAMES = ("usb", "nas")


def _planter(folder: Path) -> Planter:
    """Return a planter with several packs in each repository: one for each of two runs, and its trees."""
    planter = make_planter(folder)
    for number in range(2):
        for name in ("images", "logs"):
            (folder / name / f"run{number}.txt").write_text(f"{name} of run {number}\n" * 400)
        planter.back_up()
    return planter


def _restore(planter: Planter, run: str = "latest", **options: Any) -> RestoreRunResult:
    planter.clock.advance(60)
    return planter.manager.restore(RestoreRunOptions(run, target=planter.folder / "out", **options))


def _arrived(planter: Planter, result: RestoreRunResult) -> None:
    assert result.success, [component.errors for component in result.components.values()]
    for name in ("images", "logs"):
        assert folder_contents(planter.folder / "out" / name) == folder_contents(planter.folder / name)


def _blobs_by_pack(planter: Planter, name: str) -> dict[str, list[PackedBlob]]:
    repository = open_repository(LocalBackend(planter.repository(name)), PASSWORD)
    repository.load_index()
    return {pack.hex(): blobs for pack, blobs in repository.index.packs()}


def _packs(planter: Planter, name: str, blob_type: BlobType) -> list[Path]:
    """Return the packs of a repository that hold blobs of a type, by name."""
    packs = {pack for pack, blobs in _blobs_by_pack(planter, name).items() if blobs[0].type is blob_type}
    return sorted(path for path in (planter.repository(name) / "data").rglob("*") if path.name in packs)


def _damage(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(bytes(len(path.read_bytes())))


def _cut(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:70])


@pytest.mark.parametrize(("harm", "blob_type"), [
    (_damage, BlobType.TREE), (Path.unlink, BlobType.DATA), (_cut, BlobType.DATA)])
def test_what_the_first_has_lost_comes_from_the_next(tmp_path: Path, harm: Callable[[Path], object],
                                                    blob_type: BlobType) -> None:
    planter = _planter(tmp_path)
    for path in _packs(planter, "usb", blob_type):
        harm(path)
    result = _restore(planter)
    _arrived(planter, result)
    assert result.repository == "usb"
    assert all(component.fetched.get("nas", 0) > 0 for component in result.components.values()), result
    notes = [error for error in planter.told.errors if isinstance(error, BlobsFromElsewhereNote)]
    assert {str(note.fields["component"]) for note in notes} == {"images", "logs"}
    assert "came from nas" in planter.told.texts
    assert "kuramori -r usb check" in planter.told.texts
    operation = planter.history.operations()[0]
    assert any("came from nas" in line.text for line in planter.history.log_lines(operation.id))


def test_both_are_damaged_in_different_packs_and_everything_comes_back(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    there = {name: {pack: {blob.id for blob in blobs} for pack, blobs in _blobs_by_pack(planter, name).items()}
             for name in _NAMES}
    # A copy makes one pack of each run's data: the first is gone in the one, what is in the second in the other.
    first, second = _packs(planter, "nas", BlobType.DATA)
    first.unlink()
    lost = [path for path in _packs(planter, "usb", BlobType.DATA)
            if there["usb"][path.name] & there["nas"][second.name]]
    assert 0 < len(lost) < len(_packs(planter, "usb", BlobType.DATA))
    for path in lost:
        _damage(path)
    _arrived(planter, _restore(planter))


def test_what_the_first_does_not_even_know_of_comes_from_the_next(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    indexes = sorted((planter.repository("usb") / "index").iterdir())
    assert len(indexes) > 2
    for path in indexes[::2]:
        path.unlink()
    _arrived(planter, _restore(planter))


def test_a_store_that_falls_silent_is_not_asked_for_every_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planter = _planter(tmp_path)
    asked: list[str] = []
    plain = LocalBackend.load

    def load(self: LocalBackend, handle: Any, offset: int = 0, length: int | None = None) -> bytes:
        if self.location.endswith("usb") and str(handle).startswith("data"):
            asked.append(str(handle))
            if len(asked) > 3:
                raise StorageRetryableError(location=self.location, operation="load", name=str(handle), detail="gone")
        return plain(self, handle, offset, length)

    monkeypatch.setattr(LocalBackend, "load", load)
    _arrived(planter, _restore(planter))
    attempts = asked.count(asked[3])
    assert asked[3:] == [asked[3]] * attempts, "after one that was tried in vain, the others are asked"


def test_what_nobody_has_is_named(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    run = planter.back_up().run
    for name in _NAMES:
        for path in _packs(planter, name, BlobType.DATA):
            _damage(path)
    result = _restore(planter, run)
    assert not result.success
    assert all(component.errors for component in result.components.values())


def test_the_latest_run_is_the_newest_that_anybody_has(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    planter.repository("nas").rename(tmp_path / "unplugged")
    (tmp_path / "images" / "late.txt").write_text("late\n")
    last = planter.back_up().run
    # The one that is asked first is the one that was unplugged: it lacks the last run.
    (tmp_path / "unplugged").rename(planter.repository("nas"))
    planter.change(repositories=("nas", "usb"))
    result = _restore(planter)
    assert (result.run, result.repository) == (last, "usb")
    _arrived(planter, result)


def test_a_place_that_is_forced_still_gets_its_lost_parts_from_the_others(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    run = planter.back_up().run
    for path in _packs(planter, "nas", BlobType.DATA):
        path.unlink()
    result = _restore(planter, repository="nas")
    _arrived(planter, result)
    assert (result.repository, set(result.components["logs"].fetched)) == ("nas", {"usb"})
    planter.repository("usb").rename(tmp_path / "unplugged")
    shutil.rmtree(tmp_path / "out")
    assert not _restore(planter, run, repository="nas").success


def test_a_place_of_this_machine_is_read_before_one_beyond_a_network(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    run = planter.back_up().run
    # Nobody answers there; but nobody is asked, as long as what is near suffices.
    planter.places["usb"] = RepositorySettings("usb", "rest:http://127.0.0.1:9/")
    result = _restore(planter, run)
    assert result.repository == "nas"
    _arrived(planter, result)
    assert planter.told.errors == []


def test_a_place_whose_index_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    for path in (planter.repository("usb") / "index").iterdir():
        _damage(path)
    result = _restore(planter)
    assert result.repository == "nas"
    _arrived(planter, result)
    assert "usb was passed over" in planter.told.texts


def test_the_latest_run_of_several_jobs_must_be_named(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    settings = planter.settings
    other = replace(planter.job, name="other", repositories=("cloud",))
    cloud = RepositorySettings("cloud", str(planter.repository("cloud")))
    settings = replace(settings, jobs={**settings.jobs, "other": other},
                       repositories={**settings.repositories, "cloud": cloud})
    manager = Manager(settings, clock=planter.clock, history=planter.history, secrets=lambda _: PASSWORD,
                      progress=planter.told, kdf=QUICK)
    manager.initialise(["cloud"])
    manager.back_up("other")
    with pytest.raises(AmbiguousRunError):
        manager.restore(RestoreRunOptions("latest", target=tmp_path / "out"))
    assert manager.restore(RestoreRunOptions("latest", job="other", target=tmp_path / "out")).repository == "cloud"
