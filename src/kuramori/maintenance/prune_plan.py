"""What a prune will do, worked out before it does anything (format section 5.3).

Pure: from the index, the used blobs and the sizes of the packs that are there to the packs that
stay, go and are written anew. The rules are restic's, so that both leave the same behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kuramori.errors import (
    N_,
    KuramoriError,
    PackMissingError,
    PackSizeError,
    Phrase,
    PruneRefusedError,
    UsageError,
)
from kuramori.ids import Id
from kuramori.maintenance.used_blobs import UsedBlobs
from kuramori.model.blob import BlobType
from kuramori.repository.index import Index
from kuramori.repository.pack_header import COMPRESSED_ENTRY, EMPTY_PACK, PLAIN_ENTRY
from kuramori.repository.packer import DEFAULT_PACK_SIZE

_FEW_SMALL_PACKS = 10
"""Fewer small packs are left alone: one of them is left over by every backup, and writing them anew
at each prune would never end."""
_USUAL_SMALLEST = 4 * 1024 * 1024
_NAMED = 5
_COMPRESSED_ENTRY, _PLAIN_ENTRY = COMPRESSED_ENTRY.size, PLAIN_ENTRY.size
"""Bytes."""


@dataclass(frozen=True, slots=True)
class UnusedLimit:
    """How much unused data may stay: writing packs anew costs more than some dead weight. With
    neither field, any amount."""

    percent: float | None = None
    """Of the repository's size afterwards; at least 0 and below 100."""
    size: int | None = None
    """Bytes."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: they make no sense.
        """
        if self.percent is not None and not 0 <= self.percent < 100:
            raise UsageError(detail=N_("the part of unused data that may stay must be at least 0% and below 100%"))

    def bytes_of(self, used_bytes: int) -> int | None:
        """Return the limit in bytes when so many bytes are used; None for none."""
        if self.percent is not None:
            return int(self.percent / (100 - self.percent) * used_bytes)
        return self.size


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """What is worth writing anew."""

    max_unused: UnusedLimit = field(default_factory=lambda: UnusedLimit(percent=5.0))
    max_repack_size: int | None = None
    """Bytes of packs to write anew at most; None for any number."""
    repack_small: bool = False
    """Join packs below 80 % of the pack size."""
    repack_smaller_than: int | None = None
    """Join packs smaller than so many bytes; stands above ``repack_small``."""
    repack_cacheable_only: bool = False
    """Leave packs of data as they are; those of trees lie in local caches and cost nothing to read."""
    repack_uncompressed: bool = False
    """Write packs with uncompressed data anew."""
    pack_size: int = DEFAULT_PACK_SIZE
    """Bytes of the packs that are written."""

    def smallest_good_pack(self, pack_sizes: Mapping[Id, int]) -> int:
        """Return the bytes below which a pack counts as small.

        Without a wish of the user's: four fifths of what is usual here, so that a repository that
        was written with small packs is not written anew again and again.
        """
        if self.repack_smaller_than is not None:
            return self.repack_smaller_than
        if self.repack_small:
            return self.pack_size // 5 * 4
        sizes = sorted(pack_sizes.values())
        usual = sizes[len(sizes) * 3 // 100] if sizes else 0
        return min(max(_USUAL_SMALLEST, usual), self.pack_size) * 4 // 5


@dataclass(slots=True)
class Amount:
    """Some blobs and their bytes in packs."""

    blobs: int = 0
    bytes: int = 0

    def add(self, size: int, blobs: int = 1) -> None:
        """Count blobs of ``size`` bytes together."""
        self.blobs += blobs
        self.bytes += size


@dataclass(slots=True)
class PlanCounts:
    """What a plan comes to."""

    used: Amount = field(default_factory=Amount)
    duplicate: Amount = field(default_factory=Amount)
    """Further copies of used blobs."""
    unused: Amount = field(default_factory=Amount)
    repacked: Amount = field(default_factory=Amount)
    """All of the packs that are written anew."""
    repack_removed: Amount = field(default_factory=Amount)
    """Of these, what is left out."""
    removed: Amount = field(default_factory=Amount)
    """In packs that only go."""
    unreferenced_bytes: int = 0
    """In packs that no index names."""
    packs_used: int = 0
    """Packs of which everything is used."""
    packs_partly_used: int = 0
    packs_unused: int = 0
    packs_kept: int = 0

    @property
    def total_blobs(self) -> int:
        """Blobs that the index names, every copy counted."""
        return self.used.blobs + self.duplicate.blobs + self.unused.blobs

    @property
    def total_bytes(self) -> int:
        """Bytes of all that."""
        return self.used.bytes + self.duplicate.bytes + self.unused.bytes + self.unreferenced_bytes

    @property
    def pruned_blobs(self) -> int:
        """Blobs that go."""
        return self.removed.blobs + self.repack_removed.blobs

    @property
    def pruned_bytes(self) -> int:
        """Bytes that go."""
        return self.removed.bytes + self.repack_removed.bytes + self.unreferenced_bytes

    @property
    def unused_bytes(self) -> int:
        """Bytes that nobody needs, now."""
        return self.duplicate.bytes + self.unused.bytes

    @property
    def unused_bytes_afterwards(self) -> int:
        """Bytes that nobody needs, when the plan is done."""
        return self.unused_bytes - self.removed.bytes - self.repack_removed.bytes


@dataclass(slots=True)
class PrunePlan:
    """What will be done with the packs. Those that it does not name stay as they are."""

    unreferenced: list[Id] = field(default_factory=list)
    """Named by no index: removed first, which makes room."""
    repacked: list[Id] = field(default_factory=list)
    """What is used of them is written anew, then they are removed; in the order of their worth."""
    removed: list[Id] = field(default_factory=list)
    """Hold nothing that is used."""
    forgotten: list[Id] = field(default_factory=list)
    """Named by the index, not there, and not needed."""
    counts: PlanCounts = field(default_factory=PlanCounts)

    @property
    def leaving(self) -> set[Id]:
        """The packs that no index shall name any more."""
        return {*self.repacked, *self.removed, *self.forgotten}

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.unreferenced or self.repacked or self.removed or self.forgotten)


