"""`streetlab export`: write a run's network as one file, and report how closely the file reproduces it."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from PIL import Image

from streetlab.checkpoints.load_network import rebuild_network
from streetlab.checkpoints.metadata import read_metadata
from streetlab.checkpoints.read import TrainedWeights, find_checkpoint, read_weights
from streetlab.datasets.decode import resize
from streetlab.errors import UserError
from streetlab.export import latency, parity
from streetlab.export.graph import DeployedNetwork
from streetlab.export.onnx_file import require_onnx, write_onnx
from streetlab.export.options import Options, about_photos, read_options
from streetlab.export.quality import Bench, evaluate_both, open_bench
from streetlab.export.report import print_report, warnings, write_report
from streetlab.export.torch_file import write_torch
from streetlab.inference.exported import ExportedNetwork
from streetlab.inference.model_metadata import ModelMetadata
from streetlab.io import files
from streetlab.io.filenames import one_line
from streetlab.progress import counting
from streetlab.records.identity import other_photos
from streetlab.synthetic import draw_scene
from streetlab.training.run_request import fitted_temperature
from streetlab.training.terminal import quiet_lightning


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported model.

    Attributes:
        file: which `Predictor.from_export` reads; the report lies beside it.
        report: what the report's JSON holds: agreement, quality, latency, bytes.
    """

    file: Path
    report: dict[str, Any]


_PACKAGES = ("streetlab", "torch", "onnx", "onnxscript", "onnxruntime")


def run(cfg: DictConfig) -> None:
    """Entry point of the command; conf/export.yaml says what the keys are for. The last line is the file's path.

    Raises:
        UserError: see `options.read_options`, `onnx_file.write_onnx` and `graph.trace`; no such checkpoint; a data
            set that calibration needs and that is not there; the folder cannot be written.
    """
    exported = perform(cfg)
    print_report(exported.report)
    for line in warnings(exported.report):
        print(f"streetlab: {one_line(line)}", file=sys.stderr)
    print(one_line(str(exported.file)))


def perform(cfg: DictConfig) -> Exported:
    """Export as the config asks."""
    options = read_options(cfg)
    with quiet_lightning():
        return export(options)


def export(options: Options) -> Exported:
    """Write the model and the report on it.

    The model is there as soon as it has been compared; measuring its speed and quality may take far longer.
    """
    if options.format == "onnx":
        require_onnx()
    weights = read_weights(find_checkpoint(options.run, options.checkpoint))
    metadata = _metadata(options, weights)
    module = DeployedNetwork(rebuild_network(weights, trusted=weights.belong_to(options.run)))
    bench, split, missing = _open_data(options, weights)
    photos_seen = bench.data.source.manifest() if bench else None
    if photos_seen is not None:
        options = about_photos(options, photos_seen)
    photos = bench.photos(split, parity.BATCHES[-1]) if bench else []
    photos = photos or [draw_scene(seed, *metadata.image_size).image for seed in range(parity.BATCHES[-1])]

    with tempfile.TemporaryDirectory(prefix="streetlab-export-") as folder:
        started = time.perf_counter()
        file = Path(folder) / options.file.name
        try:
            _write(options, module, metadata, bench, file)
        except OSError as error:
            raise UserError(
                f"cannot write the model below {folder} ({error.strerror or error}); TMPDIR names another folder for "
                "temporary files"
            ) from error
        seconds = time.perf_counter() - started
        exported = ExportedNetwork.open(file)
        agreement = parity.compare(module, exported, metadata.image_size, photos)
        with file.open("rb") as written:
            files.write_bytes(options.file, lambda target: shutil.copyfileobj(written, target))
        for suffix in (".json", ".md"):  # of the model that was there before
            options.report(suffix).unlink(missing_ok=True)

    times = latency.measure(module, exported, resize(Image.fromarray(photos[0]), metadata.image_size))
    if bench and options.evaluate:
        quality = evaluate_both(bench, split, exported).to_dict()
    else:
        quality = {"skipped": missing or "evaluate=false"}
    report = {
        "run": metadata.name,
        "task": metadata.label_space.task,
        "checkpoint": weights.path.resolve(),
        "sha256": weights.sha256,
        "epoch": weights.epoch,
        "file": options.file.name,
        "format": options.format,
        "precision": options.precision,
        "image_size": metadata.image_size,
        "agreement": agreement.to_dict(),
        "quality": quality,
        "latency": times.to_dict(),
        "bytes": {"file": options.file.stat().st_size, "weights": module.memory_bytes},
        "export_seconds": round(seconds, 1),
        "data_hash": photos_seen and photos_seen.data_hash,
        "other_photos": photos_seen and other_photos(options.run, photos_seen),
        "made_with": metadata.made_with,
    }
    write_report(options, report)
    return Exported(options.file, report)


def _metadata(options: Options, weights: TrainedWeights) -> ModelMetadata:
    own, run = read_metadata(weights), options.run
    return ModelMetadata(
        name=run.name,
        label_space=own.label_space,
        image_size=own.image_size,
        sha256=weights.sha256,
        epoch=weights.epoch,
        precision=options.precision,
        temperature=fitted_temperature(run, weights),
        made_with=_versions(),
        data_set=own.data_set,
        domain=own.domain,
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _open_data(options: Options, weights: TrainedWeights) -> tuple[Bench | None, str, str]:
    """The data set where something is asked of it and it is there, the split to test, and else why it is not.

    Raises:
        UserError: calibration needs it; or the split has no labels.
    """
    calibrated = options.precision == "int8"
    if not options.evaluate and not calibrated:
        return None, "", ""
    try:
        bench = open_bench(options.run, weights)
    except UserError as error:
        if calibrated:
            raise
        return None, "", str(error)
    split = bench.split(options.split) if options.evaluate else "val"
    try:
        bench.data.open(("val", split) if calibrated else (split,))
    except UserError as error:
        if calibrated:
            raise
        return None, "", str(error)
    return bench, split, ""


def _write(options: Options, module: DeployedNetwork, metadata: ModelMetadata, bench: Bench | None, file: Path) -> None:
    """Write the model, by way of one in float32 where it is of fewer bits."""
    write = write_onnx if options.format == "onnx" else write_torch
    plain = file if options.precision == "fp32" else file.with_name("model.onnx")
    with counting(f"writing {plain.name}", 1) as show:
        write(module, metadata.image_size, plain, metadata.to_metadata())
        show(1, 1)
    if options.precision == "fp16":
        from streetlab.export.fp16 import convert_fp16

        convert_fp16(plain, file)
    if options.precision == "int8":
        from streetlab.export.int8 import calibration_images, quantize_int8

        assert bench is not None
        quantize_int8(plain, file, calibration_images(bench.data, options.calibration))
