"""What is told of a fleet: many devices, each with a repository of its own in one place."""

from __future__ import annotations

from kuramori.errors.manager import StatusProblem
from kuramori.errors.repository import NoRepositoryError
from kuramori.errors.requests import UsageError
from kuramori.errors.root import N_


class NoFleetError(NoRepositoryError):
    """There is no repository at a location, nor below it."""

    message = N_("there is no repository at {location!s}, nor in the folders below it")
    advice = N_("check the location; it is what stands before {{hostname}} in the settings of the devices")


class FleetTooWideError(UsageError):
    """There are so many folders that it cannot be the place of a fleet."""

    message = N_("below {location!s} lie more than {count} folders, so that can hardly be the place of a fleet")
    advice = N_("name the folder in which the devices have their repositories")


class DeviceProblem(StatusProblem):
    """Something is not well with a device of a fleet. Never raised.

    ``part`` says which job and components are meant, where that is not all of the device; ``why`` what the last run
    failed of, if it did.
    """


class NeverSavedDeviceProblem(DeviceProblem):
    """There is no good backup of a device, or of a part of it."""

    message = N_("{device!s}{part} has never been backed up{why}")


class OverdueDeviceProblem(DeviceProblem):
    """The last good backup of a device, or of a part of it, is too old."""

    message = N_("{device!s}{part} has not been backed up for {age}{why}")


class LastRunDeviceProblem(DeviceProblem):
    """The last run of a device did not save everything."""

    message = N_("the last run of {device!s}{part} ({run!s}, {since}) did not save everything: {detail}")


class DeviceAheadProblem(DeviceProblem):
    """The newest backup of a device is of a time that has not come yet: nobody would notice if it were the last."""

    message = N_("{device!s} says that it was backed up at {time}, which has not come yet")
    advice = N_("its clock is wrong, or the clock of this machine")


class DeviceUnusableProblem(DeviceProblem):
    """The repository of a device cannot be opened or read. ``remedy`` is what ``detail`` advises."""

    message = N_("the repository of {device!s} cannot be used: {detail}")
    advice = "{remedy}"


class DeviceLockedOutProblem(DeviceUnusableProblem):
    """None of the passwords opens the repository of a device."""

    message = N_("no password that was given opens the repository of {device!s}")
    advice = N_("give its password as well: one more --password-file, or a file {device!s} in the folder of "
                "--password-directory")


class DeviceWithoutPasswordProblem(DeviceLockedOutProblem):
    """Nobody said what the password of a device is."""

    message = N_("there is no password for the repository of {device!s}")


class DeviceDamagedProblem(DeviceProblem):
    """Something in the repository of a device is not what it should be."""

    message = N_("the repository of {device!s} is damaged: {detail}")
    advice = N_("kuramori check on the device, or with -r and its location, says what is affected and what to do")


class ConfigMissingProblem(DeviceDamagedProblem):
    """A folder holds what a repository holds, but not the file that makes it one."""

    message = N_("the repository of {device!s} has lost its config, without which nothing in it can be read")
    advice = N_("bring the file config back from a duplicate of this repository that was made file by file; that of "
                "another repository does not fit")
