"""Synthetic streets drawn from a seed, with true classes, litter and the resulting cleanliness (no torch)."""

from streetlab.synthetic.close_up import ITEM_KINDS, draw_item
from streetlab.synthetic.scene import Scene, draw_scene

GENERATOR_VERSION = 1
"""Part of every cache key: raised whenever pictures change."""

__all__ = ["GENERATOR_VERSION", "ITEM_KINDS", "Scene", "draw_item", "draw_scene"]
