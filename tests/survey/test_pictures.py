"""Pictures of a survey show no person or vehicle that its segmentation finds, and tell nothing but pixels."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.support.crafted_runs import CLASSIFIER, RED_IS_PERSON, write_run
from tests.support.placed_photos import photo_at

from streetlab import cli
from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS, LabelSpace
from streetlab.inference import blur
from streetlab.inference.blur import hidden_pixels, pixelate
from streetlab.inference.predictions import Classified, Segmented
from streetlab.survey import pictures
from streetlab.survey.pictures import write_pictures

BOX = np.s_[20:52, 30:46]


class RedIsACar:
    """Stands in for a segmentation run: red pixels are a car, all in the upper third building, the others road."""

    label_space, name, sha256, per_pixel = CITYSCAPES, "streets", "ab" * 32, True

    def __init__(self, unlike: bool | None = None) -> None:
        self.unlike, self.seen = unlike, 0

    def predict(self, photos: list[Image.Image], activations: bool = False) -> list[Segmented]:
        self.seen += len(photos)
        return [
            Segmented(ids_of(np.asarray(photo)), np.zeros(photo.size[::-1], np.uint8), self.unlike) for photo in photos
        ]


class LeftIsLitter:
    """Stands in for a cleanliness run: Litter, by the left half of every photo."""

    label_space, name, sha256, per_pixel, has_activations = CLEANLINESS, "photos", "cd" * 32, False, True

    def predict(self, photos: list[Image.Image], activations: bool = False) -> list[Classified]:
        maps = np.zeros((1, photos[0].height, photos[0].width), np.float32)
        maps[:, :, : photos[0].width // 2] = 3
        return [Classified(np.array([0.1, 0.2, 0.7], np.float32), 2, maps, (2,)) for _ in photos]


def ids_of(pixels: np.ndarray) -> np.ndarray:
    ids = np.zeros(pixels.shape[:2], np.uint8)
    ids[: len(ids) // 3] = 2
    ids[pixels[..., 0] > 180] = 13
    return ids


def street(seed: int, size: tuple[int, int] = (72, 96)) -> np.ndarray:
    """Grey noise with a red box."""
    pixels = np.random.default_rng(seed).integers(0, 70, (*size, 1), dtype=np.uint8).repeat(3, axis=-1)
    pixels[BOX][..., 0] += 185
    return pixels


@pytest.fixture
def photos(tmp_path) -> pd.DataFrame:
    """Three photos, one of them broken, and one that is not at hand."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        Image.fromarray(street(number)).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    files = ["0.png", "1.png", "broken.jpg", "elsewhere.jpg"]
    return pd.DataFrame(
        {"file": files, "path": [*(str(tmp_path / "in" / name) for name in files[:3]), ""], "error": ""}
    )


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_without_a_segmentation_of_people_and_vehicles_there_are_no_pictures(tmp_path, photos):
    class OnlyCars(RedIsACar):
        label_space = LabelSpace("cars", "segmentation", ("road", "car"), ((0, 0, 0), (9, 9, 9)))

        def predict(self, photos, activations=False):
            return [Segmented(one.ids.clip(max=1), one.confidence) for one in super().predict(photos)]

    first = write_pictures(tmp_path / "out", photos, RedIsACar(), LeftIsLitter())
    assert (first.photos["picture"] != "").sum() == 2
    assert list((tmp_path / "out").rglob("*.jpg"))
    for segmentation, reason in (
        (None, "none, because no segmentation run hides people and vehicles; give a run with classes of both"),
        (OnlyCars(), "none, because people are not among the classes of streets"),
    ):
        found = write_pictures(tmp_path / "out", photos, segmentation, LeftIsLitter())
        assert found.note.startswith(reason)
        assert (found.photos["picture"] == "").all()
        assert (found.photos["evidence"] == "").all()
        assert not list((tmp_path / "out").rglob("*.jpg")), "an earlier call's pictures are there still"
    assert found.photos["ground_share"].notna().sum() == 2, "what is measured needs no picture"


