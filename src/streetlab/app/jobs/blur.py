"""Choose what hides people and vehicles in the pictures of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streetlab.datasets.class_roles import PrivateClasses
from streetlab.errors import UserError
from streetlab.inference.picture_blur import PictureBlur

if TYPE_CHECKING:
    from streetlab.app.jobs.job import Job
    from streetlab.app.models.catalog import Catalog
    from streetlab.inference.predictor import Predictor


def blur_of(job: Job, predictor: Predictor, catalog: Catalog) -> PictureBlur | None:
    """The masks of the job's own network, or of the best segmentation of the catalog; None where nothing is hidden.

    Raises:
        UserError: no network here finds both people and vehicles: the photo is not shown rather than as it is.
    """
    if not job.options.get("blur"):
        return None
    if predictor.per_pixel:
        return PictureBlur(predictor.label_space)
    for entry in catalog.models():
        if entry["task"] == "segmentation":
            label_space = catalog.label_space(entry["id"])
            if PrivateClasses.of(label_space).lacking is None:
                return PictureBlur(label_space, catalog.predictor(entry["id"]))
    raise UserError("blur: there is no segmentation model here with classes of people and vehicles, so none is hidden")
