"""Find duplicate images: equal bytes, equal pixels, or altered versions of the same picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streetlab.audit.crops import crop_pairs
from streetlab.audit.fingerprints import Fingerprints
from streetlab.audit.phash import near_pairs
from streetlab.audit.similarity import similarities

log = logging.getLogger(__name__)

MOST_BITS = 16
"""Bits between the hashes of two images up to which they are compared more closely. JPEG, resizing and light
move a hash by 8 at most, a crop of 5% by 8 in the median and 16 in the extreme; unrelated photos begin at 14."""
LEAST_SIMILARITY = 0.8
"""Structural similarity from which two images are one picture: of photos and of drawn scenes,
99.9% of copies lie above 0.88, of 230,000 pairs of unrelated photos none above 0.55."""
_MOST_OF_ONE = 32
"""Nearest candidates of an image that are looked at: frames of a still camera are all alike, and a few links hold
them together."""
_FLAT = 4.0
"""Standard deviation in grey levels below which an image's hash follows from noise and matches anything."""


@dataclass(frozen=True)
class DuplicatePair:
    """Two images that are copies of each other, `first` < `second`, as indices into the fingerprints.

    Attributes:
        kind: `bytes`, `pixels` (other files, the same picture once decoded) or `near` (altered).
        distance: bits between the hashes that are nearest, up to `MOST_BITS`, or else between those of the whole
            images; 0 for exact copies.
        similarity: structural similarity once aligned; 1 for exact copies.
        mirrored: one is the mirror image of the other.
    """

    first: int
    second: int
    kind: str
    distance: int = 0
    similarity: float = 1.0
    mirrored: bool = False


def find_duplicates(fingerprints: Fingerprints) -> list[DuplicatePair]:
    """All copies, as links: those that are connected through any number of duplicates belong together.

    Files of the same bytes are linked to the first of them, files of the same pixels to the first of those, and
    near copies are sought among the first ones alone. Images that do not decode have duplicates of the same bytes
    only, nearly flat ones of the same bytes and pixels.

    Returns:
        Ordered by first, then second.
    """
    decoded = fingerprints.decoded
    duplicates = _equal(fingerprints.sha256, "bytes")
    copies = {pair.second for pair in duplicates}
    pixels = [None if index in copies else digest for index, digest in enumerate(fingerprints.pixels)]
    same_pixels = _equal(pixels, "pixels")
    copies |= {pair.second for pair in same_pixels}
    structured = np.array([thumbnail.std() >= _FLAT for thumbnail in fingerprints.thumbnails], bool)
    alone = np.array([index not in copies for index in range(len(decoded))], bool)
    near = _near(fingerprints, np.flatnonzero(decoded & structured & alone))
    return sorted(duplicates + same_pixels + near, key=lambda pair: (pair.first, pair.second))


def _equal(digests: Sequence[str | None], kind: str) -> list[DuplicatePair]:
    first: dict[str, int] = {}
    duplicates = []
    for index, digest in enumerate(digests):
        if digest is None:
            continue
        if digest in first:
            duplicates.append(DuplicatePair(first[digest], index, kind))
        else:
            first[digest] = index
    return duplicates


def _near(fingerprints: Fingerprints, among: NDArray[np.int64]) -> list[DuplicatePair]:
    """Near copies among the images of these indices: those that hashes bring together, and crops of any part."""
    thumbnails = fingerprints.thumbnails
    aspects = (fingerprints.width / np.maximum(fingerprints.height, 1)).astype(np.float32)
    i, j, mirrored, distance = _candidates(fingerprints, among)
    hashed = _copies(i, j, similarities(thumbnails, aspects, i, j, mirrored), distance, mirrored)
    crops = crop_pairs(thumbnails[among])
    part, whole = among[crops.part], among[crops.whole]
    first, second = np.minimum(part, whole), np.maximum(part, whole)
    new = np.array([pair not in hashed for pair in zip(first.tolist(), second.tolist(), strict=True)], bool)
    part, whole, first, second = part[new], whole[new], first[new], second[new]
    upright = np.zeros(len(part), bool)
    similar = similarities(thumbnails, aspects, part, whole, upright, crops.warp[new])
    bits = np.bitwise_count(fingerprints.phash[part] ^ fingerprints.phash[whole])
    return [*hashed.values(), *_copies(first, second, similar, bits, upright).values()]


def _copies(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    similar: NDArray[np.floating],
    distance: NDArray[np.integer],
    mirrored: NDArray[np.bool_],
) -> dict[tuple[int, int], DuplicatePair]:
    """The pairs that are one picture, each at its best."""
    best: dict[tuple[int, int], DuplicatePair] = {}
    for place in np.flatnonzero(similar >= LEAST_SIMILARITY).tolist():
        pair, similarity = (int(first[place]), int(second[place])), float(similar[place])
        if pair not in best or similarity > best[pair].similarity:
            best[pair] = DuplicatePair(*pair, "near", int(distance[place]), similarity, bool(mirrored[place]))
    return best


def _candidates(fingerprints: Fingerprints, among: NDArray[np.int64]) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """(P,) first, second, mirrored or not, and bits between the hashes, of the pairs to compare more closely."""
    phash, mirror, square = (
        hashes[among] for hashes in (fingerprints.phash, fingerprints.mirrored, fingerprints.square)
    )
    searches = [(phash, phash, False), (square, square, False), (phash, mirror, True)]
    columns = []
    for hashes, others, mirrored in searches:
        near = near_pairs(hashes, others, MOST_BITS)
        if near.most < MOST_BITS:
            log.warning(
                "these images are so alike that copies are sought among hashes within %d bits, not %d",
                near.most,
                MOST_BITS,
            )
        columns.append(np.stack([near.i, near.j, np.full_like(near.i, mirrored), near.distance]))
    pairs = np.concatenate(columns, axis=1)
    pairs = pairs[:, np.lexsort(pairs[::-1])]  # by i, j, mirrored, distance: the nearer of two finds comes first
    again = (pairs[:3, 1:] == pairs[:3, :-1]).all(axis=0)
    pairs = pairs[:, ~np.concatenate([[False], again])] if pairs.shape[1] else pairs
    pairs = pairs[:, _nearest_of_each(pairs)]
    return among[pairs[0]], among[pairs[1]], pairs[2].astype(bool), pairs[3]


def _nearest_of_each(pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Select the pairs (4, P) that are among the `_MOST_OF_ONE` nearest of either image."""
    kept = np.zeros(pairs.shape[1], bool)
    for side in (0, 1):
        order = np.lexsort((pairs[1 - side], pairs[3], pairs[side]))
        image = pairs[side][order]
        starts = np.searchsorted(image, image)  # where each image's run begins
        kept[order[np.arange(len(order)) - starts < _MOST_OF_ONE]] = True
    return kept
