"""Runs of a job: what is saved, what is refused, what is said, and what is never written where."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from kuramori.errors import (
    DifferentRepositoryError,
    HookFailedError,
    InsteadOfFirstNote,
    Interrupted,
    InvalidNameError,
    JobBusyError,
    ManifestError,
    NotInitialisedError,
    NotMountedError,
    RepositoryAwayError,
    RunExistsError,
    SourceEmptiedError,
    SourceGoneError,
    SourceShrunkError,
    StateError,
    UnknownComponentError,
    UnknownJobError,
    UnknownRepositoryNameError,
    WrongPasswordError,
)
from kuramori.history.records import OperationKind, OperationState
from kuramori.manager.manifest import load_manifest
from kuramori.manager.model import ComponentState, CopyState, Health, RestoreRunOptions, RunState
from kuramori.manager.run_catalogue import RunCatalogue
from kuramori.manager.state_files import hold_job
from kuramori.repository.opening import open_repository
from kuramori.secret import Secret
from kuramori.settings import mount_points
from kuramori.settings.model import Hook
from kuramori.storage.local import LocalBackend
from samples.planter import HOST, JOB, Planter, make_planter
from samples.repositories import PASSWORD


def _catalogue(planter: Planter, name: str = "usb") -> RunCatalogue:
    return RunCatalogue(open_repository(LocalBackend(planter.repository(name)), PASSWORD), name)


def test_a_complete_run_is_in_both_repositories_with_its_record(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    result = planter.back_up()
    assert result.state is RunState.COMPLETE
    assert result.run == "full_backup_20261123_010000"
    assert [copy.state for copy in result.copies] == [CopyState.COMPLETE]
    assert result.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("*/*.txt"))
    for name in ("usb", "nas"):
        catalogue = _catalogue(planter, name)
        (run,) = catalogue.runs
        assert (run.key.job, run.key.run, run.key.hostname) == (JOB, result.run, HOST)
        assert set(run.components) == {"images", "logs"}
        assert run.manifest is not None
        manifest = catalogue.manifest(run)
        assert manifest is not None
        assert manifest.backup_type == "full"
        assert manifest.total_size_bytes == result.size_bytes
        assert manifest.components["images"].source_path == str(tmp_path / "images")
        assert manifest.components["images"].success
    (operation,) = planter.history.operations()
    assert (operation.kind, operation.state, operation.run) == (
        OperationKind.BACKUP, OperationState.COMPLETE, result.run)
    assert {(entry.component, entry.repository) for entry in operation.components} == {
        (component, name) for component in ("images", "logs") for name in ("usb", "nas")}


def test_a_missing_source_makes_the_run_partial_and_the_rest_is_saved(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    shutil.rmtree(tmp_path / "images")
    result = planter.back_up()
    assert result.state is RunState.PARTIAL
    assert result.components["images"].state is ComponentState.FAILED
    assert isinstance(result.components["images"].errors[0], SourceGoneError)
    assert result.components["logs"].snapshot_id
    assert "is the USB disk mounted?" in planter.told.texts
    (stored,) = planter.manager.list_runs(repository="usb")
    assert stored.state is RunState.PARTIAL
    assert "is not there" in stored.components["images"].error
    assert planter.history.operations()[0].state is OperationState.PARTIAL


def test_one_of_several_sources_that_is_missing_makes_its_component_partial(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.change_component("images", sources=(tmp_path / "images", tmp_path / "gone"))
    result = planter.back_up()
    assert result.components["images"].state is ComponentState.PARTIAL
    assert result.components["images"].files == 3
    assert result.state is RunState.PARTIAL


def test_nothing_saved_is_a_failed_run_without_a_record(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    for name in ("images", "logs"):
        shutil.rmtree(tmp_path / name)
    result = planter.back_up()
    assert result.state is RunState.FAILED
    assert result.manifest_id == ""
    assert planter.manager.list_runs() == []


def test_a_folder_that_is_suddenly_empty_is_not_saved(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    good = planter.back_up()
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    result = planter.back_up()
    (error,) = result.components["images"].errors
    assert isinstance(error, SourceEmptiedError)
    assert good.run in str(error)
    assert result.components["images"].snapshot_id == ""
    assert len(_catalogue(planter).snapshots) == 5  # two components and a record, one component and a record
    assert planter.back_up(accept_loss=True).state is RunState.COMPLETE
    assert planter.back_up().state is RunState.COMPLETE, "what was accepted is the measure from then on"


@pytest.mark.parametrize(("max_loss", "state"), [(0.5, ComponentState.FAILED), (0.9, ComponentState.COMPLETE),
                                                 (1.0, ComponentState.COMPLETE)])
def test_a_folder_that_lost_more_than_it_may(tmp_path: Path, max_loss: float, state: ComponentState) -> None:
    planter = make_planter(tmp_path)
    planter.change_component("images", max_loss=max_loss)
    planter.back_up()
    for number in (0, 1):
        (tmp_path / "images" / f"{number}.txt").unlink()
    outcome = planter.back_up().components["images"]
    assert outcome.state is state
    assert (state is ComponentState.FAILED) == any(isinstance(error, SourceShrunkError) for error in outcome.errors)


def test_a_loss_is_measured_by_the_last_good_run_and_not_by_a_partial_one(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    (tmp_path / "other").mkdir()
    planter.change_component("images", sources=(tmp_path / "other", tmp_path / "gone"))
    (tmp_path / "other" / "a").write_text("a")
    planter.back_up(accept_loss=True)  # partial
    (tmp_path / "other" / "a").unlink()
    (error,) = [error for error in planter.back_up().components["images"].errors
                if not isinstance(error, SourceGoneError)]
    assert isinstance(error, SourceEmptiedError)
    assert error.fields["before"] == 3


def test_a_source_that_is_a_link_stands_for_what_it_leads_to(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "images")
    planter.change_component("images", sources=(tmp_path / "link",))
    assert planter.back_up().components["images"].files == 3


# --- repositories ----------------------------------------------------------------------------


def test_an_empty_mount_point_is_never_written_to(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    for name in ("usb", "nas"):
        planter.repository(name).rename(tmp_path / name)
        planter.repository(name).mkdir()
    result = planter.back_up()
    assert result.state is RunState.FAILED
    assert isinstance(result.errors[0], RepositoryAwayError)
    assert "is the disk mounted" in str(result.errors[0])
    with pytest.raises(RepositoryAwayError):
        planter.manager.initialise()
    assert [list(planter.repository(name).iterdir()) for name in ("usb", "nas")] == [[], []]
    assert all(made.created for made in planter.manager.initialise(renew=True))
    assert planter.back_up().state is RunState.COMPLETE


def test_a_copy_that_is_away_is_stale_and_caught_up(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    planter.repository("nas").rename(tmp_path / "nas")
    result = planter.back_up()
    assert result.state is RunState.COMPLETE
    assert [copy.state for copy in result.copies] == [CopyState.STALE]
    (tmp_path / "nas").rename(planter.repository("nas"))
    (copy,) = planter.back_up().copies
    assert (copy.state, copy.snapshots_copied) == (CopyState.COMPLETE, 6)
    assert len(_catalogue(planter, "nas").runs) == 3


def test_another_disk_at_the_same_place_is_refused(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    shutil.rmtree(planter.repository("usb"))
    shutil.copytree(planter.repository("nas"), planter.repository("usb"))
    planter.change(repositories=("usb",))
    result = planter.back_up()
    assert isinstance(result.errors[0], DifferentRepositoryError)
    assert len(_catalogue(planter, "usb").runs) == 1
    planter.manager.initialise(["usb"], renew=True)
    assert planter.back_up().state is RunState.COMPLETE


def test_a_repository_that_was_never_made_says_how(tmp_path: Path) -> None:
    planter = Planter(tmp_path)
    result = planter.back_up()
    assert isinstance(result.errors[0], NotInitialisedError)
    assert "kuramori init" in str(result.errors[0])
    assert not planter.repository("usb").exists()


def test_a_run_that_comes_to_no_component_counts_as_a_failure_of_each(tmp_path: Path) -> None:
    """For the metrics: of a repository that is away, and of a hook that fails before the run."""
    planter = make_planter(tmp_path, repositories=("usb",))
    assert planter.back_up().state is RunState.COMPLETE
    planter.repository("usb").rename(tmp_path / "unplugged")
    assert planter.back_up().state is RunState.FAILED
    (tmp_path / "unplugged").rename(planter.repository("usb"))
    planter.change(before=(Hook(("false",), 60.0),))
    assert planter.back_up(components=("logs",)).state is RunState.FAILED
    assert {(each.component, each.repository): (each.successes, each.failures)
            for each in planter.history.component_totals()} == {("images", "usb"): (1, 1), ("logs", "usb"): (1, 2)}


def test_a_repository_is_not_made_on_the_mount_point_of_a_disk_that_is_not_there(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planter = Planter(tmp_path, repositories=("usb",))
    disk = str(planter.repository("usb").parent)
    escaped = disk.replace("e", "\\145")
    root = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    (tmp_path / "fstab").write_text(f"# a table\nUUID=1234 / ext4 defaults 0 1\n"
                                    f"UUID=5678 {escaped}/ vfat noauto 0 0\nnone none swap\n")
    (tmp_path / "mounts").write_text(root)
    monkeypatch.setattr(mount_points, "FSTAB", tmp_path / "fstab")
    monkeypatch.setattr(mount_points, "MOUNTS", tmp_path / "mounts")
    for renew in (False, True):
        with pytest.raises(NotMountedError, match=f"mount {disk}"):
            planter.manager.initialise(renew=renew)
    assert not planter.repository("usb").exists()
    (tmp_path / "mounts").write_text(f"{root}23 22 8:2 / {disk} rw - vfat /dev/sdb1 rw\n")
    assert planter.manager.initialise()[0].created
    (tmp_path / "mounts").unlink()
    assert not planter.manager.initialise()[0].created


def test_the_repositories_of_a_job_have_the_same_chunker_parameters(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.change(repositories=("usb", "nas", "cloud"))
    planter.repository("usb").rename(tmp_path / "unplugged")
    planter.manager.initialise(["cloud"])
    (tmp_path / "unplugged").rename(planter.repository("usb"))
    polynomials = {open_repository(LocalBackend(planter.repository(name)), PASSWORD).config.chunker_polynomial
                   for name in ("usb", "nas", "cloud")}
    assert len(polynomials) == 1


def test_a_wrong_password_is_in_the_result(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.password = Secret("wrong")
    result = planter.back_up()
    assert isinstance(result.errors[0], WrongPasswordError)
    assert result.state is RunState.FAILED


def test_a_first_repository_that_needs_a_hand_is_told_with_its_cure(tmp_path: Path) -> None:
    """The run goes to the next one; of one that is only away it is said that it is caught up when it is back."""
    planter = make_planter(tmp_path)
    planter.repository("usb").rename(tmp_path / "first")
    shutil.copytree(planter.repository("nas"), planter.repository("usb"))
    assert planter.back_up().state is RunState.COMPLETE
    [note] = [error for error in planter.told.errors if isinstance(error, InsteadOfFirstNote)]
    cure = DifferentRepositoryError().advice_text()
    assert cure
    assert note.advice_text() == f"{cure}; then usb gets it with the next run"
    planter.told.errors.clear()
    shutil.rmtree(planter.repository("usb"))
    assert planter.back_up().state is RunState.COMPLETE
    [note] = [error for error in planter.told.errors if isinstance(error, InsteadOfFirstNote)]
    assert note.advice_text() == "usb gets it when it is back"


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../run", "a/b", "", ".", "..", ".hidden", "latest", "x,y", "a\nb", "x" * 121])
def test_names_that_could_be_paths_are_refused(tmp_path: Path, name: str) -> None:
    planter = make_planter(tmp_path)
    if name:
        with pytest.raises(InvalidNameError):
            planter.back_up(run_name=name)
    else:
        assert planter.back_up(run_name=name).run.startswith("full_backup_")


def test_a_name_is_used_once(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    assert planter.back_up(run_name="手動_1").run == "手動_1"
    with pytest.raises(RunExistsError):
        planter.back_up(run_name="手動_1")
    first = planter.back_up()
    planter.clock.set(planter.clock.now_nanoseconds() - 3600 * 10**9 - 600 * 10**6)
    shutil.rmtree(tmp_path / "state")  # nobody remembers but the repository
    names = {run.name for run in planter.manager.list_runs(repository="usb")}
    again = planter.back_up()
    assert again.run not in names
    assert first.run in names


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    with pytest.raises(UnknownJobError) as job:
        planter.manager.back_up("plantre")
    assert str(job.value) == "there is no job plantre in the settings; did you mean planter?"
    with pytest.raises(UnknownComponentError):
        planter.back_up(components=("image",))
    with pytest.raises(UnknownRepositoryNameError):
        planter.manager.list_runs(repository="usv")


def test_only_some_components(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.change_component("logs", enabled=False)
    assert set(planter.back_up().components) == {"images"}
    assert set(planter.back_up(components=("logs",)).components) == {"logs"}


def test_two_processes_do_not_run_one_job(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    with hold_job(tmp_path / "state" / "locks", JOB, planter.clock), pytest.raises(JobBusyError):
        planter.back_up()
    assert planter.back_up().state is RunState.COMPLETE


def test_being_asked_to_end_leaves_a_run_without_a_record(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    answers = iter([False] * 6)
    with pytest.raises(Interrupted):
        planter.back_up(cancelled=lambda: next(answers, True))
    assert planter.history.operations()[0].state is OperationState.INTERRUPTED
    assert all(run.state is None for run in planter.manager.list_runs())
    assert planter.back_up().state is RunState.COMPLETE


# --- hooks -----------------------------------------------------------------------------------


def _python(program: str, timeout: float = 30) -> Hook:
    return Hook((sys.executable, "-c", program), timeout)


def test_a_failing_hook_before_the_run_stops_it_with_its_message(tmp_path: Path) -> None:
    planter = make_planter(tmp_path, before=(_python("import sys; sys.exit('the pump runs')"),),
                           after=(_python(f"open({str(tmp_path / 'after')!r}, 'w')"),),
                           on_failure=(_python(f"import os; open({str(tmp_path / 'failed')!r}, 'w').write("
                                               "os.environ['KURAMORI_STATE'])"),))
    result = planter.back_up()
    assert result.state is RunState.FAILED
    assert isinstance(result.errors[0], HookFailedError)
    assert "the pump runs" in str(result.errors[0])
    assert planter.manager.list_runs() == []
    assert not (tmp_path / "after").exists()
    assert (tmp_path / "failed").read_text() == "failed"


def test_hooks_after_the_run_come_also_when_it_failed(tmp_path: Path) -> None:
    planter = make_planter(tmp_path, before=(_python(f"open({str(tmp_path / 'before')!r}, 'w')"),),
                           after=(_python(f"open({str(tmp_path / 'after')!r}, 'w')"),))
    planter.password = Secret("wrong")
    assert planter.back_up().state is RunState.FAILED
    assert (tmp_path / "before").exists()
    assert (tmp_path / "after").exists()


def test_hooks_after_the_run_come_also_when_a_second_one_before_it_failed(tmp_path: Path) -> None:
    """The first has stopped the application, and somebody has to start it again."""
    planter = make_planter(tmp_path, before=(_python("pass"), _python("raise SystemExit(1)")),
                           after=(_python(f"open({str(tmp_path / 'after')!r}, 'w')"),))
    assert planter.back_up().state is RunState.FAILED
    assert planter.manager.list_runs() == []
    assert (tmp_path / "after").exists()


def test_hooks_after_the_run_come_also_when_one_before_it_is_broken_off(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    planter = make_planter(tmp_path, before=(_python(f"import time; open({str(begun)!r}, 'w'); time.sleep(600)"),),
                           after=(_python(f"open({str(tmp_path / 'after')!r}, 'w')"),))
    with pytest.raises(Interrupted):
        planter.back_up(cancelled=begun.exists)
    assert (tmp_path / "after").exists()


def test_a_hook_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    child = f"import time; time.sleep(3); open({str(marker)!r}, 'w')"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    planter = make_planter(tmp_path, before=(_python(program, timeout=0.4),))
    result = planter.back_up()
    assert "0.4 seconds" in str(result.errors[0])
    assert result.state is RunState.FAILED
    assert not marker.exists()


def test_hooks_see_the_run_and_no_secret(tmp_path: Path) -> None:
    shown = tmp_path / "environment.json"
    planter = make_planter(tmp_path, before=(_python(
        f"import json, os; json.dump(dict(os.environ), open({str(shown)!r}, 'w'))"),))
    planter.environment = {"PATH": "/bin", "HOME": "/home/pi", "KURAMORI_PASSWORD": "canary-1",
                           "RESTIC_PASSWORD_FILE": "canary-2", "KURAMORI_REPOSITORY": "rest:http://u:canary-3@h/",
                           "CREDENTIALS_DIRECTORY": "canary-4", "RESTIC_FROM_PASSWORD": "canary-5"}
    result = planter.back_up()
    environment = json.loads(shown.read_text())
    assert environment["HOME"] == "/home/pi"
    assert (environment["KURAMORI_JOB"], environment["KURAMORI_RUN"]) == (JOB, result.run)
    assert "canary" not in shown.read_text()


def test_a_hook_that_cannot_be_started_shows_no_arguments(tmp_path: Path) -> None:
    planter = make_planter(tmp_path, before=(Hook(("/nowhere/program", "canary")),))
    result = planter.back_up()
    assert "/nowhere/program" in str(result.errors[0])
    assert "canary" not in str(result.errors[0]) + str(planter.history.operations()[0])


def test_the_record_of_a_run_is_read_without_trust(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    repository = open_repository(LocalBackend(planter.repository()), PASSWORD)
    catalogue = RunCatalogue(repository, "usb")
    (run,) = catalogue.runs
    with pytest.raises(ManifestError) as caught:
        load_manifest(repository, run.components["images"], run.key.run)
    assert "cannot be read" in str(caught.value)
    run.manifest = run.components["images"]
    assert catalogue.describe(run).state is None




def test_a_state_folder_that_cannot_be_written_stops_neither_runs_nor_restores(tmp_path: Path) -> None:
    """A full system disk, or a machine that is being rescued: what can be done is done, and it is said."""
    planter = make_planter(tmp_path)
    shutil.rmtree(tmp_path / "state" / "repositories")
    (tmp_path / "state" / "repositories").write_text("a file is in the way")
    assert planter.back_up().state is RunState.COMPLETE
    assert any(isinstance(error, StateError) for error in planter.told.errors)
    restored = planter.manager.restore(RestoreRunOptions(run="latest", job=JOB, target=tmp_path / "out"))
    assert restored.success
    assert planter.manager.status().health is Health.WELL
