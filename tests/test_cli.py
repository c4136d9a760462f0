"""The command line: one clear line for every mistake, folders named by what was asked, sweeps that go on."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from streetlab import __version__, cli
from streetlab.config.composition import config_folder
from streetlab.errors import UserError


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    """A stand-in for the train command: collects (folder, config) of each job; `seed=13` fails."""
    done = []

    def run(cfg):
        done.append((HydraConfig.get().runtime.output_dir, cfg))
        if cfg.seed == 13:
            raise UserError("thirteen is not for us")
        if cfg.seed == 99:
            raise RuntimeError("two\nlines")
        if cfg.seed in (130, 131):
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt as error:
                if cfg.seed == 130:
                    raise
                raise ImportError("initialization failed") from error  # what a C extension's import makes of it

    module = ModuleType("stand_in")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stand_in", module)
    monkeypatch.setitem(cli.COMMANDS, "train", cli.Command("stand_in", "trains nothing"))
    monkeypatch.chdir(tmp_path)
    return done


def folders(jobs):
    return [Path(folder).relative_to(Path.cwd()).as_posix() for folder, _ in jobs]


def test_help_lists_the_commands_without_importing_anything_heavy():
    code = (
        "import sys; from streetlab import cli; code = cli.run(['--help']); "
        "heavy = {'hydra', 'omegaconf', 'torch', 'numpy', 'rich'} & set(sys.modules); "
        "print(heavy or 'light', code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("light 0\n")
    for name, command in cli.COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert command.help in done.stdout


def test_showing_a_config_imports_no_torch_and_makes_no_folder(tmp_path):
    code = (
        "import sys; from streetlab import cli; code = cli.run(['train', '--cfg', 'job', 'seed=7']); "
        "print('torch' in sys.modules, code)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "seed: 7" in done.stdout
    assert done.stdout.endswith("False 0\n")
    assert not list(tmp_path.iterdir())


def test_the_module_exits_with_the_code_of_the_command():
    done = subprocess.run([sys.executable, "-m", "streetlab", "trian"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("streetlab: no command 'trian'; did you mean 'train'?")
    assert done.stderr.count("\n") == 1


IN_A_PROCESS = """
import os, signal, sys, tempfile, time
from types import ModuleType
from streetlab import cli

class Slow:
    def __del__(self):
        raise KeyboardInterrupt

def deletes(cfg):
    slow = Slow()
    del slow
    time.sleep(5)

def is_terminated(cfg):
    with tempfile.TemporaryDirectory():
        os.kill(os.getpid(), signal.SIGTERM)

