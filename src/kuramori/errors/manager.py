"""Runs, their components, restores and cleanups; and what the status says of them."""

from __future__ import annotations

from collections.abc import Iterable

from kuramori.errors.maintenance import SizeLimitError, SizeLimitMissedError
from kuramori.errors.repository import NoRepositoryError, RepositoryError
from kuramori.errors.requests import UsageError
from kuramori.errors.root import N_, KuramoriError, Phrase
from kuramori.errors.sources import RestoreError, SourceError
from kuramori.spelling import nearest

_MOST_NAMES = 12


def suggest(name: str, known: Iterable[str]) -> Phrase | str:
    """Return what to say to somebody who wrote a name that does not exist: the nearest one that
    does, or all of them; empty if there is none."""
    names = sorted(known)
    near = nearest(name, names)
    if near:
        return Phrase(N_("did you mean {near!s}?"), near=near)
    # Of runs, the last by their names are the newest.
    shown = [*(["..."] if len(names) > _MOST_NAMES else []), *names[-_MOST_NAMES:]]
    return Phrase(N_("there are: {names}"), names=", ".join(shown)) if names else ""


class UnknownNameError(UsageError):
    """A name of the settings, or of a run, that does not exist. ``suggestion`` says which does."""

    advice = "{suggestion}"


class UnknownJobError(UnknownNameError):
    """No job has that name."""

    message = N_("there is no job {name!s} in the settings")


class UnknownComponentError(UnknownNameError):
    """A job or a run has no component of that name."""

    message = N_("there is no component {name!s} in {where!s}")


class UnknownRepositoryNameError(UnknownNameError):
    """No repository of the settings has that name."""

    message = N_("there is no repository {name!s} in the settings")


class UnknownRunError(UnknownNameError):
    """No repository that can be reached has that run."""

    message = N_("there is no run {name!s}")


class NoCompleteRunError(UnknownRunError):
    """The latest run was asked for, and there is none that is complete."""

    message = N_("no run is complete yet, so none is the latest")
    advice = N_("kuramori list shows what there is; a run that is not complete is restored by its name")


class UnknownRestoreError(UnknownNameError):
    """There is no restore that could be undone."""

    message = N_("there is no restore {name!s} that could be undone")


class AmbiguousRunError(UsageError):
    """Several jobs or machines have a run of that name."""

    message = N_("{name!s} is a run of several: {owners}")
    advice = N_("say which job is meant with --job")


class InvalidNameError(UsageError):
    """A name that could be taken for a path, or that a tag cannot hold."""

    message = N_("{name!s} cannot be the name of a run: {detail}")


class RunExistsError(UsageError):
    """The name of a run is taken."""

    message = N_("there is already a run {name!s} of job {job!s}")
    advice = N_("choose another name, or none: then the time is its name")


class JobBusyError(KuramoriError):
    """Another process works on the job."""

    message = N_("job {job!s} is being worked on by another process of this machine")
    advice = N_("wait until it is done, or see what it does with: kuramori history")
    exit_code = 11
    retryable = True


class StateError(KuramoriError):
    """The folder where this program keeps what it must remember cannot be used."""

    message = N_("{path!s}, which this program needs, cannot be used: {detail}")
    advice = N_("check the rights on it, or name another folder with state_directory in the settings")


class HookFailedError(KuramoriError):
    """A command around a run failed."""

    message = N_("the command {command!s} ({what} the run) failed: {detail}")


class RepositoryBusyError(KuramoriError):
    """Another job of this machine works with the repository."""

    message = N_("the repository {name!s} is used by another job of this machine")
    advice = N_("wait until that is done, or see what it does with: kuramori history")
    exit_code = 11
    retryable = True


class WaitingForRepositoryNote(KuramoriError):
    """Another job of this machine is waited for. Never raised."""

    message = N_("the repository {name!s} is used by another job of this machine; waiting for it")


class RepositoryAwayError(NoRepositoryError):
    """There was a repository once where there is none now: a disk that is not mounted."""

    message = N_("there is no repository at {location!s} any more, although {name!s} was there before")
    advice = N_("is the disk mounted and plugged in? nothing was written there; if the repository is gone for good, "
                "make a new one with: kuramori init --renew")
    retryable = True


