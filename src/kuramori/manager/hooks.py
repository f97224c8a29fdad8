"""Commands around a run: before it, after it, and when it failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from kuramori.errors import N_, HookFailedError, Interrupted, Phrase
from kuramori.settings.model import Hook

_OURS = re.compile(r"(?:KURAMORI|RESTIC)_.*|CREDENTIALS_DIRECTORY", re.DOTALL)
"""Passwords, and locations that hold some."""
BEFORE, AFTER = N_("before"), N_("after")
"""When a command runs."""
_LAST_OUTPUT_BYTES = 8192
_LONGEST_LINE = 300
_POLL_SECONDS = 0.2


def hook_environment(inherited: Mapping[str, str], **about_the_run: str) -> dict[str, str]:
    """Return the environment of a hook: what was inherited without everything that opens a
    repository, and what it may want to know of the run as ``KURAMORI_JOB`` and so on."""
    kept = {name: value for name, value in inherited.items() if _OURS.fullmatch(name) is None}
    kept.setdefault("PATH", os.defpath)
    return kept | {f"KURAMORI_{name.upper()}": value for name, value in about_the_run.items()}


def run_hooks(hooks: Sequence[Hook], moment: str, environment: Mapping[str, str],
              cancelled: Callable[[], bool] | None = None) -> None:
    """Run commands one after the other; the first that fails ends it.

    Args:
        moment: :data:`BEFORE` or :data:`AFTER`, for the message.
        environment: all that they get to see.
        cancelled: asked now and then; True kills the command.

    Raises:
        HookFailedError: one could not be started, failed, or was not done in time; it and all
            processes of its group were killed then.
        Interrupted: ``cancelled`` said so.
    """
    for hook in hooks:
        _run(hook, moment, environment, cancelled or (lambda: False))


def _run(hook: Hook, moment: str, environment: Mapping[str, str], cancelled: Callable[[], bool]) -> None:
    shown = hook.command[0]  # arguments may hold secrets
    # A file and not a pipe: a daemon that a hook starts may keep a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(hook.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       env=dict(environment), start_new_session=True)
        except (OSError, ValueError) as error:
            raise HookFailedError(command=shown, what=moment, detail=str(error)) from None
        try:
            finished = _wait(process, hook.timeout, cancelled)
        except BaseException:
            _kill_group(process)
            raise
        if not finished:
            _kill_group(process)
            raise HookFailedError(command=shown, what=moment, detail=Phrase(
                N_("it was not done after {seconds} seconds and was killed"), seconds=f"{hook.timeout:g}"))
        if process.returncode != 0:
            raise HookFailedError(command=shown, what=moment, detail=_explain(process.returncode, output.fileno()))


def _wait(process: subprocess.Popen[bytes], timeout: float, cancelled: Callable[[], bool]) -> bool:
    left = timeout
    while left > 0:
        try:
            process.wait(min(_POLL_SECONDS, left))
            return True
        except subprocess.TimeoutExpired:
            left -= _POLL_SECONDS
        if cancelled():
            raise Interrupted
    return False


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _explain(status: int, output: int) -> Phrase:
    line = _last_line(output)
    if status < 0:
        ended = Phrase(N_("signal {number}"), number=-status)
    else:
        ended = Phrase(N_("exit status {status}"), status=status)
    return Phrase(N_("{ended}: {line}"), ended=ended, line=line) if line else ended


def _last_line(output: int) -> str:
    size = os.fstat(output).st_size
    data = os.pread(output, _LAST_OUTPUT_BYTES, max(size - _LAST_OUTPUT_BYTES, 0))
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip()[:_LONGEST_LINE] if lines else ""
