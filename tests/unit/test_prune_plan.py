"""The plan of a prune: restic's rules one by one, and what must hold of every plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.errors import MissingBlobError, PruneRefusedError, UsageError
from kuramori.ids import Id, hash_id
from kuramori.maintenance.prune_plan import PrunePlan, PrunePolicy, UnusedLimit, plan_prune
from kuramori.maintenance.used_blobs import UsedBlobs
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.repository.index import Index
from kuramori.repository.pack_header import pack_size
from samples.pack_descriptions import add_blobs

MIB = 1024 * 1024
DATA, TREE = BlobType.DATA, BlobType.TREE
Spec = tuple[str, int]
"""A blob's name, ``t`` first for a tree, ``u`` anywhere for uncompressed; and its sealed bytes."""


def _id(name: str) -> Id:
    return hash_id(name.encode())


def _type(name: str) -> BlobType:
    return TREE if name.startswith("t") else DATA


class Scene:
    """An index written down by hand."""

    def __init__(self, packs: Mapping[str, Sequence[Spec]], used: str) -> None:
        """Packs by name, with their blobs; and the names of the used blobs, separated by spaces."""
        self.index = Index()
        self.sizes: dict[Id, int] = {}
        self.names = {_id(name): name for name in packs}
        for name, specs in packs.items():
            blobs: list[PackedBlob] = []
            for blob, length in specs:
                offset = sum(other.length for other in blobs)
                blobs.append(PackedBlob(_type(blob), _id(blob), _id(name), offset, length,
                                        0 if "u" in blob else 2 * length))
            self.index.add_pack(_id(name))
            add_blobs(self.index, blobs)
            self.sizes[_id(name)] = pack_size(blobs)
        self.used = UsedBlobs(self.index)
        for blob in used.split():
            self.used.add(_type(blob), _id(blob))

    def plan(self, version: int = 2, **policy: object) -> PrunePlan:
        return plan_prune(self.index, self.used, self.sizes, PrunePolicy(**policy), version)  # type: ignore[arg-type]

    def fate(self, version: int = 2, **policy: object) -> str:
        """Return what happens: ``repacked: a b, removed: c``; in the order of repacking."""
        plan = self.plan(version, **policy)
        parts = []
        for label, packs in (("repacked", plan.repacked), ("removed", plan.removed),
                             ("forgotten", plan.forgotten), ("unreferenced", plan.unreferenced)):
            names = [self.names[pack] for pack in packs]
            if names:
                parts.append(f"{label}: {' '.join(names if label == 'repacked' else sorted(names))}")
        return ", ".join(parts)


NONE = UnusedLimit(size=0)


# --- whole packs -------------------------------------------------------------------------------


def test_used_packs_stay_and_unused_ones_go() -> None:
    scene = Scene({"A": [("a", 5 * MIB)], "B": [("b", 5 * MIB)], "T": [("t1", 5 * MIB)], "E": []}, "a t1")
    assert scene.fate() == "removed: B E"


def test_packs_in_no_index_go_first() -> None:
    scene = Scene({"A": [("a", 5 * MIB)]}, "a")
    scene.names[_id("X")] = "X"
    scene.sizes[_id("X")] = 77
    assert scene.fate() == "unreferenced: X"
    assert scene.plan().counts.pruned_bytes == 77


def test_missing_packs_are_forgotten_if_nobody_needs_them() -> None:
    scene = Scene({"A": [("a", 5 * MIB)], "B": [("b", 5 * MIB)]}, "a")
    del scene.sizes[_id("B")]
    assert scene.fate() == "forgotten: B"


@pytest.mark.parametrize("size", [None, 5, 6 * MIB])
def test_needed_packs_must_be_there_and_whole(size: int | None) -> None:
    scene = Scene({"A": [("a", 5 * MIB)], "B": [("b", 5 * MIB)]}, "a")
    scene.sizes[_id("B")] = 17  # nobody needs it
    assert scene.fate() == "removed: B"
    if size is None:
        del scene.sizes[_id("A")]
    else:
        scene.sizes[_id("A")] = size
    with pytest.raises(PruneRefusedError, match=_id("A").hex()):
        scene.plan()


