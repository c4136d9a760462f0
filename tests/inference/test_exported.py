"""Exported files answer as the run that they are of, in every view, and faulty ones are a line each."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from tests.support.crafted_runs import CLASSIFIER, SEGMENTER, write_run
from tests.support.exports import AVERAGES, CONVOLUTIONS, METADATA, export, metadata_of, write_by_hand

from streetlab.datasets.labels import CLEANLINESS
from streetlab.errors import UserError
from streetlab.inference import load_model as opened_module
from streetlab.inference.export_metadata import read_model_metadata
from streetlab.inference.exported import ExportedNetwork
from streetlab.inference.predictor import Predictor
from streetlab.inference.views import Views
from streetlab.loading.augment import normalize
from streetlab.networks.segmentation import SegmentationOutput
from streetlab.synthetic import draw_scene

ENDINGS = (".onnx", ".pt2")
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_labels.py"
WITHOUT = """
import runpy, sys
sys.modules |= dict.fromkeys(("torch", "torchvision", "streetlab", "onnx"))
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def scene(height: int, width: int, number: int = 0) -> Image.Image:
    return Image.fromarray(draw_scene(number, height, width).image)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A run of each task, and its two files."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "segmenter", CONVOLUTIONS)
    write_run(folder / "classifier", AVERAGES, CLEANLINESS, temperature=2.5)
    for name in ("segmenter", "classifier"):
        for ending in ENDINGS:
            export(folder / name, folder / name / "export" / f"model_fp32{ending}")
    return folder


def pair(runs: Path, name: str, ending: str) -> tuple[Predictor, Predictor]:
    """The run's and the file's."""
    file = runs / name / "export" / f"model_fp32{ending}"
    return Predictor.from_run(runs / name, device="cpu"), Predictor.from_export(file, device="cpu")


