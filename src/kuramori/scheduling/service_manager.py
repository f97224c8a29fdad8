"""Telling systemd how the daemon fares (sd_notify(3)): datagrams of a few words to a socket.

A few lines of our own: ``systemd-python`` needs a compiler and systemd's headers, and ``sdnotify`` is
as short as this and has not been touched for years.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from kuramori.clock import Clock


class ServiceManager:
    """systemd, if it started us. Where it did not, nothing happens. Never raises."""

    def __init__(self, address: str, clock: Clock, *, watchdog_seconds: float = 0.0) -> None:
        """Nothing is sent yet.

        Args:
            address: ``$NOTIFY_SOCKET``; empty if there is none.
            clock: its monotonic side is systemd's.
            watchdog_seconds: ``$WATCHDOG_USEC``: after so many without :meth:`keep_alive` it ends us; 0 for never.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        self.watchdog_seconds = watchdog_seconds if address else 0.0

    def ready(self) -> None:
        """The daemon works, again or for the first time."""
        self._send("READY=1")

    def reloading(self) -> None:
        """It reads its settings anew; :meth:`ready` has to follow."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")

    def stopping(self) -> None:
        """It ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """What ``systemctl status`` shows."""
        self._send("STATUS=" + text.replace("\n", " "))

    def keep_alive(self) -> None:
        """It lives."""
        if self.watchdog_seconds:
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(self._address)
            sender.send(text.encode("utf-8", "replace"))
