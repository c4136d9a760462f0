"""Compare a classifier's activation map with the ground that a segmentation finds in the same photo."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.app.media import results
from streetlab.errors import UserError

if TYPE_CHECKING:
    from streetlab.app.jobs.queue import Job


def ground_attention(activation: NDArray[Any], ids: NDArray[np.uint8], ground: Iterable[int]) -> dict[str, Any]:
    """Measure how a class activation map and the ground overlap.

    Args:
        activation: (H, W); negative values are evidence against the class and count as 0.
        ids: (H, W) class ids of a segmentation of the same photo.
        ground: the ids of ground, see `ground_classes`.

    Returns:
        `on_ground`: the share of the map's sum that lies on ground, None for a map of zeros; `ground_looked_at`:
        the share of ground pixels where the map is at least half its maximum, None where there is no ground (0
        for a map of zeros); `ground`: the share of the photo that is ground, which is what `on_ground` is for a
        map that is the same everywhere.

    Raises:
        ValueError: the two differ in shape.
    """
    if activation.shape != ids.shape or ids.ndim != 2:
        raise ValueError(f"activation {activation.shape} and ids {ids.shape}: both (H, W)")
    is_ground = np.isin(ids, list(ground))
    heat = np.maximum(activation, 0)
    total, most = float(heat.sum(dtype=np.float64)), float(heat.max(initial=0))
    looked_at = heat >= most / 2 if most > 0 else np.zeros(heat.shape, bool)
    return {
        "on_ground": float(heat[is_ground].sum(dtype=np.float64)) / total if total > 0 else None,
        "ground_looked_at": float(looked_at[is_ground].mean()) if is_ground.any() else None,
        "ground": float(is_ground.mean()) if is_ground.size else 0.0,
    }


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
