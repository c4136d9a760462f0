"""Populate the street: sample objects on the plan and draw them from far to near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streetlab.synthetic import furniture, people
from streetlab.synthetic.camera import Camera
from streetlab.synthetic.facades import LEAVES
from streetlab.synthetic.ground import Ground
from streetlab.synthetic.light import Light
from streetlab.synthetic.raster import Canvas, Sprite, palette, paste, patch
from streetlab.synthetic.rng import Rng
from streetlab.synthetic.scatter import is_ground
from streetlab.synthetic.vehicles import OFFSETS, SIZES, VIEW_DEPTH, vehicle_palette, vehicle_sprite


@dataclass(frozen=True)
class Object:
    """A sprite at a place on the ground; `shadow` is its half width and height (metres), which darken it."""

    x: float
    z: float
    sprite: Sprite
    colors: np.ndarray
    size: float = 1.0
    flip: bool = False
    shadow: tuple[float, float] = (0.3, 1.5)


def plan_objects(rng: Rng, camera: Camera, ground: Ground, light: Light) -> list[Object]:
    """Draw which vehicles, people, trees and poles stand where."""
    near = camera.nearest
    objects: list[Object] = []
    glowing = light.kind in ("dusk", "night")

    def vehicle(kind: str, x: float, z: float, oncoming: bool) -> None:
        # the view whose line of sight comes closest to this one
        slant = abs(x) / z * VIEW_DEPTH
        view = min(range(len(OFFSETS)), key=lambda k: abs(OFFSETS[k] - slant))
        colors = vehicle_palette(rng, kind, oncoming, glowing and rng.chance(0.6))
        half, height = SIZES[kind][0] / 2, SIZES[kind][2]
        objects.append(Object(x, z, vehicle_sprite(kind, view), colors, 1.0, x < 0, (half, height)))

    left, right = ground.road
    cars = ("hatch", "sedan", "suv", "van")
    for side, kerb in ((-1, left), (1, right)):
        if rng.chance(0.6):
            z, density = near + rng.between(2.0, 7.0), rng.between(0.2, 0.85)
            while z < 60:
                crossed = ground.crossing and ground.crossing[0] - 6 < z < ground.crossing[1]
                x = kerb - side * rng.between(1.05, 1.3)
                if rng.chance(density) and not crossed and (abs(x) > 1.6 or z > near + 9):
                    vehicle(rng.pick(cars), x, z, rng.chance(0.5))
                z += rng.between(5.4, 7.0)
    lane = (right - left) / ground.lanes
    for k in range(ground.lanes):
        if rng.chance(0.55):
            kind = rng.pick(("bus", "truck")) if rng.chance(0.4) else rng.pick(cars)
            z = near + rng.between(7, 34)
            vehicle(kind, left + lane * (k + 0.5), z, k < ground.lanes / 2)
    if ground.tram_rails is not None and rng.chance(0.75):
        vehicle("tram", ground.tram_rails, near + rng.between(8, 30), rng.chance(0.5))

    def cycle(x: float, z: float, ridden: bool) -> None:
        motor = rng.chance(0.42)
        sprite = people.cycle_sprite(motor, ridden, rng.integer(people.VARIANTS))
        colors = people.clothes_palette(rng)
        objects.append(Object(x, z, sprite, colors, rng.between(0.95, 1.1), rng.chance(0.5), (0.8, 1.2)))

    for _ in range(rng.pick((0, 0, 1, 1, 2))):
        cycle(rng.between(left + 0.4, right - 0.4), near + rng.between(2.5, 20), True)
    walks = ((ground.walk[0], left), (right, ground.walk[1]))
    for low, high in walks:
        for _ in range(rng.pick((0, 0, 1, 1, 2))):
            cycle(rng.pick((low + 0.3, high - 0.3)), near + rng.between(1.5, 18), False)
    for _ in range(rng.pick((0, 1, 2, 3, 4, 6))):
        low, high = rng.pick(walks) if rng.chance(0.8) else (left, right)
        sprite = people.person_sprite(rng.integer(people.VARIANTS))
        size = rng.between(0.88, 1.08) if rng.chance(0.9) else rng.between(0.6, 0.8)
        where = (rng.between(low, high), near + rng.between(1.5, 26) * rng.between(0.3, 1))
        objects.append(Object(*where, sprite, people.clothes_palette(rng), size, rng.chance(0.5), (0.28, 1.7)))
    objects += _furniture(rng, camera, ground, glowing)
    return objects


def _furniture(rng: Rng, camera: Camera, ground: Ground, glowing: bool) -> list[Object]:
    near = camera.nearest
    left, right = ground.road
    objects: list[Object] = []

    def put(x: float, z: float, sprite: Sprite, colors: np.ndarray, size: float, shadow: tuple[float, float]) -> None:
        objects.append(Object(x, z, sprite, colors, size, rng.chance(0.5), shadow))

    metal = palette([rng.gray(0.05, 0.4), (2.4, 2.1, 1.5) if glowing else rng.gray(0.2, 0.6)])
    lamp = furniture.lamp_sprite(rng.integer(furniture.VARIANTS))
    bark = rng.near((0.12, 0.09, 0.06), 0.3)
    leaves = rng.near(rng.pick(LEAVES), 0.3)
    for side, kerb, walk in ((-1, left, ground.walk[0]), (1, right, ground.walk[1])):
        if rng.chance(0.6):
            z, step = near + rng.between(1, 10), rng.between(12, 22)
            while z < 80:
                objects.append(Object(kerb + side * 0.5, z, lamp, metal, 1.0, side > 0, (0.12, 6.0)))
                z += step
        if rng.chance(0.5):
            z, step = near + rng.between(1.5, 9), rng.between(6, 13)
            x = rng.pick((kerb + side * 1.0, walk + side * rng.between(0.6, 2.5)))
            while z < 70:
                size = rng.between(0.7, 1.25)
                sprite = furniture.tree_sprite(rng.integer(furniture.VARIANTS))
                put(x, z, sprite, palette([bark, rng.near(leaves, 0.25)]), size, (1.7 * size, 4.5 * size))
                z += step * rng.between(0.8, 1.3)
        for _ in range(rng.pick((0, 1, 1, 2))):
            shape = rng.pick(furniture.SIGN_SHAPES)
            sprite = furniture.sign_sprite(shape, rng.integer(furniture.VARIANTS))
            where = (kerb + side * rng.between(0.3, 0.9), near + rng.between(1, 22))
            put(*where, sprite, furniture.sign_palette(rng, shape), rng.between(0.85, 1.2), (0.1, 2.6))
        for _ in range(rng.pick((0, 0, 1, 2, 3))):
            sprite = furniture.bin_sprite(rng.integer(8))
            box = palette([rng.pick((rng.gray(0.03, 0.3), rng.color(0.02, 0.4))), rng.gray(0.03, 0.3)])
            x = rng.pick((kerb + side * 0.4, walk - side * 0.4))
            put(x, near + rng.between(0.8, 16), sprite, box, rng.between(0.8, 1.05), (0.35, 1.0))
        for _ in range(rng.pick((0, 0, 0, 1, 3))):
            flowers = palette([rng.near(leaves, 0.3), rng.color(0.1, 0.8)])
            where = (walk + side * rng.between(0.0, 1.5), near + rng.between(0.5, 15))
            put(
                *where,
                furniture.bush_sprite(rng.integer(furniture.VARIANTS)),
                flowers,
                rng.between(0.6, 1.3),
                (0.7, 0.8),
            )
    stop = ground.crossing or ground.zebra
    if stop is not None and rng.chance(0.75):
        lit = rng.integer(3)
        colors = furniture.traffic_light_palette(rng, lit)
        for side, kerb in ((-1, left), (1, right)):
            sprite = furniture.traffic_light_sprite(lit, rng.chance(0.35))
            for z in (stop[0] - 0.6, stop[1] + 1.5):
                if z > near and rng.chance(0.8):
                    objects.append(Object(kerb + side * 0.5, z, sprite, colors, 1.0, side > 0, (0.12, 3.3)))
    return objects


def draw_shadows(canvas: Canvas, camera: Camera, light: Light, objects: list[Object]) -> None:
    """The dark underside of every object, and in the sun the shadow that it casts along the ground."""
    first = int(camera.ground_rows()[0])
    dark = np.ones(canvas.mask.shape, np.float32)
    sunny = light.kind in ("sun", "dusk")
    for thing in objects:
        column, row = camera.foot(thing.x, thing.z)
        scale = camera.scale(thing.z)
        half, height = thing.shadow
        under = patch(canvas.mask.shape, (column, row), (half * scale * 1.15 + 1, half * scale * 0.35 + 1))
        if under is not None:
            fall = 1 - (under.u * under.u + under.v * under.v)
            dark[under.rows, under.columns] *= 1 - np.float32(0.6) * fall.clip(0, 1)
        if not sunny or thing.z > 45:
            continue
        # an ellipse around the shadow's middle, as long as the object is high
        run_x, run_z = (height * part for part in light.shadow)
        end = camera.foot(thing.x + run_x, max(thing.z + run_z, camera.nearest * 0.5))
        crown = height > 3 and half > 0.5
        middle = end if crown else ((column + end[0]) / 2, (row + end[1]) / 2)
        reach = (abs(end[0] - column) / 2 + half * scale * 0.6) if not crown else half * scale * 1.2
        depth = (abs(end[1] - row) / 2 + max(half * scale * 0.22, 0.6)) if not crown else half * scale * 0.4
        if run_x * run_z != 0 and not crown and half < 0.2:
            continue
        cast = patch(canvas.mask.shape, middle, (max(reach, 1.0), max(depth, 1.0)))
        if cast is not None:
            fall = (1 - (cast.u * cast.u + cast.v * cast.v)) * np.float32(2.5)
            dark[cast.rows, cast.columns] *= 1 - np.float32(0.42) * fall.clip(0, 1)
    dark[~is_ground(canvas.mask)] = 1
    canvas.color[:, first:] *= dark[first:]


def draw_objects(canvas: Canvas, camera: Camera, light: Light, objects: list[Object]) -> None:
    """Paint the objects, the farthest first."""
    for thing in sorted(objects, key=lambda thing: -thing.z):
        if thing.z <= camera.nearest * 0.6:
            continue
        colors, haze = light.lit(thing.colors, thing.z, 0.55)
        paste(
            canvas,
            thing.sprite,
            camera.foot(thing.x, thing.z),
            camera.scale(thing.z) * thing.size,
            colors,
            haze,
            thing.flip,
        )
