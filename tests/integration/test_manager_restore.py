"""Restores of runs: to a folder, in place, taken back; from the nearest repository that can."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kuramori.errors import (
    NoCompleteRunError,
    RestoreTargetError,
    UnknownComponentError,
    UnknownRestoreError,
    UnknownRunError,
)
from kuramori.history.records import OperationKind, OperationState
from kuramori.manager.model import RestoreRunOptions, RestoreRunResult
from kuramori.settings.model import ComponentKind
from kuramori.testing.contents import folder_contents
from samples.planter import JOB, Planter, make_planter


def _restore(planter: Planter, run: str = "latest", **options: Any) -> RestoreRunResult:
    planter.clock.advance(60)
    return planter.manager.restore(RestoreRunOptions(run, **options))


def _spoil(planter: Planter) -> None:
    (planter.folder / "images" / "0.txt").write_text("spoilt")
    (planter.folder / "images" / "1.txt").unlink()
    (planter.folder / "images" / "new.txt").write_text("new")


def test_a_run_comes_back_into_a_folder_where_it_is_found_at_once(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    (tmp_path / "settings.ini").write_text("[pump]\n")
    planter.change_component("settings", sources=(tmp_path / "settings.ini",))
    planter.change_component("both", sources=(tmp_path / "settings.ini", tmp_path / "logs"))
    planter.back_up()
    result = _restore(planter, target=tmp_path / "out")
    assert result.success
    assert result.restore_id == ""
    for name in ("images", "logs"):
        assert folder_contents(tmp_path / "out" / name) == folder_contents(tmp_path / name)
    assert (tmp_path / "out" / "settings" / "settings.ini").read_text() == "[pump]\n"
    assert sorted(os.listdir(tmp_path / "out" / "both")) == ["logs", "settings.ini"]
    assert all(component.verified for component in result.components.values())
    assert not list(tmp_path.rglob(".*.kuramori-restore-*"))


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    (tmp_path / "out" / "images").mkdir(parents=True)
    (tmp_path / "out" / "images" / "mine").write_text("mine")
    (tmp_path / "out" / "logs").mkdir()
    result = _restore(planter, target=tmp_path / "out")
    assert isinstance(result.components["images"].errors[0], RestoreTargetError)
    assert os.listdir(tmp_path / "out" / "images") == ["mine"]
    assert result.components["logs"].success
    assert not result.success
    assert planter.history.operations(kind=OperationKind.RESTORE)[0].state is OperationState.PARTIAL


def test_in_place_the_old_is_kept_and_comes_back(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    good = folder_contents(tmp_path / "images")
    _spoil(planter)
    spoilt = folder_contents(tmp_path / "images")
    result = _restore(planter, components=("images",))
    assert result.success
    assert folder_contents(tmp_path / "images") == good
    kept = Path(result.components["images"].kept)
    assert kept.name == "images.before-restore-20261123_010101"[:len("images.before-restore-")] + kept.name[-15:]
    assert folder_contents(kept) == spoilt
    assert [record.id for record in planter.history.restores()] == [result.restore_id]
    undone = planter.manager.undo_restore()
    assert undone.success
    assert folder_contents(tmp_path / "images") == spoilt
    assert folder_contents(Path(undone.components["images"].kept)) == good
    assert planter.history.restores() == []
    with pytest.raises(UnknownRestoreError):
        planter.manager.undo_restore()
    assert sorted(path.name.split(".")[0] for path in tmp_path.iterdir()) == [
        "images", "images", "logs", "repositories", "state"]


def test_a_file_in_place_and_one_that_was_gone(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    (tmp_path / "a.ini").write_text("a")
    (tmp_path / "b.ini").write_text("b")
    planter.change_component("settings", sources=(tmp_path / "a.ini", tmp_path / "b.ini"))
    planter.back_up()
    (tmp_path / "a.ini").write_text("changed")
    (tmp_path / "b.ini").unlink()
    assert _restore(planter, components=("settings",)).success
    assert [(tmp_path / name).read_text() for name in ("a.ini", "b.ini")] == ["a", "b"]
    (tmp_path / "a.ini").unlink()
    (tmp_path / "a.ini").write_text("written by the application since")
    assert planter.manager.undo_restore().success
    assert (tmp_path / "a.ini").read_text() == "changed"
    assert not (tmp_path / "b.ini").exists()
    kept = [path.read_text() for path in tmp_path.glob("a.ini.undone-restore-*")]
    assert kept == ["written by the application since"]


def test_what_was_kept_can_be_dropped(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    result = _restore(planter)
    assert planter.manager.drop_kept(result.restore_id) == 2
    assert not list(tmp_path.glob("*.before-restore-*"))
    with pytest.raises(UnknownRestoreError):
        planter.manager.drop_kept(result.restore_id)


def test_restores_are_undone_one_by_one(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    first = planter.back_up()
    _spoil(planter)
    second = planter.back_up()
    _restore(planter, first.run)
    _restore(planter, second.run)
    assert len(planter.manager.list_restores()) == 2
    assert planter.manager.undo_restore().run == second.run
    assert (tmp_path / "images" / "1.txt").exists()
    assert planter.manager.undo_restore().run == first.run
    assert (tmp_path / "images" / "0.txt").read_text() == "spoilt"


def test_a_source_that_moved_is_restored_to_where_the_settings_say(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    planter.change_component("images", sources=(tmp_path / "disk" / "pictures",))
    assert _restore(planter, components=("images",)).components["images"].target == str(tmp_path / "disk" / "pictures")
    assert folder_contents(tmp_path / "disk" / "pictures") == folder_contents(tmp_path / "images")


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "images")
    planter.change_component("images", sources=(tmp_path / "link",))
    planter.back_up()
    _spoil(planter)
    assert _restore(planter, components=("images",)).success
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link" / "1.txt").exists()


def test_a_dry_run_says_where_things_would_go_and_does_nothing(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    _spoil(planter)
    before = folder_contents(tmp_path)
    result = _restore(planter, dry_run=True)
    assert result.components["images"].target == str(tmp_path / "images")
    assert "before-restore" in result.components["images"].kept
    assert {path for path in folder_contents(tmp_path) if b"state" not in os.fsencode(path)} == {
        path for path in before if b"state" not in os.fsencode(path)}


# --- which repository ------------------------------------------------------------------------


def _damage(planter: Planter, name: str) -> None:
    for path in (planter.repository(name) / "data").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(bytes(path.stat().st_size))


def test_what_is_damaged_in_one_repository_comes_from_another_and_that_is_said(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    run = planter.back_up().run
    good = folder_contents(tmp_path / "images")
    _damage(planter, "usb")
    _spoil(planter)
    result = _restore(planter, run, components=("images",))
    assert result.success
    assert folder_contents(tmp_path / "images") == good
    assert "missing in the repository usb came from nas" in planter.told.texts


def test_damage_everywhere_leaves_what_is_there(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    run = planter.back_up().run
    for name in ("usb", "nas"):
        _damage(planter, name)
    _spoil(planter)
    spoilt = folder_contents(tmp_path / "images")
    result = _restore(planter, run, components=("images",))
    assert not result.success
    assert result.restore_id == ""
    assert folder_contents(tmp_path / "images") == spoilt
    assert not list(tmp_path.glob(".*")) + list(tmp_path.glob("*.before-*"))


def test_a_repository_that_is_away_is_passed_over(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    planter.repository("usb").rename(tmp_path / "unplugged")
    result = _restore(planter, target=tmp_path / "out")
    assert (result.success, result.repository) == (True, "nas")


def test_a_component_that_was_not_saved_is_named(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    shutil.rmtree(tmp_path / "images")
    run = planter.back_up().run
    result = _restore(planter, run, target=tmp_path / "out")
    assert not result.success
    assert "not saved in this run" in str(result.components["images"].errors[0])
    assert result.components["logs"].success
    with pytest.raises(UnknownRunError):
        _restore(planter)  # there is no complete one


def test_unknown_names(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    run = planter.back_up().run
    with pytest.raises(UnknownRunError) as unknown:
        _restore(planter, run[:-1])
    assert run in str(unknown.value)
    with pytest.raises(UnknownComponentError) as component:
        _restore(planter, run, components=("image",))
    assert "did you mean images?" in str(component.value)


def test_the_latest_run_where_none_is_complete(tmp_path: Path) -> None:
    """Before the first one, and where something was missing each time: then a run is restored by its name."""
    planter = make_planter(tmp_path)
    with pytest.raises(NoCompleteRunError):
        _restore(planter)
    (tmp_path / "logs").rename(tmp_path / "elsewhere")
    run = planter.back_up().run
    with pytest.raises(NoCompleteRunError, match="by its name"):
        _restore(planter)
    assert _restore(planter, run, components=("images",), target=tmp_path / "out").success


def test_of_many_runs_the_newest_are_named(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    runs = [planter.back_up(components=("logs",)).run for _ in range(13)]
    with pytest.raises(UnknownRunError) as unknown:
        _restore(planter, "before-the-storm")
    assert str(unknown.value).endswith(", ".join(["...", *runs[1:]]))


def test_a_run_of_a_kind_that_is_not_known_here_comes_back_to_a_folder_only(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    planter.change_component("images", kind=ComponentKind.FILES)
    planter.change(components={})
    assert _restore(planter, job=JOB, target=tmp_path / "out").success


def test_a_target_that_cannot_be_written_is_named_and_nothing_changes(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    (tmp_path / "file").write_text("a file")
    result = _restore(planter, target=tmp_path / "file" / "inside")
    assert not result.success
    assert (tmp_path / "file").read_text() == "a file"
