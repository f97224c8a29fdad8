"""What Prometheus may know: for each component in each repository, from the history.

Whoever scrapes reads the history's totals anew: the daemon keeps no figures of its own, so they
survive restarts, and backups made by hand count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kuramori import __version__
from kuramori.clock import Clock
from kuramori.errors import N_, MetricsAddressError, MissingExtraError
from kuramori.history.history import History
from kuramori.history.rows import to_nanoseconds
from kuramori.scheduling.scheduler import Upcoming

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_PLACE = ("job", "component", "repository")
_WORK = ("job", "work", "repository")
"""The repository is that of a check; it has no job. An empty label is the same as none."""


class MetricsCollector:
    """A collector of ``prometheus_client``. Its methods are called in the threads of the server."""

    def __init__(self, history: History, clock: Clock, upcoming: Callable[[], Sequence[Upcoming]]) -> None:
        """Read nothing yet.

        Args:
            upcoming: what is done next (:meth:`kuramori.scheduling.scheduler.Scheduler.upcoming`).
        """
        self._history = history
        self._clock = clock
        self._upcoming = upcoming

    def describe(self) -> list[Metric]:
        """Nothing is said in advance, so registering does not read the history."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric with its samples."""
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        yield InfoMetricFamily("kuramori", "The daemon.", value={"version": __version__})
        yield from self._component_metrics()
        entries = self._upcoming()
        following = GaugeMetricFamily("kuramori_next_run_timestamp_seconds", "When it is done next.", labels=_WORK)
        failures = GaugeMetricFamily("kuramori_failures_in_a_row", "Runs since the last success.", labels=_WORK)
        last = GaugeMetricFamily("kuramori_last_success_timestamp_seconds", "When it last ended well.", labels=_WORK)
        for entry in entries:
            place = (entry.work.job, entry.work.kind.value, entry.work.repository)
            following.add_metric(place, to_nanoseconds(entry.time) / 1e9)
            failures.add_metric(place, entry.state.failures)
            if entry.state.last_good is not None:
                last.add_metric(place, to_nanoseconds(entry.state.last_good) / 1e9)
        yield following
        yield failures
        yield last
        yield from self._copy_metrics()

    def _copy_metrics(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        labels = ("job", "repository")
        lacking = GaugeMetricFamily("kuramori_copy_lacking_runs", "Runs that a repository of a job lacks.",
                                    labels=labels)
        behind = GaugeMetricFamily("kuramori_copy_behind_seconds", "Since the first of these runs began.",
                                   labels=labels)
        now = self._clock.now_nanoseconds() / 1e9
        for record in self._history.copy_records():
            place = (record.job, record.repository)
            lacking.add_metric(place, record.lacking)
            since = record.stale_since
            behind.add_metric(place, max(0.0, now - to_nanoseconds(since) / 1e9) if since is not None else 0.0)
        yield lacking
        yield behind

    def _component_metrics(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        last = GaugeMetricFamily("kuramori_backup_last_success_timestamp_seconds",
                                 "When the last complete backup ended.", labels=_PLACE)
        age = GaugeMetricFamily("kuramori_backup_age_seconds", "Time since the last complete backup.", labels=_PLACE)
        size = GaugeMetricFamily("kuramori_backup_size_bytes", "What a restore of it would write.", labels=_PLACE)
        files = GaugeMetricFamily("kuramori_backup_files", "Files in it.", labels=_PLACE)
        duration = GaugeMetricFamily("kuramori_backup_duration_seconds", "How long it took.", labels=_PLACE)
        successes = CounterMetricFamily("kuramori_backup_successes", "Complete backups.", labels=_PLACE)
        failures = CounterMetricFamily("kuramori_backup_failures", "Backups that were not complete.", labels=_PLACE)
        now = self._clock.now_nanoseconds() / 1e9
        for totals in self._history.component_totals():
            place = (totals.job, totals.component, totals.repository)
            successes.add_metric(place, totals.successes)
            failures.add_metric(place, totals.failures)
            if totals.last_good is not None:
                ended = to_nanoseconds(totals.last_good) / 1e9
                for family, value in ((last, ended), (age, now - ended), (size, totals.size_bytes),
                                      (files, totals.files), (duration, totals.seconds)):
                    family.add_metric(place, value)
        yield from (last, age, size, files, duration, successes, failures)


class MetricsServer:
    """Answers ``GET /metrics``, in threads of its own, until it is closed."""

    def __init__(self, address: str, collector: MetricsCollector) -> None:
        """Listen.

        Args:
            address: ``host:port``; without a host on this machine only; port 0 for any that is free.

        Raises:
            MetricsAddressError: nobody can listen there.
            MissingExtraError: the package for it is not installed.
        """
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise MissingExtraError(feature=N_("metrics for Prometheus"), package="prometheus-client",
                                    extra="metrics") from None
        host, port = split_address(address)
        registry = CollectorRegistry(auto_describe=False)  # its own: nothing of Python's or of other libraries'
        registry.register(collector)
        try:
            started: Any = start_http_server(port, host, registry)
        except (OSError, OverflowError) as error:
            raise MetricsAddressError(address=address,
                                      detail=getattr(error, "strerror", None) or str(error)) from None
        self._server, self._thread = started
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop listening. May be called twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``, ``[::1]:9477`` or ``:9477``.

    Raises:
        MetricsAddressError: it is none of them.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise MetricsAddressError(address=address, detail=N_("that is not host:port"))
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)