class NotInitialisedError(NoRepositoryError):
    """A repository of the settings was never made."""

    message = N_("the repository {name!s} at {location!s} does not exist yet")
    advice = N_("make it with: kuramori init")


class NotMountedError(RepositoryError):
    """A repository was to be made on a disk that is not there."""

    message = N_("the repository {name!s} was not made: /etc/fstab says that a disk belongs on {path!s}, and none is "
                 "mounted there")
    advice = N_("mount it first: mount {path!s}")


class DifferentRepositoryError(RepositoryError):
    """Where one repository was, there is another: another disk at the same place."""

    message = N_("at {location!s} lies another repository ({found}) than the one that {name!s} was before ({known})")
    advice = N_("is the right disk mounted? nothing was written there; if the other is meant: kuramori init --renew")


class SourceGoneError(SourceError):
    """A source of a component is not there."""

    message = N_("{path!s} is not there")
    advice = N_("is the USB disk mounted? check where the settings say the source is")
    retryable = True


class SourceEmptiedError(SourceError):
    """A source holds nothing any more."""

    message = N_("{path!s} is empty, and had {before} file(s) in the run {run!s}")
    advice = N_("is the USB disk mounted? nothing was saved of it, so that the last good one stays the last; "
                "if it is meant to be empty: kuramori backup --accept-loss")


class SourceShrunkError(SourceError):
    """A source has lost most of what it had."""

    message = N_("{path!s} has lost {percent} % of its {what} since the run {run!s} ({before} before, {now} now)")
    advice = N_("is the USB disk mounted? nothing was saved of it, so that the last good one stays the last; "
                "if this is meant: kuramori backup --accept-loss")


class InsteadOfFirstNote(KuramoriError):
    """A run is saved in another repository than the job's first. Never raised."""

    message = N_("the repository {name!s} cannot be used, so this run is saved in {other!s}: {detail}")
    advice = N_("{name!s} gets it when it is back")

    @classmethod
    def about(cls, name: str, failure: KuramoriError, other: str) -> InsteadOfFirstNote:
        """Return the note of a repository that cannot be used because of ``failure``; with its cure where it is not
        simply away and will not come back by itself."""
        if failure.retryable or not failure.advice:
            return cls(name=name, detail=failure, other=other)
        return BarredFirstNote(name=name, detail=failure, other=other, cure=Phrase(failure.advice, **failure.fields))


class BarredFirstNote(InsteadOfFirstNote):
    """The same where somebody has to do something first, as with a wrong password. Never raised."""

    advice = N_("{cure}; then {name!s} gets it with the next run")


class SkippedComponentError(KuramoriError):
    """A component was not begun."""

    message = N_("it was not saved, because {detail}")


class FailedRunError(KuramoriError):
    """Nothing of a run was saved."""

    message = N_("the run {run!s} of job {job!s} failed: nothing was saved")
    advice = N_("what went wrong is named above")


class PartialRunError(KuramoriError):
    """Not all of a run was saved."""

    message = N_("the run {run!s} of job {job!s} is not complete: {names}")
    advice = N_("what went wrong is named above; what could be saved is saved")
    exit_code = 3


class IncompleteCopiesError(KuramoriError):
    """The run itself is complete, but not every repository has it."""

    message = N_("the run {run!s} of job {job!s} is complete, but these repositories do not have it yet: {names}")
    advice = N_("the next run brings them up to date")
    exit_code = 3


class ManifestError(RepositoryError):
    """The record of a run cannot be understood."""

    message = N_("the record of the run {run!s} cannot be read: {detail}")


# --- restores --------------------------------------------------------------------------------


class RestoreTargetError(RestoreError):
    """A target that cannot be restored to."""

    message = N_("nothing was restored to {path!s}: {detail}")


class OutdatedRepositoryNote(KuramoriError):
    """A run was read from another repository than the nearest. Never raised."""

    message = N_("the repository {name!s} was passed over: {detail}")


class BlobsFromElsewhereNote(KuramoriError):
    """Parts of a component were damaged or missing in one repository and came from another. Never raised."""

    message = N_("{component!s}: {count} part(s) that are damaged or missing in the repository {name!s} came from "
                 "{other!s}")
    advice = N_("look at {name!s} soon: kuramori -r {name!s} check")


