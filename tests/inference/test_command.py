"""`streetlab predict`: photos and videos in, masks, labels, overlays and tables out, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.crafted_runs import CLASSIFIER, write_run
from tests.support.exports import CONVOLUTIONS, export, write_by_hand
from tests.support.killed_predictions import kill_half_way
from tests.support.videos import make_video

from streetlab import cli
from streetlab.datasets.decode import read_photo
from streetlab.datasets.labels import CITYSCAPES
from streetlab.inference.predictor import Predictor
from streetlab.synthetic import draw_scene

ODD = ("a b (1).jpg", "x=1,y=2.png", "[bracketed].jpg", "街道/写真.jpg", "it's.png")


@pytest.fixture
def predict(capfd, tmp_path, monkeypatch) -> Callable[..., tuple[list[str], list[str]]]:
    """`predict(run, "key=value", ..., code=0)`: the lines of the command's output and of its errors, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def predict_(run: object, *words: str, code: int = 0) -> tuple[list[str], list[str]]:
        capfd.readouterr()
        assert cli.run(["predict", f"run={run}", "device=cpu", *words]) == code
        said = capfd.readouterr()
        return said.out.splitlines(), said.err.splitlines()

    return predict_


def streets(folder: Path, *names: str, size: tuple[int, int] = (33, 46)) -> Path:
    """Synthetic streets under these names, each another one."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_scene(number, *size).image).save(path, format="PNG" if number % 2 else "JPEG")
    return folder


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def lines(folder: Path) -> dict[str, dict]:
    read = map(json.loads, (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["file"]: line for line in read}


def contents(folder: Path) -> dict[str, bytes]:
    """Every result but the lists, which say how long it took."""
    kept = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".json", ".jsonl")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


@pytest.fixture
def seen(monkeypatch) -> list[int]:
    """How many photos the network is shown, call by call."""
    counts: list[int] = []
    own = Predictor.predict

    def counting(self, photos, activations=False, **named):
        counts.append(len(photos))
        return own(self, photos, activations, **named)

    monkeypatch.setattr(Predictor, "predict", counting)
    return counts


def test_every_photo_has_a_mask_a_palette_an_overlay_and_a_row(segmenter, predict, seen):
    source = streets(Path("my photos, day=1"), *ODD)
    out, err = predict(segmenter.path, f"source={source}", "hide=[sky,road]", "alpha=1", "batch_size=3")
    folder = Path("outputs/predict/streets")
    assert out[-1] == str(folder / "predictions.csv")
    assert out[-2].startswith("5 of 5 files predicted in ")
    assert err == []
    assert seen == [3, 2]
    rows, noted = table(folder / "predictions.csv"), lines(folder)
    assert set(rows) == set(noted) == set(ODD)
    predictor = Predictor.from_run(segmenter, device="cpu")
    for name in ODD:
        photo = read_photo(source / name)
        (answer,) = predictor.predict([photo])
        stem = name.rpartition(".")[0]
        mask, palette = (np.asarray(Image.open(folder / part / f"{stem}.png")) for part in ("masks", "palette"))
        assert np.array_equal(mask, answer.ids)
        assert np.array_equal(palette, answer.ids)
        overlay = np.asarray(Image.open(folder / "overlay" / f"{stem}.jpg"))
        assert overlay.shape == (33, 46, 3)
        shares = [float(rows[name][f"share_{label}"]) for label in CITYSCAPES.names]
        assert shares == pytest.approx(np.bincount(answer.ids.ravel(), minlength=19) / answer.ids.size, abs=1e-8)
        assert (rows[name]["width"], rows[name]["height"]) == ("46", "33")
        assert noted[name]["checkpoint"] == predictor.sha256
        assert list(noted[name]["shares"].values()) == pytest.approx(shares)
    assert not any(path.suffix == ".tmp" for path in folder.rglob("*"))


def test_labels_have_probabilities_and_on_request_maps(classifier, predict):
    source = streets(Path("in"), "a.jpg", "b.png")
    out, _ = predict(classifier.path, "source=in")
    folder = Path("outputs/predict/photos")
    assert out[-1] == str(folder / "predictions.csv")
    for name, row in table(folder / "predictions.csv").items():
        (answer,) = Predictor.from_run(classifier, device="cpu").predict([read_photo(source / name)])
        probabilities = [float(row[f"p_{label}"]) for label in ("Clean", "Medium", "Litter")]
        assert probabilities == pytest.approx(answer.probabilities.tolist(), abs=1e-5)
        assert row["prediction"] == ("Clean", "Medium", "Litter")[answer.prediction]
        assert float(row["confidence"]) == max(probabilities)
    assert not (folder / "overlay").exists()
    predict(classifier.path, "source=in", "cam=true", "output=maps")
    assert Image.open("maps/overlay/a.jpg").size == Image.open("maps/overlay/b.jpg").size == (46, 33)


def test_a_checkpoint_alone_is_enough(segmenter, predict):
    streets(Path("in"), "a.jpg")
    checkpoint = segmenter.checkpoints / "last.ckpt"
    out, _ = predict(checkpoint, "source=in/a.jpg", "parts=[mask]")
    assert out[-1] == "outputs/predict/streets-last/predictions.csv"
    moved = checkpoint.rename("moved.ckpt")
    predict(moved, "source=in/a.jpg", "parts=mask")
    assert contents(Path("outputs/predict/moved")) == contents(Path("outputs/predict/streets-last"))


def test_an_exported_file_is_predicted_with_like_a_run(predict, tmp_path):
    streets(tmp_path / "in", "a.jpg", "b.png")
    run = write_run(tmp_path / "run", CONVOLUTIONS)
    file = export(run.path, run.path / "export" / "model_fp32.onnx")
    said, errors = predict(file, "source=in")
    assert errors == []
    found = tmp_path / "outputs" / "predict" / "run-model_fp32"
    assert said[-1] == str(found.relative_to(tmp_path) / "predictions.csv")
    settings = json.loads((found / "predict.json").read_text())["settings"]
    assert (settings["precision"], settings["temperature"]) == ("fp32", None)
    predict(run.path, "source=in", "output=of_run")
    masks = sorted(path for path in contents(found) if "mask" in path)
    assert len(masks) == 2
    for mask in masks:
        ids, expected = (np.asarray(Image.open(folder / mask)) for folder in (found, tmp_path / "of_run"))
        assert (ids == expected).mean() > 0.999


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "source=in", "cam=true"], "cam: x.onnx is an exported model; maps are made of runs and check"),
        (["predict", "source=in", "checkpoint=last"], "checkpoint: run=x.onnx is an exported model itself; leave"),
        (["predict", "source=in", "precision=16-mixed"], "precision: x.onnx computes in fp32; leave precision=16-mi"),
        (["predict", "source=in", "compile=true"], "compile: x.onnx is a graph already; compile=true is for runs"),
        (["predict", "source=in", "run=y.onnx"], "run: no file y.onnx; did you mean 'x.onnx'?"),
        (["explain"], "run: x.onnx is an exported model, for predict and app alone"),
        (["evaluate"], "run: x.onnx is an exported model, for predict and app alone"),
    ],
)
def test_what_an_exported_file_has_not_is_one_line(tmp_path, monkeypatch, capfd, words, said):
    monkeypatch.chdir(tmp_path)
    streets(tmp_path / "in", "a.jpg")
    write_by_hand(tmp_path / "x.onnx")
    command, *keys = words
    run = () if any(key.startswith("run=") for key in keys) else ("run=x.onnx",)
    assert cli.run([command, *run, *keys]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"streetlab: {said}")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "x.onnx"}


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_rest_only(segmenter, predict, seen):
    names = [f"{number:02d}.jpg" for number in range(12)]
    streets(Path("in"), *names)
    words = ["predict", f"run={segmenter.path}", "device=cpu", "source=in", "batch_size=2", "output=out"]
    journal = Path("out/predictions.jsonl")
    done = kill_half_way(words, "08", journal)
    assert 2 <= done <= 8
    first = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.png")}
    with journal.open("ab") as file:
        file.write(b'{"file": "08.jpg", "path": "/')  # as a kill in the middle of a write would leave it
    out, err = predict(segmenter.path, "source=in", "output=out")
    assert err == []
    assert sum(seen) == 12 - done
    assert f", {done} of them by an earlier call" in out[-2]
    for line in list(lines(Path("out")).values())[:done]:
        for name in line["outputs"]:
            path = Path("out", name)
            assert path.stat().st_mtime_ns == first.get(path, path.stat().st_mtime_ns)
    predict(segmenter.path, "source=in", "output=whole")
    assert contents(Path("out")) == contents(Path("whole"))
    seen.clear()
    predict(segmenter.path, "source=in", "output=out")
    assert seen == []


def test_bad_files_are_named_and_the_good_ones_are_all_there(segmenter, predict, seen):
    good = [f"{number:02d}.jpg" for number in range(97)]
    for number, name in enumerate(good):
        Path("in").mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), (number, 2 * number, 0)).save(Path("in", name))
    Path("in/text.jpg").write_text("no photo")
    Path("in/empty.png").touch()
    Path("in/half.jpg").write_bytes(Path("in/00.jpg").read_bytes()[:400])
    out, err = predict(segmenter.path, "source=in", "parts=[mask]", "output=out", code=1)
    assert out[-2].startswith("97 of 100 files predicted in ")
    assert err[0] == "streetlab: files that could not be predicted: 3 of 100"
    assert sorted(line.split(":")[0].strip() for line in err[1:]) == ["empty.png", "half.jpg", "text.jpg"]
    assert "  empty.png: not an image (it is empty)" in err
    assert len(list(Path("out/masks").iterdir())) == 97
    assert sorted(table(Path("out/predictions.csv"))) == good
    assert {name for name, line in lines(Path("out")).items() if "error" in line} == {
        "empty.png", "half.jpg", "text.jpg"
    }  # fmt: skip
    streets(Path("in"), "empty.png", size=(32, 32))
    seen.clear()
    _, err = predict(segmenter.path, "source=in", "parts=[mask]", "output=out", code=1)
    assert seen == [1], "what was mended, and nothing else"
    assert len(err) == 3


def test_changed_files_are_predicted_again_and_new_settings_need_a_new_folder(segmenter, predict, seen):
    streets(Path("in"), "a.jpg", "b.jpg")
    predict(segmenter.path, "source=in", "output=out")
    before = Path("out/masks/a.png").read_bytes()
    Image.fromarray(draw_scene(7, 40, 50).image).save("in/a.jpg")
    seen.clear()
    predict(segmenter.path, "source=in", "output=out")
    assert seen == [1]
    assert Path("out/masks/a.png").read_bytes() != before
    assert table(Path("out/predictions.csv"))["a.jpg"]["width"] == "50"
    _, (line,) = predict(segmenter.path, "source=in", "output=out", "alpha=0.7", code=2)
    assert "holds predictions with alpha=0.5, not alpha=0.7" in line
    _, (line,) = predict(segmenter.path, "source=in", "output=out", "checkpoint=last", "hide=sky", code=2)
    assert "out holds predictions" in line
    predict(segmenter.path, "source=in/b.jpg", "output=out", "alpha=0.7", "resume=false")
    assert [path.name for path in Path("out/masks").iterdir()] == ["b.png"]
    assert list(table(Path("out/predictions.csv"))) == ["b.jpg"]


def test_calibrated_and_raw_probabilities_do_not_mix_in_a_table(predict, tmp_path):
    run = write_run(tmp_path / "classifier", CLASSIFIER, temperature=2.5)
    streets(Path("in"), "a.jpg")
    predict(run.path, "source=in", "output=out")
    alone = run.checkpoints / "best.ckpt"
    _, (line,) = predict(alone, "source=in", "output=out", code=2)
    assert "holds predictions with temperature=2.5, not temperature=null" in line
    _, (line,) = predict(run.path, "source=in", "output=out", "precision=bf16-mixed", code=2)
    assert "holds predictions with precision=32-true, not precision=bf16-mixed" in line


def test_files_of_one_name_from_several_sources_do_not_overwrite_each_other(segmenter, predict):
    streets(Path("day1"), "a.jpg", "a.png")
    streets(Path("day2"), "other.jpg", "a.jpg")
    predict(segmenter.path, "source=[day1,day2]", "output=both", "parts=[mask]")
    assert set(table(Path("both/predictions.csv"))) == {"day1/a.jpg", "day1/a.png", "day2/a.jpg", "day2/other.jpg"}
    assert len(list(Path("both/masks").rglob("*.png"))) == 4
    predict(segmenter.path, "source=day1", "output=out", "parts=[mask]")
    predict(segmenter.path, "source=day2", "output=out", "parts=[mask]")
    whole = str(Path("day2/a.jpg").resolve())
    assert set(table(Path("out/predictions.csv"))) == {"a.jpg", "a.png", "other.jpg", whole}
    assert len(list(Path("out/masks").rglob("*.png"))) == 4


def test_links_out_of_the_folder_are_named(segmenter, predict):
    streets(Path("in"), "a.jpg")
    streets(Path("elsewhere"), "secret.jpg")
    Path("in/link.jpg").symlink_to(Path("elsewhere/secret.jpg").resolve())
    out, err = predict(segmenter.path, "source=in", "output=out")
    assert out[-2].startswith("1 of 1 files")
    assert err == ["streetlab: links out of the source's folder, not followed: 1", "  in/link.jpg"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("source=nowhere", "source: no file or folder nowhere"),
        ("source=empty", "source: empty: no photos and no videos there"),
        ("source=in/*.webp", "source: nothing matches in/*.webp"),
        ("source=in mode=window window=8", "window"),
        ("source=in mode=resize", "did you mean 'resized'?"),
        ("source=in alpha=1.5", "alpha: '1.5' is not a number from 0 to 1"),
        ("source=in smooth=1", "smooth: '1' is not a number from 0 to below 1"),
        ("source=in hide=[skies]", "hide: 'skies' is not one of road, sidewalk"),
        ("source=in hide=[skies]", "did you mean 'sky'?"),
        ("source=in parts=[masks]", "did you mean 'mask'?"),
        ("source=in batch_size=0", "batch_size: '0' is not a whole number of 1 or more"),
        ("source=in resume=auto", "resume: 'auto' is not true or false"),
        ("source=in cam=true", "cam: the run gives each pixel a class"),
        ("source=in device=gpu", "device: 'gpu' is not one of"),
        ("source=in output=taken", "output: taken is a file"),
        ("source=in output=in", "source: in lies in the folder of the results"),
        ("source=in output=taken/below", "cannot write"),
        ("source=in opacity=1", "no key 'opacity'"),
        ("alpha=1", "source is missing"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(segmenter, predict, words, said):
    streets(Path("in"), "a.jpg")
    Path("empty").mkdir()
    Path("taken").touch()
    before = sorted(Path().rglob("*"))
    _, (line,) = predict(segmenter.path, *words.split(), code=2)
    assert said in line
    assert sorted(Path().rglob("*")) == before


def test_what_a_classifier_has_not_is_refused(classifier, predict):
    streets(Path("in"), "a.jpg")
    for word in ("hide=[Clean]", "ids=true", "outlines=true"):
        _, (line,) = predict(classifier.path, "source=in", word, code=2)
        assert f"{word.partition('=')[0]}: the run gives a photo one label" in line


def test_videos_have_an_overlay_shares_and_on_request_their_ids(segmenter, predict):
    Path("in").mkdir()
    streets(Path("in"), "a.jpg")
    make_video(Path("in/my street.mp4"), frames=7, fps=10, audio="aac")
    whole = make_video(Path("in/half.mp4"), frames=60, size=(64, 96)).read_bytes()
    Path("in/half.mp4").write_bytes(whole[: len(whole) * 3 // 4])
    Path("in/none.mp4").write_bytes(b"\x00\x00\x00\x20ftypisom and nothing more")
    out, err = predict(segmenter.path, "source=in", "output=out", "ids=true", "batch_size=4", code=1)
    assert out[-2].startswith("2 of 4 files predicted")
    assert sorted(line.split(":")[0].strip() for line in err[1:]) == ["half.mp4", "none.mp4"]
    rows = table(Path("out/videos.csv"))
    assert set(rows) == {"my street.mp4", "half.mp4"}
    assert (rows["my street.mp4"]["frames"], rows["my street.mp4"]["fps"]) == ("7", "10")
    assert sum(float(rows["my street.mp4"][f"share_{name}"]) for name in CITYSCAPES.names) == pytest.approx(1)
    assert 0 < int(rows["half.mp4"]["frames"]) < 60
    assert rows["half.mp4"]["error"]
    for stem in ("my street", "half"):
        assert lines(Path("out"))[f"{stem}.mp4"]["outputs"] == [
            f"overlay/{stem}.mp4", f"ids/{stem}.webm", f"shares/{stem}.csv"
        ]  # fmt: skip
    with Path("out/shares/my street.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 7
    assert set(table(Path("out/predictions.csv"))) == {"a.jpg"}
    before = contents(Path("out"))
    predict(segmenter.path, "source=in", "output=out", "ids=true", code=1)
    assert contents(Path("out")) == before


def test_a_classifier_gives_each_frame_probabilities(classifier, predict):
    make_video(Path("street.mp4"), frames=5)
    out, _ = predict(classifier.path, "source=street.mp4", "output=out")
    assert out[-1] == "out/videos.csv"
    row = table(Path("out/videos.csv"))["street.mp4"]
    assert row["prediction"] in ("Clean", "Medium", "Litter")
    with Path("out/probabilities/street.csv").open() as file:
        frames = list(csv.DictReader(file))
    assert len(frames) == 5
    mean = np.mean([[float(frame[name]) for name in ("Clean", "Medium", "Litter")] for frame in frames], axis=0)
    assert [float(row[f"p_{name}"]) for name in ("Clean", "Medium", "Litter")] == pytest.approx(mean.tolist(), abs=1e-4)


def test_without_the_extra_a_video_is_named_with_the_way_to_have_it(segmenter, predict, monkeypatch):
    streets(Path("in"), "a.jpg")
    make_video(Path("in/b.mp4"), frames=2)
    monkeypatch.setitem(sys.modules, "av", None)
    _, err = predict(segmenter.path, "source=in", "output=out", code=1)
    assert err[1:] == ["  b.mp4: videos need PyAV: pip install 'streetlab[video]'"]
    assert set(table(Path("out/predictions.csv"))) == {"a.jpg"}


def test_photos_with_a_place_have_columns_for_it_and_others_none(predict, tmp_path):
    run = write_run(tmp_path / "classifier", CLASSIFIER)
    streets(Path("in"), "a.jpg")
    predict(run.path, "source=in", "output=out")
    header = Path("out/predictions.csv").read_text().splitlines()[0]
    assert header == "file,width,height,prediction,confidence,p_Clean,p_Medium,p_Litter"
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (18.0, 15.0, 36.0), 16: "T", 17: 90.5})
    exif.get_ifd(0x8769).update({0x9003: "2025:03:14 08:01:02", 0x9011: "+02:00"})
    Image.fromarray(draw_scene(5, 33, 46).image).save("in/b.jpg", exif=exif.tobytes())
    predict(run.path, "source=in", "output=out")  # the folder of an earlier call goes on
    rows = table(Path("out/predictions.csv"))
    assert list(rows["a.jpg"]) == [*header.split(","), "lat", "lon", "time", "heading"]
    place = {key: rows["b.jpg"][key] for key in ("lat", "lon", "time", "heading")}
    assert place == {"lat": "-33.5", "lon": "18.26", "time": "2025-03-14T06:01:02Z", "heading": "90.5"}
    assert (rows["a.jpg"]["lat"], rows["a.jpg"]["time"]) == ("", "")


def test_a_run_that_was_tested_with_mirrored_photos_is_said_to_be_unless_they_are_predicted_too(predict, tmp_path):
    run = write_run(tmp_path / "classifier", CLASSIFIER)
    checkpoint = tmp_path / "classifier" / "checkpoints" / "best.ckpt"
    contents = torch.load(checkpoint, weights_only=True)
    contents["streetlab"]["config"]["task"] = {"test_flip": True}
    torch.save(contents, checkpoint)
    photos = streets(tmp_path / "photos", "a.jpg")
    _, said = predict(run.path, f"source={photos}")
    assert "streetlab: the run's test numbers are of several views of a photo; flip=true predicts so" in said
    _, said = predict(run.path, f"source={photos}", "flip=true", "output=mirrored")
    assert not any("several views" in line for line in said)
