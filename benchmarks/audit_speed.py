"""How long the audit takes to find copies among many images, once these are decoded and hashed.

python benchmarks/audit_speed.py [IMAGES]

Hashes and thumbnails are random (100,000 images by default), so that no two are copies and every candidate that chance
makes is aligned and compared in vain; then what was measured is kept and read again.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from streetlab.audit.duplicates import find_duplicates
from streetlab.audit.fingerprints import Fingerprints
from streetlab.audit.measures import THUMBNAIL, Measured
from streetlab.audit.store import Store


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, (3, count), dtype=np.uint64)
    blocks = random.integers(0, 256, (count, 8, 8), dtype=np.uint8)  # coarse, as pictures are
    thumbnails = np.repeat(np.repeat(blocks, THUMBNAIL // 8, axis=1), THUMBNAIL // 8, axis=2)
    names = [f"{number:064x}" for number in range(count)]
    ones, zeros = np.ones(count, np.int32), np.zeros(count, np.float32)
    prints = Fingerprints(
        names, names, *hashes, thumbnails, ones, ones, ["JPEG"] * count, [None] * count,
        zeros, zeros, zeros, zeros, [None] * count,
    )  # fmt: skip
    started = time.perf_counter()
    twins = find_duplicates(prints)
    found = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with Store(Path(folder)) as store:
            for number, name in enumerate(names):
                store.write(name, Measured(name, name, thumbnail=thumbnails[number].tobytes()))
        written = time.perf_counter()
        with Store(Path(folder)) as store:
            known = store.read(names)
        read = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("| images | copies | finding copies, s | keeping the measures, s | reading them, s | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    seconds = [f"{after - before:.1f}" for before, after in ((started, found), (found, written), (written, read))]
    print(f"| {len(known):,} | {len(twins)} | {' | '.join(seconds)} | {memory:.0f} |")


if __name__ == "__main__":
    main()
