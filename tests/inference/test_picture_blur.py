"""`predict blur=`: no picture of a photo or video shows the pixels of a person or vehicle that the masks find."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.inference.test_command import contents, predict  # noqa: F401
from tests.support.crafted_runs import CLASSIFIER, RED_IS_PERSON, write_run
from tests.support.videos import make_video

from streetlab.datasets.class_roles import PrivateClasses
from streetlab.datasets.decode import read_photo
from streetlab.datasets.labels import CITYSCAPES, LabelSpace
from streetlab.errors import UserError
from streetlab.inference import blur
from streetlab.inference.blur import hidden_pixels, pixelate
from streetlab.inference.picture_blur import BlurredSink, FrameBlur, PictureBlur
from streetlab.inference.predictions import Segmented
from streetlab.inference.predictor import Predictor
from streetlab.inference.video.reader import Frame
from streetlab.plots.heat import heat_overlay
from streetlab.plots.paint import PaintStyle, paint
from streetlab.records.record import RunRecord

CLASSES = PrivateClasses.of(CITYSCAPES).ids


@pytest.fixture
def segmenter(tmp_path, monkeypatch) -> RunRecord:
    """A run that takes red pixels for people."""
    monkeypatch.chdir(tmp_path)
    return write_run(tmp_path / "streets", RED_IS_PERSON)


def with_people(*boxes: tuple[slice, slice], seed: int = 0, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """A photo of coloured noise, red in the boxes and green elsewhere."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 70, (*size, 3), dtype=np.uint8)
    pixels[..., 1] += 130
    for box in boxes:
        pixels[box] = pixels[box][..., [1, 0, 2]]
    return pixels


def photos(*names: str) -> Path:
    """Photos with two people, one at the edge, in the folder `in`."""
    Path("in").mkdir()
    for number, name in enumerate(names):
        Image.fromarray(with_people(np.s_[20:50, 30:42], np.s_[:20, 80:], seed=number)).save(f"in/{name}", quality=98)
    return Path("in")


def jpeg_of(pixels: np.ndarray, path: Path) -> bytes:
    Image.fromarray(pixels).save(path, quality=92)
    return path.read_bytes()


def test_every_picture_of_a_photo_is_that_of_the_blurred_photo(segmenter, predict, tmp_path):  # noqa: F811
    source = photos("a.jpg", "b.png")
    predict(segmenter.path, f"source={source}", "blur=true", "parts=[mask,overlay,photo]", "output=out")
    predictor = Predictor.from_run(segmenter, device="cpu")
    for name in ("a.jpg", "b.png"):
        photo = read_photo(source / name)
        (answer,) = predictor.predict([photo])
        hidden = hidden_pixels(answer.ids, CLASSES)
        assert 0.1 < hidden.mean() < 0.3
        pixels = pixelate(np.asarray(photo), hidden)
        assert (Path("out/photo") / f"{name[0]}.jpg").read_bytes() == jpeg_of(pixels, tmp_path / "one.jpg")
        painted = paint(pixels, answer.ids, PaintStyle(CITYSCAPES.palette))
        assert (Path("out/overlay") / f"{name[0]}.jpg").read_bytes() == jpeg_of(painted, tmp_path / "one.jpg")
    (row,) = [line for line in Path("out/predictions.jsonl").read_text().splitlines() if '"a.jpg"' in line]
    share = (np.asarray(Image.open("out/masks/a.png")) == 11).mean()
    assert json.loads(row)["shares"]["person"] == pytest.approx(share, abs=1e-6), "counts are those of the photo itself"


def test_without_blur_the_settings_are_those_of_earlier_versions(segmenter, predict):  # noqa: F811
    photos("a.jpg")
    predict(segmenter.path, "source=in", "output=out")
    settings = json.loads(Path("out/predict.json").read_text())["settings"]
    assert "blur" not in settings
    _, (line,) = predict(segmenter.path, "source=in", "output=out", "blur=true", code=2)
    assert "blur=null, not blur=true" in line
    before = contents(Path("out"))
    predict(segmenter.path, "source=in", "output=out", "blur=false")
    assert contents(Path("out")) == before


