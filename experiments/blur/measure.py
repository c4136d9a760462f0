"""The tables of this study: what the blur hides, what it hides needlessly, and what it does to predictions.

python experiments/blur/measure.py streets RUN [SCENES]        # drawn streets: true masks, and a run's
python experiments/blur/measure.py masks RUN [EVERY]           # the test split of the run's own data, with true masks
python experiments/blur/measure.py picture RUN FILE            # photos, truly and by the run's masks blurred
python experiments/blur/measure.py cleanliness RUN SEGMENTATION  # the test photos of a run, blurred by another
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image
from scipy import ndimage

from streetlab.config import instantiate
from streetlab.datasets.class_roles import PrivateClasses
from streetlab.inference.blur import MARGIN, hidden_pixels, pixelate
from streetlab.inference.predictor import Predictor
from streetlab.metrics.statistics.intervals import wilson_interval
from streetlab.progress import track
from streetlab.records.record import RunRecord
from streetlab.synthetic import draw_scene

MARGINS = (0.0, 0.005, 0.01, 0.02, 0.04)
SIZE = (192, 384)
FIRST_SEED = 7_000_000
"""Scenes that no preset trains on."""
RESAMPLES = 2000
Masks = NDArray[np.uint8]
Pairs = Iterator[tuple[Image.Image, Masks]]


def main() -> None:
    part, path, *more = sys.argv[1:]
    predictor = Predictor.from_run(path, device="cpu")
    if part == "streets":
        scenes = int(more[0]) if more else 120
        _segmentation(predictor, _drawn(scenes), scenes)
    elif part == "picture":
        _picture(predictor, Path(more[0]))
    elif part == "masks":
        source = _source(path)
        samples = source.samples(source.eval_split)[:: int(more[0]) if more else 1]
        _segmentation(predictor, (source.read_pair(sample) for sample in samples), len(samples))
    else:
        _cleanliness(predictor, _source(path), Predictor.from_run(more[0], device="cpu"))


def _drawn(count: int) -> Pairs:
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        scene = draw_scene(seed, *SIZE)
        yield Image.fromarray(scene.image), scene.mask


def _picture(predictor: Predictor, file: Path) -> None:
    """Three drawn streets in rows: the photo, blurred by its true mask, blurred by the run's."""
    classes = PrivateClasses.of(predictor.label_space).ids
    rows = []
    for photo, truth in _drawn(3):
        pixels = np.asarray(photo)
        masks = (truth, predictor.predict([photo])[0].ids)
        rows.append(np.hstack([pixels, *(pixelate(pixels, hidden_pixels(ids, classes)) for ids in masks)]))
    Image.fromarray(np.vstack(rows)).save(file, quality=88)


def _source(path: str) -> Any:
    return instantiate(OmegaConf.create(RunRecord(Path(path)).config).dataset)


def _segmentation(predictor: Predictor, pairs: Pairs, count: int) -> None:
    space = predictor.label_space
    private = PrivateClasses.of(space)
    rows: dict[tuple[str, float], list[list[float]]] = {}
    silhouettes: dict[str, list[tuple[int, float]]] = {"people": [], "vehicles": []}
    before, after = (np.zeros((len(space), len(space)), np.int64) for _ in range(2))
    for photo, truth in track(pairs, "pictures", count):
        (found,) = predictor.predict([photo])
        for name, ids in (("true masks", truth), ("run's masks", found.ids)):
            for margin in MARGINS:
                hidden = hidden_pixels(ids, private.ids, margin)
                rows.setdefault((name, margin), []).append(_counts(truth, hidden, private))
        hidden = hidden_pixels(found.ids, private.ids)
        for kind, values in silhouettes.items():
            values += _silhouettes(np.isin(truth, getattr(private, kind)), hidden)
        blurred = Image.fromarray(pixelate(np.asarray(photo), hidden))
        before += _confusion(truth, found.ids, len(space))
        after += _confusion(truth, predictor.predict([blurred])[0].ids, len(space))
    print("\n| masks | margin | recall of pixels [95%] | people | vehicles | other pixels lost |")
    print("|---|---|---|---|---|---|")
    for (name, margin), counts in rows.items():
        shares = [_share(np.array(counts)[:, [i, i + 1]]) for i in (0, 2, 4, 6)]
        print(f"| {name} | {margin:.1%} | " + " | ".join(shares) + " |")
    print(f"\n| silhouettes, run's masks, margin {MARGIN:.0%} | n | all pixels hidden | at least half | none |")
    print("|---|---|---|---|---|")
    for kind, values in silhouettes.items():
        for name, part in (("large", [v for s, v in values if s >= 400]), ("small", [v for s, v in values if s < 400])):
            if part:
                hidden_shares = np.array(part)
                numbers = [int(true.sum()) for true in (hidden_shares == 1, hidden_shares >= 0.5, hidden_shares == 0)]
                print(f"| {kind}, {name} | {len(part)} | " + " | ".join(_wilson(k, len(part)) for k in numbers) + " |")
    others = [i for i in range(len(space)) if i not in private.ids]
    print(f"\nmIoU of the run: photos {_miou(before):.4f}, blurred photos {_miou(after):.4f}; over the other classes "
          f"{_miou(before, others):.4f}, {_miou(after, others):.4f}")  # fmt: skip