@dataclass(slots=True)
class _Pack:
    """What a pack holds."""

    id: Id
    used_blobs: int = 0
    unused_blobs: int = 0
    duplicate_blobs: int = 0
    used_bytes: int = EMPTY_PACK
    """The header counts as used, as in restic."""
    unused_bytes: int = 0
    type: BlobType | None = None
    """None as long as it is empty."""
    mixed: bool = False
    uncompressed: bool = False

    @property
    def bytes(self) -> int:
        """The size that its file must have."""
        return self.used_bytes + self.unused_bytes

    @property
    def is_data(self) -> bool:
        """It holds data and no trees."""
        return self.type is BlobType.DATA and not self.mixed


def plan_prune(index: Index, used: UsedBlobs, pack_sizes: Mapping[Id, int], policy: PrunePolicy,
               version: int) -> PrunePlan:
    """Return what a prune should do.

    Args:
        index: all index files.
        used: what the snapshots use.
        pack_sizes: the packs that are there and their bytes.
        version: the repository's format version.

    Raises:
        PruneRefusedError: packs that are needed are not there, or not of the size that the index
            says; ``detail`` names them.
    """
    plan = PrunePlan()
    packs = _Census(index, used, plan.counts).packs
    by_id = {pack.id: pack for pack in packs}
    _refuse_broken(packs, pack_sizes)
    small = policy.smallest_good_pack(pack_sizes)
    candidates: list[_Pack] = []
    small_candidates: list[_Pack] = []
    for pack_id in sorted(pack_sizes):
        pack = by_id.get(pack_id)
        if pack is None:
            plan.unreferenced.append(pack_id)
            plan.counts.unreferenced_bytes += pack_sizes[pack_id]
            continue
        _count_pack(pack, plan.counts)
        if pack.used_blobs == 0:
            _remove(pack, plan.removed, plan.counts)
        elif policy.repack_cacheable_only and pack.is_data:
            plan.counts.packs_kept += 1
        elif pack.unused_blobs or pack.mixed or _must_compress(pack, policy, version):
            candidates.append(pack)
        elif pack_sizes[pack_id] >= small:
            plan.counts.packs_kept += 1
        else:
            small_candidates.append(pack)
    for pack in packs:
        if pack.id not in pack_sizes:
            _remove(pack, plan.forgotten, plan.counts)
    if len(small_candidates) < _FEW_SMALL_PACKS:
        plan.counts.packs_kept += len(small_candidates)
    else:
        candidates += small_candidates
    _choose_repacked(candidates, plan, policy, small, version)
    return plan


