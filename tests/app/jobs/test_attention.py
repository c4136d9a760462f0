"""How much of what a classifier looks at is ground: the two shares, and the two jobs that they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient
from tests.support.app_records import Columns, StandIns, Visits, settings

from streetlab.app.jobs.attention import attention_of
from streetlab.app.routes.jobs import attention_routes
from streetlab.errors import UserError
from streetlab.inference.predictions import Segmented


class RightIsRoad(Columns):
    """The right half of a photo is road (3 in CamVid), the rest sky."""

    def predict(self, photos, activations=False, go_on=None):
        ids = [np.repeat([[0, 3]], photo.height, 0).repeat(photo.width // 2, 1).astype(np.uint8) for photo in photos]
        return [Segmented(one, one) for one in ids]


@pytest.fixture
def visits(tmp_path) -> Visits:
    configured = settings(tmp_path)
    catalog = StandIns(configured)
    catalog.networks["columns"] = RightIsRoad()
    return Visits(catalog, configured.storage)


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (40, 20), "black").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_two_jobs_of_one_photo_are_laid_over_each_other(visits, photo):
    seen, mask = visits.do("photo", "brightness", photo, cam=True), visits.do("photo", "columns", photo)
    app = FastAPI()
    app.include_router(attention_routes(visits))
    found = TestClient(app).get(f"/api/jobs/{seen.id}/attention", params={"with": mask.id}).json()
    ramp = np.linspace(0, 1, 40)  # what `Brightness` looks at, whatever the class
    assert found["class"] == seen.result["prediction"] == 2
    assert found["on_ground"] == pytest.approx(ramp[20:].sum() / ramp.sum(), abs=0.01)
    assert found["ground_looked_at"] == 1
    assert found["ground"] == 0.5
    assert attention_of(seen, mask, 1)["on_ground"] == pytest.approx(found["on_ground"], abs=0.01)


def test_other_jobs_are_refused_in_a_line(visits, photo, tmp_path):
    seen, mask = visits.do("photo", "brightness", photo, cam=True), visits.do("photo", "columns", photo)
    plain = visits.do("photo", "brightness", photo)
    Image.new("RGB", (40, 20), "red").save(tmp_path / "b.png")
    other = visits.do("photo", "columns", tmp_path / "b.png")
    for pair, line in (
        ((mask, seen), "a photo's classification is needed, found a segmentation"),
        ((seen, seen), "a photo's segmentation is needed, found a classification"),
        ((seen, other), "of different photos"),
        ((plain, mask), "without cam=true"),
        ((seen, mask, 7), "no map of 7 .allowed: 0, 1, 2"),
    ):
        with pytest.raises(UserError, match=line):
            attention_of(*pair)
