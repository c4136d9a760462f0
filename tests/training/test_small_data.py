"""All words for small data sets in one run: they reach the training, and the record tests to the same numbers."""

from __future__ import annotations

import shutil

import pytest
import torch

from streetlab import cli
from streetlab.records.record import RunRecord
from streetlab.tasks.classification import ClassificationTask

WORDS = (
    "regime=single",
    "regime.phases=[{name: small, epochs: 1, train: [all], image_size: [32, 32]},"
    "{name: full, epochs: 1, train: [all]}]",
    "regime.layer_decay=0.8",
    "image_size=[48,48]",
    "model.drop_path=0.1",
    "mix=cutmix",
    "loss.class_weights={effective: 0.9}",
    "task.test_flip=true",
)


def test_every_word_reaches_the_training_and_is_rebuilt_for_an_evaluation(train, photos, tmp_path, monkeypatch):
    votes = tmp_path / "votes.csv"
    votes.write_text("photo,Clean,Medium,Litter\ntrain/clean/clean_0.png,1,3,0\n")
    sizes: dict[str, list[tuple[int, ...]]] = {"train": [], "val": []}
    learned: list[torch.Tensor] = []
    training, evaluating = ClassificationTask.training_step, ClassificationTask.evaluate_batch

    def training_step(self, batch, batch_idx):
        sizes["train"].append(tuple(batch["images"].shape[2:]))
        learned.append(batch["soft_labels"])
        assert self.loss.class_weights.tolist() == pytest.approx([1, 1, 1])  # nine photos of each class
        return training(self, batch, batch_idx)

    def evaluate_batch(self, batch):
        sizes["val"].append(tuple(batch["images"].shape[2:]))
        assert "soft_labels" not in batch
        evaluating(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ClassificationTask, "training_step", training_step)
        patch.setattr(ClassificationTask, "evaluate_batch", evaluate_batch)
        record = train(*WORDS, f"dataset.soft_labels={votes}")
    steps = len(sizes["train"]) // 2
    assert sizes["train"] == [(32, 32)] * steps + [(48, 48)] * steps
    assert set(sizes["val"]) == {(48, 48)}
    assert any(((labels > 0) & (labels < 1)).any() for labels in learned)
    votes.unlink()
    best = torch.load(record.checkpoints / "best.ckpt", weights_only=True)
    assert best["streetlab"]["photos_per_class"] == [9, 9, 9]
    # without the votes and the photos of train, of which the weights of the classes are
    shutil.copytree(photos / "test", tmp_path / "elsewhere" / "test")
    line = ["evaluate", f"run={record.path}", f"dataset.root={tmp_path / 'elsewhere'}", f"output={tmp_path / 'again'}"]
    assert cli.run(line) == 0
    again = RunRecord(tmp_path / "again").metrics
    assert again["test"]["confusion"] == record.metrics["test"]["confusion"]
    assert again["test"]["loss"] == pytest.approx(record.metrics["test"]["loss"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["regime.phases=[{name: big, epochs: 1, train: [all], image_size: [64, 32]}]"],
            "phase 'big': image_size [64, 32] is larger than the run's, [32, 32], which its photos are read at",
        ),
        (
            ["regime.phases=[{name: odd, epochs: 1, train: [all], image_size: 48}]"],
            "regime.phases[0].image_size: 48 is not [height, width] of at least 32 each",
        ),
        (["regime.layer_decay=much"], "regime.layer_decay: much is not a factor above 0 and at most 1"),
        (["model.drop_path=some"], "model.drop_path=some: allowed is 0 up to below 1"),
    ],
)
def test_words_out_of_range_are_one_line(train, capsys, words, message):
    train("regime=single", *words, code=2)
    assert message in capsys.readouterr().err