class _Census:
    """Counts what each pack of an index holds, and decides which copy of a blob is the used one."""

    def __init__(self, index: Index, used: UsedBlobs, counts: PlanCounts) -> None:
        self._used = used
        self._counts = counts
        self._copies_left = {number: count for blob_type, blob_id, count in index.duplicates()
                             if used.has_number(number := index.number(blob_type, blob_id))}
        """By the numbers of the blobs."""
        self.packs = [_Pack(pack_id) for pack_id in index.pack_ids()]
        self._count(index)
        if self._copies_left:
            self._settle_duplicates(index)

    def _count(self, index: Index) -> None:
        is_used, copies_left, packs = self._used.has_number, self._copies_left, self.packs
        counts = self._counts
        types = (BlobType.DATA, BlobType.TREE)
        for blob, (_id, code, number, _offset, length, uncompressed_length) in index.records():
            pack = packs[number]
            blob_type = types[code]
            if pack.type is not blob_type:
                pack.mixed = pack.type is not None
                pack.type = pack.type or blob_type
            if uncompressed_length:
                pack.used_bytes += _COMPRESSED_ENTRY
            else:
                pack.used_bytes += _PLAIN_ENTRY
                pack.uncompressed = True
            if is_used(blob):
                if blob not in copies_left:
                    counts.used.add(length)
                    pack.used_blobs += 1
                    pack.used_bytes += length
                    continue
                # For now; one copy will be chosen.
                counts.duplicate.add(length)
                pack.duplicate_blobs += 1
            else:
                counts.unused.add(length)
            pack.unused_blobs += 1
            pack.unused_bytes += length
    def _settle_duplicates(self, index: Index) -> None:
        """Choose one copy of each used blob that has several: in a pack that has other used blobs;
        in a pack of nothing but duplicates, which an interrupted prune wrote; else the last one."""
        left = self._copies_left
        for blob, (_id, _code, number, _offset, length, _uncompressed) in index.records():
            count = left.get(blob, 0)
            if not count:
                continue
            pack = self.packs[number]
            if count > 1 and not pack.used_blobs and pack.duplicate_blobs != pack.unused_blobs:
                left[blob] = count - 1
                continue
            left[blob] = 0
            pack.used_blobs += 1
            pack.used_bytes += length
            pack.unused_blobs -= 1
            pack.unused_bytes -= length
            self._counts.used.add(length)
            self._counts.duplicate.add(-length, -1)


def _refuse_broken(packs: list[_Pack], pack_sizes: Mapping[Id, int]) -> None:
    """Raise if packs with used blobs are not there or not whole; the others may be what they like."""
    broken: list[KuramoriError] = []
    for pack in packs:
        if not pack.used_blobs:
            continue
        found = pack_sizes.get(pack.id)
        if found is None:
            broken.append(PackMissingError(pack=pack.id.hex(), count=pack.used_blobs + pack.unused_blobs))
        elif found != pack.bytes:
            broken.append(PackSizeError(pack=pack.id.hex(), found=found, expected=pack.bytes))
    if not broken:
        return
    detail: tuple[KuramoriError, ...] | Phrase = tuple(broken[:_NAMED])
    if len(broken) > _NAMED:
        detail = Phrase(N_("{count} packs that are needed are missing or not whole: {detail}"),
                        count=len(broken), detail=detail)
    raise PruneRefusedError(detail=detail)


def _count_pack(pack: _Pack, counts: PlanCounts) -> None:
    if not pack.used_blobs:
        counts.packs_unused += 1
    elif pack.unused_blobs:
        counts.packs_partly_used += 1
    else:
        counts.packs_used += 1


def _remove(pack: _Pack, place: list[Id], counts: PlanCounts) -> None:
    place.append(pack.id)
    counts.removed.add(pack.unused_bytes, pack.unused_blobs)


def _must_compress(pack: _Pack, policy: PrunePolicy, version: int) -> bool:
    return version >= 2 and pack.uncompressed and (policy.repack_uncompressed or pack.type is BlobType.TREE)


def _choose_repacked(candidates: list[_Pack], plan: PrunePlan, policy: PrunePolicy, small: int, version: int) -> None:
    """Go through the candidates, the most worthwhile first, until little enough is unused."""
    # Trees are read by every prune and lie in caches: the fewer packs, the better. Then the small
    # ones, then those with the largest part of unused data.
    candidates.sort(key=lambda pack: (pack.is_data, pack.bytes >= small, -pack.unused_bytes / pack.bytes))
    counts = plan.counts
    limit = policy.max_unused.bytes_of(counts.used.bytes)
    for pack in candidates:
        if policy.max_repack_size is not None and counts.repacked.bytes + pack.bytes >= policy.max_repack_size:
            counts.packs_kept += 1
            continue
        enough = limit is None or counts.unused_bytes_afterwards < limit
        if pack.is_data and not _must_compress(pack, policy, version) and enough and pack.bytes >= small:
            counts.packs_kept += 1
            continue
        plan.repacked.append(pack.id)
        counts.repacked.add(pack.bytes, pack.used_blobs + pack.unused_blobs)
        counts.repack_removed.add(pack.unused_bytes, pack.unused_blobs)
