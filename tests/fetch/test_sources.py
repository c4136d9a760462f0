"""Check the table of sources against the libraries that name the same files."""

from __future__ import annotations

import re
import shlex

import pytest
import timm
from torchvision import models

from streetlab import cli
from streetlab.fetch.sources import SOURCES


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_torchvisions_weights_are_those_of_torchvision(name):
    weights = models.get_model_weights(name)["IMAGENET1K_V1"]
    source = SOURCES[name]
    assert source.url == weights.url
    assert source.sha256 is not None
    assert f"-{source.sha256}.pth" in weights.url
    assert source.size == round(weights.meta["_file_size"] * 2**20)


def test_the_weights_for_resnet18_are_those_that_the_preset_means():
    assert SOURCES["resnet18"].url == timm.models.get_pretrained_cfg("resnet18.tv_in1k").url


@pytest.mark.parametrize(
    ("name", "model"),
    [("efficientnet_lite0", "tf_efficientnet_lite0"), ("hrnet_w18", "hrnet_w18"), ("hrnet_w48", "hrnet_w48")],
)
def test_timms_weights_are_those_of_timm(name, model):
    config = timm.models.get_pretrained_cfg(model)
    source = SOURCES[name]
    assert source.url in (config.url, f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors")
    assert config.license.lower() in source.licence.lower()


@pytest.mark.parametrize("name", [name for name in SOURCES if SOURCES[name].use.startswith("streetlab")])
def test_the_command_that_takes_it_composes(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(SOURCES[name].use.format(place="data/x"))
    assert cli.run([*words[1:], "--cfg", "job"]) == 0
    assert "data/x" in capsys.readouterr().out


def test_every_number_has_a_place_where_it_was_read():
    for source in SOURCES.values():
        assert (source.size is None) == (source.size_source == "")
        assert (source.sha256 is None) == (source.sha256_source == "")
        assert source.sha256 is None or re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", source.sha256)
