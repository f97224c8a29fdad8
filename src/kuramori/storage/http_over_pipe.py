"""HTTP/2 with a program over its standard input and output, as ``rclone serve restic --stdio`` speaks it.

A pipe and not a port or a socket: nobody else on the machine can reach the program, there is nothing to wait for until
it listens, old versions know it, it may run on another machine (``ssh host rclone ...``), and it ends with us whatever
happens to us, because its input ends. One pipe carries several requests at once, which is what HTTP/2 is for. The
protocol is h2's; here are the pipe, the threads and the waiting.
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import urllib3

from kuramori.errors import N_
from kuramori.storage.last_words import LastWords

_READ_BYTES = 256 * 1024
_WINDOW = 8 * 1024 * 1024
"""What the other side may send before we have answered: more than a pipe holds, so that it never waits for us."""
_FRAME_HEAD, _SETTINGS = 9, b"\x04"
"""Bytes before each frame, and what must stand in the fourth of the first one (RFC 9113, 3.4 and 4.1)."""
_LARGEST_FRAME = 256 * 1024
_LAST_SECONDS = 2.0


class PipeClosedError(ConnectionError):
    """The program ended, or does not speak HTTP/2."""


class PipeConnection:
    """One run of a program, and the requests that it answers. May be used by several threads at once."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], words: LastWords, *,
                 start_seconds: float, stall_seconds: float, answer_seconds: float) -> None:
        """Start it.

        Args:
            command: the program and its arguments.
            environment: all of its variables.
            words: keeps what it says on its standard error.
            start_seconds: how long it may take until it speaks.
            stall_seconds: how long nothing may move while a body is on its way.
            answer_seconds: how long it may think when it has a whole request.

        Raises:
            OSError: it cannot be started.
        """
        self._start_seconds = start_seconds
        self.stall_seconds = stall_seconds
        self._answer_seconds = answer_seconds
        self._guard = threading.Lock()
        self._to_write = threading.Condition(self._guard)
        self._spoke = threading.Event()
        self._failure: str | None = None
        self._streams: dict[int, PipeAnswer] = {}
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._http.initiate_connection()
        self._http.update_settings({h2.settings.SettingCodes.ENABLE_PUSH: 0,
                                    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                                    h2.settings.SettingCodes.MAX_FRAME_SIZE: _LARGEST_FRAME})
        self._http.increment_flow_control_window(_WINDOW)
        # A session of its own: Ctrl-C is for us, who still have locks to remove through it.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                         env=dict(environment), start_new_session=True, bufsize=0)
        self._words = words
        self._threads = [threading.Thread(target=work, name=f"kuramori-{work.__name__.strip('_')}", daemon=True)
                         for work in (self._read, self._write, self._listen)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still takes requests."""
        return self._failure is None

    def send(self, method: str, target: str, headers: Mapping[str, str], body: Iterator[bytes] | None) -> PipeAnswer:
        """Send a request and return its answer, of which the body is still to be read.

        Raises:
            PipeClosedError: the program ended.
            TimeoutError: it does not speak, take or answer in time.
        """
        if not self._spoke.wait(self._start_seconds):
            raise TimeoutError
        fields = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", target),
                  *((name.lower(), value) for name, value in headers.items())]
        with self._guard:
            self._require_alive()
            number = self._http.get_next_available_stream_id()
            stream = self._streams[number] = PipeAnswer(self, number, self._guard, method)
            stream.sent = body is None
            self._http.send_headers(number, fields, end_stream=body is None)
            self._to_write.notify()
        try:
            if body is not None:
                self._send_body(stream, body)
            stream.wait(lambda: stream.answered, self._answer_seconds)
        except h2.exceptions.ProtocolError as error:
            stream.close()
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from error
        except BaseException:
            stream.close()
            raise
        return stream

    def close(self) -> None:
        """End the program: its input ends, and it has some seconds to finish. When this returns everything that it
        said was heard. May be called more than once."""
        with self._guard:
            self._fail(N_("it was closed"))
        reading, writing, listening = self._threads
        writing.join(_LAST_SECONDS)
        if not writing.is_alive() and self._process.stdin is not None:
            self._process.stdin.close()
        for end in (_go_on, self._process.terminate, self._process.kill):
            end()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LAST_SECONDS)
                break
        for thread in (writing, reading, listening):
            thread.join(_LAST_SECONDS)
        if self._process.stdout is not None and not reading.is_alive():
            self._process.stdout.close()

    # --- requests ----------------------------------------------------------------------------

    def _send_body(self, stream: PipeAnswer, body: Iterator[bytes]) -> None:
        for piece in body:
            left = memoryview(piece)
            while left:
                stream.wait(lambda: stream.ended or self._window(stream) > 0, self.stall_seconds)
                with self._guard:
                    if stream.ended:
                        return  # it was answered already, and does not want the rest
                    self._require_alive()
                    size = min(len(left), self._window(stream), self._http.max_outbound_frame_size)
                    if size > 0:
                        self._http.send_data(stream.number, bytes(left[:size]))
                        self._to_write.notify()
                left = left[max(size, 0):]
        with self._guard:
            if not stream.ended:
                self._require_alive()
                self._http.end_stream(stream.number)
                stream.sent = True
                self._to_write.notify()

    def _window(self, stream: PipeAnswer) -> int:
        return self._http.local_flow_control_window(stream.number)

    def forget(self, stream: PipeAnswer) -> None:
        """Let go of an answer; what is still to come of it is not wanted."""
        with self._guard:
            if self._streams.pop(stream.number, None) is None or not self.alive:
                return
            if not (stream.sent and stream.ended):
                with suppress(h2.exceptions.ProtocolError):  # the other side may have reset it
                    self._http.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)
                self._to_write.notify()

    def _require_alive(self) -> None:
        if self._failure is not None:
            raise PipeClosedError(self._failure)

    def _fail(self, reason: str) -> None:
        """Let everybody who waits know that nothing comes any more. Called with the guard held."""
        self._failure = self._failure or reason
        self._spoke.set()
        self._to_write.notify_all()
        for stream in self._streams.values():
            stream.fail(PipeClosedError(reason))

    # --- threads -----------------------------------------------------------------------------

    def _read(self) -> None:
        """Take what the program answers."""
        assert self._process.stdout is not None
        beginning = b""
        while data := os.read(self._process.stdout.fileno(), _READ_BYTES):
            beginning = beginning if len(beginning) >= _FRAME_HEAD else beginning + data
            with self._guard:
                try:
                    # Other words would be taken for the length of a frame that is still to come.
                    events = self._http.receive_data(data) if beginning[3:4] in (b"", _SETTINGS) else None
                except h2.exceptions.ProtocolError:
                    events = None
                if events is None:
                    self._fail(N_("it does not speak HTTP/2"))
                    return
                for event in events:
                    self._take(event)
                self._to_write.notify()
        with self._guard:
            self._fail(N_("it says nothing"))

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self._spoke.set()
        if isinstance(event, h2.events.ConnectionTerminated):
            self._fail(N_("it says nothing"))
        if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        number = getattr(event, "stream_id", None)
        # A window of the connection is everybody's; settings may change the windows of all.
        for stream in [self._streams.get(number)] if number else list(self._streams.values()):
            if stream is not None:
                stream.take(event)

    def _write(self) -> None:
        """Give the program what is to be sent. In a thread of its own: a full pipe must not keep anybody from reading,
        or both sides would wait for each other."""
        assert self._process.stdin is not None
        while True:
            with self._guard:
                while not (data := self._http.data_to_send()):
                    if not self.alive:
                        return
                    self._to_write.wait()
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(self._process.stdin.fileno(), left):]
            except OSError:
                with self._guard:
                    self._fail(N_("it says nothing"))
                return

    def _listen(self) -> None:
        """Keep what the program complains of."""
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            for line in iter(lambda: pipe.readline(4096), b""):
                self._words.take(line)


def _go_on() -> None:
    """Do nothing: the end of its input is enough for a program that listens."""


class PipeAnswer:
    """The answer to one request, with the methods of urllib3's answers that a transport needs."""

    def __init__(self, connection: PipeConnection, number: int, guard: threading.Lock, method: str) -> None:
        self.number = number
        self.status = 0
        self.headers: Mapping[str, str] = urllib3.HTTPHeaderDict()
        self.ended = False
        self.sent = False
        self._connection = connection
        self._changed = threading.Condition(guard)
        self._chunks: deque[bytes] = deque()
        self._error: OSError | None = None
        self._without_body = method == "HEAD"

    @property
    def answered(self) -> bool:
        """Whether the status is known."""
        return self.status > 0

    @property
    def length_remaining(self) -> int | None:
        """How long the body will be, as far as that was said."""
        length = self.headers.get("Content-Length", "")
        return 0 if self._without_body else int(length) if length.isdigit() else None

    def wait(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return when something is so.

        Raises:
            TimeoutError: nothing moved for so long.
            OSError: nothing will.
        """
        with self._changed:
            while self._error is None and not ready():
                if not self._changed.wait(seconds):
                    raise TimeoutError
            if self._error is not None:
                raise self._error

    def read(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """Return so many bytes of the body, or all; fewer at the end.

        Raises:
            TimeoutError, OSError: it was cut off.
        """
        pieces: list[bytes] = []
        left = amt
        while left is None or left:
            self.wait(lambda: bool(self._chunks) or self.ended, self._connection.stall_seconds)
            with self._changed:
                if not self._chunks:
                    break
                piece = self._chunks.popleft()
                if left is not None and len(piece) > left:
                    self._chunks.appendleft(piece[left:])
                    piece = piece[:left]
            pieces.append(piece)
            left = None if left is None else left - len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Let go of it; what is still to come is not wanted. May be called more than once."""
        self._connection.forget(self)

    release_conn = close

    def take(self, event: h2.events.Event) -> None:
        """Take note of what happened. Called with the guard held, as :meth:`fail`."""
        if isinstance(event, h2.events.ResponseReceived):
            fields = urllib3.HTTPHeaderDict()
            for name, value in event.headers:
                fields.add(str(name), str(value))
            self.headers = fields
            self.status = int(fields.pop(":status"))
        elif isinstance(event, h2.events.DataReceived):
            self._chunks.append(event.data)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.fail(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
        self._changed.notify_all()

    def fail(self, error: OSError) -> None:
        """Nothing comes any more. That matters only to an answer that is not complete."""
        if not self.ended:
            self._error = self._error or error
        self._changed.notify_all()
