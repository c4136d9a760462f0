"""The last table of this study: the marks of photos, and of the same photos as frames of a video.

python experiments/unlike/videos.py CAMVID

CAMVID is a folder with `train/`, `val/` and `test/`. Photos are written as H.264 (x264's defaults), frame by frame, and
read again. The domain is fitted to photos.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.decode import read_photo, resize
from streetlab.datasets.training_domain import TrainingDomain, photo_statistics
from streetlab.inference.video.reader import VideoReader
from streetlab.inference.video.writer import VideoWriter
from streetlab.synthetic import draw_scene

SIZES = ((96, 192), (180, 240), (360, 480))


def as_video(photos: list[Image.Image]) -> list[Image.Image]:
    """The photos, all of one size, after a way through a video."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        writer = VideoWriter(path, (photos[0].height, photos[0].width), Fraction(25), Fraction(1, 25))
        for number, photo in enumerate(photos):
            writer.write(np.asarray(photo), number, 1)
        writer.close()
        with VideoReader(path) as reader:
            return [Image.fromarray(frame.pixels) for frame in reader]


def statistics(photos: list[Image.Image], size: tuple[int, int]) -> NDArray[np.float64]:
    """Statistics (N, F) at a network's size."""
    return np.array([photo_statistics(resize(photo, size)) for photo in photos])


def main(camvid: Path) -> None:
    """Print a row for each domain and set of photos."""
    folders = {split: sorted((camvid / split).iterdir()) for split in ("train", "val", "test")}
    real = {split: [read_photo(path) for path in paths] for split, paths in folders.items()}
    seeds = {"train": range(1000, 1300), "val": range(5000, 5120), "test": range(9000, 9120)}
    drawn = {split: [Image.fromarray(draw_scene(n, 96, 192).image) for n in each] for split, each in seeds.items()}
    shown = {
        "CamVid, val": real["val"],
        "CamVid, test": real["test"],
        "drawn, test": drawn["test"],
    }
    filmed = {name: as_video(photos) for name, photos in shown.items()}
    print("| trained on | size | marked of | n | photos, 48 statistics | frames, 48 | photos, 20 | frames, 20 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, splits, size in (*(("CamVid", real, size) for size in SIZES), ("drawn streets", drawn, SIZES[0])):
        domain = TrainingDomain.fit(statistics(splits["train"], size), statistics(splits["val"], size))
        for other, photos in shown.items():
            cells = []
            numbers = [statistics(each, size) for each in (photos, filmed[other])]
            for distances, threshold in (
                (domain.distances, domain.threshold),
                (domain.frame_distances, domain.frame_threshold),
            ):
                cells += [f"{np.mean(distances(each) > threshold):.1%}" for each in numbers]
            print(f"| {name} | {size[1]}×{size[0]} | {other} | {len(photos)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
