"""The counts under every number are exact: against plain NumPy, torchmetrics, SciPy, and across processes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import confusion_matrix
from torchmetrics.classification import MulticlassJaccardIndex

from streetlab.datasets.labels import CITYSCAPES
from streetlab.metrics.segmentation import summarize_segmentation
from streetlab.tasks.metrics import BoundaryScore, Confusion, ImageConfusions, MeanLoss, dilate

K = 19


def _batch(n, seed=0, size=(24, 40), k=K, dtype=torch.uint8):
    """Blocks of classes with noise and ignored pixels; class k - 1 never occurs."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, k - 1, (n, size[0] // 4, size[1] // 4))
    masks = blocks.repeat(4, axis=1).repeat(4, axis=2)
    predictions = np.roll(masks, rng.integers(0, 3), axis=2)
    predictions = np.where(rng.random(masks.shape) < 0.05, rng.integers(0, k - 1, masks.shape), predictions)
    masks = np.where(rng.random(masks.shape) < 0.1, 255, masks)
    return torch.from_numpy(predictions).to(dtype), torch.from_numpy(masks)


def _by_hand(predictions, masks, k=K):
    matrix = np.zeros((k, k), dtype=np.int64)
    counted = masks.numpy() != 255
    np.add.at(matrix, (masks.numpy()[counted], predictions.numpy()[counted]), 1)
    return matrix


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_each_image_has_its_own_exact_matrix_and_rows_come_in_order(dtype):
    predictions, masks = _batch(5, dtype=dtype)
    masks[3] = 255  # an image without a counted pixel keeps its place
    metric = ImageConfusions(K)
    metric.update(predictions[:2], masks[:2], torch.tensor([7, 4]))
    metric.update(predictions[2:], masks[2:], torch.tensor([1, 0, 9]))
    rows, matrices = metric.compute()
    assert rows.tolist() == [0, 1, 4, 7, 9]
    assert matrices.dtype == np.int64
    for row, source in zip(range(5), (3, 2, 1, 0, 4), strict=True):
        assert np.array_equal(matrices[row], _by_hand(predictions[source], masks[source]))


def test_a_row_that_the_sampler_repeats_counts_once():
    predictions, masks = _batch(3)
    metric = ImageConfusions(K)
    metric.update(predictions, masks, torch.tensor([0, 1, 2]))
    metric.update(predictions[:1], masks[:1], torch.tensor([0]))
    rows, matrices = metric.compute()
    assert rows.tolist() == [0, 1, 2]
    assert matrices.sum() == (masks != 255).sum()


def test_miou_equals_torchmetrics_also_where_a_class_is_absent():
    predictions, masks = _batch(4, seed=3)
    metric = ImageConfusions(K)
    metric.update(predictions, masks, torch.arange(4))
    summary = summarize_segmentation(metric.compute()[1].sum(axis=0), CITYSCAPES, 4)
    oracle = MulticlassJaccardIndex(num_classes=K, ignore_index=255, average="macro", validate_args=False)
    assert summary["per_class"]["bicycle"]["iou"] is None
    assert summary["miou"] == pytest.approx(float(oracle(predictions.long(), masks)), abs=1e-6)


def test_ids_outside_the_classes_and_wrong_shapes_are_refused():
    predictions, masks = _batch(2)
    for seen, true, count in (
        (predictions, torch.where(masks == 3, 19, masks), int((masks == 3).sum())),
        (torch.full_like(masks, -1), masks, int((masks != 255).sum())),
    ):
        metric = ImageConfusions(K)
        metric.update(seen, true, torch.arange(2))
        with pytest.raises(ValueError, match=rf"{count} true or predicted ids are outside 0\.\.18"):
            metric.compute()
    metric = ImageConfusions(K)
    for wrong in ((predictions[:1], masks, torch.arange(2)), (predictions, masks, torch.arange(3))):
        with pytest.raises(ValueError, match=r"are expected"):
            metric.update(*wrong)
    assert metric.compute()[0].size == 0


