"""Shows what the engine reports: a bar on a terminal, JSON lines, or only what went wrong."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application
from kuramori.cli.output import complain, say, say_json, shown, size_text
from kuramori.cli.translation import translate as _
from kuramori.clock import SystemClock
from kuramori.errors import N_, KuramoriError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_STATUS_SECONDS = 0.5

_PHASES = {
    "load index": N_("reading the index"),
    "backup": N_("backing up"),
    "restore": N_("restoring"),
    "verify": N_("verifying"),
    "extend object lock": N_("extending the object lock"),
    "find used data": N_("looking for data in use"),
    "repack": N_("writing packs anew"),
    "rewrite index": N_("writing the index anew"),
    "remove packs": N_("removing packs"),
    "remove snapshots": N_("removing snapshots"),
    "change tags": N_("changing tags"),
    "read packs": N_("reading packs"),
    "copy packs": N_("copying packs"),
    "salvage packs": N_("saving what is intact"),
    "read trees": N_("reading folders"),
    "rewrite trees": N_("writing folders anew"),
    "copy": N_("copying"),
    "look at devices": N_("looking at devices"),
}
_ACTIONS = {
    "new": N_("new"), "changed": N_("changed"), "unchanged": N_("unchanged"), "restored": N_("restored"),
    "updated": N_("updated"), "skipped": N_("skipped"), "deleted": N_("deleted"), "verified": N_("verified"),
    "excluded": N_("excluded"), "included": N_("included"),
}


class Display:
    """The base: counts, warns on standard error, names items if asked to."""

    def __init__(self, application: Application) -> None:
        """Show as the global options say."""
        self._json = application.json
        self._copies = application.command == "copy"
        self.advises = False
        """Whether a warning is followed by what the user can do."""
        self.wants_items = application.verbose >= 2 and not application.quiet
        self._guard = threading.Lock()
        self._clock = SystemClock()
        self._shown_at = self._started = self._clock.monotonic()
        self.phase = ""
        self.items = self.bytes = 0
        self.total_items: int | None = None
        self.total_bytes: int | None = None
        self.errors = 0

    def start(self, phase: str, total_items: int | None = None, total_bytes: int | None = None) -> None:
        """Begin to count anew."""
        self.phase = phase
        self.items = self.bytes = 0
        self.total_items, self.total_bytes = total_items, total_bytes

    def set_total(self, total_items: int, total_bytes: int) -> None:
        """Note the totals."""
        self.total_items, self.total_bytes = total_items, total_bytes

    def advance(self, items: int = 0, bytes_: int = 0) -> None:
        """Count."""
        self.items += items
        self.bytes += bytes_
        now = self._clock.monotonic()
        if now - self._shown_at >= _STATUS_SECONDS:
            self._shown_at = now
            self.update(now - self._started)

    def update(self, seconds: float) -> None:
        """Show the state; called now and then."""

    def item(self, action: str, path: str, size: int = 0) -> None:
        """Name an item, with ``-vv``."""
        if not self.wants_items:
            return
        if self._json:
            say_json({"message_type": "verbose_status", "action": action, "item": path, "size": size})
            return
        with self._guard:
            extra = f", {size_text(size)}" if size else ""
            self.print(f"{_(_ACTIONS.get(action, action)):10} {shown(path)}{extra}")

    def print(self, text: str) -> None:
        """Print a line between whatever is shown."""
        say(text)

    def warning(self, error: Exception) -> None:
        """Say what went wrong with an item."""
        self.errors += 1
        text = error.text(_) if isinstance(error, KuramoriError) else str(error)
        if self.advises and isinstance(error, KuramoriError) and error.advice_text(_):
            text = f"{text}; {error.advice_text(_)}"
        if self._json:
            path = error.fields.get("path", "") if isinstance(error, KuramoriError) else ""
            during = "copy" if self._copies else "restore" if self.phase in ("restore", "verify") else "archival"
            complain_json({"message_type": "error", "error": {"message": text}, "during": during, "item": path})
            return
        self.complain(text)

    def complain(self, text: str) -> None:
        """Print a line on standard error between whatever is shown."""
        complain(text)

    def finish(self) -> None:
        """End the phase."""

    def close(self) -> None:
        """Take away what is shown."""


def complain_json(value: object) -> None:
    """Print a value as a line of JSON on standard error."""
    from kuramori.cli.output import to_json

    complain(to_json(value))


class JsonDisplay(Display):
    """Status lines as restic prints them."""

    def update(self, seconds: float) -> None:
        """Print a status line."""
        if self.phase not in ("backup", "restore", "copy"):
            return
        status: dict[str, Any] = {"message_type": "status", "seconds_elapsed": int(seconds)}
        done = self.bytes / self.total_bytes if self.total_bytes else 0
        status["percent_done"] = min(done, 1)
        if self.phase == "copy":
            status |= {"total_blobs": self.total_items or 0, "blobs_copied": self.items,
                       "total_bytes": self.total_bytes or 0, "bytes_copied": self.bytes}
        elif self.phase == "backup":
            status |= {"total_files": self.total_items or 0, "files_done": self.items,
                       "total_bytes": self.total_bytes or 0, "bytes_done": self.bytes}
        else:
            status |= {"total_files": self.total_items or 0, "files_restored": self.items,
                       "total_bytes": self.total_bytes or 0, "bytes_restored": self.bytes}
        say_json(status)


class TerminalDisplay(Display):
    """A bar with the time left, by rich."""

    def __init__(self, application: Application) -> None:
        """Begin without a bar; it appears with the first phase."""
        super().__init__(application)
        self._bar: Bar | None = None
        self._task: Any = None

    def start(self, phase: str, total_items: int | None = None, total_bytes: int | None = None) -> None:
        """Show a bar for the phase."""
        super().start(phase, total_items, total_bytes)
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self.finish()
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(),
            TextColumn("{task.fields[items]}"), TimeElapsedColumn(), TimeRemainingColumn(),
            console=Console(file=sys.stderr), transient=True,
        )
        self._task = self._bar.add_task(_(_PHASES.get(phase, phase)), total=total_bytes, items="")
        self._bar.start()

    def update(self, seconds: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            items = _("{count} items").format(count=self.items)
            self._bar.update(self._task, completed=self.bytes, total=self.total_bytes or None, items=items)

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            super().print(text)

    def complain(self, text: str) -> None:
        """Print a line above the bar."""
        self.print(text)

    def finish(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(self) -> None:
        """Take the bar away."""
        self.finish()


def choose_display(application: Application) -> Display:
    """Return what suits the options and the terminal."""
    if application.json:
        return Display(application) if application.quiet else JsonDisplay(application)
    if application.quiet or not sys.stderr.isatty() or not sys.stdout.isatty():
        return Display(application)
    return TerminalDisplay(application)