class DatabaseDiffersError(RestoreError):
    """A restored database is not what was recorded when it was saved."""

    message = N_("the restored database {path!s} is not what was saved: {detail}")


class IncompleteRunRestoreError(RestoreError):
    """Some components of a run are not back."""

    message = N_("not restored: {names}")
    advice = N_("what went wrong is named above; nothing that was there before is lost")


class UndoError(RestoreError):
    """A restore cannot be taken back."""

    message = N_("the restore of {path!s} cannot be undone: {detail}")


# --- cleanup and status ----------------------------------------------------------------------


class CleanUpRefusedError(RepositoryError):
    """Nothing may be removed at the moment."""

    message = N_("nothing was removed from {name!s}: {detail}")


class ImplausibleClockError(CleanUpRefusedError):
    """The clock is wrong, so nobody knows what is old."""

    message = N_("nothing was removed from {name!s}: it is {now} by this machine's clock, and the newest snapshot "
                 "is of {newest}")
    advice = N_("set the clock; or, if that snapshot was made while it was wrong, remove it: kuramori forget {id}")


class ClockLeapError(CleanUpRefusedError):
    """There was no run for long, so the clock may have leapt ahead, and everything only looks old."""

    message = N_("nothing was removed from {name!s} yet: there is no backup between {before} and {after}; either this "
                 "machine was off, or its clock has leapt ahead")
    advice = N_("if the clock is right there is nothing to do: what is old goes from {trusted_from} on, or now with: "
                "kuramori cleanup; if it is wrong, set it")


class MaxSizeUnreachableError(SizeLimitError):
    """A repository cannot stay within its ``max_size``: what must stay is more. ``floor`` and ``limit`` are texts."""

    message = N_("{name!s} cannot be kept within its max_size of {limit}: the {count} snapshot(s) that must stay take "
                 "{floor}, so nothing was removed for the sake of the size")
    advice = N_("the newest good snapshot of each component, what keep_tag names, and what other machines or programs "
                "saved there always stays; give it a larger max_size, or save less")


class MaxSizeMissedError(SizeLimitMissedError):
    """A cleanup is done, and the repository is still larger than its ``max_size``. The sizes are texts."""

    message = N_("{name!s} still has {found}, which is {over} more than its max_size: not everything could be deleted")
    advice = N_("what may not be deleted yet or could not be is named above; the next cleanup tries again")


class UnclaimedSnapshotsNote(KuramoriError):
    """Snapshots that no rule judges, because the settings no longer have their component. Never raised."""

    message = N_("in the repository {name!s} there are {count} snapshot(s) of {component!s} (job {job!s}), which the "
                 "settings no longer have; no cleanup removes them")
    advice = N_("if nobody needs them: kuramori -r {name!s} forget IDs; kuramori -r {name!s} snapshots lists them")


class IncompleteCleanUpError(KuramoriError):
    """Some repositories were not cleaned up."""

    message = N_("not cleaned up: {names}")
    advice = N_("what went wrong is named above; the next cleanup does the rest")


class StatusProblem(KuramoriError):
    """Something is not well. Never raised."""

    message = "{detail}"


class NeverSavedProblem(StatusProblem):
    """There is no good snapshot of some components. ``why`` says what the last run failed of, if it did."""

    message = N_("there is no good backup yet of {component!s} (job {job!s}){why}")
    advice = N_("{remedy}make one with: kuramori backup {job!s}")


class OverdueProblem(StatusProblem):
    """The last good snapshot of some components is too old. ``why`` says what the last run failed of, if it did."""

    message = N_("there has been no good backup of {component!s} (job {job!s}) since {since}, which is {age} ago; "
                 "there should be one every {every}{why}")
    advice = N_("{remedy}make one now with: kuramori backup {job!s}")


class LastRunProblem(StatusProblem):
    """The last run did not save everything."""

    message = N_("the last run of job {job!s} ({run!s}, {since}) did not save everything: {detail}")
    advice = N_("{remedy}when the cause is removed: kuramori backup {job!s}")


class FailingRunsProblem(LastRunProblem):
    """Several runs in a row did not save everything."""

    message = N_("since {since}, none of the {count} runs of job {job!s} saved everything; the last one says: {detail}")