def test_maps_of_labels_are_painted_on_the_photo_blurred_by_another_run(segmenter, predict, tmp_path):  # noqa: F811
    classifier = write_run(tmp_path / "photos", CLASSIFIER)
    source = photos("a.jpg")
    predict(classifier.path, "source=in", "cam=true", f"blur={segmenter.path}", "output=out")
    photo = read_photo(source / "a.jpg")
    (answer,) = Predictor.from_run(segmenter, device="cpu").predict([photo])
    pixels = pixelate(np.asarray(photo), hidden_pixels(answer.ids, CLASSES))
    (label,) = Predictor.from_run(classifier, device="cpu").predict([photo], activations=True)
    heat = np.clip(label.activations[label.prediction] / (label.activations.max() or 1), 0, 1)
    assert Path("out/overlay/a.jpg").read_bytes() == jpeg_of(heat_overlay(pixels, heat), tmp_path / "one.jpg")
    sha256 = Predictor.from_run(segmenter, device="cpu").sha256
    assert json.loads(Path("out/predict.json").read_text())["settings"]["blur"] == sha256


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("blur=gone", "blur: no folder gone"),
        ("blur=null", "blur: 'None' is not true, false or the folder of a segmentation run"),
    ],
)
def test_a_value_that_is_no_run_is_refused_in_one_line(predict, tmp_path, word, line):  # noqa: F811
    classifier = write_run(tmp_path / "photos", CLASSIFIER)
    photos("a.jpg")
    _, (fault,) = predict(classifier.path, "source=in", "cam=true", word, code=2)
    assert line in fault


def test_a_run_that_cannot_hide_people_is_refused_before_anything_is_written(segmenter, predict, tmp_path):  # noqa: F811
    ground = LabelSpace("ground", "segmentation", ("road", "car"), ((0, 0, 0), (9, 9, 9)))
    without_people = write_run(tmp_path / "ground", space=ground)
    classifier = write_run(tmp_path / "photos", CLASSIFIER)
    photos("a.jpg")
    for run, words, line in (
        (without_people, ["blur=true"], "blur: people are not among the classes of the run (road, car)"),
        (classifier, ["blur=true"], "gives a photo one label and finds no people in it"),
        (classifier, [f"blur={segmenter.path}"], "of labels no picture is written"),
        (classifier, ["cam=true", f"blur={without_people.path}"], "blur: people are not among the classes of ground"),
        (classifier, ["cam=true", f"blur={classifier.path}"], "gives a photo one label; name a segmentation run"),
        (segmenter, [f"blur={segmenter.path}"], "has masks of its own; blur=true"),
    ):
        _, (fault,) = predict(run.path, "source=in", "output=out", *words, code=2)
        assert line in fault
        assert not Path("out").exists()


class Frames:
    """A sink that keeps its frames."""

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []

    def write(self, frame: Frame, prediction: Segmented) -> None:
        self.kept.append(frame.pixels)

    def close(self) -> None:
        pass

    abort = close


def test_a_person_who_is_lost_for_some_frames_of_a_video_stays_hidden():
    random = np.random.default_rng(4)
    ids = np.zeros((48, 64), np.uint8)
    seen = ids.copy()
    seen[10:30, 20:30] = 11
    frames = [Frame(random.integers(0, 256, (48, 64, 3), np.uint8), number, number / 25) for number in range(14)]
    one, other = Frames(), Frames()
    frame_blur = FrameBlur(PictureBlur(CITYSCAPES))
    sinks = BlurredSink(one, frame_blur), BlurredSink(other, frame_blur)
    for number, frame in enumerate(frames):
        for sink in sinks:
            sink.write(frame, Segmented(seen if number == 0 else ids, ids))
    hidden = hidden_pixels(seen, CLASSES)
    for number, (frame, blurred, again) in enumerate(zip(frames, one.kept, other.kept, strict=True)):
        assert blurred is again
        expected = pixelate(frame.pixels, hidden) if number < blur.MEMORY_FRAMES else frame.pixels
        assert np.array_equal(blurred, expected)