def test_every_picture_is_a_small_copy_of_the_pixelated_photo(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(pictures, "SIDE", 48)
    found = write_pictures(tmp_path, photos, RedIsACar(), LeftIsLitter())
    assert found.note == "of 2 of 4 photos; people and vehicles that streets finds are pixelated, others are not"
    for row in found.photos[:2].itertuples():
        pixels = read(Path(row.path)).astype(np.uint8)
        expected = pixelate(pixels, hidden_pixels(ids_of(pixels), tuple(range(11, 19))))
        small = expected.reshape(36, 2, 48, 2, 3).mean(axis=(1, 3))
        assert np.abs(read(tmp_path / row.picture) - small).mean() < 7
        assert np.abs(read(tmp_path / row.evidence)[:, 26:] - small[:, 26:]).mean() < 8, "no heat on the right"
        assert np.abs(read(tmp_path / row.evidence)[:, :22] - small[:, :22]).mean() > 20
    assert (found.photos["picture"] != "").tolist() == [True, True, False, False]


def test_no_pixel_of_a_silhouette_gets_into_a_picture_but_as_the_mean_of_its_block(tmp_path, photos, monkeypatch):
    """Other pixels of the same means give the same files, byte for byte."""
    monkeypatch.setattr(blur, "_noise", lambda photo: np.random.default_rng(0))
    hidden = hidden_pixels(ids_of(street(0)), tuple(range(11, 19)))
    top, bottom = np.flatnonzero(hidden.any(axis=1))[[0, -1]]
    left, right = np.flatnonzero(hidden.any(axis=0))[[0, -1]]
    random = np.random.default_rng(5)
    first = write_pictures(tmp_path / "first", photos, RedIsACar(), LeftIsLitter())
    for row in photos[:2].itertuples():
        pixels = read(Path(row.path)).astype(np.uint8)
        changed = pixels.copy()
        for rows in eighths(top, bottom + 1):
            for columns in eighths(left, right + 1):
                block = rows, columns
                red = pixels[block][..., 0] > 180
                for kind in (red, ~red):  # the masks stay as they are
                    values = changed[block]
                    values[kind] = random.permutation(values[kind])
                    changed[block] = values
        assert np.array_equal(ids_of(changed), ids_of(pixels))
        assert (changed[hidden] != pixels[hidden]).any(axis=-1).mean() > 0.8
        Image.fromarray(changed).save(row.path)
    second = write_pictures(tmp_path / "second", photos, RedIsACar(), LeftIsLitter())
    for name in (*first.photos["picture"][:2], *first.photos["evidence"][:2]):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert first.photos["picture"].tolist() == second.photos["picture"].tolist()


def eighths(start: int, end: int) -> list[slice]:
    """Equal parts of at least 8 pixels, as many as there are."""
    count = (end - start) // 8
    edges = [start + (end - start) * number // count for number in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(edges)]


def test_shares_are_those_of_the_photo_itself(tmp_path, photos):
    found = write_pictures(tmp_path, photos, RedIsACar(), LeftIsLitter()).photos
    ids = ids_of(street(0))
    assert found["ground_share"][0] == pytest.approx((ids == 0).mean())
    assert found["evidence_on_ground"][0] == pytest.approx((ids[:, :48] == 0).mean(), abs=1e-6)
    assert found[["ground_share", "evidence_on_ground"]].isna().all(axis=1).tolist() == [False, False, True, True]
    without = write_pictures(tmp_path / "other", photos, RedIsACar()).photos
    assert without["evidence_on_ground"].isna().all()
    assert (without["evidence"] == "").all()


def test_photos_whose_masks_are_not_to_be_trusted_are_shown_on_request_alone(tmp_path, photos):
    found = write_pictures(tmp_path, photos, RedIsACar(unlike=True))
    assert (found.photos["picture"] == "").all()
    assert found.note.endswith("; 2 photos are left out, because they are unlike those that it was trained on")
    trusted = write_pictures(tmp_path, photos, RedIsACar(unlike=True), blur="true")
    assert (trusted.photos["picture"] != "").sum() == 2
    assert write_pictures(tmp_path, photos, RedIsACar(unlike=True)).photos["picture"].tolist() == [""] * 4
    assert not list(tmp_path.joinpath("pictures").rglob("*.jpg"))


def test_people_are_shown_where_that_is_asked_for_and_the_note_says_so(tmp_path, photos):
    found = write_pictures(tmp_path, photos, None, blur="false")
    assert found.note == "of 2 of 4 photos; people and vehicles are shown as they are, because blur=false asks for it"
    assert np.abs(read(tmp_path / found.photos["picture"][0]) - street(0)).mean() < 8
    again = write_pictures(tmp_path, photos, RedIsACar())
    assert np.abs(read(tmp_path / again.photos["picture"][0]) - street(0))[BOX].mean() > 10


def test_a_stopped_call_goes_on_and_ends_with_the_same_bytes(tmp_path, photos):
    class Stopped(RedIsACar):
        def predict(self, photos, activations=False):
            if self.seen:
                raise KeyboardInterrupt
            return super().predict(photos)

    whole = write_pictures(tmp_path / "whole", photos, RedIsACar(), LeftIsLitter())
    with pytest.raises(KeyboardInterrupt):
        write_pictures(tmp_path / "stopped", photos, Stopped(), LeftIsLitter())
    rest = RedIsACar()
    found = write_pictures(tmp_path / "stopped", photos, rest, LeftIsLitter())
    assert rest.seen == 1
    pd.testing.assert_frame_equal(found.photos, whole.photos)
    for path in (tmp_path / "whole").rglob("*.jpg"):
        assert path.read_bytes() == (tmp_path / "stopped" / path.relative_to(tmp_path / "whole")).read_bytes()


@pytest.mark.parametrize(
    ("word", "line"),
    [("blur=maybe", "blur: 'maybe' is not auto, true or false"), ("segmentation=gone", "segmentation: no folder gone")],
)
def test_a_key_that_names_nothing_is_refused_before_anything_is_predicted(tmp_path, monkeypatch, capfd, word, line):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["survey", "run=photos", "source=in", word]) == 2
    assert line in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="no exiftool here")