class UnreachableProblem(StatusProblem):
    """A repository cannot be used. ``remedy`` is what ``detail`` advises."""

    message = N_("the repository {name!s} cannot be used; its last good backup is of {since}: {detail}")
    advice = "{remedy}"


class UnusableProblem(UnreachableProblem):
    """A repository cannot be used, and nothing is known to be in it."""

    message = N_("the repository {name!s} cannot be used: {detail}")


class StaleCopyProblem(StatusProblem):
    """A further repository lacks runs."""

    message = N_("the repository {name!s} lacks {count} run(s) of job {job!s} (its newest: {since})")
    advice = N_("the next run copies them; or now: kuramori backup {job!s}")


class OverMaxSizeProblem(StatusProblem):
    """A repository is larger than its ``max_size``. The sizes are texts; ``remedy`` says what is to be done."""

    message = N_("the repository {name!s} has {found}, which is {over} more than its max_size; {remedy}")


class OutOfDateProblem(StatusProblem):
    """A repository of a job has lacked runs for some time."""

    message = N_("the repository {name!s} has lacked {count} run(s) of job {job!s} since {since}, which is {age} ago")
    advice = N_("bring it back (plug it in, see to the network or to its credentials); the next run, or "
                "kuramori backup {job!s}, copies what it lacks")


class DetachedNote(KuramoriError):
    """A disk that comes and goes is not there, as it may be. Never raised."""

    message = N_("the disk of the repository {name!s} is not attached; its last good backup is of {since}")


class UnfinishedRestoreProblem(StatusProblem):
    """A restore in place was killed, or failed in its middle."""

    message = N_("the restore {id!s} of the run {run!s} did not come to its end")
    advice = N_("this brings back what was there before it: kuramori restore --undo {id!s}")


class VanishedProblem(StatusProblem):
    """Snapshots are gone that nobody here removed."""

    message = N_("in the repository {name!s}, {detail}")
    advice = N_("nothing is cleaned up there until that is explained; if it was done on purpose: "
                "kuramori cleanup --accept-missing")


class DamagedPacksProblem(StatusProblem):
    """Checks have found damage in a repository."""

    message = N_("the repository {name!s} is damaged: {count} pack(s) were not what they should be when they were "
                 "last read")
    advice = N_("kuramori -r {name!s} check --read-data names what is affected, and says what to do")


class DamageFoundError(RepositoryError):
    """A check found packs that are damaged or gone. ``remedy`` says what to do."""

    message = N_("the backups in the repository {name!s} are damaged: {count} pack(s) are not what they should be, or "
                 "are gone ({packs})")
    advice = "{remedy}"


class FaultyRepositoryError(RepositoryError):
    """A check found faults, and not in what packs hold."""

    message = N_("the check of the repository {name!s} found {count} fault(s)")
    advice = N_("do not delete anything; kuramori -r {name!s} check --read-data names all of it, and says what to do")


class UnreadPacksProblem(StatusProblem):
    """A part of a repository was not read back for too long, although it has a schedule for that."""

    message = N_("{count} of {total} packs of the repository {name!s} were not read back for more than {days} days")
    advice = N_("{remedy}kuramori -r {name!s} check --read-data reads all of it now")


class FailedCheckProblem(StatusProblem):
    """The last check of a repository that has a schedule for it failed."""

    message = N_("the last check of the repository {name!s} ({since}) failed: {detail}")
    advice = N_("{remedy}check again with: kuramori -r {name!s} check --rolling")


class MendedDamageProblem(FailedCheckProblem):
    """The last check found damaged packs that were removed since, and no check has confirmed it."""

    message = N_("the last check of the repository {name!s} ({since}) found damage, which was repaired or removed "
                 "since")
    advice = N_("see whether all is well now with: kuramori -r {name!s} check --rolling")


class SmallBudgetNote(KuramoriError):
    """The budget of a repository's checks cannot be enough. Never raised."""

    message = N_("to read back all of the repository {name!s} within {days} days, {needed} MiB a day are needed, and "
                 "its check_budget is {budget} MiB")
    advice = N_("raise check_budget or check_days in the settings")


class UnfinishedProblem(StatusProblem):
    """Something was broken off."""

    message = N_("{count} operation(s) were broken off by a crash or a power cut, the last one of {since}")
    advice = N_("see which with: kuramori history")
