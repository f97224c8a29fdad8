"""Schedules, the daemon, and telling people."""

from __future__ import annotations

from kuramori.errors.requests import UsageError
from kuramori.errors.root import N_, KuramoriError


class ScheduleError(UsageError):
    """A schedule that no clock can follow."""

    message = N_("{schedule!s} is not a schedule: {detail}")
    advice = N_("write HH:MM, five fields as cron has them, or every = \"6h\"")


class DaemonRunningError(KuramoriError):
    """Another daemon works with the same state directory."""

    message = N_("another kuramori daemon works with {path!s}")
    advice = N_("only one may; end that one first, or give this one another state_directory")


class MetricsAddressError(KuramoriError):
    """The daemon cannot answer with metrics there."""

    message = N_("metrics cannot be served at {address!s}: {detail}")
    advice = N_("set listen in the section [metrics] to another host:port, such as 127.0.0.1:9477")


class UnexpectedError(KuramoriError):
    """A bug: an error that is none of ours reached the daemon, which goes on."""

    message = N_("something unexpected happened ({kind}: {detail})")
    advice = N_("run the job once by hand with KURAMORI_DEBUG=1, and report what it shows")


class ClockImplausibleError(KuramoriError):
    """The clock shows what cannot be."""

    message = N_("the clock shows {now!s}, but it was already {newest!s}; nothing runs until it is set right")
    advice = N_("set the clock; if it is right, wait {patience}: then it is believed")


class NotifierError(KuramoriError):
    """A notice could not be delivered."""

    message = N_("{notifier!s} could not be told: {detail}")
    advice = N_("check its address in the settings with: kuramori notify test")
    retryable = True


class NoNotifierError(UsageError):
    """There is nobody to tell."""

    message = N_("the settings name nobody to tell")
    advice = N_("add a [notify] section; kuramori settings example shows one")
