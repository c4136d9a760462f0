"""The plot "speed against quality" of this study's measured.json.

python experiments/realtime/draw.py
"""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from streetlab.plots.figure import png

HERE = Path(__file__).parent
MARKERS = {"eager bf16": "o", "ONNX Runtime INT8": "^"}
TEACHER = 0.6412
"""At 480x360, in float32."""


def main() -> None:
    measured = json.loads((HERE / "measured.json").read_text(encoding="utf-8"))
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for color, network in enumerate(dict.fromkeys(point["network"] for point in measured)):
        points = [point for point in measured if point["network"] == network]
        speeds, scores = [point["processor_ms_per_frame"] for point in points], [point["miou"] for point in points]
        axes.plot(speeds, scores, color=f"C{color}", linewidth=0.8, label=network)
        for point in points:
            axes.plot(point["processor_ms_per_frame"], point["miou"], MARKERS[point["backend"]], color=f"C{color}")
    for backend, marker in MARKERS.items():
        axes.plot([], [], marker, color="gray", label=backend)
    axes.axvline(80, color="gray", linestyle=":", linewidth=0.8)
    axes.annotate(" 25 frames/s, if two cores did nothing else", (80, 0.606), fontsize=8, va="bottom")
    axes.axhline(TEACHER, color="gray", linewidth=0.8)
    axes.annotate("the teacher, shown 480×360", (210, TEACHER), fontsize=8, va="bottom", ha="right")
    axes.axhline(TEACHER - 0.03, color="gray", linestyle=":", linewidth=0.8)
    axes.annotate("3 points below", (210, TEACHER - 0.03), fontsize=8, va="bottom", ha="right")
    axes.set_xlim(left=0)
    axes.set(xlabel="processor time of a frame at 512×256, all stages, ms", ylabel="mIoU on CamVid's test split")
    axes.grid(alpha=0.3)
    axes.set_ylim(0.605, 0.65)
    axes.legend(fontsize=8, loc="center right")
    (HERE / "speed_quality.png").write_bytes(png(figure))


if __name__ == "__main__":
    main()
