"""`streetlab check` finds what a preset has wrong before anyone trains with it."""

from __future__ import annotations

import pytest

from streetlab import cli
from streetlab.check import check_all


def test_every_preset_composes_and_every_target_binds():
    checked = check_all()
    assert [fault for result in checked for fault in result.faults] == []
    assert {result.group for result in checked} >= {"commands", "experiment", "model", "regime", "recipe"}
    assert "torch.optim.Adam" in {target for result in checked for target in result.targets}


FAULTY = {
    "key": (
        "optimizer: {lrr: 1}",
        "conf/experiment/key.yaml: optimizer.lrr: torch.optim.Adam takes no 'lrr'",
    ),
    "root": ("sead: 1", "experiment/root.yaml: no key 'sead'; did you mean 'seed'?"),
    "target": (
        "model: {_target_: streetlab.networks.nowhere}",
        "conf/experiment/target.yaml: model._target_: cannot",
    ),
}


@pytest.mark.slow
def test_a_faulty_preset_fails_the_check_with_its_file_and_key(tmp_path, capsys):
    (tmp_path / "experiment").mkdir()
    for name, (text, _) in FAULTY.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    assert cli.run(["check", "--config-dir", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    for _, said in FAULTY.values():
        assert said in printed
    assert "3 faults" in printed
