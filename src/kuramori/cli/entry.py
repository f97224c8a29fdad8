"""Where the process begins: before anything is imported that takes time."""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Run the command line and exit."""
    # Until :func:`kuramori.cli.interruption.ended_by_signals` takes over there is nothing to tidy up,
    # and Python would answer a Ctrl-C during the imports with a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Little here is cyclic, and looking for cycles among many thousand nodes takes time.
    gc.set_threshold(100_000)
    from kuramori.cli.main import main as run

    run()