def test_many_broken_packs_are_counted() -> None:
    scene = Scene({f"P{number}": [(f"a{number}", 1000)] for number in range(9)},
                  " ".join(f"a{number}" for number in range(9)))
    scene.sizes.clear()
    with pytest.raises(PruneRefusedError, match=r"^the prune stopped.*: 9 packs"):
        scene.plan()


# --- packs that are used in part ---------------------------------------------------------------


def _partly(*percentages: int) -> Scene:
    """Packs of 10 MB of which so many per cent are unused."""
    packs = {f"P{share}": [(f"k{share}", 100_000 * (100 - share)), (f"x{share}", 100_000 * share)]
             for share in percentages}
    return Scene(packs, " ".join(f"k{share}" for share in percentages))


def test_the_worst_packs_are_written_anew_until_little_is_unused() -> None:
    scene = _partly(1, 2, 3, 4, 50, 90)
    assert scene.fate(max_unused=NONE) == "repacked: P90 P50 P4 P3 P2 P1"
    assert scene.fate() == "repacked: P90 P50", "less than 5 % are left then"
    assert scene.fate(max_unused=UnusedLimit(percent=20.0)) == "repacked: P90"
    assert scene.fate(max_unused=UnusedLimit(size=700_000)) == "repacked: P90 P50 P4"
    assert scene.fate(max_unused=UnusedLimit()) == ""


def test_nothing_but_wholly_unused_packs_with_a_repack_size_of_nothing() -> None:
    scene = Scene({"P50": [("k", 5 * MIB), ("x", 5 * MIB)], "P100": [("y", 5 * MIB)]}, "k")
    assert scene.fate(max_unused=NONE, max_repack_size=0) == "removed: P100"


def test_the_repack_size_is_never_exceeded() -> None:
    scene = _partly(90, 80, 70)
    assert scene.fate(max_unused=NONE, max_repack_size=25_000_000) == "repacked: P90 P80"


def test_packs_of_trees_are_always_written_anew_and_first() -> None:
    scene = Scene({"P": [("k", 5 * MIB), ("x", 5 * MIB)], "T": [("tk", 9 * MIB), ("tx", 1000)]}, "k tk")
    assert scene.fate(max_unused=UnusedLimit()) == "repacked: T"
    assert scene.fate(max_unused=NONE) == "repacked: T P"
    assert scene.fate(max_unused=NONE, repack_cacheable_only=True) == "repacked: T"


def test_mixed_packs_are_written_anew_though_all_is_used() -> None:
    for blobs in ([("k", 5 * MIB), ("t", 5 * MIB)], [("t", 5 * MIB), ("k", 5 * MIB), ("t2", 9)]):
        assert Scene({"M": blobs}, "k t t2" if len(blobs) == 3 else "k t").fate() == "repacked: M"


@pytest.mark.parametrize(("version", "uncompressed", "fate"), [
    (2, False, "repacked: T"), (2, True, "repacked: T P"), (1, False, ""),
])
def test_uncompressed_packs(version: int, uncompressed: bool, fate: str) -> None:
    scene = Scene({"P": [("u1", 5 * MIB), ("k", 9)], "T": [("tu", 5 * MIB), ("tk", 9)]}, "u1 k tu tk")
    assert scene.fate(version, repack_uncompressed=uncompressed, max_unused=UnusedLimit()) == fate


# --- small packs -------------------------------------------------------------------------------


def _small(count: int, size: int = MIB) -> Scene:
    packs = {f"S{number}": [(f"s{number}", size)] for number in range(count)}
    return Scene({**packs, "L": [("l", 15 * MIB)]}, " ".join(f"s{number}" for number in range(count)) + " l")


