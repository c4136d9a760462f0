"""The presets of EfficientNet-Lite0 train from end to end on a few small photos."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.support.tiny_runs import write_photos

from streetlab import cli
from streetlab.networks.classifiers import timm_classifier
from streetlab.records.record import RunRecord


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the network's weights for 1000 classes, as those of ImageNet are."""
    path = tmp_path_factory.mktemp("weights") / "imagenet.pth"
    torch.save(timm_classifier(1000, "tf_efficientnet_lite0").state_dict(), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "phases"),
    [
        ("cleanliness_efficientnet_lite0", ["probe", "tune"]),
        ("cleanliness_efficientnet_lite0_plus", ["probe", "finetune"]),
        ("cleanliness_efficientnet_lite0_from_scratch", ["train"]),
        ("cleanliness_efficientnet_lite0_from_scratch_plus", ["train"]),
    ],
)
def test_a_preset_trains_all_its_phases(preset: str, phases: list[str], weights: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", {"train": 4, "val": 2, "test": 2})
    words = [f"experiment={preset}", f"dataset.root={photos}", f"pretrained={weights}", "debug=fast_dev_run"]
    words += ["trainer=cpu", f"dataset.cache_dir={tmp_path / 'cache'}", f"output={tmp_path / 'run'}"]
    assert cli.run(["train", *words]) == 0
    record = RunRecord(tmp_path / "run")
    log = (record.path / "train.log").read_text()
    assert [phase for phase in phases if f"phase {phase}: 1 epochs" in log] == phases
    loaded = record.model["weights"]
    assert (loaded is None) == ("from_scratch" in preset)
    assert loaded is None or "294 of 296 tensors loaded" in loaded["summary"]
