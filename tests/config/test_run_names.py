"""Run folders are named by what was asked: the same question finds its record, another never takes it."""

from __future__ import annotations

import hashlib
import re

import pytest
from omegaconf import OmegaConf

from streetlab.config.run_names import (
    MAX_LENGTH,
    config_hash,
    does_not_name_a_run,
    file_keys,
    fresh,
    identity_hash,
    run_name,
    sweep_name,
)

CONFIG = {
    "dataset": {"name": "d", "root": "/data/photos", "cache_dir": "outputs/.cache"},
    "model": {"weights": "none"},
    "optimizer": {"lr": 0.001},
    "trainer": {"accelerator": "auto", "devices": 1, "precision": "auto"},
    "logger": {},
    "callbacks": {"bar": {"_target_": "x.Progress"}, "ema": None},
    "study": "s",
    "seed": 0,
    "image_size": [64, 64],
    "num_workers": 0,
    "resume": "auto",
    "output": None,
}


def changed(**values):
    config = OmegaConf.create(CONFIG)
    for key, value in values.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    return config


@pytest.mark.parametrize(
    ("asked", "slug"),
    [
        ([], "default"),
        (["experiment=cleanliness_pretrained", "seed=1"], "cleanliness_pretrained-seed_1"),
        (["seed=1", "experiment=cleanliness_pretrained"], "cleanliness_pretrained-seed_1"),
        (["model=resnet18", "optimizer.lr=1e-3"], "resnet18-lr_0.001"),
        (["image_size=[64,128]"], "image_size_64x128"),
        (["dataset.root='/far/away/Straße (1)'"], "root_Strasse-1"),
        (["+debug=limit", "~logger"], "limit"),
        (["~scheduler"], "no_scheduler"),
        (["resume=never", "output=x", "logger=wandb", "num_workers=2", "trainer=gpu", "seed=2"], "seed_2"),
        (["dataset.cache_dir='/tmp/x'", "trainer.devices=2", "logger.wandb.project=p"], "default"),
    ],
)
def test_a_name_says_what_was_asked(asked, slug):
    assert run_name(asked, CONFIG)[:-9] == slug


def test_a_name_is_one_safe_path_component():
    nasty = [
        "model.name=a/b=c,[d] {e}",
        "model.weights='../../x y'",
        f"model.note={'long ' * 80}",
        "study=..",
    ]
    name = run_name(nasty, CONFIG)
    assert re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9._+-]*-[0-9a-f]{8}", name)
    assert len(name) <= MAX_LENGTH


@pytest.mark.parametrize(
    "values",
    [
        {"output": "x"},
        {"study": "t"},
        {"resume": "never"},
        {"num_workers": 4},
        {"logger": {"csv": {"a": 1}}},
        {"dataset__cache_dir": "/elsewhere"},
        {"dataset__root": "../other/mount/photos/"},
        {"trainer__accelerator": "gpu"},
        {"trainer__devices": 8},
        {"callbacks__bar": {"_target_": "y.ProgressBar"}},
    ],
)
def test_what_cannot_change_the_result_finds_the_same_record(values):
    assert config_hash(changed(**values)) == config_hash(changed())


@pytest.mark.parametrize(
    "values",
    [
        {"seed": 1},
        {"optimizer__lr": 0.002},
        {"dataset__root": "/data/others"},
        {"model__weights": "imagenet"},
        {"trainer__precision": "32-true"},
        {"callbacks__ema": {"decay": 0.9}},
    ],
)
def test_what_changes_the_result_gets_another_record(values):
    assert config_hash(changed(**values)) != config_hash(changed())


def test_a_hash_does_not_depend_on_the_order_of_keys_or_on_hydra():
    other = dict(reversed(CONFIG.items())) | {"hydra": {"job": {"num": 3}}}
    assert config_hash(OmegaConf.create(other)) == config_hash(CONFIG)


