"""Find copies among the photos of a folder with imagededup's perceptual hash, as its README does."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from imagededup.methods import PHash


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    options = parser.parse_args()
    logging.disable()
    hasher = PHash(verbose=False)
    encodings = hasher.encode_images(options.root, recursive=True, num_enc_workers=0)
    copies = hasher.find_duplicates(encoding_map=encodings, num_dist_workers=0)
    print(json.dumps({"pairs": [[name, other] for name, others in copies.items() for other in others]}))


if __name__ == "__main__":
    main()
