"""Averaged weights against timm's, step by step, and against the raw ones of a short training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from streetlab import cli
from streetlab.errors import UserError
from streetlab.loading.augment import normalize
from streetlab.loading.datamodule import StreetData
from streetlab.records.record import RunRecord
from streetlab.training.ema import EMA, warmed_up


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))

    def learn(self) -> None:
        """Change the weights, and let BatchNorm see a batch."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter += torch.randn(parameter.shape)
        self.network(torch.randn(8, 4))


def averaged(module: Module, ema: EMA, steps: int) -> dict[str, Tensor]:
    """What the module holds after a training of that many steps."""
    ema.setup(SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu"))), module, "fit")
    for step in range(1, steps + 1):
        module.learn()
        ema.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, step - 1)
    ema.on_train_end(SimpleNamespace(), module)
    return module.state_dict()


@pytest.mark.parametrize("decay", [0.5, 0.995])
@pytest.mark.parametrize("warmup", [True, False])
def test_weights_and_batchnorm_statistics_are_averaged_as_timm_does(decay, warmup):
    torch.manual_seed(0)
    ours = averaged(Module(), EMA(decay, warmup), steps=40)
    torch.manual_seed(0)
    module = Module()
    # timm's general warm-up, 1 - (1 + s / gamma)^-power, of s = t + 1 is TensorFlow's (1 + t) / (10 + t)
    timm = ModelEmaV3(module, decay=decay, use_warmup=warmup, warmup_gamma=9, warmup_power=1)
    for step in range(1, 41):
        module.learn()
        # both copy the first step; then timm's s is one less than what it is given, and our t is step - 1
        timm.update(module, 1 if step == 1 else step + 1)
    expected = timm.module.state_dict()
    assert ours.keys() == expected.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def test_the_decay_rises_to_its_full_value():
    rising = [warmed_up(0.99, updates) for updates in (1, 90, 800, 890, 10_000)]
    assert rising == pytest.approx([2 / 11, 91 / 100, 801 / 810, 0.99, 0.99])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.0}, "callbacks.ema.decay: 1.0 is not between 0 and 1"),
        ({"warmup": 100}, "callbacks.ema.warmup: 100 is not true or false"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        EMA(**options)


@pytest.mark.slow
def test_the_average_keeps_up_with_the_network_itself_from_the_first_epochs(tmp_path, monkeypatch):
    """The run of docs/how-to/better-small-data.md, for three epochs; without a warm-up val stays at 0.29."""
    monkeypatch.chdir(tmp_path)
    scores: list[float] = []
    begin = EMA.on_validation_epoch_start

    def raw_first(self, trainer, pl_module):
        if trainer.state.fn == TrainerFn.FITTING:
            scores.append(accuracy(pl_module, trainer.datamodule))
        begin(self, trainer, pl_module)

    monkeypatch.setattr(EMA, "on_validation_epoch_start", raw_first)
    averaging = "callbacks.ema={_target_: streetlab.training.ema.EMA, decay: 0.995, warmup: true}"
    assert cli.run(["train", *REFERENCE, averaging, f"output={tmp_path / 'run'}"]) == 0
    averaged = [row["val/accuracy"] for row in RunRecord(tmp_path / "run").history()]
    assert len(scores) == len(averaged) == 3
    assert scores[2] > 0.45, "the network itself has learned nothing: this test would show nothing"
    assert averaged[2] > scores[2] - 0.05


REFERENCE = (
    "dataset=synthetic_cleanliness", "model=timm_classifier", "model.name=test_resnet", "image_size=[64,128]",
    "batch_size=16", "regime=from_scratch", "regime.epochs=3", "optimizer=adamw", "optimizer.lr=3e-3",
    "optimizer.weight_decay=0.05", "scheduler.warmup_epochs=1", "loss.label_smoothing=0.1", "trainer=cpu",
    "trainer.precision=32-true", "logger=none",
)  # fmt: skip


@torch.no_grad()
def accuracy(module: pl.LightningModule, data: StreetData) -> float:
    """The network's share of right answers on val, in the mode that it is in."""
    images, labels = np.array(data._arrays("val")["images"]), torch.from_numpy(data._arrays("val")["labels"])
    answers = [
        module(normalize(torch.from_numpy(images[start : start + 60]).permute(0, 3, 1, 2))).argmax(dim=1)
        for start in range(0, len(labels), 60)
    ]
    return float((torch.cat(answers) == labels).float().mean())
