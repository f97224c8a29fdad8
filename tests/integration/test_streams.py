"""Streams: several in one snapshot, whole or not at all, and no process left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.errors import (
    DumpNotWholeError,
    Interrupted,
    KuramoriError,
    NothingToBackUpError,
    SourceCommandError,
    UsageError,
)
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.snapshots import load_snapshots
from kuramori.sources.command import plan_command
from kuramori.sources.stream_source import CommandFailure, StreamEnd, StreamSource
from kuramori.storage.backend import FileType
from samples.repositories import make_repository, nodes_by_path, reopened, snapshot_files


def _save(folder: Path, *streams: StreamSource, **options: object) -> BackupResult:
    repository = reopened(folder) if (folder / "repository").exists() else make_repository(folder)
    return back_up(repository, BackupOptions(streams=streams, **options))  # type: ignore[arg-type]


def _shell(script: str, filename: str = "out", **options: object) -> StreamSource:
    return StreamSource(filename=os.fsencode(filename), command=("sh", "-c", script), background=True,
                        **options)  # type: ignore[arg-type]


def _assert_nothing_stored(folder: Path) -> list[StoredSnapshot]:
    repository = reopened(folder)
    assert list(repository.backend.list(FileType.LOCK)) == []
    found = load_snapshots(repository)
    assert found == []
    return found


def _written(pid_file: Path) -> bool:
    return pid_file.exists() and pid_file.read_text().endswith("\n")


def _ends(pid_file: Path) -> bool:
    """Tell whether the process whose id a command wrote is gone (or only waits to be collected). A killed
    process has gone a moment after the kill, so look a while."""
    for _ in range(100):
        try:
            state = Path("/proc", pid_file.read_text().strip(), "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


def test_several_streams_make_one_snapshot(tmp_path: Path) -> None:
    """Each lies where its name says, in trees that are sorted; the snapshot names their roots."""
    result = _save(tmp_path, _shell("echo b", "db/b.sql"), _shell("echo 0", "a"), _shell("echo a", "db/a.sql"),
                   _shell("printf x", "db/deep/er/x"), _shell("true", "db/none", empty=True))
    assert result.snapshot.paths == ["/a", "/db"]
    assert snapshot_files(reopened(tmp_path), result, Path("/")) == {
        b"/a": b"0\n", b"/db/a.sql": b"a\n", b"/db/b.sql": b"b\n", b"/db/deep/er/x": b"x", b"/db/none": b""}
    assert list(nodes_by_path(reopened(tmp_path), result.snapshot)) == [
        b"/a", b"/db", b"/db/a.sql", b"/db/b.sql", b"/db/deep", b"/db/deep/er", b"/db/deep/er/x", b"/db/none"]
    assert (result.summary.files_new, result.summary.total_bytes_processed) == (5, 7)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/../b", "b")])
def test_names_that_collide_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    """Two streams cannot be in one place."""
    with pytest.raises(UsageError):
        _save(tmp_path, *(_shell("echo x", name) for name in names))
    _assert_nothing_stored(tmp_path)


def test_one_failing_stream_leaves_no_snapshot(tmp_path: Path) -> None:
    """The last line of what the command said is in the error, safe to show; arguments are not."""
    with pytest.raises(SourceCommandError) as caught:
        _save(tmp_path, _shell("echo good"), _shell(
            "echo half; echo first >&2; printf 'disk \\033[31mfull\\n\\n' >&2; exit 3 # argument-canary", "two"))
    text = str(caught.value)
    assert "exit status 3: disk \\x1b[31mfull" in text
    assert "canary" not in text
    assert "first" not in text
    _assert_nothing_stored(tmp_path)


def test_endless_complaints_block_nothing(tmp_path: Path) -> None:
    """A command that fills its standard error before and after its output is read to the end, and of
    its words only the end is kept."""
    noise = "i=0; while [ $i -lt 3000 ]; do echo 'a line of noise that is longer than most' >&2; i=$((i+1)); done"
    ends: list[StreamEnd] = []
    script = f"{noise}; echo whole; {noise}; exec >&-; {noise}; echo end >&2"
    result = _save(tmp_path, _shell(script, verdict=ends.append))
    assert snapshot_files(reopened(tmp_path), result, Path("/")) == {b"/out": b"whole\n"}
    assert ends[0].messages.endswith("end\n")
    assert len(ends[0].messages) == 64 * 1024


def test_verdict_decides(tmp_path: Path) -> None:
    """A stream that came to a good end, but is not whole, makes no snapshot; the verdict sees both ends of
    it, and the watcher every byte."""
    content = os.urandom(3_000_000)
    (tmp_path / "content").write_bytes(content)
    seen = bytearray()
    ends: list[StreamEnd] = []

    def judge(end: StreamEnd) -> None:
        ends.append(end)
        raise DumpNotWholeError(database="x", detail="no trailer")

    with pytest.raises(DumpNotWholeError):
        _save(tmp_path, _shell(f"cat {tmp_path / 'content'}", verdict=judge, watch=seen.extend))
    _assert_nothing_stored(tmp_path)
    assert bytes(seen) == content
    assert (ends[0].size, ends[0].head, ends[0].tail) == (len(content), content[:64], content[-4096:])


def test_explanation_replaces_the_error(tmp_path: Path) -> None:
    """Whoever knows the command says what its failure means."""
    failures: list[CommandFailure] = []

    def explain(failure: CommandFailure) -> KuramoriError:
        failures.append(failure)
        return DumpNotWholeError(database="x", detail="explained")

    with pytest.raises(DumpNotWholeError):
        _save(tmp_path, _shell("echo why >&2; kill -TERM $$", explain=explain))
    assert failures == [CommandFailure("sh", -15, "why\n")]
    _assert_nothing_stored(tmp_path)


def test_interruption_ends_all_that_the_command_started(tmp_path: Path) -> None:
    """A command that says nothing is not waited for; its children end with it, even deaf ones."""
    pid_file = tmp_path / "pid"
    script = f"sh -c 'trap \"\" TERM; echo $$ > {pid_file}; while :; do sleep 60; done' & echo begun; wait"
    with pytest.raises(Interrupted):
        _save(tmp_path, _shell(script), cancelled=lambda: _written(pid_file))
    assert _ends(pid_file)
    _assert_nothing_stored(tmp_path)


def test_failure_ends_all_that_the_command_started(tmp_path: Path) -> None:
    """What a failed command leaves in the background is ended."""
    pid_file = tmp_path / "pid"
    script = f"sleep 600 >&- 2>&- & echo $! > {pid_file}; echo half; exit 1"
    with pytest.raises(SourceCommandError):
        _save(tmp_path, _shell(script))
    assert _ends(pid_file)


def test_environment_without_our_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gets the variables of its source and of the user, but not the repository's password."""
    monkeypatch.setenv("KURAMORI_PASSWORD", "canary")
    monkeypatch.setenv("RESTIC_PASSWORD_FILE", "canary")
    monkeypatch.setenv("PLANTER", "mine")
    result = _save(tmp_path, _shell("env", environment={"MORE": "more"}))
    content = snapshot_files(reopened(tmp_path), result, Path("/"))[b"/out"]
    assert b"PLANTER=mine\n" in content
    assert b"MORE=more\n" in content
    assert b"canary" not in content


