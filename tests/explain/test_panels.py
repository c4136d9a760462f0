"""Pictures of an explanation: maps on one scale, files that any system takes, raw values that stay raw."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets.labels import CLEANLINESS
from streetlab.explain.maps import MadeMap, MapStore, Wanted, reduced
from streetlab.explain.panels import TALL, Tile, draw_panel, file_names, heat_tile, photo_for_panel

PHOTO = Image.fromarray(np.full((60, 90, 3), 120, dtype=np.uint8))


def store_of(*maps: tuple[int, int, float]) -> MapStore:
    """Maps (8, 8) of one value each: (photo, class, value)."""
    store = MapStore(["a.jpg", "b.jpg"], CLEANLINESS.names)
    for photo, label, value in maps:
        store.add(MadeMap(Wanted(photo, label), np.full((8, 8), value, dtype=np.float32)))
    return store


def test_a_photo_with_little_evidence_is_paler_than_one_with_much():
    store = store_of((0, 2, 4.0), (1, 2, 1.0))
    scale = store.scale([Wanted(0, 2), Wanted(1, 2)])
    assert scale == pytest.approx(4.0)
    photo = photo_for_panel(PHOTO)
    much, little = (heat_tile("", photo, store.heat(i, 2, scale)).pixels.astype(int) for i in (0, 1))
    changed = [np.abs(pixels - np.asarray(photo)).mean() for pixels in (much, little)]
    assert changed[0] > 1.5 * changed[1] > 0


def test_maps_that_are_all_zero_leave_the_photo_as_it_is():
    store = store_of((0, 1, 0.0))
    assert store.scale([Wanted(0, 1)]) == 1.0
    photo = photo_for_panel(PHOTO)
    assert np.array_equal(heat_tile("", photo, store.heat(0, 1, 1.0)).pixels, np.asarray(photo))


def test_a_map_covers_the_photo_whatever_their_shapes():
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[:, 2:] = 1
    pixels = heat_tile("", photo_for_panel(PHOTO), heat).pixels
    assert pixels.shape == (TALL, round(TALL * 1.5), 3)
    assert (pixels[:, :100] == 120).all()
    assert (pixels[:, 240:] != 120).any(axis=2).all()


def test_the_file_holds_raw_values_and_says_which_maps_were_not_made(tmp_path):
    store = store_of((0, 2, 4.0), (0, 0, 0.25), (1, 2, 1e-7))
    store.write(tmp_path / "maps.npz", (128, 96), scale=np.array(4.0))
    with np.load(tmp_path / "maps.npz") as kept:
        assert kept["ids"].tolist() == ["a.jpg", "b.jpg"]
        assert kept["classes"].tolist() == ["Clean", "Litter"]
        assert kept["maps"].shape == (2, 2, 8, 8)
        assert kept["maps"].dtype == np.float32
        assert kept["image_size"].tolist() == [128, 96]
        assert kept["maps"][0, 1, 0, 0] == 4
        assert kept["maps"][1, 1, 0, 0] == np.float32(1e-7), "half precision would have made it 0 or coarse"
        assert np.isnan(kept["maps"][1, 0]).all()


def test_large_maps_are_kept_small_without_losing_their_sum():
    values = np.random.default_rng(0).random((128, 256)).astype(np.float32)
    small = reduced(values)
    assert small.shape == (32, 64)
    assert small.mean() == pytest.approx(values.mean(), rel=1e-4)
    assert np.allclose(small[0, 0], values[:4, :4].mean(), atol=1e-6)


def test_a_panel_holds_its_tiles_unchanged_under_any_text():
    photo = photo_for_panel(PHOTO)
    red = np.zeros((TALL, 50, 3), dtype=np.uint8)
    red[..., 0] = 250
    name = "Straße/\n<b>\udcff" + "x" * 300
    tiles = [Tile("a" * 99, np.asarray(photo)), Tile(name, red)]
    panel = draw_panel(name, name, tiles, 0.5, [0.1, 0.7, 0.2], CLEANLINESS)
    with Image.open(io.BytesIO(panel)) as opened:
        assert opened.format == "JPEG"
        pixels = np.asarray(opened).astype(int)
    assert pixels.shape[0] > TALL
    reds = (pixels[..., 0] > 235) & (pixels[..., 1] < 25) & (pixels[..., 2] < 25)
    assert 0.9 * TALL * 50 < reds.sum() < 1.2 * TALL * 50


def test_names_of_files_are_plain_and_tell_classes_apart():
    names = file_names(["Clean", "a/b", "a b", "..", "müll", "路", "x" * 300])
    assert names[0] == "Clean"
    assert names[1:3] == ["a_b_1", "a_b_2"]
    assert names[4] == "mull"
    assert len(set(names)) == len(names)
    for name in names:
        assert name
        assert name.replace("_", "").isalnum()
        assert name.isascii()
        assert len(name) < 60
