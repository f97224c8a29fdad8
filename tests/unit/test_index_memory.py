"""How much memory the index of a million blobs takes: counted by the system in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import random, resource
from array import array
from kuramori.ids import Id
from kuramori.maintenance.used_blobs import UsedBlobs
from kuramori.model.blob import BlobType
from kuramori.repository.index import Index
from kuramori.repository.pack_description import PackDescription

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = peak()
generator = random.Random(1)
index = Index()
some = []
for number in range(1000):
    ids = generator.randbytes(32 * 1000)
    index.add_description(PackDescription(
        Id(generator.randbytes(32)), bytearray(ids), bytearray(1000), array("I", range(0, 100_000, 100)),
        array("I", [100]) * 1000, array("I", [200]) * 1000))
    some.append(ids[:32])
used = UsedBlobs(index)
assert all(used.add(BlobType.DATA, blob_id) for blob_id in some)
assert len(index) == 1_000_000
assert sum(1 for number in range(0, 1_000_000, 1000) if index.has(BlobType.DATA, generator.randbytes(32))) == 0
print(peak() - before)
"""


def test_a_million_blobs_and_which_are_used_fit_into_100_megabytes() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 80_000_000
