"""Overlay the classes of a network on a film: `ffmpeg | model | ffmpeg`, raw frames through two pipes."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("film", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("height", "width", "batch-size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("ffmpeg", "palette", "fps"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--decoder")
    parser.add_argument("--encoder")
    parser.add_argument("--model", type=Path, help="an ONNX file in place of the network")
    parser.add_argument("--amp", choices=["none", "bfloat16"], default="none")
    options = parser.parse_args()
    palette = np.array(json.loads(options.palette), np.uint8)
    height, width = options.height, options.width
    classify = onnx_classes(options.model) if options.model else torch_classes(options, len(palette))
    quiet = [options.ffmpeg, "-v", "error", "-y", "-nostdin", "-threads", "1"]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    reader = subprocess.Popen([*quiet, "-i", str(options.film), *raw, "-"], stdout=subprocess.PIPE)
    writer = subprocess.Popen(
        [*quiet, *raw, "-s", f"{width}x{height}", "-r", options.fps, "-i", "-", "-c:v", "libx264", "-preset",
         "veryfast", "-crf", "20", "-pix_fmt", "yuv420p", "-threads", "1", str(options.output)],
        stdin=subprocess.PIPE,
    )  # fmt: skip
    frames = 0
    while data := reader.stdout.read(options.batch_size * height * width * 3):
        batch = np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)
        painted = (batch.astype(np.uint16) + palette[classify(batch)]) // 2
        writer.stdin.write(painted.astype(np.uint8).tobytes())
        frames += len(batch)
    writer.stdin.close()
    if reader.wait() or writer.wait():
        raise SystemExit("ffmpeg failed")
    print(json.dumps({"frames": frames}))


def torch_classes(options: argparse.Namespace, classes: int) -> object:
    """uint8 (B, H, W, 3) to class ids (B, H, W), by PyTorch."""
    network = smp.create_model(options.decoder, options.encoder, encoder_weights=None, classes=classes)
    network.load_state_dict(torch.load(options.weights, weights_only=True))
    network.eval()
    autocast = contextlib.nullcontext
    if options.amp != "none":
        network = network.to(memory_format=torch.channels_last)
        autocast = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731

    def classify(frames: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float().div(255).sub(MEAN).div(STD)
        if options.amp != "none":
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), autocast():
            return network(images).argmax(1).numpy()

    return classify


def onnx_classes(model: Path) -> object:
    """The same by ONNX Runtime, of a file that takes pixels."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda frames: session.run(None, {name: frames})[0].argmax(1)


if __name__ == "__main__":
    main()
