"""A connection to an SFTP server, and the thread in which it lives.

asyncssh wants an event loop. It runs in one thread of its own; the threads of the engine hand it coroutines and wait.
All of them share one connection: SFTP numbers its requests, so many are on their way at once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import os
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from kuramori.storage.ssh_configuration import SshHop, SshUser
from kuramori.storage.ssh_failures import explain_failure, explain_missing_service
from kuramori.storage.ssh_host_keys import HostKeyWatch
from kuramori.storage.ssh_keys import LoginKeys, collect_keys

Result = TypeVar("Result")

_CONNECT_SECONDS = 20.0
"""For one server, login included, where the user's configuration has no ``ConnectTimeout``."""
_CLOSE_SECONDS = 2.0
_UNANSWERED_KEEPALIVES = 2
_RECEIVE_WINDOW = 16 * 1024 * 1024
"""Bytes that the server may send before we say that we took them. What was asked for is less."""
_AES_FIRST = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"

# Without this Python prints asyncssh's warnings to the terminal; what matters of them reaches the user as an error.
logging.getLogger("asyncssh").addHandler(logging.NullHandler())


class LoopThread:
    """An event loop in a thread of its own, which ends with the process."""

    def __init__(self) -> None:
        """Start it."""
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        # What goes wrong beside the requests (a peer that dies during a handshake) shows in the requests, too.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._thread = threading.Thread(target=self._run, name="kuramori-sftp", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def submit(self, work: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Begin a coroutine there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, action: Callable[[], object]) -> None:
        """Let the loop's thread do something soon."""
        self._loop.call_soon_threadsafe(action)

    def stop(self) -> None:
        """End the thread; what still runs there is broken off. May be called more than once."""
        if self._loop.is_closed() or self.process != os.getpid():
            return
        with suppress(concurrent.futures.CancelledError, TimeoutError):
            self.submit(_cancel_all()).result(_CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class SftpLink:
    """An SFTP session with a server, through the jump hosts before it."""

    def __init__(self, connections: Sequence[asyncssh.SSHClientConnection], client: asyncssh.SFTPClient,
                 watch: HostKeyWatch) -> None:
        """Use what :func:`open_link` has opened.

        Args:
            connections: of all servers on the way; the last one is the SFTP server's.
        """
        self._connections = connections
        self._watch = watch
        self._beside: set[asyncio.Task[Any]] = set()
        self.client = client
        self.moved = 0
        """Counts the answers of the server. While it stands still, nothing moves."""
        version = str(connections[-1].get_extra_info("server_version", ""))
        self.in_order = "OpenSSH" in version
        """The server takes one request after the other, also where they concern different files."""
        self.syncs = True
        """False once the server has said that it does not know ``fsync@openssh.com``."""
        self.syncs_folders = self.in_order
        self.replaces = True
        """False once the server has said that it does not know ``posix-rename@openssh.com``."""
        self.group_reads: bool | None = None
        """Whether the group may read the repository; None where nobody has looked yet."""

    @property
    def lost(self) -> bool:
        """It can no longer be used."""
        return self._watch.lost

    async def answered(self, request: Awaitable[Result]) -> Result:
        """Wait for the answer to a request."""
        try:
            return await request
        finally:
            self.moved += 1

    def begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Let something go on beside. Called in the loop's thread; so is everything below but :meth:`abort`."""
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)  # the loop itself would forget it
        task.add_done_callback(self._beside.discard)
        return task

    def forget(self, request: Coroutine[Any, Any, object]) -> None:
        """Send a request to whose answer nobody pays attention, such as to close a file that was read."""

        async def ignored() -> None:
            with suppress(asyncssh.Error, OSError):
                await request

        self.begin(ignored())

    def abort(self) -> None:
        """Drop it at once; requests that wait for an answer fail."""
        self._watch.lost = True
        for connection in reversed(self._connections):
            connection.abort()

    async def close(self) -> None:
        """End it in good order, or at once where the server does not answer."""
        self._watch.lost = True
        with suppress(TimeoutError, OSError, asyncssh.Error):
            self.client.exit()
            for connection in reversed(self._connections):
                connection.close()
            await asyncio.wait_for(self._connections[-1].wait_closed(), _CLOSE_SECONDS)
        self.abort()


