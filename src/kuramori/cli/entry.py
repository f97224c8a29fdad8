"""Where the process begins, before anything is imported that takes time, and where it ends."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading

from kuramori.cli.key_ahead import begin_deriving

TYPE_CHECKING = False  # without the module, which takes longer to import than all of this
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit."""
    # Until :func:`kuramori.cli.interruption.ended_by_signals` takes over there is nothing to tidy up,
    # and Python would answer a Ctrl-C during the imports with a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Little here is cyclic, and looking for cycles among many thousand nodes takes time.
    gc.set_threshold(100_000)
    begin_deriving(sys.argv[1:])
    from kuramori.cli.main import main as run

    try:
        run()
    except SystemExit as ended:
        _end(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
    _end(0)


def _end(code: int) -> NoReturn:
    """Exit, without taking every object apart that the system takes back anyway: that takes 40 ms, and with an index of
    a million blobs longer. What Python would wait for and call before that is waited for and called."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # it was closed before we began
                stream.flush()
        except (OSError, ValueError):
            continue  # of the output it was said already (cli.main); of the messages nobody could be told
    os._exit(code)