def test_a_video_is_blurred_in_all_its_pictures_and_tells_no_place(segmenter, predict, tmp_path):  # noqa: F811
    box = np.s_[20:50, 30:42]
    path = make_video(tmp_path / "drive.mp4", pictures=[with_people(box)] * 4, size=(64, 96), fps=4)
    predict(segmenter.path, f"source={path}", "blur=true", "parts=[overlay,photo]", "alpha=0", "output=out")
    predict(segmenter.path, f"source={path}", "parts=[photo]", "output=plain")
    shown, overlay, plain = (
        np.stack([frame.to_ndarray(format="rgb24") for frame in av.open(file).decode(video=0)]).astype(int)
        for file in ("out/photo/drive.mp4", "out/overlay/drive.mp4", "plain/photo/drive.mp4")
    )
    assert np.abs(shown - overlay).mean() < 4
    changed = np.abs(shown - plain).mean(axis=(0, -1))
    assert changed[box].mean() > 15
    assert changed[:, 60:].mean() < 4
    detail, kept = (np.abs(np.diff(video[0][box], axis=1)).mean() for video in (plain, shown))
    assert kept < detail / 4


PRIVATE = {"ImageDescription", "Artist", "GPSLatitude", "GPSLongitude", "Comment", "City", "ThumbnailImage"}


@pytest.fixture
def tagged() -> Callable[[Path], None]:
    """Write place, names, a comment and a thumbnail into a photo's EXIF, XMP and IPTC."""
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("no exiftool here")

    def tag(path: Path) -> None:
        thumbnail = path.with_suffix(".thumb.jpg")
        Image.open(path).resize((16, 12)).save(thumbnail)
        words = ["-GPSLatitude=52.01", "-GPSLongitude=4.35", "-GPSLatitudeRef=N", "-Artist=Somebody", "-Comment=here",
                 "-XMP:City=Delft", "-IPTC:City=Delft", f"-ThumbnailImage<={thumbnail}"]  # fmt: skip
        subprocess.run([program, "-q", "-overwrite_original", *words, str(path)], check=True)
        thumbnail.unlink()

    return tag


def tags_of(path: Path) -> dict[str, object]:
    """What exiftool finds in a file, as `group:tag`."""
    found = subprocess.run(["exiftool", "-j", "-G", str(path)], capture_output=True, check=True)
    return json.loads(found.stdout)[0]


def test_copies_carry_nothing_of_the_file_but_its_pixels(segmenter, predict, tagged):  # noqa: F811
    source = photos("a.jpg")
    tagged(source / "a.jpg")
    assert {tag.partition(":")[2] for tag in tags_of(source / "a.jpg")} >= PRIVATE - {"ImageDescription"}
    predict(segmenter.path, "source=in", "parts=[mask,palette,overlay,photo,confidence]", "output=out")
    for path in (path for path in Path("out").rglob("*") if path.suffix in (".jpg", ".png")):
        groups = {tag.partition(":")[0] for tag in tags_of(path)}
        assert groups <= {"SourceFile", "ExifTool", "File", "JFIF", "PNG", "Composite"}, path
        with Image.open(path) as copy:
            assert not copy.getexif()
            assert not {"exif", "icc_profile", "comment", "xmp", "photoshop"} & copy.info.keys()


def test_a_label_space_without_vehicles_hides_nothing_and_says_so():
    with pytest.raises(UserError, match="vehicles are not among the classes of the run"):
        PictureBlur(LabelSpace("p", "segmentation", ("person", "sky"), ((0, 0, 0),) * 2))