def _counts(truth: Masks, hidden: NDArray[np.bool_], private: PrivateClasses) -> list[float]:
    """Hidden and all pixels that are private, people, vehicles, and others; void counts for nothing."""
    counts: list[float] = []
    for ids in (private.ids, private.people, private.vehicles):
        inside = np.isin(truth, ids)
        counts += [int(hidden[inside].sum()), int(inside.sum())]
    others = ~np.isin(truth, [*private.ids, 255])
    return [*counts, int(hidden[others].sum()), int(others.sum())]


def _silhouettes(inside: NDArray[np.bool_], hidden: NDArray[np.bool_]) -> list[tuple[int, float]]:
    """Pixels of each connected part, and the share of them that is hidden."""
    labels, count = ndimage.label(inside, np.ones((3, 3)))
    index = range(1, count + 1)
    return list(zip(ndimage.sum(inside, labels, index).astype(int), ndimage.mean(hidden, labels, index), strict=True))


def _share(counts: NDArray[np.float64]) -> str:
    """Pooled share with a 95% interval: pictures resampled, 2,000 times."""
    if not counts[:, 1].sum():
        return "–"
    draws = np.random.default_rng(0).integers(0, len(counts), (RESAMPLES, len(counts)))
    sums = counts[draws].sum(axis=1)
    low, high = np.percentile(sums[:, 0] / np.maximum(sums[:, 1], 1), [2.5, 97.5])
    return f"{counts[:, 0].sum() / counts[:, 1].sum():.2%} [{100 * low:.2f}, {100 * high:.2f}]"


def _wilson(count: int, n: int) -> str:
    low, high = wilson_interval(count, n)
    return f"{count / n:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def _confusion(truth: Masks, found: Masks, classes: int) -> NDArray[np.int64]:
    known = truth < classes
    pairs = truth[known].astype(np.int64) * classes + found[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def _miou(confusion: NDArray[np.int64], classes: list[int] | None = None) -> float:
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    ids = [i for i in (range(len(confusion)) if classes is None else classes) if union[i]]
    return float(np.mean(confusion.diagonal()[ids] / union[ids]))


def _cleanliness(predictor: Predictor, source: Any, segmentation: Predictor) -> None:
    private = PrivateClasses.of(segmentation.label_space)
    samples = source.samples(source.eval_split)
    right: list[tuple[bool, bool]] = []
    same, shares, unlike = 0, [], 0
    for sample in track(samples, "photos", len(samples)):
        photo = source.read(sample)
        (masks,) = segmentation.predict([photo])
        hidden = hidden_pixels(masks.ids, private.ids)
        blurred = Image.fromarray(pixelate(np.asarray(photo), hidden))
        first, second = (predictor.predict([each])[0].prediction for each in (photo, blurred))
        right.append((first == sample.label, second == sample.label))
        same += first == second
        shares.append(float(hidden.mean()))
        unlike += bool(masks.unlike_training)
    values = np.array(right)
    difference = values[:, 1].astype(float) - values[:, 0]
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])
    n = len(values)
    print(f"\nn {n}; accuracy {_wilson(int(values[:, 0].sum()), n)}; blurred {_wilson(int(values[:, 1].sum()), n)}")
    print(f"difference {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]; the same class for {same} of {n}")
    print(f"hidden of a photo: mean {np.mean(shares):.1%}, in {sum(share > 0 for share in shares)} photos some")
    print(f"unlike the photos that the segmentation was trained on: {unlike}")


if __name__ == "__main__":
    main()
