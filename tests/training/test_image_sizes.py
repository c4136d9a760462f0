"""A network of one size trains at the run's size, and its record rebuilds it whatever size is asked for later."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from streetlab import cli
from streetlab.inference.predictor import Predictor
from streetlab.records.record import RunRecord

EPOCH = ("regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]")


def test_a_vision_transformer_trains_and_is_rebuilt_at_the_runs_size(train, tmp_path, capsys):
    record = train("model.name=test_vit_relpos", "image_size=[64,32]", *EPOCH)
    assert "img_size" not in OmegaConf.load(record.path / "config.yaml").model  # runs keep their names
    best = record.checkpoints / "best.ckpt"
    metadata = torch.load(best, weights_only=True)["streetlab"]
    assert metadata["config"]["model"]["img_size"] == [64, 32]

    assert Predictor.from_checkpoint(best, device="cpu").image_size == (64, 32)
    assert cli.run(["evaluate", f"run={record.path}", f"output={tmp_path / 'again'}"]) == 0
    again = RunRecord(tmp_path / "again").metrics
    assert again["test"]["confusion"] == record.metrics["test"]["confusion"]
    capsys.readouterr()
    assert cli.run(["evaluate", f"run={record.path}", "image_size=[96,96]", f"output={tmp_path / 'other'}"]) == 2
    printed = capsys.readouterr().err
    assert "image_size=[96,96]: VisionTransformerRelPos takes no images of that size" in printed
    assert "it was trained at image_size=[64,32]" in printed
    assert "decoding" not in printed


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["model.name=nest_tiny"], "image_size=[64,96]: timm's nest_tiny takes no images of that size"),
        (["model.name=test_vit_relpos", "+model.img_size=64"], "+model.img_size=[64,96]"),
    ],
)
def test_a_size_that_does_not_fit_is_said_before_any_photo_is_decoded(train, tmp_path, capsys, words, line):
    train(*words, "image_size=[64,96]", code=2)
    printed = capsys.readouterr().err
    assert line in printed
    assert "image_size=[" in printed
    assert not list((tmp_path / "cache").rglob("*.npy"))
    assert "decoding" not in printed
