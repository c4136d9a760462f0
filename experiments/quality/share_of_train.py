"""Write split files that keep a share of the training photos of another: what quality costs in photos.

`python experiments/quality/share_of_train.py split.json OUT 0.1 0.25 0.5` writes OUT/train_10.json, ... Copies stay
together, each class keeps its share, and the photos of a smaller share are among those of a larger one; val and test
stay as they are. Labels are the names of the photos' folders.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from pathlib import Path

from streetlab.io.files import file_sha256


def main(split_file: str, photos: str, out: str, *shares: str) -> None:
    split = json.loads(Path(split_file).read_text())
    labels = {file_sha256(path): path.parent.name for path in sorted(Path(photos).rglob("*")) if path.is_file()}
    groups: dict[str, dict[str, list[str]]] = {}
    for digest, photo in split["photos"].items():
        if photo["split"] == "train":
            groups.setdefault(labels[digest], {}).setdefault(photo["group"], []).append(digest)
    orders = {label: sorted(members) for label, members in sorted(groups.items())}
    for order in orders.values():
        random.Random(split["seed"]).shuffle(order)
    Path(out).mkdir(parents=True, exist_ok=True)
    for share in map(float, shares):
        kept: set[str] = set()
        for label, order in orders.items():
            wanted = share * sum(map(len, groups[label].values()))
            taken = 0
            for group in order:
                if taken >= wanted:
                    break
                kept.update(groups[label][group])
                taken += len(groups[label][group])
        part = copy.deepcopy(split)
        for digest, photo in part["photos"].items():
            photo.pop("fold", None)
            if photo["split"] == "train" and digest not in kept:
                photo["split"] = None
        part.pop("folds", None)
        path = Path(out) / f"train_{round(100 * share)}.json"
        path.write_text(json.dumps(part, indent=1, sort_keys=True))
        print(f"{path}: {len(kept)} training contents, SHA-256 {file_sha256(path)[:12]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
