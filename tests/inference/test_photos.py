"""Photos of any size are predicted in their turn, the largest alone, and refused beyond `pixels=` in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.crafted_files import deep_png

from streetlab import cli
from streetlab.datasets.decode import read_photo
from streetlab.inference.predictor import Predictor
from streetlab.inference.views import Views
from streetlab.synthetic import draw_scene


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two small photos, and a large one before them by name."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, (name, size) in enumerate({"a_large.png": (96, 160), "b.png": (33, 46), "c.png": (33, 46)}.items()):
        Image.fromarray(draw_scene(number, *size).image).save(folder / name)
    return folder


def predict(run: object, source: Path, *words: str) -> int:
    return cli.run(["predict", f"run={run}", f"source={source}", "device=cpu", "output=out", *words])


def results() -> dict[str, dict]:
    lines = map(json.loads, Path("out/predictions.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["file"]: line for line in lines}


def test_photos_beyond_the_usual_limit_are_predicted_alone_with_the_same_answer(segmenter, source, monkeypatch) -> None:
    monkeypatch.setattr("streetlab.inference.photos.MOST_PIXELS", 5_000)
    shown: list[list[tuple[int, int]]] = []
    own = Predictor.predict

    def noting(self, photos, *args, **named):
        shown.append([photo.size for photo in photos])
        return own(self, photos, *args, **named)

    monkeypatch.setattr(Predictor, "predict", noting)
    assert predict(segmenter.path, source, "mode=window", "pixels=20000") == 0
    assert shown == [[(46, 33)], [(46, 33)], [(160, 96)]]
    predictor = Predictor.from_run(segmenter, device="cpu").seen_through(Views(mode="window"))
    (answer,) = own(predictor, [Image.open(source / "a_large.png")])
    assert np.array_equal(np.asarray(Image.open("out/masks/a_large.png")), answer.ids)
    assert set(results()) == {"a_large.png", "b.png", "c.png"}


def test_a_phones_heic_is_predicted_like_the_same_photo_in_another_format(segmenter, tmp_path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    folder = tmp_path / "phone"
    folder.mkdir()
    Image.fromarray(draw_scene(1, 33, 46).image).save(folder / "IMG_1.HEIC", "HEIF", quality=90)
    read_photo(folder / "IMG_1.HEIC").save(folder / "same.png")
    assert predict(segmenter.path, folder) == 0
    assert set(results()) == {"IMG_1.HEIC", "same.png"}
    masks = [np.asarray(Image.open(path)) for path in sorted(Path("out/masks").iterdir())]
    assert len(masks) == 2
    assert np.array_equal(*masks)


def test_a_photo_of_too_many_pixels_is_one_line_and_a_larger_limit_goes_on(segmenter, source, capfd) -> None:
    assert predict(segmenter.path, source, "pixels=15000") == 1
    err = capfd.readouterr().err
    line = "a_large.png: too large to be a photo: 160x96 are 15,360 pixels, allowed are 15,000; pixels=15360 allows it"
    assert line in err
    assert "Warning" not in err
    assert not results()["b.png"].get("error")
    assert predict(segmenter.path, source, "pixels=15360") == 0
    assert "2 of them by an earlier call" in capfd.readouterr().out


@pytest.mark.parametrize(("mode", "limit"), [("resized", "178,956,970"), ("window", "500,000,000")])
def test_the_default_limit_is_said(segmenter, tmp_path: Path, capfd, mode: str, limit: str) -> None:
    deep_png(tmp_path / "huge.png", np.zeros((1, 1), np.uint16), size=(60_000, 60_000))
    assert predict(segmenter.path, tmp_path / "huge.png", f"mode={mode}") == 1
    err = capfd.readouterr().err
    assert f"60000x60000 are 3,600,000,000 pixels, allowed are {limit}; pixels=3600000000 allows it" in err
    assert "Warning" not in err


def test_a_limit_that_is_no_number_of_pixels_is_refused(segmenter, source, capfd) -> None:
    assert predict(segmenter.path, source, "pixels=0") == 2
    assert "pixels: '0' is not a whole number of 1 or more" in capfd.readouterr().err


def test_a_photo_whose_white_is_not_known_is_named_and_not_predicted_as_black(segmenter, source, capfd) -> None:
    deep_png(source / "dark.png", np.arange(24 * 32).reshape(24, 32).astype(np.uint16) * 5)
    assert predict(segmenter.path, source) == 1
    assert (
        "dark.png: holds values up to 3835 in 16 bits and does not say which value is white" in capfd.readouterr().err
    )
    assert "dark.png" in {name for name, line in results().items() if line.get("error")}
    assert not Path("out/masks/dark.png").exists()
