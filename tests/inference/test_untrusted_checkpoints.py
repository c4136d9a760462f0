"""A checkpoint from elsewhere runs no code, and one that is damaged is refused in one line."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from tests.support.crafted_runs import POINTWISE, SEGMENTER, metadata_of, write_checkpoint, write_run
from torch import nn

from streetlab.datasets.labels import CITYSCAPES
from streetlab.errors import UserError
from streetlab.inference.predictor import Predictor


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "segmenter").path


HOSTILE = [
    ({"_target_": "os.system", "command": "touch {mark}"}, "model._target_ is 'os.system'"),
    ({"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": ["{mark}"]}}, "Path.touch"),
    (SEGMENTER | {"decoder": {"_target_": "os.system", "_args_": ["touch {mark}"]}}, "model.decoder._target_"),
    (SEGMENTER | {"x": [{"y": {"_target_": "subprocess.run", "args": "touch {mark}"}}]}, "model.x[0].y._target_"),
    ({"_target_": "streetlab.networks.weights.pickle.loads", "_partial_": True}, "pickle.loads"),
    ({"_target_": "streetlab.networks.cost.torch.load", "f": "{mark}"}, "torch.load"),
    ({"_target_": "streetlab.networks.deeplabv3._fetch", "_partial_": True}, "_fetch"),
    ({"_target_": "streetlab.netsy.anything"}, "streetlab.netsy"),
    ({"_target_": ["os.system"]}, "model._target_"),
    (SEGMENTER | {"_args_": [19, "linknet", "tu-test_resnet", "{mark}"]}, "_args_"),
    (SEGMENTER | {"encoder": "${{oc.env:HOME}}"}, "model.encoder"),
    (POINTWISE, "tests.support.crafted_runs.Convolutions"),
]


@pytest.mark.parametrize(("model", "words"), HOSTILE, ids=[words for _, words in HOSTILE])
def test_a_checkpoint_from_elsewhere_runs_no_code(tmp_path, model, words):
    mark = tmp_path / "mark"
    hostile = _filled(model, mark)
    path = write_checkpoint(tmp_path / "hostile.ckpt", metadata_of(hostile, CITYSCAPES, (64, 96)), nn.Identity())
    with pytest.raises(UserError) as refused:
        Predictor.from_checkpoint(path, device="cpu")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not mark.exists()


def _filled(node, mark):
    if isinstance(node, dict):
        return {key: _filled(value, mark) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, mark) for value in node]
    return node.format(mark=mark) if isinstance(node, str) else node


def test_a_foreign_checkpoint_is_not_trusted_because_a_run_is_named_with_it(run, tmp_path):
    write_run(tmp_path / "own", POINTWISE)
    own = tmp_path / "own" / "checkpoints" / "best.ckpt"
    assert Predictor.from_run(tmp_path / "own", device="cpu").task == "segmentation", "one's own run may name any code"
    with pytest.raises(UserError, match="is no run's own"):
        Predictor.from_run(run, str(own), device="cpu")


def _damage(metadata, key, value):
    metadata[key] = value


DAMAGED = {
    "no metadata": lambda metadata: metadata.clear(),
    "config": lambda metadata: _damage(metadata, "config", None),
    "no model": lambda metadata: _damage(metadata, "config", {"trainer": {}}),
    "model": lambda metadata: _damage(metadata, "config", {"model": "resnet"}),
    "classes": lambda metadata: _damage(metadata, "label_space", {"name": "x", "task": "segmentation"}),
    "palette": lambda metadata: metadata["label_space"]["palette"].pop(),
    "task": lambda metadata: _damage(metadata["label_space"], "task", "detection"),
    "other task": lambda metadata: _damage(metadata["label_space"], "task", "classification"),
    "size": lambda metadata: _damage(metadata, "image_size", [64]),
    "no size": lambda metadata: _damage(metadata, "image_size", [0, 64]),
    "normalised": lambda metadata: _damage(metadata, "normalization", {"mean": [0.5] * 3, "std": [0.5] * 3}),
    "other network": lambda metadata: _damage(metadata["config"]["model"], "encoder", "tu-test_convnext"),
    "no arguments": lambda metadata: _damage(metadata["config"]["model"], "encoder", 3),
    "no network": lambda metadata: _damage(
        metadata["config"], "model", {"_target_": "streetlab.networks.groups.classifier_groups", "network": None}
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_card_is_one_line(run, tmp_path, damage):
    metadata = metadata_of(dict(SEGMENTER), CITYSCAPES, (64, 96))
    DAMAGED[damage](metadata)
    path = write_checkpoint(tmp_path / "damaged.ckpt", metadata, Predictor.from_run(run, device="cpu").network)
    with pytest.raises(UserError, match=r"checkpoint: .*damaged\.ckpt") as refused:
        Predictor.from_checkpoint(path, device="cpu")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "contents",
    [
        b"", b"not a checkpoint", {"epoch": 1}, {"epoch": "x", "state_dict": {}, "streetlab": {}},
        {"epoch": 1, "state_dict": [], "streetlab": {}}, {"epoch": 1, "state_dict": {3: 4}, "streetlab": {}},
        {"epoch": 1, "state_dict": {"network.x": 4}, "streetlab": []},
    ],
    ids=range(7),
)  # fmt: skip
def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path, contents):
    path = tmp_path / "other.ckpt"
    write = path.write_bytes if isinstance(contents, bytes) else partial(torch.save, f=path)
    write(contents)
    with pytest.raises(UserError, match="checkpoint: ") as refused:
        Predictor.from_checkpoint(path, device="cpu")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"checkpoint: no file .*gone\.ckpt"):
        Predictor.from_checkpoint(tmp_path / "gone.ckpt")
