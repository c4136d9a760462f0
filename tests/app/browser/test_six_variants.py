"""The whole way, with nothing standing in: six trained variants, the engine, the server, the page."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from tests.support.numbered_video import FPS
from tests.support.pages import canvas, eventually, is_shown, overlay_of, row, set_value, shown
from tests.support.serving import VARIANTS, serving
from tests.support.videos import make_video

FRAMES = 100


@pytest.fixture
def photo(tmp_path):
    """A photo of odd sides, colourful and lossless."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    path = tmp_path / "street.png"
    small.resize((131, 77), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.slow
def test_the_page_paints_what_the_engine_says_for_each_of_the_six_variants(six_variants, visit, photo, tmp_path):
    from streetlab.app.server import create_app
    from streetlab.app.settings import Settings
    from streetlab.inference.predictor import Predictor

    storage = tmp_path / "storage"
    storage.mkdir()
    with serving(create_app(Settings(storage=storage, runs=six_variants, device="cpu", port=0))) as url:
        opened = visit(url)
        page = opened.page
        shown(page, photo)
        names = {each["id"]: each["name"] for each in page.request.get(f"{url}/api/models").json()["models"]}
        assert sorted(names.values()) == sorted(VARIANTS)
        options = page.locator("#models option").all_text_contents()
        assert sorted(text.split(" on ")[0] for text in options) == [
            "DeepLabV3 1", "DeepLabV3 2", "DeepLabV3 3", "HRNet 1", "HRNet 2", "HRNet 3",
        ]  # fmt: skip
        for model_id, name in names.items():
            page.select_option("#models", model_id)
            predictor = Predictor.from_run(six_variants / name, device="cpu")
            with Image.open(photo) as picture:
                (answer,) = predictor.predict([picture.convert("RGB")])
            painted = overlay_of(answer.ids, predictor.label_space.palette)
            eventually(lambda wanted=painted: canvas(page), painted, name)
            is_shown(page)
        sent = [each for each in opened.requests if "/api/predict" in each]
        assert [("source=" in each) for each in sent] == [False] + [True] * 5
        before = len(opened.requests)
        page.click("#none")
        page.locator(row(int(answer.ids[0, 0]))).get_by_role("checkbox").check()
        set_value(page, "input[name=alpha]", 80)
        eventually(
            lambda: canvas(page), overlay_of(answer.ids, predictor.label_space.palette, answer.ids == answer.ids[0, 0])
        )
        assert opened.requests[before:] == []
        page.close()


@pytest.mark.slow
def test_the_page_paints_what_the_engine_says_of_every_frame_of_a_video(six_variants, visit, tmp_path):
    from streetlab.app.server import create_app
    from streetlab.app.settings import Settings
    from streetlab.inference.predictor import Predictor
    from streetlab.inference.video.id_stream import IdStreamReader
    from streetlab.inference.video.reader import VideoReader

    street = make_video(tmp_path / "street.mp4", frames=FRAMES, size=(66, 98), fps=FPS, audio="aac")
    predictor = Predictor.from_run(six_variants / VARIANTS[0], device="cpu")
    with VideoReader(street) as video:
        frames = [Image.fromarray(frame.pixels) for frame in video]
    answers = [answer.ids for answer in predictor.predict(frames)]
    storage = tmp_path / "storage"
    storage.mkdir()
    settings = Settings(storage=storage, runs=six_variants / VARIANTS[0], device="cpu", port=0)
    with serving(create_app(settings)) as url:
        opened = visit(url)
        page = opened.page
        shown(page, street)
        for number, ids in enumerate(answers, 1):
            eventually(lambda: page.locator(".transport .number").text_content(), f"frame {number} of {FRAMES}")
            assert np.array_equal(canvas(page), overlay_of(ids, predictor.label_space.palette)), number
            page.keyboard.press(".")
        page.click("#download summary")
        with page.expect_download(timeout=120_000) as waiting:
            page.click("#download [data-part=all]")
        archive = zipfile.ZipFile(io.BytesIO(waiting.value.path().read_bytes()))
        page.close()
    for name in ("street_ids.webm", "street_overlay.mp4"):
        (tmp_path / name).write_bytes(archive.read(name))
    with IdStreamReader(tmp_path / "street_ids.webm") as stream:
        for (found, _, _), ids in zip(stream, answers, strict=True):
            assert np.array_equal(found, ids)
    with VideoReader(tmp_path / "street_overlay.mp4") as overlay, VideoReader(street) as source:
        assert (overlay.info.fps, overlay.info.audio) == (source.info.fps, True)
        assert sum(1 for _ in overlay) == FRAMES
