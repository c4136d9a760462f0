"""Look for issues in the photos of a folder with cleanvision, as its README does."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import logging
from pathlib import Path

from cleanvision import Imagelab


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    options = parser.parse_args()
    logging.disable()
    with contextlib.redirect_stdout(io.StringIO()):
        lab = Imagelab(data_path=str(options.root))
        lab.find_issues(n_jobs=1, verbose=False)
    sets = [names for kind in ("exact_duplicates", "near_duplicates") for names in lab.info[kind]["sets"]]
    base = options.root.resolve()
    pairs = [
        [str(Path(path).resolve().relative_to(base)) for path in pair]
        for names in sets
        for pair in itertools.combinations(names, 2)
    ]
    kinds = {name: int(lab.issues[f"is_{name}_issue"].sum()) for name in lab.issue_summary["issue_type"]}
    print(json.dumps({"pairs": pairs, "issues": kinds}))


if __name__ == "__main__":
    main()
