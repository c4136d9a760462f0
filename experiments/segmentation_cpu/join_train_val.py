"""Join CamVid's train and val for training, as published results on its test do that name "train+val".

    python experiments/segmentation_cpu/join_train_val.py CAMVID FOLDER

FOLDER gets links to CAMVID's images and masks: its train is train and val but for the last ten frames of val,
which stay its val; test is test.
"""

from __future__ import annotations

import sys
from pathlib import Path

HELD_BACK = 10


def main(camvid: str, folder: str) -> None:
    for kind in ("", "annot"):
        val = sorted((Path(camvid) / f"val{kind}").resolve().iterdir())
        parts = {
            "train": [*(Path(camvid) / f"train{kind}").resolve().iterdir(), *val[:-HELD_BACK]],
            "val": val[-HELD_BACK:],
            "test": list((Path(camvid) / f"test{kind}").resolve().iterdir()),
        }
        for part, files in parts.items():
            target = Path(folder) / f"{part}{kind}"
            target.mkdir(parents=True)
            for file in files:
                (target / file.name).symlink_to(file)
            print(f"{target}: {len(files)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