module = ModuleType("stand_in")
module.run = globals()[sys.argv[1]]
sys.modules["stand_in"] = module
cli.COMMANDS["runs"] = cli.Command("stand_in", "")
cli.main(["runs"])
"""


@pytest.mark.slow
def test_ctrl_c_in_a_destructor_is_not_lost():
    done = subprocess.run([sys.executable, "-c", IN_A_PROCESS, "deletes"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "streetlab: interrupted\n")


def test_an_interpolation_that_leads_nowhere_is_one_line_of_a_command_without_that_key(capsys):
    assert cli.run(["predict", "run=a", "source=b", "+x=${seed}"]) == 2
    assert capsys.readouterr().err == "streetlab: x: Interpolation key 'seed' not found\n"


def test_a_terminated_command_tidies_up_and_ends_as_by_ctrl_c(tmp_path):
    command = [sys.executable, "-c", IN_A_PROCESS, "is_terminated"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (130, "streetlab: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"streetlab {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("optimzer.lr=1", "no key 'optimzer.lr'; did you mean 'optimizer.lr'?"),
        ("optimizer.lrr=1", "no key 'optimizer.lrr'; did you mean 'optimizer.lr'?"),
        ("lr=1", "no key 'lr'; did you mean 'optimizer.lr'?"),
        ("modle=resnet18", "no key 'modle'; did you mean 'model'?"),
        ("model=resnet81", "no model 'resnet81'; did you mean 'resnet18'?"),
        ("experiment=cleanlines_pretrained", "did you mean 'cleanliness_pretrained'?"),
        ("model=null", "model takes a name; it has deeplabv3_resnet101"),
        ("-m debug=null,limit", "debug takes a name; it has fast_dev_run"),
        ("-m sweep=cleanliness_regimes experiment=null", "sweep=cleanliness_regimes runs over choices of experiment"),
        ("+model=resnet18", "write model=... without the +"),
        ("+seed=1", "write seed=... without the +"),
        ("model=[0]", "model=[0]: model takes a name; it has deeplabv3_resnet101"),
        ("-m model=[1],[2]", "model=[1],[2]: model takes a name; it has deeplabv3_resnet101"),
        ("+=", "'+=' is no override: write key=value"),
        ("~nope", "no key 'nope'"),
        ("~optimizer.amsgrad", "no key 'optimizer.amsgrad' (optimizer has lr"),
        ("optimizer.amsgrad=true", "no key 'optimizer.amsgrad' in the config; to add it say +optimizer.amsgrad=true"),
        ("optimizer.amsgrat=true", "no key 'optimizer.amsgrat'; did you mean '+optimizer.amsgrad'? (optimizer has lr"),
        ("model=timm_classifier model.img_size=224", "say +model.img_size=224"),
        ("-m trainer.max_time=00:01:00,null", "say +trainer.max_time=00:01:00,null"),
        ("seed=abc", "seed=abc: Value 'abc'"),
        ("image_size=[a,b]", "could not be converted to Integer"),
        ("image_size={a:[1]}", "image_size={a:[1]}: a mapping stands where a list is expected"),
        ("seed=[1", "cannot read 'seed=[1'"),
        ("seed=1,2", "add -m"),
        ("trainer.max_epochs=5", "regime.max_epochs"),
        ("+trainer.max_epochs=5", "regime.max_epochs"),
        ("dataset=image_folder", "dataset.root is missing: give dataset.root=..."),
        ("~model", "model is missing"),
        ("-m experiment=glob(zz*)", "experiment=glob(zz*) matches nothing; the choices are"),
        ("-m seed=1,2 model=resnet81", "did you mean 'resnet18'?"),
        ("--mutlirun", "did you mean '--multirun'?"),
        ("-m=", "-m takes no value, not ''"),
        ("--cfg=jobs", "--cfg takes job, hydra, all, not 'jobs'"),
        ("--config-dir=/nowhere", "/nowhere"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_choice(jobs, capsys, words, said):
    assert cli.run(["train", *words.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("streetlab: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not jobs
    assert not Path("outputs").exists()


@pytest.fixture
def presets(tmp_path):
    folder = tmp_path / "my presets"
    (folder / "experiment").mkdir(parents=True)

    def write(text):
        (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n", encoding="utf-8")
        return ["train", "--config-dir", str(folder), "experiment=mine"]

    return write


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sead: 1", "experiment/mine.yaml: no key 'sead'; did you mean 'seed'?"),
        ("seed: abc", "experiment/mine.yaml: seed: Value 'abc'"),
        ("defaults:\n  - override /modle: resnet18", "mine.yaml: no group 'modle'; did you mean 'model'?"),
        ("defaults:\n  - override /model: resnet81", "no model 'resnet81'; did you mean 'resnet18'?"),
        ("seed: [1", "mine.yaml, line "),
        ("study: ${nowhere}", "study: Interpolation key 'nowhere' not found"),
    ],
)
def test_a_mistake_in_an_experiment_file_names_the_file(jobs, presets, capsys, text, said):
    assert cli.run(presets(text)) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not jobs


def test_presets_of_a_folder_of_ones_own_compose(jobs, presets):
    assert cli.run([*presets("seed: 3\nstudy: mine"), "batch_size=2"]) == 0
    assert jobs[0][1].seed == 3
    assert folders(jobs)[0].startswith("outputs/mine/mine-batch_size_2-")


def test_the_same_command_finds_the_same_folder_with_another_logger(jobs):
    assert cli.run(["train", "model=resnet18", "seed=1"]) == 0
    assert cli.run(["train", "seed=1", "logger=none", "model=resnet18", "num_workers=2", "resume=never"]) == 0
    assert cli.run(["train", "seed=2"]) == 0
    first, second, third = folders(jobs)
    assert first == second != third
    assert first.startswith("outputs/cleanliness/resnet18-seed_1-")
    assert list(Path(first).iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("experiment=null", "debug=null", "sweep=null"),
        ("~experiment", "~debug"),
        ("experiment=cleanliness_pretrained", "sweep=cleanliness_regimes", "sweep=null", "experiment=NULL"),
        ("~debug=null", "+sweep=null"),
    ],
)
def test_choosing_nothing_where_nothing_is_chosen_by_default_is_the_run_without_the_word(jobs, words):
    assert cli.run(["train", "seed=1"]) == 0
    assert cli.run(["train", words[0], "seed=1", *words[1:]]) == 0
    assert cli.run(["train", "debug=null", "seed=1", "debug=limit"]) == 0
    without, with_words, limited = folders(jobs)
    assert with_words == without
    assert limited.rpartition("/")[2].startswith("limit-seed_1-")


@pytest.mark.slow
def test_a_sweep_without_a_preset_keeps_its_name_and_its_jobs(jobs):
    assert cli.run(["train", "-m", "model=resnet18,timm_classifier", "optimizer.lr=0.1"]) == 0
    assert cli.run(["train", "-m", "sweep=null", "model=resnet18,timm_classifier", "optimizer.lr=0.1", "~debug"]) == 0
    assert folders(jobs)[:2] == folders(jobs)[2:]


def test_output_is_taken_as_it_is(jobs):
    assert cli.run(["train", "output=my folder/Straße (1),x=[2]"]) == 0
    assert folders(jobs) == ["my folder/Straße (1),x=[2]"]
    assert jobs[0][1].output == folders(jobs)[0]


def test_paths_arrive_unquoted_and_uninterpreted(jobs, tmp_path):
    root = f"{tmp_path}/Straße (1), it's [v=2] ${{HOME}}"
    assert cli.run(["train", "dataset=image_folder", f"dataset.root={root}"]) == 0
    assert jobs[0][1].dataset.root == root


def test_a_folder_that_cannot_be_written_is_one_line(jobs, capsys):
    Path("file").touch()
    assert cli.run(["train", "output=file/below"]) == 2
    assert capsys.readouterr().err.startswith("streetlab: file")


@pytest.mark.slow
def test_a_sweep_names_its_jobs_once_and_finds_them_when_it_grows(jobs, capsys):
    words = ["train", "-m", "experiment=cleanliness_pretrained,cleanliness_from_scratch"]
    words += ["dataset=synthetic_cleanliness", "study=s"]
    assert cli.run([*words, "seed=1,2"]) == 0
    assert capsys.readouterr().out.startswith("4 jobs: ")
    first = folders(jobs)
    assert len(set(first)) == 4
    assert {Path(folder).parent.as_posix() for folder in first} == {Path(first[0]).parent.as_posix()}
    assert first[0].startswith("outputs/s/experiment_x_seed-synthetic_cleanliness-")
    jobs.clear()
    assert cli.run([*words, "seed=range(1,4)"]) == 0
    assert set(first) < set(folders(jobs))


def test_jobs_that_differ_in_paths_or_workers_only_do_not_share_a_folder(jobs):
    words = ["train", "-m", "dataset=image_folder", "dataset.root=a/photos,b/photos", "num_workers=0,1"]
    assert cli.run(words) == 0
    assert len(set(folders(jobs))) == 4
    assert [config.dataset.root for _, config in jobs] == ["a/photos"] * 2 + ["b/photos"] * 2


@pytest.mark.slow
def test_the_study_of_swept_experiments_names_the_sweeps_folder(jobs, presets):
    command, option, folder, _ = presets("study: mine")
    assert cli.run([command, option, folder, "-m", "experiment=mine", "seed=1,2"]) == 0
    assert cli.run([command, option, folder, "-m", "experiment=mine,cleanliness_pretrained"]) == 0
    assert all(folder.startswith("outputs/mine/") for folder in folders(jobs))


def test_values_for_swept_experiments_need_not_fit_the_default_ones(jobs):
    words = ["train", "-m", "experiment=cleanliness_pretrained,cleanliness_from_scratch"]
    assert cli.run([*words, "dataset.root=/x y/[1]", "model.weights=none", "regime.max_epochs=2"]) == 0
    assert [config.dataset.root for _, config in jobs] == ["/x y/[1]"] * 2
    assert [config.regime.max_epochs for _, config in jobs] == [2, 2]
    assert folders(jobs)[0].startswith("outputs/cleanliness/experiment-root_1-weights_none-max_epochs_2-")


@pytest.mark.slow
def test_a_preset_of_sweep_brings_its_presets_and_seeds(jobs, capsys):
    words = ["train", "sweep=cleanliness_regimes", "pretrained=/w/a b.pth", "dataset.root=/x y"]
    assert cli.run([*words, "seed=0,1"]) == 0  # without -m: the preset says it
    assert [config.seed for _, config in jobs] == [0, 0, 1, 1]
    assert [config.model.weights for _, config in jobs] == ["none", "/w/a b.pth"] * 2
    assert {config.dataset.root for _, config in jobs} == {"/x y"}
    first = folders(jobs)
    assert first[0].startswith("outputs/cleanliness/cleanliness_regimes-root_x-y-")
    assert "cleanliness_from_scratch-root_x-y-seed_0-" in first[0]
    jobs.clear()
    assert cli.run(words) == 0
    assert len(jobs) == 10
    assert set(first) < set(folders(jobs))
    assert "10 jobs: 5 seed × 2 experiment" in capsys.readouterr().out


def test_the_variants_sweep_is_of_all_six_with_and_without_our_recipe():
    def presets(sweep: str) -> set[str]:
        params = OmegaConf.load(config_folder() / "sweep" / f"{sweep}.yaml").hydra.sweeper.params
        return set(params.experiment.replace(" ", "").split(","))

    six = {f"segmentation_{family}_{number}" for family in ("deeplabv3", "hrnet") for number in (1, 2, 3)}
    assert presets("segmentation_variants") == six | {f"{name}_plus" for name in six}
    assert presets("everything") == presets("segmentation_variants") | presets("cleanliness_regimes")
    assert presets("everything") <= {path.stem for path in (config_folder() / "experiment").glob("*.yaml")}


def test_a_mistake_in_a_sweep_is_said_before_its_first_job(jobs, capsys):
    words = ["train", "-m", "experiment=cleanliness_pretrained,cleanliness_from_scratch"]
    assert cli.run([*words, "optimizer.lrr=3"]) == 2
    assert "no key 'optimizer.lrr'; did you mean 'optimizer.lr'?" in capsys.readouterr().err
    assert cli.run([*words, "seed=x"]) == 2
    assert capsys.readouterr().err.startswith("streetlab: seed=x: ")
    assert not jobs


def test_a_failed_job_does_not_stop_the_sweep(jobs, capsys):
    assert cli.run(["train", "-m", "seed=1,13,99,2"]) == 1
    assert [config.seed for _, config in jobs] == [1, 13, 99, 2]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "streetlab: job 1 (seed=13): thirteen is not for us"
    assert lines[1] == "streetlab: job 2 (seed=99): RuntimeError: two lines (--traceback shows where)"
    assert lines[2:] == ["streetlab: failed jobs: 2", "  1: seed=13", "  2: seed=99"]


def test_errors_are_one_line_and_their_codes_tell_whose_they_are(jobs, capsys):
    assert cli.run(["train", "seed=13"]) == 2
    assert capsys.readouterr().err == "streetlab: thirteen is not for us\n"
    assert cli.run(["train", "seed=99"]) == 1
    assert capsys.readouterr().err == "streetlab: RuntimeError: two lines (--traceback shows where)\n"
    assert cli.run(["train", "--traceback", "seed=99"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    for seed in (130, 131):
        assert cli.run(["train", f"seed={seed}"]) == 130
        assert capsys.readouterr().err == "streetlab: interrupted\n"
    jobs.clear()
    assert cli.run(["train", "-m", "seed=131,1"]) == 130, "a sweep goes on after Ctrl-C"
    assert len(jobs) == 1


def test_hydras_own_options_work(jobs, capsys):
    assert cli.run(["train", "--help"]) == 0
    assert "streetlab train is powered by Hydra" in capsys.readouterr().out
    assert cli.run(["train", "--cfg", "job", "--package", "optimizer"]) == 0
    assert "lr: 0.001" in capsys.readouterr().out
    assert cli.run(["train", "--info", "searchpath"]) == 0
    assert not jobs


def test_a_job_can_be_sent_to_another_process():
    job = cli.Job("stand_in", show_traceback=True)
    assert pickle.loads(pickle.dumps(job)) == job


def test_a_sweep_of_a_command_that_writes_where_it_says_leaves_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "it's (1)"))
    monkeypatch.setattr("tempfile.tempdir", None)
    Path("it's (1)").mkdir()
    for name in ("a", "b"):
        Path(name).mkdir()
    assert cli.run(["runs", "-m", "runs=a,b"]) == 0
    assert capsys.readouterr().out.count("no run records in") == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "it's (1)"]


@pytest.mark.parametrize(("rank", "local_rank", "seed", "lines"), [(1, 1, 13, 0), (2, 0, 13, 1), (1, 1, 99, 1)])
def test_processes_of_one_machine_say_once_what_is_wrong_with_the_words(
    jobs, monkeypatch, capsys, rank, local_rank, seed, lines
):
    launched = {"TORCHELASTIC_RUN_ID": "none", "RANK": rank, "WORLD_SIZE": 4, "LOCAL_RANK": local_rank}
    for name, value in launched.items():
        monkeypatch.setenv(name, str(value))
    assert cli.run(["train", f"seed={seed}"]) in (1, 2)
    assert len(capsys.readouterr().err.splitlines()) == lines
