"""Bands say what the whole would: the same ids as an evaluation, whatever a photo's size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from streetlab.inference import upsample as enlarge
from streetlab.inference.predictions import Segmented
from streetlab.inference.upsample import enlarged, enlarged_labels, in_bands, labelled

SIZES = [(1, 1), (1, 500), (500, 1), (33, 47), (16, 24), (17, 24), (16, 23), (100, 3), (97, 301), (5, 7)]


def noise(*shape: int) -> Tensor:
    return 5 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def whole(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("size", SIZES)
def test_one_band_is_the_interpolation_of_an_evaluation_to_the_bit(size):
    scores = noise(4, 16, 24)
    assert torch.equal(torch.cat(list(enlarged(scores, size)), dim=1), whole(scores, size))


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("size", SIZES)
def test_bands_put_together_are_the_whole(size, rows, monkeypatch):
    monkeypatch.setattr(enlarge, "rows_of_a_band", lambda classes, width: rows)
    scores = noise(4, 16, 24)
    bands = list(enlarged(scores, size))
    assert {band.shape[1] for band in bands[:-1]} <= {rows}
    assert torch.allclose(torch.cat(bands, dim=1), whole(scores, size), atol=1e-5)


@pytest.mark.parametrize("height", [9, 40, 200])
def test_an_image_that_arrives_in_chunks_is_the_whole(height):
    scores = noise(3, 40, 6)
    chunks = scores.split([1, 7, 2, 30], dim=1)
    found = torch.cat(list(in_bands(chunks, 40, (height, 11), 4)), dim=1)
    assert torch.allclose(found, whole(scores, (height, 11)), atol=1e-4)


def test_rows_far_down_a_tall_photo_lie_where_torch_puts_them():
    scores = noise(2, 128, 4)
    bands = torch.cat(list(in_bands([scores], 128, (20_000, 8), 64)), dim=1)
    assert torch.allclose(bands, whole(scores, (20_000, 8)), atol=1e-4)


def test_ids_are_the_largest_scores_and_confidence_their_softmax():
    scores = noise(19, 30, 41)
    answer = labelled(scores.split(7, dim=1), (30, 41))
    assert (answer.ids.dtype, answer.confidence.dtype) == (np.uint8, np.uint8)
    assert np.array_equal(answer.ids, scores.argmax(dim=0).numpy())
    expected = 255 * scores.softmax(dim=0).amax(dim=0).numpy()
    assert np.abs(answer.confidence - expected).max() < 0.501


def test_of_classes_with_one_score_the_first_is_taken_as_argmax_takes_it():
    scores = torch.zeros(5, 4, 4)
    answer = labelled([scores], (4, 4))
    assert np.array_equal(answer.ids, scores.argmax(dim=0).numpy())
    assert (answer.confidence == 51).all()


def test_a_band_keeps_within_its_memory():
    assert enlarge.rows_of_a_band(19, 2048) >= 1024, "Cityscapes is one band, as in an evaluation"
    for width in (10_000, 100_000_000):
        rows = enlarge.rows_of_a_band(19, width)
        assert rows == 1 or rows * width * 19 * 4 <= enlarge.BAND_BYTES


def smooth(classes: int, height: int, width: int) -> Tensor:
    """Scores of regions with one class each, of which far tiles have others, and of soft borders between them."""
    coarse = noise(classes, max(2, height // 12), max(2, width // 12))
    return 6 * whole(coarse, (height, width))


def assert_labels(answer: Segmented, scores: Tensor, size: tuple[int, int]) -> None:
    """They are the largest of what torch interpolates, but for scores that rounding alone tells apart."""
    expected = whole(scores, size)
    of_answer = expected.gather(0, torch.from_numpy(answer.ids).long()[None])[0]
    assert torch.allclose(of_answer, expected.amax(dim=0), atol=1e-4)
    assert (answer.ids == expected.argmax(dim=0).numpy()).mean() > 0.999
    confidence = 255 * expected.softmax(dim=0).amax(dim=0).numpy()
    assert np.abs(answer.confidence - confidence).max() < 0.501 + 1 / 8 + 1e-2


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("make", [noise, smooth])
@pytest.mark.parametrize("size", [(150, 260), (37, 49), (48, 300), (57, 64), (48, 64), (600, 70)])
def test_a_photo_is_labelled_as_its_enlarged_scores_are(size, make, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    scores = make(19, 37, 49)
    assert_labels(enlarged_labels(scores, size), scores, size)


def test_classes_that_cannot_win_anywhere_in_a_tile_are_told_from_those_that_can():
    scores = torch.full((5, 40, 60), -40.0)
    scores[3] = 0.0  # alone, all over most tiles
    scores[1, 20, 30], scores[4, :, 50:] = 50.0, 7.0
    answer = enlarged_labels(scores, (400, 600))
    assert_labels(answer, scores, (400, 600))
    assert set(np.unique(answer.ids)) == {1, 3, 4}
    assert (answer.ids[0, 0], answer.confidence[0, 0]) == (3, 255)


@pytest.mark.parametrize("size", [(20, 300), (300, 20), (20, 30)])
def test_a_photo_smaller_than_the_network_sees_it_is_labelled_too(size):
    scores = noise(4, 37, 49)
    assert_labels(enlarged_labels(scores, size), scores, size)


def test_an_enlarged_photo_of_one_class_or_of_equal_scores_has_its_first_class():
    for classes in (1, 6):
        answer = enlarged_labels(torch.zeros(classes, 8, 8), (70, 130))
        assert (answer.ids == 0).all()
        assert (answer.confidence == round(255 / classes)).all()


def test_scores_that_are_no_numbers_still_give_ids_of_classes():
    scores = noise(3, 16, 24)
    scores[:, 4] = torch.nan
    with np.errstate(invalid="ignore"):
        answer = enlarged_labels(scores, (160, 240))
    assert answer.ids.max() < 3
    assert np.array_equal(answer.ids[100:], whole(scores, (160, 240)).argmax(dim=0).numpy()[100:])


def test_enlarging_holds_no_scores_of_the_photos_size(monkeypatch):
    monkeypatch.setattr(enlarge, "enlarged", lambda *_: pytest.fail("the enlarged scores were made"))
    assert enlarged_labels(noise(3, 16, 24), (64, 96)).ids.shape == (64, 96)
