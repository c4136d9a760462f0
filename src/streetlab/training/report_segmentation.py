"""The report of a segmentation run: confusion matrix per image, IoU per class, best and worst images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from streetlab.datasets.task_spec import SEGMENTATION, TASKS
from streetlab.io import files
from streetlab.loading.augment import normalize
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.segmentation import (
    REPORT_FIELDS,
    best_median_worst,
    image_mious,
    report_rows,
    segmentation_report,
    summarize_groups,
)
from streetlab.plots.bars import iou_bars
from streetlab.plots.confusion import confusion_matrix
from streetlab.plots.masks import SegmentedPhoto, segmentation_sheet
from streetlab.records.record import RunRecord
from streetlab.tasks.segmentation import SegmentationTask
from streetlab.training.native_size import evaluate_full_resolution, write_label_ids
from streetlab.training.report import Report

_EACH = 3
"""Images shown of the best, the median and the worst of the reported split."""


class SegmentationReport(Report):
    """confusions.npz, report.csv, report.txt, figures; masks for a benchmark where truth is withheld."""

    spec = TASKS[SEGMENTATION]
    task: SegmentationTask

    def __init__(self, trainer: pl.Trainer, task: SegmentationTask, data: StreetData, record: RunRecord) -> None:
        super().__init__(trainer, task, data, record)
        self.confusions: dict[str, tuple[list[str], np.ndarray, list[str]]] = {}

    def collect(self, split: str) -> dict[str, dict[str, Any]]:
        data, names = self.data, self.task.label_space.names
        rows, matrices = self.task.confusions.compute()
        samples = data.samples(split)
        groups = [data.source.recording(samples[row]) for row in rows]
        self.confusions[split] = [samples[row].id for row in rows], matrices, groups
        summary = self.task.summarize_evaluation()
        outlines = {"boundary_f": self.task.boundary.compute(), "boundary_iou": self.task.boundary_iou.compute()}
        for key, scores in outlines.items():
            for name, score in zip(names, scores["per_class"], strict=True):
                summary["per_class"][name][key] = None if np.isnan(score) else score
        means = {key: scores["mean"] for key, scores in outlines.items()}
        summary = {"resolution": list(data.image_size), **means} | summary
        if by_group := summarize_groups(matrices, groups):
            summary["per_group"] = by_group
        found = {split: summary}
        if self.task.full_resolution != "none":
            found[f"{split}_full_resolution"] = evaluate_full_resolution(self.trainer, self.task, data, split)
        return found

    def predict_withheld(self) -> None:
        data = self.data
        if data.source.eval_split == "test":
            return
        samples = data.source.samples("test")
        limit = self.trainer.limit_test_batches or 0
        count = limit * data.batch_size if isinstance(limit, int) else round(limit * len(samples))
        write_label_ids(self.trainer, self.task, data, samples[:count], self.record.path / "test_label_ids")

    def write(self, metrics: dict[str, Any]) -> None:
        record, shown, space = self.record, metrics["eval_split"], self.task.label_space
        record.write_confusions(self.confusions, space.names)
        summary = metrics[shown]
        files.write_text(record.path / "report.txt", segmentation_report(summary))
        files.write_csv(record.path / "report.csv", report_rows(summary), REPORT_FIELDS)
        title = f"{shown}, {summary['n']} images"
        self.save_figure("confusion_matrix", confusion_matrix(np.asarray(summary["confusion"]), space, title))
        self.save_figure("iou_per_class", iou_bars(summary, space, title))
        self._draw_best_median_worst(shown)

    def _draw_best_median_worst(self, split: str) -> None:
        ids, matrices, _ = self.confusions[split]
        scores = image_mious(matrices)
        rows = {sample.id: row for row, sample in enumerate(self.data.samples(split))}
        items = []
        for i, rank in best_median_worst(scores, _EACH):
            pixels, truth = self.data.cached_pair(split, rows[ids[i]])
            items.append(SegmentedPhoto(pixels, truth, predict_mask(self.task, pixels), ids[i], float(scores[i]), rank))
        self.save_figure("best_median_worst", segmentation_sheet(items, self.task.label_space, f"{split} images"))


@torch.inference_mode()
def predict_mask(task: SegmentationTask, pixels: np.ndarray) -> np.ndarray:
    """Class ids `(H, W)` uint8 of one image `(H, W, 3)` uint8 at training size, asked as the best epoch is."""
    images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    scores = task.eval().test_time(task.logits, normalize(images.to(task.device)))
    return scores.argmax(dim=1)[0].cpu().numpy().astype(np.uint8)