@pytest.mark.parametrize(
    "views",
    [
        Views(),
        Views("direct", flip=True),
        Views("window", (32, 48)),
        Views("direct", scales=(0.75, 1.0)),
        Views("window", scales=(0.75, 1.0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_sees_in_every_view_what_its_run_sees(runs, ending, views):
    run, file = (predictor.seen_through(views) for predictor in pair(runs, "segmenter", ending))
    photos = [scene(64, 96), scene(97, 131, 1), scene(200, 301, 2)]
    # what was resampled is rounded to whole pixels before the graph, which turns a few pixels between two classes
    same = 0.999 if views.scales == (1.0,) else 0.99
    for expected, found in zip(run.predict(photos), file.predict(photos), strict=True):
        assert expected.ids.shape == found.ids.shape
        assert len(np.unique(expected.ids)) > 3, "or any ids would be equal"
        assert (expected.ids == found.ids).mean() >= same


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_classifier_s_file_has_its_probabilities_and_its_temperature(runs, ending):
    run, file = pair(runs, "classifier", ending)
    photos = [scene(64, 96, 3), scene(120, 70, 4)]
    assert file.temperature == run.temperature == 2.5
    for expected, found in zip(run.predict(photos), file.predict(photos), strict=True):
        assert np.allclose(expected.probabilities, found.probabilities, atol=1e-5)
        assert 0.01 < expected.probabilities.max() < 0.99
    mirrored = file.seen_through(Views(flip=True))
    assert mirrored.temperature is None
    assert np.allclose(
        mirrored.predict(photos)[1].probabilities,
        run.seen_through(Views(flip=True)).predict(photos)[1].probabilities,
        atol=1e-5,
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_pixels_and_normalised_images_are_the_same_to_a_file(runs, ending):
    network = ExportedNetwork.open(runs / "segmenter" / "export" / f"model_fp32{ending}")
    every = np.arange(256, dtype=np.uint8).repeat(9).reshape(2, 24, 16, 3)
    logits = network.pixels(every)
    assert (logits.dtype, logits.shape) == (np.float32, (2, 19, 24, 16))
    network.train().eval()  # an evaluation does
    output = network(normalize(torch.from_numpy(every).permute(0, 3, 1, 2)))
    assert isinstance(output, SegmentationOutput)
    assert np.array_equal(output.logits, logits), "each of the 256 grey levels comes back"
    assert list(network.parameters()) == []


def test_what_a_file_is_known_by(runs):
    run, file = pair(runs, "segmenter", ".onnx")
    assert (file.name, file.epoch, file.image_size) == (run.name, run.epoch, run.image_size)
    assert file.label_space == run.label_space
    assert (file.precision, file.device.type) == ("fp32", "cpu")
    assert file.sha256 == hashlib.sha256(file.checkpoint.read_bytes()).hexdigest()
    assert file.memory_bytes == file.checkpoint.stat().st_size


def test_maps_of_an_exported_classifier_are_refused(runs):
    _, file = pair(runs, "classifier", ".onnx")
    assert not file.has_activations
    with pytest.raises(UserError, match=r"activations: model_fp32\.onnx is an exported model"):
        file.predict([scene(64, 96)], activations=True)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_card_is_read_without_the_graph(runs, ending, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("loaded"))
    metadata = read_model_metadata(runs / "classifier" / "export" / f"model_fp32{ending}")
    assert metadata == metadata_of(Predictor.from_run(runs / "classifier", device="cpu"))


def test_the_metadata_are_those_that_onnx_reads(tmp_path):
    file = write_by_hand(tmp_path / "x.onnx", name="Straße 街")
    ours = read_model_metadata(file).to_metadata()
    assert ours == {entry.key: entry.value for entry in onnx.load(file).metadata_props}


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def zipped(path: Path, **entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in entries.items():
            archive.writestr(f"archive/extra/{name}", text)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


OTHER_FORMAT = json.dumps({"format": 99})
FAULTY = {
    "missing": (lambda folder: folder / "x.onnx", "no file"),
    "a checkpoint": (lambda folder: written(folder / "x.ckpt", b"x"), r"allowed endings are \.onnx and \.pt2"),
    "empty": (lambda folder: written(folder / "x.onnx", b""), "is damaged"),
    "text": (lambda folder: written(folder / "x.onnx", b"weights of a network"), "is damaged"),
    "half an ONNX file": (lambda folder: cut(write_by_hand(folder / "x.onnx"), 0.5), "is damaged"),
    "another's ONNX file": (lambda folder: write_by_hand(folder / "x.onnx", None), "no model that `streetlab export`"),
    "other inputs": (lambda folder: write_by_hand(folder / "x.onnx", names=("x", "y")), "maps images, uint8, to"),
    "a later format": (lambda folder: zipped(folder / "x.pt2", streetlab=OTHER_FORMAT), "has format 99"),
    "damaged metadata": (lambda folder: zipped(folder / "x.pt2", streetlab="{"), "says of itself is damaged"),
    "another's zip": (lambda folder: zipped(folder / "x.pt2", labels="[]"), "no model that `streetlab export`"),
    "metadata alone": (lambda folder: zipped(folder / "x.pt2", **METADATA.to_metadata()), "does not load"),
    "no zip": (lambda folder: written(folder / "x.pt2", b"PK"), "is damaged"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_file_is_one_line(tmp_path, fault):
    make, words = FAULTY[fault]
    with pytest.raises(UserError, match=words) as raised:
        Predictor.from_export(make(tmp_path), device="cpu")
    assert len(str(raised.value).splitlines()) == 1
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 0.97])
def test_however_much_of_a_file_is_missing_it_is_one_line(runs, tmp_path, share):
    for ending in ENDINGS:
        whole = runs / "segmenter" / "export" / f"model_fp32{ending}"
        half = cut(written(tmp_path / f"half{ending}", whole.read_bytes()), share)
        with pytest.raises(UserError, match=r"damaged|no model that"):
            ExportedNetwork.open(half)


def test_the_ending_decides_what_opens_a_file(runs, tmp_path):
    whole = runs / "segmenter" / "export" / "model_fp32.pt2"
    disguised = written(tmp_path / "data.onnx", whole.read_bytes())  # unpickled it could run code
    with pytest.raises(UserError, match=r"is damaged, or no \.onnx file"):
        Predictor.from_export(disguised)


def test_a_file_keeps_its_precision(tmp_path):
    file = write_by_hand(tmp_path / "x.onnx", precision="int8")
    assert Predictor.from_export(file, precision="int8").precision == "int8"
    with pytest.raises(UserError, match=r"precision: .*x\.onnx computes in int8; leave precision=bf16-mixed out"):
        Predictor.from_export(file, precision="bf16-mixed")


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"need onnxruntime: pip install 'streetlab\[export\]'"):
        Predictor.from_export(write_by_hand(tmp_path / "x.onnx"), device="cpu")


def test_a_gpu_is_taken_only_where_the_runtime_has_it(tmp_path, monkeypatch):
    file = write_by_hand(tmp_path / "x.onnx")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(opened_module, "choose_device", lambda asked: torch.device("cuda"))
    assert Predictor.from_export(file, device="auto").device.type == "cpu"
    with pytest.raises(UserError, match="device: 'cuda' but the installed onnxruntime computes on the CPU alone"):
        Predictor.from_export(file, device="cuda")


def test_a_size_that_a_graph_does_not_take_is_one_line(tmp_path):
    file = Predictor.from_export(write_by_hand(tmp_path / "x.onnx", sides=(64, 96)), device="cpu")
    assert file.predict([scene(97, 131)])[0].ids.shape == (97, 131)
    with pytest.raises(UserError, match="does not take photos of 97x131") as raised:
        file.seen_through(Views("direct")).predict([scene(97, 131)])
    assert len(str(raised.value).splitlines()) == 1


def test_too_little_memory_is_one_line(tmp_path, monkeypatch):
    import onnxruntime

    def run(*_: object) -> None:
        raise onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException(
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 9\nx"
        )

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    with pytest.raises(UserError, match="batch_size: 1 images of 64x96 do not fit into the memory of cpu"):
        Predictor.from_export(write_by_hand(tmp_path / "x.onnx"), device="cpu").predict([scene(64, 96)])


def test_the_example_labels_a_photo_as_the_run_does_without_torch_and_streetlab(runs, tmp_path):
    predictor, exported = pair(runs, "segmenter", ".onnx")
    scene(150, 210, 1).save(tmp_path / "photo.png")
    words = [exported.checkpoint, tmp_path / "photo.png", tmp_path / "labels.png"]
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT, EXAMPLE, *words], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout
    expected = predictor.predict([Image.open(tmp_path / "photo.png")])[0].ids
    picture = Image.open(tmp_path / "labels.png")
    assert (np.asarray(picture) == expected).mean() >= 0.999
    most = int(np.bincount(expected.ravel()).argmax())
    first, *_ = said.splitlines()
    assert first.split(maxsplit=1) == [f"{(expected == most).mean():.1%}", predictor.label_space.names[most]]
    assert len(said.splitlines()) == len(predictor.label_space)
    y, x = np.argwhere(expected == most)[0].tolist()
    assert picture.convert("RGB").getpixel((x, y)) == predictor.label_space.palette[most]


def test_the_example_is_short_enough_to_be_read():
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip() and not line.startswith("import")]
    assert len(lines) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("model", [SEGMENTER, CLASSIFIER], ids=["segmentation", "classification"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_real_network_s_file_answers_as_its_run(tmp_path, model, ending):
    run = write_run(tmp_path / "run", model)
    file = Predictor.from_export(export(run.path, tmp_path / f"file{ending}"), device="cpu")
    whole = Predictor.from_run(run, device="cpu")
    photos = [scene(97, 131, 1), scene(200, 301, 2)]
    for expected, found in zip(whole.predict(photos), file.predict(photos), strict=True):
        if whole.task == "segmentation":
            assert (expected.ids == found.ids).mean() >= 0.999
        else:
            assert np.allclose(expected.probabilities, found.probabilities, atol=1e-4)
