"""The mirrored view of a photo: averaged where the best epoch is evaluated, and nowhere else."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from streetlab.datasets.labels import CLEANLINESS
from streetlab.errors import UserError
from streetlab.tasks.classification import ClassificationTask
from streetlab.tasks.losses import CrossEntropy

OBJECTIVE = {"metric": "accuracy", "mode": "max"}


class LeftHalf(nn.Module):
    """Logits from the left half alone, so that a mirrored photo has others."""

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : images.shape[-1] // 2].mean(dim=(2, 3)) * 5


@pytest.mark.parametrize(
    ("flip", "fn", "averaged"),
    [(True, TrainerFn.TESTING, True), (True, TrainerFn.FITTING, False), (None, TrainerFn.TESTING, False)],
)
def test_probabilities_of_both_views_are_averaged_in_the_final_evaluation(flip, fn, averaged):
    task = ClassificationTask(LeftHalf(), CLEANLINESS, CrossEntropy(), OBJECTIVE, test_flip=flip)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.state.fn, task.trainer = fn, trainer
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0])
    task.evaluate_batch({"images": images, "labels": labels, "rows": torch.arange(4), "split": "test"})
    task.summarize_evaluation()
    left, right = (images[..., half].mean(dim=(2, 3)).mul(5).softmax(dim=1) for half in (slice(0, 4), slice(4, 8)))
    expected = (left + right) / 2 if averaged else left
    assert task.probabilities[1] == pytest.approx(expected.numpy(), abs=1e-6)
    assert float(task.mean_loss.compute()) == pytest.approx(float(-expected.log()[torch.arange(4), labels].mean()))


def test_a_setting_that_is_no_yes_or_no_is_refused():
    with pytest.raises(UserError, match=r"task\.test_flip: both is not true or false"):
        ClassificationTask(LeftHalf(), CLEANLINESS, CrossEntropy(), OBJECTIVE, test_flip="both")
