"""What a check is asked for, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field

from kuramori.errors import CheckHint, KuramoriError


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What to check."""

    read_data: bool = False
    """Read every pack and verify every blob, not only the structure."""
    read_data_subset: str | None = None
    """Read some packs: ``n/t`` (the n-th of t parts), ``x%``, or a size such as ``50M``."""
    no_lock: bool = False
    """Take no lock. Somebody's backup or prune meanwhile may look like damage."""
    retry_lock_seconds: float = 0.0
    """How long to wait for somebody else's lock."""
    accept_missing: bool = False
    """Snapshots that the repository's ledger knows and that are gone were forgotten on purpose elsewhere."""
    read_concurrency: int = 0
    """How many packs to read at once; 0 for one per processor."""


@dataclass(slots=True)
class CheckResult:
    """What was found. The repository is sound if :attr:`errors` is empty."""

    errors: list[KuramoriError] = field(default_factory=list)
    """Damage: something cannot be read, or is not what it should be. Each names the thing."""
    hints: list[CheckHint] = field(default_factory=list)
    """What is untidy and loses nothing."""
    broken_packs: list[str] = field(default_factory=list)
    """Ids of packs with damage, sorted."""
    snapshots: int = 0
    """Snapshots that were walked."""
    known_damage: list[str] = field(default_factory=list)
    """Names of packs that were damaged when somebody last read them, and were not read now."""
    vanished: list[str] = field(default_factory=list)
    """Ids of snapshots that this machine remembers and that are gone, the oldest first."""
    trees: int = 0
    """Different trees that were read."""
    packs: int = 0
    """Packs that the index names."""
    blobs: int = 0
    """Different blobs that the index names."""
    packs_read: int = 0
    """Packs that were read whole."""
    bytes_read: int = 0
    """Bytes of these packs."""
    suggest_repair_index: bool = False
    """Writing the index anew would tidy something up."""
    suggest_prune: bool = False
    """A prune would tidy something up."""

    @property
    def sound(self) -> bool:
        """Whether there is no damage."""
        return not self.errors
