"""Copies of a process: made only where that is safe, and independent of the original from then on.

Each script runs in an interpreter of its own: the one that runs the tests has threads of all kinds.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are never copies")

BEGIN = """
import fcntl, os, socket, sys, tempfile, threading, time
from kuramori.repository import forking
from kuramori.repository.forking import at_rest, copy_process

def show(*things):
    os.write(1, (" ".join(map(str, things)) + "\\n").encode())  # at once: others write there too

def wait_for(true):
    while not true():
        time.sleep(0.001)
"""


def _run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", BEGIN + script], capture_output=True, text=True,
                          timeout=60, check=False, stdin=subprocess.PIPE)


def _says(script: str) -> list[str]:
    ended = _run(script)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_a_copy_does_its_work_and_ends() -> None:
    assert _says("""
original = os.getpid()
copy = copy_process(lambda: show("here", os.getpid() != original, sys.stdin.read() == ""), ())
show(copy.wait(), copy.wait(5), copy.poll())
""") == ["here True True", "0 0 0"]


def test_what_fails_in_a_copy_is_shown_and_nothing_is_cleaned_up() -> None:
    ended = _run("""
import atexit
original = os.getpid()
atexit.register(show, "cleaned up")
def fail():
    try:
        raise ValueError("in the copy")
    finally:
        show("leaving")
try:
    copy = copy_process(fail, ())
finally:
    show("back in", os.getpid() == original)
show(copy.wait())
""")
    assert ended.stdout.splitlines() == ["leaving", "back in True", "1", "cleaned up"] or \
        ended.stdout.splitlines() == ["back in True", "leaving", "1", "cleaned up"]
    assert "ValueError: in the copy" in ended.stderr


def test_a_copy_that_hangs_can_be_ended() -> None:
    assert _says("""
import subprocess
copy = copy_process(lambda: time.sleep(60), ())
try:
    copy.wait(0.05)
except subprocess.TimeoutExpired:
    show("it runs", copy.poll())
copy.kill()
show(copy.wait(10))
copy.kill()
""") == ["it runs None", "-9"]


@pytest.mark.parametrize(("thread", "safe"), [
    ("threading.Event().wait(60)", False),
    ("wait_at_rest()", True),
])
def test_other_threads_must_rest(thread: str, safe: bool) -> None:
    assert _says(f"""
def wait_at_rest():
    with at_rest():
        threading.Event().wait(60)
threading.Thread(target=lambda: {thread}, daemon=True).start()
wait_for(lambda: forking._resting == {int(safe)})
copy = copy_process(lambda: show(threading.active_count()), ())
show(copy is not None and copy.wait())
""") == (["1", "0"] if safe else ["False"])


def test_a_thread_that_wakes_waits_until_the_copy_is_made() -> None:
    """Or it would hold what the copy has no hand to give back."""
    assert _says("""
wake, woken = threading.Event(), threading.Event()
def rest():
    with at_rest():
        wake.wait()
    woken.set()
threading.Thread(target=rest, daemon=True).start()
wait_for(lambda: forking._resting == 1)
real = os.fork
def fork():
    wake.set()
    time.sleep(0.1)
    show("still resting", not woken.is_set())
    return real()
os.fork = fork
copy = copy_process(lambda: show("copied"), ())
show(copy.wait(), woken.wait(10), forking._resting)
""") in (["still resting True", "copied", "0 True 0"], ["still resting True", "0 True 0", "copied"])


def test_only_the_main_thread_makes_copies() -> None:
    assert _says("""
made = []
def ask():
    made.append(copy_process(lambda: None, ()))
thread = threading.Thread(target=ask)
thread.start()
thread.join()
show(made)
""") == ["[None]"]


def test_connections_to_sqlite_prevent_it() -> None:
    """Their locks belong to the process, and SQLite remembers that it has them."""
    assert _says("""
import apsw
connection = apsw.Connection(":memory:")
show(copy_process(lambda: None, ()))
connection.close()
copy = copy_process(lambda: None, ())
show(copy.wait())
""") == ["None", "0"]


def test_much_memory_prevents_it() -> None:
    assert _says("""
held = bytearray(os.urandom(1)) * (100 * 1024 * 1024)
show(copy_process(lambda: None, ()))
""") == ["None"]


def test_nothing_stays_open_but_what_was_named() -> None:
    """A lock on a file would outlive its owner, and the end of a socket would never be heard of."""
    assert _says("""
kept, theirs = socket.socketpair()
ours, other = socket.socketpair()
locked = tempfile.TemporaryFile()
fcntl.flock(locked, fcntl.LOCK_EX)
same = f"/proc/{os.getpid()}/fd/{locked.fileno()}"
def work():
    open_here = set(map(int, os.listdir("/proc/self/fd")))  # and the listing itself
    theirs.sendall(repr(len(open_here - {0, 1, 2, theirs.fileno()}) == 1).encode())
    theirs.recv(1)
copy = copy_process(work, (theirs.fileno(),))
theirs.close()
show(kept.recv(100).decode())
other.close()
show(ours.recv(1))
second = open(same, "r+")
fcntl.flock(locked, fcntl.LOCK_UN)
fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
kept.close()
show(copy.wait(10))
""") == ["True", "b''", "0"]


def test_a_copy_draws_nonces_of_its_own() -> None:
    first, second = _says("""
from kuramori.crypto.master_key import MasterKey
key = MasterKey.random()
key.seal(b"some are kept for later")
copy = copy_process(lambda: show(bytes(key.seal(b"x")[:16]).hex()), ())
copy.wait()
show(bytes(key.seal(b"x")[:16]).hex())
""")
    assert first != second


def test_the_workers_of_commands_are_copies(tmp_path: Path) -> None:
    """And say so: what is left is slower, but nothing else would show it."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(2500):
        (source / f"file{number}").write_text(f"content {number}")
    script = f"""
from kuramori.repository import worker_process
original = worker_process.copy_process
def copy(work, descriptors):
    copied = original(work, descriptors)
    show("a copy" if copied else "a new interpreter", sys.argv[-1])
    return copied
worker_process.copy_process = copy
os.environ |= {{"KURAMORI_REPOSITORY": {str(tmp_path / "repository")!r}, "KURAMORI_PASSWORD": "x",
                "KURAMORI_STATE_DIR": {str(tmp_path / "state")!r}, "XDG_CACHE_HOME": {str(tmp_path / "cache")!r}}}
from kuramori.cli.main import main
for arguments in (["init"], ["backup", "--force", {str(source)!r}, "--read-concurrency", "2"],
                  ["restore", "latest", "--target", {str(tmp_path / "restored")!r}]):
    sys.argv = ["kuramori", "-q", *arguments]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, ended.code
"""
    made = _says(script)
    assert made.count("a copy 2") == 2
    assert set(made[2:]) == {f"a copy {tmp_path / 'restored'}"}
    restored = Path(f"{tmp_path / 'restored'}{source}")
    assert len(list(restored.iterdir())) == 2500
    assert (restored / "file7").read_text() == "content 7"
