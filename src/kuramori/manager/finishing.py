"""Operations of the history that end whatever happens."""

from __future__ import annotations

from kuramori.errors import Interrupted, KuramoriError
from kuramori.history.operation import Operation
from kuramori.history.records import OperationState


class Finished:
    """Sees to it that an operation of the history ends whatever happens."""

    def __init__(self, operation: Operation) -> None:
        """Take care of ``operation`` for a ``with`` block."""
        self._operation = operation

    def __enter__(self) -> Operation:
        return self._operation

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (Interrupted, KeyboardInterrupt)):
            self._operation.finish(OperationState.INTERRUPTED)
        elif isinstance(error, KuramoriError):
            self._operation.finish(OperationState.FAILED, errors=[error])
        elif error is not None:
            self._operation.finish(OperationState.FAILED)