async def open_link(user: SshUser, way: Sequence[SshHop], location: str, *, stall_seconds: float,
                    known_to_exist: bool) -> SftpLink:
    """Connect to a server and begin SFTP.

    Args:
        way: jump hosts in their order, then the server.
        location: of the store, for errors.
        stall_seconds: a peer that says nothing for so long is dead.
        known_to_exist: the server was reached before.

    Raises:
        StorageError: it cannot be reached, or may not be trusted, or does not let us in.
    """
    opened: list[asyncssh.SSHClientConnection] = []
    try:
        for hop in way:
            watch = HostKeyWatch()
            opened.append(await _open_hop(user, hop, opened[-1] if opened else None, watch, location,
                                          stall_seconds=stall_seconds, known_to_exist=known_to_exist))
        try:
            client = await asyncio.wait_for(opened[-1].start_sftp_client(env=None, send_env=None), _CONNECT_SECONDS)
        except (TimeoutError, EOFError, OSError, asyncssh.Error) as error:
            raise explain_missing_service(error, location, way[-1]) from error
        return SftpLink(opened, client, watch)
    except BaseException:
        for connection in reversed(opened):
            connection.abort()
        raise


async def _open_hop(user: SshUser, hop: SshHop, before: asyncssh.SSHClientConnection | None, watch: HostKeyWatch,
                    location: str, *, stall_seconds: float, known_to_exist: bool) -> asyncssh.SSHClientConnection:
    keys = LoginKeys()
    try:
        keys = await collect_keys(user, hop)
        settings = asyncssh.SSHClientConnectionOptions(
            config=None, username=hop.user, client_keys=None, known_hosts=b"", x509_trusted_certs=None,
            x509_trusted_cert_paths=[])
        settings.config = hop.configuration  # read with this user's home folder, which asyncssh cannot be told
        limit = hop.configuration.get("ConnectTimeout") or _CONNECT_SECONDS
        return await asyncssh.connect(
            hop.alias, hop.port, options=settings, tunnel=before, username=hop.user,
            client_factory=lambda: watch, known_hosts=lambda host, address, port: hop.known_hosts.find(
                hop.known_name, hop.port),
            server_host_key_algs=_key_kinds(hop), client_keys=keys.pairs or None, agent_path=None,
            gss_host=_kerberos(hop), connect_timeout=limit, login_timeout=limit,
            encryption_algs=() if hop.setting("Ciphers") else _usual_ciphers(),
            keepalive_interval=stall_seconds / (_UNANSWERED_KEEPALIVES + 2),
            keepalive_count_max=_UNANSWERED_KEEPALIVES, canonicalize_hostname=False, window=_RECEIVE_WINDOW)
    except (TimeoutError, OSError, EOFError, ValueError, asyncssh.Error) as error:
        raise explain_failure(error, location, hop, watch, keys, known_to_exist=known_to_exist) from error
    finally:
        keys.close()


@functools.cache
def _usual_ciphers() -> str | tuple[()]:
    """Return what to prefer. asyncssh's first choice, ChaCha20, takes half as much time again as AES where the
    processor has instructions for AES, and far less where it has none, as that of a Raspberry Pi 4."""
    try:
        processor = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return ()
    return _AES_FIRST if re.search(r"^(?:flags|Features)\s*:.*\baes\b", processor, re.MULTILINE) else ()


def _key_kinds(hop: SshHop) -> list[str] | tuple[()]:
    return () if hop.setting("HostKeyAlgorithms") else hop.known_hosts.kinds(hop.known_name, hop.port)


def _kerberos(hop: SshHop) -> str | tuple[()] | None:
    """Return what asyncssh takes for "as usual" or "not at all": OpenSSH uses Kerberos only where it is told to."""
    return () if hop.configuration.get("GSSAPIAuthentication") else None