def test_a_sweep_extended_by_a_value_keeps_its_folder():
    name = sweep_name(["seed", "experiment"], ["dataset=d", "num_workers=2"], CONFIG)
    assert name[:-9] == "experiment_x_seed-d"
    assert name == sweep_name(["experiment", "+seed"], ["dataset=d"], CONFIG)
    assert name != sweep_name(["experiment", "seed"], ["dataset=e"], CONFIG)


def test_jobs_that_differ_in_what_a_name_leaves_out_get_names_of_their_own():
    assert does_not_name_a_run("num_workers")
    assert does_not_name_a_run("+logger")
    assert does_not_name_a_run("trainer")
    assert does_not_name_a_run("dataset.root")
    assert not does_not_name_a_run("seed")
    jobs = [(["num_workers=0"], "num_workers"), (["num_workers=2"], "num_workers")]
    jobs += [(["dataset.root='/a/photos'"], "dataset.root"), (["dataset.root='/b/photos'"], "dataset.root")]
    assert len({run_name(words, CONFIG, [key]) for words, key in jobs}) == len(jobs)


def test_nested_data_sets_are_known_by_their_folders_names_too():
    def parts(root):
        return {"dataset": {"parts": [{"root": root, "cache_dir": root}]}}

    assert config_hash(parts("/a/x")) == config_hash(parts("/b/x"))
    assert config_hash(parts("/a/x")) != config_hash(parts("/a/y"))


def test_another_split_of_the_same_file_name_gets_another_record_and_the_same_split_elsewhere_finds_it(tmp_path):
    files = {name: tmp_path / name / "split.json" for name in ("audit", "moved", "again")}
    for name, file in files.items():
        file.parent.mkdir()
        file.write_text("other photos" if name == "again" else "photos")
    words = {name: [f"dataset.split_file={file}"] for name, file in files.items()}
    names = {name: run_name(words[name], changed(dataset__split_file=str(file))) for name, file in files.items()}
    assert names["audit"].startswith("split_file_split.json-")
    assert names["audit"] == names["moved"] != names["again"]
    before = changed(dataset__split_file=str(files["audit"]))
    hashed = config_hash(before)
    files["audit"].write_text("audited anew")
    assert config_hash(before) != hashed
    assert config_hash(before, hashlib.sha256(b"photos").hexdigest()) == hashed
    files["audit"].unlink()
    assert config_hash(before) != hashed  # and no error: whoever needs the file says so
    nested = {"dataset": {"sources": {"a": {"split_file": str(files["moved"])}}}}
    hashed = config_hash(nested)
    files["moved"].write_text("audited anew")
    assert config_hash(nested) != hashed


def test_keys_about_tests_and_mask_values_change_a_name_only_where_they_are_used():
    assert config_hash(changed(dataset__test_from=None, dataset__values=None)) == config_hash(changed())
    used = [config_hash(changed(dataset__test_from="val")), config_hash(changed(dataset__values={255: "litter"}))]
    assert len({config_hash(changed()), *used}) == 3
    assert used[1] == config_hash(changed(dataset__values={"255": "litter"})), "config.yaml gives the key back as text"


def test_further_transforms_and_metrics_change_a_name_only_where_there_are_some():
    assert config_hash(changed(transforms=None, metrics=None)) == config_hash(changed())
    used = [config_hash(changed(**{key: {"a": {"_target_": "b.C"}}})) for key in ("transforms", "metrics")]
    assert len({config_hash(changed()), *used}) == 3


OFF = {
    "mix": {"_target_": "a.Mix"},
    "model__drop_path": 0.1,
    "regime__layer_decay": 0.75,
    "task__test_flip": True,
    "dataset__soft_labels": "a.csv",
}


@pytest.mark.parametrize(("key", "value"), OFF.items())
def test_words_of_training_that_are_off_leave_the_names_of_older_runs(key, value):
    older = {"model__name": "a", "regime__epochs": 3, "task__a": 1}
    assert config_hash(changed(**older, **{key: None})) == config_hash(changed(**older))
    assert config_hash(changed(**older, **{key: value})) != config_hash(changed(**older))