def test_a_survey_shows_blurred_copies_without_exif_and_says_so_in_its_tables(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    photo_at(Path("in/a.jpg"), 52.01, 4.35, "2025:03:14 08:00:02+01:00", 90)
    write_run(tmp_path / "photos", CLASSIFIER)
    write_run(tmp_path / "streets", RED_IS_PERSON)
    words = ["survey", "run=photos", "source=in", "device=cpu", "output=out"]
    assert cli.run(words) == 0
    assert json.loads(Path("out/survey.json").read_text())["pictures"].startswith("none, because")
    assert not list(Path("out").rglob("*.jpg"))
    assert cli.run([*words, "segmentation=streets"]) == 0
    copies = sorted(Path("out").rglob("*.jpg"))
    assert [str(path) for path in copies] == ["out/pictures/evidence/a.jpg", "out/pictures/photo/a.jpg"]
    for path in copies:
        found = subprocess.run(["exiftool", "-j", "-G", str(path)], capture_output=True, check=True).stdout
        groups = {tag.partition(":")[0] for tag in json.loads(found)[0]}
        assert groups <= {"SourceFile", "ExifTool", "File", "JFIF", "Composite"}
        assert not Image.open(path).getexif()
    header, row = Path("out/photos.csv").read_text().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    assert values["picture"] == "pictures/photo/a.jpg"
    assert 0 < float(values["ground_share"]) <= 1
