"""Sun, sky and haze: the light on each surface and the haze that distance adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streetlab.synthetic.camera import Camera
from streetlab.synthetic.raster import Canvas
from streetlab.synthetic.rng import Rgb, Rng
from streetlab.synthetic.texture import noise, sample

SKY = 10


@dataclass(frozen=True)
class Light:
    """Light of one scene; colours are (3,) float32 factors on albedo.

    Args:
        kind: sun, overcast, dusk or night.
        ambient, sun: light of the sky and of the sun.
        sun_x: the side the sun stands on, -1 left to 1 right.
        shadow: metres that a shadow runs along x and z per metre of height.
        fog: depth in metres at which half of the light is the air's.
        air: colour of the haze.
        wet: 0 dry to 1 mirror-like ground.
    """

    kind: str
    ambient: np.ndarray
    sun: np.ndarray
    sun_x: float
    shadow: tuple[float, float]
    fog: float
    air: np.ndarray
    zenith: np.ndarray
    wet: float
    clouds: float

    def on(self, sun: float) -> np.ndarray:
        """(3,) light on a surface that gets the given part of the sun."""
        return self.ambient + self.sun * np.float32(sun)

    def lit(self, palette: np.ndarray, z: float, sun: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
        """A palette (3, P) as seen at depth z, and the (3,) haze to add to it."""
        share = np.float32(z / (z + self.fog))
        return palette * (self.on(sun) * (1 - share))[:, None], self.air * share


def sample_light(rng: Rng) -> Light:
    """Draw sun, overcast sky, dusk or night, and the side that light comes from."""
    kind = rng.pick(("sun",) * 4 + ("overcast",) * 4 + ("dusk", "night"))
    side = rng.pick((-1.0, 1.0)) * rng.between(0.25, 1)
    ambient, sun, air, zenith = {
        "sun": ((0.52, 0.57, 0.66), (0.80, 0.72, 0.58), (0.72, 0.80, 0.90), (0.16, 0.32, 0.66)),
        "overcast": ((0.82, 0.85, 0.88), (0.0, 0.0, 0.0), (0.78, 0.80, 0.82), (0.56, 0.60, 0.66)),
        "dusk": ((0.42, 0.40, 0.46), (0.50, 0.28, 0.12), (0.85, 0.55, 0.36), (0.22, 0.26, 0.46)),
        "night": ((0.36, 0.33, 0.32), (0.10, 0.08, 0.04), (0.10, 0.10, 0.15), (0.03, 0.04, 0.08)),
    }[kind]  # fmt: skip

    def vary(color: Rgb, spread: float) -> np.ndarray:
        return np.array(rng.near(color, spread), np.float32)

    low = rng.between(0.5, 1.6) if kind == "dusk" else rng.between(0.25, 1.1)
    return Light(
        kind=kind,
        ambient=vary(ambient, 0.12),
        sun=vary(sun, 0.2),
        sun_x=side,
        shadow=(-side * low, rng.between(-0.5, 0.6) * low),
        fog=rng.between(40, 110) if rng.chance(0.2) else rng.between(180, 600),
        air=vary(air, 0.15),
        zenith=vary(zenith, 0.3),
        wet=rng.between(0.25, 0.9) if rng.chance(0.3) else 0.0,
        clouds=rng.between(0.7, 1.3) if kind == "overcast" else rng.between(-0.4, 1.0),
    )


def draw_sky(canvas: Canvas, camera: Camera, light: Light, rng: Rng) -> None:
    """A gradient with clouds on a flat ceiling, which shrink towards the horizon."""
    rows = min(canvas.height, int(camera.horizon) + 3)
    above = np.maximum(camera.horizon - np.arange(rows) - 0.5, 0.5).astype(np.float32)
    rise = above / np.float32(camera.focal)
    up = (rise / (rise + np.float32(0.22)))[None, :, None]
    sky = light.air[:, None, None] * (1 - up) + light.zenith[:, None, None] * up
    away = (np.float32(70.0 * rng.between(0.6, 1.8)) / (rise + np.float32(0.08)))[:, None]
    across = (np.arange(canvas.width, dtype=np.float32) - np.float32(camera.center))[None, :]
    drift = rng.between(0, 256)
    cover = sample(noise(64, 4), away + np.float32(600 + drift), across * away / np.float32(camera.focal))
    cover = (cover * np.float32(0.8) + np.float32(light.clouds - 0.35)).clip(0, 1)
    white = light.air * np.float32(0.75) + np.float32(0.22 if light.kind != "night" else 0.0)
    canvas.color[:, :rows] = sky + (white[:, None, None] - sky) * (cover * np.float32(0.85))
    canvas.mask[:rows] = SKY