def test_labels_of_photos_are_counted_as_scikit_learn_counts_them():
    labels, predictions = torch.randint(0, 3, (2, 50), generator=torch.manual_seed(0))
    metric = Confusion(3)
    for start in range(0, 50, 8):
        metric.update(predictions[start : start + 8], labels[start : start + 8])
    assert np.array_equal(metric.compute(), confusion_matrix(labels, predictions))
    metric.update(torch.tensor([3]), torch.tensor([0]))
    with pytest.raises(ValueError, match="1 true or predicted ids are outside"):
        metric.compute()


def test_the_mean_loss_weighs_batches_by_their_images_and_keeps_a_nan():
    metric = MeanLoss()
    metric.update(torch.tensor(1.0), 8)
    metric.update(torch.tensor(2.0), 1)
    assert metric.compute().item() == pytest.approx(10 / 9)
    metric.update(torch.tensor(torch.nan), 1)
    assert metric.compute().isnan()


def test_a_reset_in_inference_mode_does_not_spoil_later_updates():
    predictions, masks = _batch(2)
    confusions, boundary, loss = ImageConfusions(K), BoundaryScore(K, 2), MeanLoss()
    with torch.inference_mode():
        confusions.reset()
        boundary.reset()
        loss.reset()
    loss.update(torch.tensor(1.0), 2)
    assert loss.compute() == 1
    assert not loss.state_dict()
    confusions.update(predictions, masks, torch.arange(2))
    boundary.update(predictions, masks)
    assert confusions.compute()[1].shape == (2, K, K)
    assert boundary.compute()["mean"] > 0
    assert not confusions.state_dict()
    assert not boundary.state_dict()


def _edges_by_hand(labels, counted, index):
    found = np.zeros(labels.shape, dtype=bool)
    height, width = labels.shape
    for y, x in zip(*np.nonzero((labels == index) & counted), strict=True):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < height and 0 <= u < width and counted[v, u] and labels[v, u] != index:
                found[y, x] = True
    return found


def _boundary_by_hand(predictions, masks, tolerance, k):
    scores = [[] for _ in range(k)]
    for predicted, truth in zip(predictions.numpy(), masks.numpy(), strict=True):
        counted = truth != 255
        for index in range(k):
            true_edge = _edges_by_hand(truth, counted, index)
            edge = _edges_by_hand(predicted, counted, index)
            if not true_edge.any() and not edge.any():
                continue
            if not true_edge.any() or not edge.any():
                scores[index].append(0.0)
                continue
            precision = (distance_transform_edt(~true_edge)[edge] <= tolerance).mean()
            recall = (distance_transform_edt(~edge)[true_edge] <= tolerance).mean()
            both = precision + recall
            scores[index].append(2 * precision * recall / both if both else 0.0)
    return np.array([np.mean(of_class) if of_class else np.nan for of_class in scores])


@pytest.mark.parametrize("k", [1, 3])
def test_one_image_and_one_class_keep_their_axes(k):
    predictions, masks = _batch(1, k=k + 1)  # the class k never occurs
    confusions, boundary = ImageConfusions(k), BoundaryScore(k, 1)
    confusions.update(predictions, masks, torch.tensor([0]))
    boundary.update(predictions, masks)
    rows, matrices = confusions.compute()
    assert (rows.shape, matrices.shape) == ((1,), (1, k, k))
    assert np.array_equal(matrices[0], _by_hand(predictions, masks, k))
    assert len(boundary.compute()["per_class"]) == k


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 5**0.5, 3, 100, None])
def test_boundary_scores_equal_scipys_distance_transform(tolerance):
    k = 6
    predictions, masks = _batch(5, seed=2, size=(100, 120) if tolerance is None else (20, 32), k=k)
    predictions[1] = 2  # no boundary at all in one prediction
    metric = BoundaryScore(k, tolerance)
    metric.update(predictions[:2], masks[:2])
    metric.update(predictions[2:], masks[2:])
    expected = _boundary_by_hand(predictions, masks, 0.0075 * np.hypot(100, 120) if tolerance is None else tolerance, k)
    result = metric.compute()
    assert result["per_class"] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert np.isnan(expected[k - 1])
    assert result["mean"] == pytest.approx(np.nanmean(expected), abs=1e-6)