@pytest.mark.parametrize(("count", "size", "policy", "repacked"), [
    (9, MIB, {}, 0), (10, MIB, {}, 10), (10, 3 * MIB, {}, 10), (10, 4 * MIB, {}, 0), (10, 5 * MIB, {}, 0),
    (10, 5 * MIB, {"repack_small": True}, 10), (10, 13 * MIB, {"repack_small": True}, 0),
    (10, 5 * MIB, {"repack_smaller_than": 6 * MIB}, 10), (10, MIB, {"repack_smaller_than": 1000}, 0),
    (10, 13 * MIB, {"repack_small": True, "repack_smaller_than": 14 * MIB}, 10),
    (10, 5 * MIB, {"repack_small": True, "pack_size": 4 * MIB}, 0),
])
def test_small_packs_are_joined_if_there_are_many(count: int, size: int, policy: dict[str, object],
                                                  repacked: int) -> None:
    assert len(_small(count, size).plan(**policy).repacked) == repacked


def test_packs_that_were_always_small_are_not_written_anew_for_ever() -> None:
    """Those of a repository written with packs of 4 MiB are good enough for it; and packs are never
    called small that are as large as those that would be written."""
    assert _small(200, 4 * MIB).fate() == ""
    large = {f"S{number}": [(f"s{number}", 16 * MIB)] for number in range(20)}
    scene = Scene({**large, **{f"H{number}": [(f"h{number}", 64 * MIB)] for number in range(2000)}},
                  " ".join([f"s{number}" for number in range(20)] + [f"h{number}" for number in range(2000)]))
    assert scene.fate() == ""


# --- blobs in several packs --------------------------------------------------------------------


def test_a_copy_beside_other_used_blobs_is_the_used_one() -> None:
    scene = Scene({"A": [("d", 5 * MIB), ("x", 5 * MIB)], "B": [("d", 5 * MIB), ("k", 5 * MIB)]}, "d k")
    assert scene.fate(max_unused=NONE) == "removed: A"
    counts = scene.plan().counts
    assert (counts.used.blobs, counts.duplicate.blobs, counts.unused.blobs) == (2, 1, 1)


def test_a_pack_of_nothing_but_copies_stays() -> None:
    """An interrupted prune wrote it: the old packs go."""
    scene = Scene({"O1": [("d", 5 * MIB), ("x", 5 * MIB)], "O2": [("e", 5 * MIB), ("y", 5 * MIB)],
                   "N": [("d", 5 * MIB), ("e", 5 * MIB)]}, "d e")
    assert scene.fate(max_unused=NONE) == "removed: O1 O2"


def test_the_same_pack_twice_keeps_one() -> None:
    scene = Scene({"A": [("d", 5 * MIB)], "B": [("d", 5 * MIB)], "C": [("d", 5 * MIB)]}, "d")
    plan = scene.plan()
    assert len(plan.removed) == 2
    assert not plan.repacked


def test_unused_blobs_in_several_packs_are_just_unused() -> None:
    scene = Scene({"A": [("x", 5 * MIB)], "B": [("x", 5 * MIB), ("k", 50 * MIB)]}, "k")
    assert scene.fate(max_unused=UnusedLimit()) == "removed: A"
    assert scene.plan().counts.duplicate.blobs == 0


# --- the used set ------------------------------------------------------------------------------


def test_used_blobs_are_told_apart_by_type() -> None:
    index = Index()
    both = _id("both")
    add_blobs(index, [PackedBlob(DATA, both, _id("A"), 0, 100, 0), PackedBlob(TREE, both, _id("B"), 0, 100, 0)])
    used = UsedBlobs(index)
    assert used.add(TREE, both)
    assert not used.add(TREE, both)
    assert used.has(TREE, both)
    assert not used.has(DATA, both)
    assert not used.has(DATA, _id("other"))
    assert len(used) == 1
    with pytest.raises(MissingBlobError):
        used.add(DATA, _id("other"))


def test_settling() -> None:
    scene = Scene({"A": [("a", 100), ("b", 100)]}, "a")
    number, other = (scene.index.number(DATA, _id(name)) for name in "ab")
    assert scene.used.unsettled == 1
    assert not scene.used.settle(other), "it is not used"
    assert scene.used.settle(number)
    assert not scene.used.settle(number)
    assert scene.used.unsettled == 0
    assert scene.used.has(DATA, _id("a"))


