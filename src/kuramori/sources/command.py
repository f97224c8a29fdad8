"""Any command whose output is to be saved."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kuramori.errors import N_, UsageError
from kuramori.sources.dump_plan import DumpPlan
from kuramori.sources.stream_source import StreamSource


def plan_command(command: Sequence[str], filename: str) -> DumpPlan:
    """Give the stream of a command's output. If the command fails, or prints nothing, there is no snapshot.

    Args:
        command: program and arguments; no shell reads it.
        filename: what the output is called in the snapshot.

    Raises:
        UsageError: there is no command or no name.
    """
    if not command or not command[0]:
        raise UsageError(detail=N_("no command was named"))
    source = StreamSource(filename=os.fsencode(filename), command=tuple(command), background=True)
    source.parts()
    return DumpPlan((source,))
