"""The REST interface, with stand-ins for models and networks."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image
from tests.support.app_stand_ins import MODEL, photo_bytes, tree, wait_for
from tests.support.videos import make_video

from streetlab.app.media.uploads import formats
from streetlab.app.routes import schemas


def test_models_are_listed_with_the_limits_of_uploads(serve):
    served = serve(upload_bytes=1000, pixels=200, expire_minutes=5)
    answer = served.client.get("/api/models").json()
    assert [model["id"] for model in answer["models"]] == [MODEL]
    assert answer["limits"] == {
        "upload_bytes": 1000, "pixels": 200, "video_frames": 36000, "formats": formats(), "videos": True,
        "expire_minutes": 5,
    }  # fmt: skip
    schemas.Models.model_validate(answer)


def test_a_photo_goes_in_and_its_result_comes_out(served):
    content = photo_bytes(size=(30, 20))
    answer = served.upload(content, name="../street <b>.png", mode="window", flip="true", scales="0.75,1", cam="true")
    assert answer.status_code == 202
    assert answer.headers["location"] == answer.json()["url"] == f"/api/jobs/{answer.json()['id']}"
    schemas.Accepted.model_validate(answer.json())
    job = served.ended(answer.json()["id"])
    schemas.JobView.model_validate(job)
    assert (job["state"], job["kind"], job["name"], job["model"]) == ("done", "photo", "street <b>.png", MODEL)
    assert job["progress"]["done"] == job["progress"]["total"] == 1
    assert job["expires"] > 0
    assert job["result"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert served.jobs.get(job["id"]).options == {
        "mode": "window", "flip": True, "scales": [0.75, 1.0], "smooth": 0.0, "cam": True
    }  # fmt: skip
    ids = served.client.get(job["result"]["files"]["ids"])
    assert ids.headers["content-type"] == "image/png"
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("L")) // 86
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(ids.content))), expected)


def test_the_switch_that_hides_people_reaches_the_job(served):
    job = served.ended(served.upload(photo_bytes(), blur="true").json()["id"])
    assert served.jobs.get(job["id"]).options["blur"] is True


def test_maps_of_an_exported_classifier_are_refused_before_it_waits_in_the_queue(served, monkeypatch):
    entry = served.app.state.catalog.entry(MODEL) | {"task": "classification", "title": "Street · INT8 ONNX"}
    monkeypatch.setattr(served.app.state.catalog, "entry", lambda id_: entry)
    answer = served.upload(photo_bytes(), cam="true")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("cam: Street · INT8 ONNX is an exported model")
    assert served.done(photo_bytes())["state"] == "done"


def test_the_same_upload_is_asked_again_without_sending_it(served):
    content = photo_bytes()
    first = served.done(content, name="a.png")
    answer = served.client.post("/api/predict", params={"model": MODEL, "source": first["id"], "flip": "true"})
    assert answer.status_code == 202, answer.text
    second = served.ended(answer.json()["id"])
    assert second["result"]["sha256"] == first["result"]["sha256"]
    assert (second["name"], second["kind"]) == ("a.png", "photo")
    assert served.client.delete(f"/api/jobs/{first['id']}").status_code == 200
    third = served.client.post("/api/predict", params={"model": MODEL, "source": second["id"]})
    assert served.ended(third.json()["id"])["state"] == "done", "the upload went with the job that brought it"


def test_a_video_reports_its_frames(served, tmp_path):
    job = served.done(make_video(tmp_path / "street.mp4", frames=7).read_bytes(), name="street.mp4", smooth="0.5")
    assert (job["state"], job["kind"], job["result"]["frames"]) == ("done", "video", 7)
    assert job["progress"]["done"] == 7
    schemas.JobView.model_validate(job)


def test_a_video_whose_end_is_missing_keeps_its_good_part(served, tmp_path):
    whole = make_video(tmp_path / "street.mp4", frames=60).read_bytes()
    job = served.done(whole[: len(whole) * 2 // 3])
    assert job["state"] == "partial"
    assert 0 < job["result"]["frames"] < 60
    assert job["result"]["broken"].startswith(f"ended after {job['result']['frames']} frames")


def test_files_are_served_only_as_the_result_names_them(served):
    job = served.done(photo_bytes())
    folder = served.jobs.get(job["id"]).folder
    (folder / "notes.png").write_bytes(photo_bytes())
    base = f"/api/jobs/{job['id']}/files"
    assert served.client.get(f"{base}/photo.jpg").headers["cache-control"].startswith("private, max-age=")
    for name in ("notes.png", "half", "..%2f..%2fuploads", "%2e%2e/ids.png", "ids.png%00", "ids.png/", ".", ""):
        assert served.client.get(f"{base}/{name}").status_code in (404, 405), name
    (folder / "ids.png").unlink()
    (folder / "ids.png").symlink_to("/etc/hostname")
    assert served.client.get(f"{base}/ids.png").status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [("bytes=0-9", 206, slice(0, 10)), ("bytes=10-", 206, slice(10, None)), ("bytes=-5", 206, slice(-5, None)),
     ("bytes=99999999-", 416, None)],
)  # fmt: skip
def test_files_are_served_in_ranges(served, asked, status, expected):
    url = served.done(photo_bytes())["result"]["files"]["photo"]
    whole = served.client.get(url).content
    part = served.client.get(url, headers={"Range": asked})
    assert part.status_code == status
    if expected is not None:
        assert part.content == whole[expected]


def test_deleting_a_job_deletes_its_files(served):
    job = served.done(photo_bytes())
    assert served.client.delete(f"/api/jobs/{job['id']}").status_code == 200
    assert served.client.get(f"/api/jobs/{job['id']}").status_code == 404
    assert served.client.get(job["result"]["files"]["ids"]).status_code == 404
    assert tree(served.settings.storage) <= {"jobs", "uploads"}


def test_waiting_jobs_have_a_position_and_can_be_cancelled(served):
    served.work.gate.clear()
    running, *waiting = [served.upload(photo_bytes(seed)).json()["id"] for seed in range(4)]
    assert served.work.begun.wait(60)
    assert [served.job(id_)["position"] for id_ in (running, *waiting)] == [None, 1, 2, 3]
    assert served.client.delete(f"/api/jobs/{waiting[0]}").json()["state"] == "cancelled"
    assert served.client.delete(f"/api/jobs/{running}").json()["state"] == "cancelled"
    served.work.gate.set()
    assert [served.ended(id_)["state"] for id_ in waiting] == ["cancelled", "done", "done"]
    assert served.job(running)["result"] is None


def test_a_full_queue_says_when_to_come_back(serve):
    served = serve(queue=1)
    served.work.gate.clear()
    served.upload(photo_bytes(0))
    assert served.work.begun.wait(60)
    served.upload(photo_bytes(1))
    refused = served.upload(photo_bytes(2))
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 600
    assert len(list((served.settings.storage / "uploads").iterdir())) == 2


def test_full_storage_says_when_to_come_back(serve):
    content = photo_bytes(size=(60, 60))
    served = serve(storage_bytes=2 * len(content))
    first = served.done(content)
    second = served.upload(content)
    assert second.status_code == 507
    assert 3500 < int(second.headers["retry-after"]) <= 3600
    assert len(list((served.settings.storage / "uploads").iterdir())) == 1
    served.client.delete(f"/api/jobs/{first['id']}")
    assert served.upload(content).status_code == 202


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_is_one_line_for_visitor_and_log(served, monkeypatch, caplog, number):
    def fail(*_) -> None:
        raise OSError(number, os.strerror(number), str(served.settings.storage))

    served.work.before = fail
    job = served.done(photo_bytes())
    monkeypatch.setattr("anyio.open_file", fail)
    refused = served.upload(photo_bytes(1))
    assert refused.status_code == 507
    assert refused.json()["error"] == job["error"] == f"the server cannot store files: {os.strerror(number).lower()}"
    assert len(caplog.records) == 2
    assert all(record.exc_info is None and str(served.settings.storage) in record.message for record in caplog.records)


def test_a_failed_job_says_why_and_the_next_one_is_served(served):
    def fail(job) -> None:
        raise ValueError(f"inside {job.folder}")

    served.work.before = fail
    job = served.done(photo_bytes())
    assert (job["state"], job["result"]) == ("failed", None)
    assert str(served.settings.storage) not in job["error"]
    assert not list(served.jobs.get(job["id"]).folder.iterdir())
    served.work.before = lambda job: None
    assert served.done(photo_bytes())["state"] == "done"


def test_the_overlay_is_a_job_made_from_the_stored_result(served):
    look = {"alpha": 0.7, "hidden": [1], "colors": {"0": "#ff0000"}, "outlines": True, "threshold": 0.25}
    source = served.done(photo_bytes(), name="a.png")
    answer = served.client.post(f"/api/jobs/{source['id']}/render", json=look)
    assert answer.status_code == 202, answer.text
    job = served.ended(answer.json()["id"])
    assert (job["state"], job["kind"], job["name"]) == ("done", "render", "a.png")
    assert job["result"]["look"] == look
    again = served.client.post(f"/api/jobs/{job['id']}/render", json={})
    asked = served.client.post("/api/predict", params={"model": MODEL, "source": job["id"]})
    assert (again.status_code, asked.status_code) == (400, 400)


def test_only_what_has_ended_well_is_rendered_or_downloaded(served):
    served.work.gate.clear()
    id_ = served.upload(photo_bytes()).json()["id"]
    assert served.client.post(f"/api/jobs/{id_}/render", json={}).status_code == 409
    wanted = {"jobs": [id_], "parts": ["ids"]}
    assert served.client.post("/api/download", json=wanted).status_code == 409


def test_downloads_are_the_file_or_a_zip_and_hold_the_job_no_longer_than_they_last(served):
    first, second = served.done(photo_bytes(0), name="Straße.png"), served.done(photo_bytes(1), name="b.png")
    one = served.client.post("/api/download", json={"jobs": [first["id"]], "parts": ["ids"]})
    assert one.status_code == 200, one.text
    assert one.content == served.client.get(first["result"]["files"]["ids"]).content
    assert one.headers["content-disposition"].startswith("attachment;")
    both = served.client.post(
        "/api/download", json={"jobs": [first["id"], second["id"]], "parts": ["ids", "overlay"], "look": {"alpha": 0.5}}
    )
    assert both.status_code == 200, both.text
    with zipfile.ZipFile(io.BytesIO(both.content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) >= 4
    for job in (first, second):
        folder = served.jobs.get(job["id"]).folder
        served.client.delete(f"/api/jobs/{job['id']}")
        wait_for(lambda folder=folder: not folder.exists())


def test_jobs_expire_with_their_files(serve):
    served = serve(expire_minutes=1 / 60)
    job = served.done(photo_bytes())
    wait_for(lambda: served.client.get(f"/api/jobs/{job['id']}").status_code == 404)
    wait_for(lambda: tree(served.settings.storage) <= {"jobs", "uploads"})


def test_the_storage_is_closed_to_other_users_of_the_machine(served):
    served.done(photo_bytes())
    for folder in (served.settings.storage / "jobs", served.settings.storage / "uploads"):
        assert folder.stat().st_mode & 0o077 == 0


def test_the_interface_is_described_in_full(served):
    described = served.client.get("/openapi.json").json()
    paths = described["paths"]
    operations = {(method, path) for path, methods in paths.items() for method in methods}
    assert operations >= {
        ("get", "/api/models"), ("post", "/api/predict"), ("get", "/api/jobs/{id}"), ("delete", "/api/jobs/{id}"),
        ("post", "/api/jobs/{id}/render"), ("get", "/api/jobs/{id}/files/{name}"), ("post", "/api/download"),
        ("get", "/api/jobs/{id}/attention"),
    }  # fmt: skip
    upload = paths["/api/predict"]["post"]
    assert list(upload["requestBody"]["content"]) == ["application/octet-stream"]
    assert {p["name"] for p in upload["parameters"]} == {
        "model", "name", "source", "mode", "flip", "scales", "smooth", "cam", "blur"
    }  # fmt: skip
    assert set(upload["responses"]) == {
        "202", "400", "403", "404", "408", "411", "413", "415", "422", "429", "507"
    }  # fmt: skip
    for path, methods in paths.items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            for status, answer in operation["responses"].items():
                if status >= "4":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Fault"}, (method, path, status)
    for page in ("/docs", "/redoc"):
        assert served.client.get(page).status_code == 404
