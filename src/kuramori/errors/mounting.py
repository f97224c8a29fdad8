"""Showing a repository as a folder: what stands in the way of it, and what of it cannot be read."""

from __future__ import annotations

from kuramori.errors.root import N_, KuramoriError
from kuramori.errors.storage import MissingExtraError


class MountError(KuramoriError):
    """The repository could not be mounted."""

    message = N_("{path!s} cannot be used to mount the repository: {detail}")
    advice = N_("create an empty folder and name that")


class StaleMountError(MountError):
    """A program that was mounted there died without unmounting."""

    message = N_("something was mounted at {path!s} and its program is gone")
    advice = N_("free the folder with: fusermount3 -u {path!s}")


class FuseFailedError(MountError):
    """The system refused the mount, or ended it."""

    message = N_("mounting at {path!s} failed: {detail}")
    advice = N_("without FUSE this shows the same to a file manager or a browser: kuramori serve-webdav")


class FuseMissingError(KuramoriError):
    """The system has no FUSE."""

    message = N_("mounting needs FUSE, which this system lacks: {detail}")
    advice = N_("install it (on Debian: sudo apt-get install fuse3), or use: kuramori serve-webdav")


class FuseBindingMissingError(MissingExtraError):
    """The Python package that speaks with FUSE is not installed."""

    advice = N_("install it with: pip install 'kuramori[{extra}]', or use: kuramori serve-webdav")


class UnreadableEntryError(KuramoriError):
    """Something in a mounted snapshot cannot be read; everything else can."""

    message = N_("{path!s} cannot be read: {detail}")


class NoSuchEntryError(KuramoriError):
    """There is nothing of that name."""

    message = N_("there is no {path!s}")


class NotAFolderError(KuramoriError):
    """Something is looked for in what is no folder."""

    message = N_("{path!s} is not a folder")


class ServingError(KuramoriError):
    """The repository could not be served over the network."""

    message = N_("cannot listen on {address!s}: {detail}")
    advice = N_("name another port with --listen, or port 0 for any that is free")
