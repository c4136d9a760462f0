"""Simulate lens and sensor: blur, vignette, white balance, exposure, tone curve and noise."""

from __future__ import annotations

import numpy as np

from streetlab.synthetic.rng import Rng


def expose(color: np.ndarray, rng: Rng) -> np.ndarray:
    """Convert radiance (3, H, W) float32, overwritten, to (H, W, 3) uint8."""
    _, height, width = color.shape
    soft = np.float32(rng.between(0.1, 0.55))
    if rng.chance(0.7):
        for axis in (1, 2):
            near = np.concatenate([color.take([0], axis), color, color.take([-1], axis)], axis)
            ends = (near[:, :-2] + near[:, 2:]) if axis == 1 else (near[..., :-2] + near[..., 2:])
            color += (ends * np.float32(0.5) - color) * soft
    gain = rng.between(0.75, 1.5)
    balance = np.array([gain * rng.between(0.86, 1.16) for _ in range(3)], np.float32)
    x = (np.arange(width, dtype=np.float32) - np.float32(width / 2)) / np.float32(width)
    y = (np.arange(height, dtype=np.float32) - np.float32(height / 2)) / np.float32(height)
    fall = 1 - np.float32(rng.between(0, 0.7)) * ((x * x)[None, :] + (y * y)[:, None])
    color *= balance[:, None, None] * fall
    # a rational tone curve: 0 -> 0, 1 -> 1, mid-tones lifted as a display expects
    bend = np.float32(rng.between(0.45, 0.9))
    np.maximum(color, np.float32(0), out=color)
    color *= (1 + bend) / (color + bend)
    amount = np.float32(rng.between(2, 14))
    grain = rng.bytes(2, 3, height, width)
    color *= np.float32(255)
    color += (grain[0].astype(np.float32) - grain[1]) * (amount / np.float32(255))
    np.clip(color, 0, 255, out=color)
    return np.ascontiguousarray(color.astype(np.uint8).transpose(1, 2, 0))
