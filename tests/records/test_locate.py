"""`run=DIR` names one run; a slip is one line with the nearest."""

from __future__ import annotations

import pytest

from streetlab.errors import UserError
from streetlab.records.locate import locate_run


@pytest.fixture(autouse=True)
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("resnet18-seed_1-00000000", "convnext-seed_1-11111111"):
        folder = tmp_path / "outputs" / "study" / name
        (folder / "figures").mkdir(parents=True)
        (folder / "config.yaml").write_text("seed: 1\n")


def test_a_folder_with_a_config_is_a_run_whatever_became_of_it():
    assert locate_run("outputs/study/resnet18-seed_1-00000000").config == {"seed": 1}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "outputs/study/resnet18-seed_1",
            "resnet18-seed_1; did you mean 'outputs/study/resnet18-seed_1-0",
        ),
        (
            "outputs/stdy/convnext-seed_1",
            "convnext-seed_1; did you mean 'outputs/study/convnext-seed_1-1",
        ),
        ("convnext-seed_1-11111111", "did you mean 'outputs/study/convnext-seed_1-11111111'?"),
        ("outputs/study", "is no run, but holds 2; name one, such as outputs/study/convnext-seed_1-11111111"),
        ("outputs/study/resnet18-seed_1-00000000/figures", "holds no run record (config.yaml is missing)"),
        ("outputs/study/resnet18-seed_1-00000000/config.yaml", "is a file, not a run's folder; did you mean 'outputs/"),
    ],
)
def test_what_is_no_run_is_one_line_with_the_nearest(path, said):
    with pytest.raises(UserError) as caught:
        locate_run(path)
    assert str(caught.value).removeprefix("run: ").removeprefix("no folder ").startswith(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_nothing_is_near_nothing_is_suggested():
    with pytest.raises(UserError, match=r"^run: no folder elsewhere/zzz$"):
        locate_run("elsewhere/zzz")