def test_command_plan(tmp_path: Path) -> None:
    """A command's output is saved under a name; one that prints nothing, or is not there, saves nothing."""
    plan = plan_command(["sh", "-c", "echo kept"], "report.txt")
    result = _save(tmp_path, *plan.streams)
    assert snapshot_files(reopened(tmp_path), result, Path("/")) == {b"/report.txt": b"kept\n"}
    assert plan.finish() == ()
    wrong: list[tuple[list[str], type[KuramoriError]]] = [
        (["true"], NothingToBackUpError), (["/no/such/program"], SourceCommandError), (["false"], SourceCommandError)]
    for command, error in wrong:
        with pytest.raises(error):
            _save(tmp_path, *plan_command(command, "x").streams)
    for command, name in (([], "x"), ([""], "x"), (["true"], ".."), (["true"], "")):
        with pytest.raises(UsageError):
            plan_command(command, name)
    assert len(load_snapshots(reopened(tmp_path))) == 1


def test_descriptor_is_interrupted_while_nothing_comes(tmp_path: Path) -> None:
    """A pipe that nobody writes into does not hold the backup."""
    read_end, write_end = os.pipe()
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 3

    try:
        os.write(write_end, b"some")
        with pytest.raises(Interrupted):
            _save(tmp_path, StreamSource(descriptor=read_end), cancelled=cancelled)
    finally:
        os.close(read_end)
        os.close(write_end)
    _assert_nothing_stored(tmp_path)
