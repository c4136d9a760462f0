"""Compare a classifier's activation map with the ground that a segmentation finds in the same photo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from streetlab.app.media import results
from streetlab.errors import UserError
from streetlab.metrics.ground_attention import ground_attention

if TYPE_CHECKING:
    from streetlab.app.jobs.job import Job


def attention_of(classified: Job, segmented: Job, class_: int | None = None) -> dict[str, Any]:
    """Apply `ground_attention` to two jobs of one photo; the result names the class of the map.

    Args:
        classified: a classification with activations.
        segmented: a segmentation.
        class_: the class of the map; None: the predicted one.

    Raises:
        UserError: the jobs are of another kind, not done, or of different photos; no such map.
    """
    result, other = _result(classified, "classification"), _result(segmented, "segmentation")
    if classified.upload != segmented.upload:
        raise UserError("with: the two jobs are of different photos; ask the second one with source= of the first")
    maps = {entry["class"]: results.file_name(entry["file"]) for entry in result.get("activations", ())}
    if not maps:
        raise UserError(f"{classified.name} was predicted without cam=true: there is no map of it")
    wanted = result["prediction"] if class_ is None else class_
    if wanted not in maps:
        raise UserError(f"class: there is no map of {wanted} (allowed: {', '.join(map(str, maps))})")
    activation, ids = (
        np.asarray(Image.open(path)) for path in (classified.folder / maps[wanted], segmented.folder / results.IDS)
    )
    return {"class": wanted} | ground_attention(activation, ids, other["ground"])


def _result(job: Job, task: str) -> dict[str, Any]:
    result = job.result or {}
    if job.kind != "photo" or result.get("task") != task:
        kind = f"a {result['task']}" if "task" in result else job.state
        raise UserError(f"{job.name}: a photo's {task} is needed, found {kind} ({job.kind})")
    return result