def test_folds_that_are_off_find_the_records_from_before_there_were_any():
    assert config_hash(changed(dataset__folds=None, dataset__fold=None)) == config_hash(changed())
    folds = [config_hash(changed(dataset__folds=5, dataset__fold=fold)) for fold in range(5)]
    assert len({config_hash(changed()), *folds}) == 6


def test_a_sweep_preset_names_the_sweep_and_not_its_jobs():
    words = ["sweep=cleanliness_regimes", "data=/x", "optimizer.lr=8"]
    assert sweep_name(["seed"], words, CONFIG).startswith("cleanliness_regimes-lr_8-")
    assert run_name([*words, "seed=1"], CONFIG) == run_name(["optimizer.lr=8", "seed=1"], CONFIG)


def test_a_fresh_folder_is_one_that_holds_nothing(tmp_path):
    folder = tmp_path / "sweep"
    assert fresh(folder) == folder
    folder.mkdir()
    assert fresh(folder) == folder
    (folder / "status.json").touch()
    assert fresh(folder) == tmp_path / "sweep-2"
    (tmp_path / "sweep-2" / "x").mkdir(parents=True)
    assert fresh(folder) == tmp_path / "sweep-3"


def test_a_teacher_is_known_by_its_best_epoch_wherever_it_lies(tmp_path):
    def taught(name: str, weights: bytes | None, **settings):
        if weights is not None:
            (tmp_path / name / "checkpoints").mkdir(parents=True)
            (tmp_path / name / "checkpoints" / "best.ckpt").write_bytes(weights)
        return changed(teacher=str(tmp_path / name), distillation={"weight": 0.5} | settings)

    one = taught("one", b"weights")
    assert config_hash(taught("moved", b"weights")) == config_hash(one)
    assert config_hash(taught("other", b"others")) != config_hash(one)
    assert config_hash(taught("one", None, weight=0.7)) != config_hash(one)
    gone = config_hash(taught("gone", None), teacher=hashlib.sha256(b"weights").hexdigest())
    assert gone == config_hash(one)
    assert re.fullmatch("teacher_one-[0-9a-f]{8}", run_name([f"teacher='{tmp_path}/one'"], one))


def test_what_a_teacher_would_do_does_not_count_without_one():
    assert config_hash(changed(teacher=None, distillation={"weight": 0.5})) == config_hash(changed())


def test_repositories_of_two_owners_are_two_runs_and_a_folder_counts_by_its_weights(tmp_path):
    names = {run_name([], changed(model__weights=f"hf://{owner}/net")) for owner in ("mine", "theirs")}
    assert len(names) == 2
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    weights = {"model": {"weights": str(tmp_path)}}
    assert file_keys(weights) == {"model.weights": tmp_path / "model.safetensors"}
    other = {"model": {"weights": "elsewhere/net"}}
    contents = {"model.weights": hashlib.sha256(b"weights").hexdigest()}
    assert identity_hash(weights, contents) == identity_hash(other, contents) != identity_hash(other, {})


def test_a_null_split_file_counts_only_where_it_always_did():
    def hashed(target, **options):
        return config_hash(changed(dataset={"_target_": target, "root": "/data/x", **options}))

    camvid, cityscapes, concat = (
        f"streetlab.datasets.{name}" for name in ("camvid.CamVid", "cityscapes.Cityscapes", "concat.Concat")
    )
    later = {"split_file": None, "folds": None, "fold": None}
    for target in (camvid, cityscapes, concat):
        assert hashed(target, **later) == hashed(target)
        assert hashed(target, split_file="/a/split.json") != hashed(target)
    inside = {"sources": {"one": {"_target_": camvid, **later}}}
    assert hashed(concat, **inside) == hashed(concat, sources={"one": {"_target_": camvid}})
    masks = "streetlab.datasets.mask_folder.MaskFolder"
    assert hashed(masks, split_file=None) != hashed(masks)