@pytest.mark.parametrize("percent", [-1, 100, 250, float("nan")])
def test_impossible_limits(percent: float) -> None:
    with pytest.raises(UsageError):
        UnusedLimit(percent=percent)


# --- any repository ----------------------------------------------------------------------------

_BLOBS = st.sampled_from([f"{kind}{number}{form}" for kind in "td" for number in range(8) for form in ("", "u")])
_PACKS = st.lists(st.lists(st.tuples(_BLOBS, st.sampled_from([33, 1000, 700_000, 4_000_000])), max_size=5),
                  max_size=14)
_POLICIES = st.builds(
    PrunePolicy,
    max_unused=st.sampled_from([NONE, UnusedLimit(), UnusedLimit(percent=5.0), UnusedLimit(size=1_000_000)]),
    max_repack_size=st.sampled_from([None, 0, 1_000_000, 10_000_000]), repack_small=st.booleans(),
    repack_cacheable_only=st.booleans(), repack_uncompressed=st.booleans(),
    pack_size=st.sampled_from([MIB, 16 * MIB]))


@settings(max_examples=150, deadline=None)
@given(packs=_PACKS, policy=_POLICIES, data=st.data())
def test_whatever_is_used_stays(packs: list[list[Spec]], policy: PrunePolicy, data: st.DataObject) -> None:
    names = sorted({blob for pack in packs for blob, _ in pack})
    wanted = data.draw(st.sets(st.sampled_from(names)) if names else st.just(set()))
    scene = Scene({f"P{number}": pack for number, pack in enumerate(packs)}, " ".join(wanted))
    plan = plan_prune(scene.index, scene.used, scene.sizes, policy, 2)
    gone = {*plan.removed, *plan.forgotten, *plan.unreferenced}
    assert not gone & set(plan.repacked)
    for blob in wanted:
        copies = {copy.pack for copy in scene.index.lookup(_type(blob), _id(blob))}
        assert copies - gone, "some copy is in a pack that stays or is written anew"
    _check_counts(scene, plan, set(wanted))
    if policy.max_repack_size is not None and plan.repacked:
        assert sum(scene.sizes[pack] for pack in plan.repacked) < policy.max_repack_size


def _check_counts(scene: Scene, plan: PrunePlan, wanted: set[str]) -> None:
    """Compare the sums with those of a plain count."""
    counts = plan.counts
    copies = [blob for _, blobs in scene.index.packs() for blob in blobs]
    wanted_ids = {(_type(blob), _id(blob)) for blob in wanted}
    used = [blob for blob in copies if (blob.type, blob.id) in wanted_ids]
    assert counts.used.blobs == len(wanted)
    assert counts.used.blobs + counts.duplicate.blobs == len(used)
    assert counts.used.bytes + counts.duplicate.bytes == sum(blob.length for blob in used)
    assert counts.total_blobs == len(copies)
    assert counts.packs_used + counts.packs_partly_used + counts.packs_unused == len(scene.sizes)
    assert counts.packs_kept + len(plan.repacked) + len(plan.removed) == len(scene.sizes)
    assert counts.removed.blobs == sum(1 for blob in copies if blob.pack in plan.removed)
    assert counts.unused_bytes_afterwards >= 0


@settings(max_examples=60, deadline=None)
@given(packs=_PACKS, data=st.data())
def test_with_no_limit_nothing_unused_is_left(packs: list[list[Spec]], data: st.DataObject) -> None:
    names = sorted({blob for pack in packs for blob, _ in pack})
    wanted = data.draw(st.sets(st.sampled_from(names)) if names else st.just(set()))
    scene = Scene({f"P{number}": pack for number, pack in enumerate(packs)}, " ".join(wanted))
    plan = plan_prune(scene.index, scene.used, scene.sizes, PrunePolicy(max_unused=NONE), 2)
    assert plan.counts.unused_bytes_afterwards == 0
    staying = [blob for pack, blobs in scene.index.packs() for blob in blobs if pack not in plan.leaving]
    assert len(staying) == len({(blob.type, blob.id) for blob in staying})
    assert all(scene.used.has(blob.type, blob.id) for blob in staying)