@pytest.mark.parametrize("radius", [0, 0.9, 1, 2**0.5, 2, 5, 13**0.5, 7.3, 60])
def test_a_dilation_is_every_pixel_within_the_radius(radius):
    maps = torch.from_numpy(np.random.default_rng(0).random((3, 30, 41)) < 0.004)
    for grown, source in zip(dilate(maps, radius).numpy(), maps.numpy(), strict=True):
        expected = distance_transform_edt(~source) <= radius if source.any() else np.zeros_like(source)
        assert np.array_equal(grown, expected)


def test_neither_the_images_border_nor_ignored_pixels_are_a_boundary():
    masks = torch.zeros(1, 10, 12, dtype=torch.int64)
    masks[:, :, 5] = 255
    predictions = torch.zeros_like(masks)
    predictions[:, :, 5] = 1
    metric = BoundaryScore(3, 1)
    metric.update(predictions, masks)
    result = metric.compute()
    assert np.isnan(result["per_class"]).all()
    assert np.isnan(result["mean"])


def test_a_tolerance_is_at_least_one_pixel_by_default_and_never_negative():
    masks = torch.zeros(1, 8, 8, dtype=torch.int64)
    masks[:, :, 4:] = 1
    metric = BoundaryScore(2)  # 0.75% of this diagonal is a twelfth of a pixel
    metric.update(torch.roll(masks, 1, dims=2).index_fill(2, torch.tensor([0]), 0), masks)
    assert metric.compute()["mean"] == 1.0
    with pytest.raises(ValueError, match="tolerance: found -1"):
        BoundaryScore(2, -1)


def _process(rank, folder, shares):
    """One of two ranks; each share is a list of the rows that the rank sees."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    warnings.simplefilter("ignore")
    results = []
    for share in shares:
        predictions, masks = _batch(5)
        confusions, boundary, loss = ImageConfusions(K), BoundaryScore(K, 2), MeanLoss()
        for row in share[rank]:
            loss.update(torch.tensor(float(row)), 1)
            confusions.update(predictions[[row]], masks[[row]], torch.tensor([row]))
            boundary.update(predictions[[row]], masks[[row]])
        rows, matrices = map(torch.from_numpy, confusions.compute())
        results.append((rows, matrices, boundary.compute()["per_class"], loss.compute()))
        # what was gathered must not stay behind in the state of the rank
        own = sum(len(rows) for rows in confusions.rows)
        assert own == len(share[rank])
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_other_counts_or_no_image_give_the_numbers_of_one(tmp_path):
    shares = [([0, 2, 4], [1, 3]), ([0, 1, 2, 3, 4], []), ([], [3, 1, 4, 0, 2]), ([0, 2, 4], [1, 3, 0])]
    mp.spawn(_process, (str(tmp_path), shares), nprocs=2)
    predictions, masks = _batch(5)
    alone, boundary = ImageConfusions(K), BoundaryScore(K, 2)
    alone.update(predictions, masks, torch.arange(5))
    boundary.update(predictions, masks)
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt")
        for (rows, matrices, per_class, loss), share in zip(results, shares, strict=True):
            assert rows.tolist() == [0, 1, 2, 3, 4]
            assert np.array_equal(matrices, alone.compute()[1])
            if sum(map(len, share)) == 5:  # sums cannot know a repeated image; the sampler repeats none
                assert loss == 2  # 10 / 5, where Lightning's mean is 10 / 4
                assert per_class == pytest.approx(boundary.compute()["per_class"], nan_ok=True)
