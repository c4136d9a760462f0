"""A search is as long as asked, whatever interrupts it, and says in one line why it cannot go on."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState
from tests.support.locked_folder import locked

from streetlab import cli

ROOT = Path(__file__).parents[2]
TOY = cli.Command("tests.support.toy_search", "trains nothing")
IN_A_PROCESS = """
import sys
from streetlab import cli
cli.COMMANDS["train"] = cli.Command("tests.support.toy_search", "trains nothing")
sys.exit(cli.run(sys.argv[1:]))
"""
WORDS = ["train", "-m", "sweep=optuna", "output=found"]
DATABASE = "found/optuna.db"


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    """`streetlab train` with a job that takes no time."""
    monkeypatch.setitem(cli.COMMANDS, "train", TOY)
    monkeypatch.chdir(tmp_path)


def search(*words, trials=4):
    return cli.run([*WORDS, f"hydra.sweeper.n_trials={trials}", *words])


def study(database=DATABASE):
    return optuna.load_study(study_name="streetlab", storage=f"sqlite:///{database}")


def attempts():
    """Count the starts of each job, in the order of the first start."""
    files = sorted(Path("found").glob("*/attempts"), key=lambda path: path.stat().st_ctime_ns)
    return {path.parent.name: len(path.read_text().splitlines()) for path in files}


def wait_for(happened, process):
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, "the search ended early"
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_search_killed_in_its_third_trial_ends_with_as_many_as_asked(capsys):
    Path("hold").touch()
    line = [sys.executable, "-c", IN_A_PROCESS, *WORDS, "hydra.sweeper.n_trials=4"]
    process = subprocess.Popen(line, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        wait_for(lambda: len(list(Path("found").glob("*/attempts"))) == 3, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    Path("hold").unlink()
    before = study().trials
    assert [trial.state.name for trial in before] == ["COMPLETE", "COMPLETE", "RUNNING"]
    stamps = {path: path.stat().st_mtime_ns for path in Path("found").glob("*/metrics.json")}
    assert len(stamps) == 2

    assert search() == 0
    after = study().trials
    assert [trial.state.name for trial in after] == ["COMPLETE"] * 4
    assert [trial.value for trial in after[:2]] == [trial.value for trial in before[:2]]
    assert after[2].params == before[2].params
    assert sorted(attempts().values()) == [1, 1, 1, 2], "the killed trial's record is not taken up"
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert "trial 2 was cut short" in capsys.readouterr().out

    assert search() == 0
    assert len(study().trials) == 4
    assert "4 of 4 trials are finished" in capsys.readouterr().out


@pytest.mark.slow
def test_a_full_disk_ends_the_search_and_the_trial_goes_on_when_there_is_room(capsys):
    assert search("augment=none", trials=1) == 0
    Path("full").touch()
    assert search("augment=none", trials=2) == 1
    assert "failed jobs: 1" in capsys.readouterr().err
    (cut,) = [trial for trial in study().trials if trial.state == TrialState.RUNNING]
    Path("full").unlink()
    assert search("augment=none", trials=2) == 0
    assert [trial.state for trial in study().trials] == [TrialState.COMPLETE] * 2
    assert study().trials[1].params == cut.params
    assert list(attempts().values()) == [1, 2]


@pytest.mark.slow
def test_a_failed_trial_counts_and_the_search_goes_on(capsys):
    strong = "augment=strong,original"
    assert search("seed=13", strong, trials=4) == 1
    states = [trial.state for trial in study().trials]
    assert set(states) == {TrialState.COMPLETE, TrialState.FAIL}
    assert all((trial.params["augment"] == "strong") == (trial.value is None) for trial in study().trials)
    said = capsys.readouterr()
    assert said.out.count(": failed") == states.count(TrialState.FAIL)
    assert f"failed jobs: {states.count(TrialState.FAIL)}" in said.err
    assert search("seed=13", strong, trials=4) == 0, "a failed trial was run again"


@pytest.mark.slow
def test_what_is_drawn_does_not_depend_on_where_the_search_was_interrupted():
    for trials in (1, 3):
        assert search("augment=none", trials=trials) == 0
    assert search("augment=none", "output=at_once", trials=3) == 0
    drawn, at_once = ([trial.params for trial in study(name).trials] for name in (DATABASE, "at_once/optuna.db"))
    assert drawn == at_once
    assert len(set(map(str, drawn))) == 3


@pytest.mark.parametrize(("mode", "best"), [pytest.param("max", max, marks=pytest.mark.slow), ("min", min)])
def test_the_best_trial_is_the_one_that_the_task_calls_best(mode, best):
    assert search("augment=none", f"task.objective.mode={mode}", trials=3) == 0
    results = yaml.safe_load(Path("found/optimization_results.yaml").read_text())
    trials = study().trials
    assert results["best_value"] == best(trial.value for trial in trials)
    assert results["best_params"] == trials[results["best_trial"]].params


@pytest.mark.slow
def test_a_key_on_the_command_line_replaces_the_presets(capsys):
    words = ["optimizer.lr=0.01", "augment=none", "batch_size=range(8,32,8)", "dataset.root=some/where"]
    assert search("dataset=image_folder", *words, "hydra.sweeper.n_jobs=2", trials=3) == 0
    assert {key for trial in study().trials for key in trial.params} == {"optimizer.weight_decay", "batch_size"}
    assert {trial.value for trial in study().trials} == {-1.0}
    assert (
        len(
            re.findall(
                r"^trial \d: optimizer.weight_decay=\S+ batch_size=\d+: macro_f1 ", capsys.readouterr().out, re.M
            )
        )
        == 3
    )


@pytest.mark.slow
def test_the_folder_is_the_same_one_whatever_the_number_of_trials():
    for trials in (1, 2):
        assert search("output=null", "augment=none", trials=trials) == 0
    (database,) = Path("outputs/cleanliness").glob("optuna-*/optuna.db")
    assert len(study(database).trials) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hydra.sweeper.n_jobs=many", "hydra.sweeper.n_jobs: 'many' is not a whole number of 1 or more"),
        ("hydra.sweeper.storage=mine.db", "hydra.sweeper.storage: 'mine.db' is no URL such as sqlite:///FILE"),
        ("hydra.sweeper.storage=sqlite:////dev/null/x.db", "unable to open database file"),
        ("hydra.sweeper.sampler._target_=optuna.samplers.Nope", "hydra.sweeper.sampler._target_: cannot import"),
        ("hydra.sweeper.pruner=median", "hydra.sweeper.pruner: 'median' is no mapping with a `_target_`, such as {"),
        (
            "hydra.sweeper.pruner={_target_:optuna.samplers.RandomSampler}",
            "hydra.sweeper.pruner: optuna.samplers.RandomSampler is none of optuna.pruners, such as {",
        ),
        ("optimizer.lrr=interval(0,1)", "no key 'optimizer.lrr'; did you mean 'optimizer.lr'?"),
        ("augment=none,stron", "no augment 'stron'; did you mean 'strong'?"),
        ("task.objective.mode=best", "task.objective.mode: min or max is expected, found 'best'"),
        ("optimizer.lr=1 optimizer.weight_decay=0 augment=none", "nothing is searched"),
        ("output=what?", "because of ?"),
    ],
)
def test_a_fault_is_one_line_before_any_trial(capsys, words, said):
    assert search(*words.split()) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.splitlines()[-1].startswith("streetlab: ")
    assert not attempts()


def test_a_database_that_is_none_is_named(capsys):
    Path("found").mkdir()
    Path(DATABASE).write_text("no database at all")
    assert search() == 2
    assert capsys.readouterr().err == (
        f"streetlab: {DATABASE}: not usable as Optuna's storage (file is not a database); "
        "move it away, or give this one another folder with output=DIR\n"
    )
    assert Path(DATABASE).read_text() == "no database at all"


@pytest.mark.slow
def test_trials_of_another_search_are_not_mixed_in(capsys):
    assert search(trials=1) == 0
    for word, said in {
        "task.objective.mode=min": "(objective: max of val macro_f1; now: min of val macro_f1)",
        "task.objective.metric=accuracy": "(objective: max of val macro_f1; now: max of val accuracy)",
        "augment=none,strong": "(augment: one of none, original, strong; now: one of none, strong)",
        "seed=1": "holds another search (settings: ",
        "batch_size=range(8,32,8)": "holds another search (batch_size: not searched; now: a whole number)",
    }.items():
        capsys.readouterr()
        assert search(word, trials=2) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"streetlab: {DATABASE}: ")
        assert said in line
        assert line.count("\n") == 1
        assert len(study().trials) == 1


def test_a_study_made_by_other_means_is_left_alone(capsys):
    Path("found").mkdir()
    theirs = optuna.create_study(study_name="streetlab", storage=f"sqlite:///{DATABASE}", direction="maximize")
    theirs.tell(theirs.ask(), 1.0)
    assert search() == 2
    assert "its study 'streetlab' is not streetlab's" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_that_still_runs_in_another_process_is_left_alone(capsys):
    assert search("augment=none", trials=1) == 0
    study().ask()
    study().set_user_attr("process", [socket.gethostname(), os.getppid()])
    with locked(Path("found")):
        assert search("augment=none") == 2
    assert f"found is being written by process {os.getppid()}" in capsys.readouterr().err
    assert study().trials[-1].state == TrialState.RUNNING
    elsewhere = f"hydra.sweeper.storage=sqlite:///{DATABASE}"
    assert search("augment=none", elsewhere) == 2
    assert f"{DATABASE}: process {os.getppid()} is searching" in capsys.readouterr().err
    assert search("augment=none", trials=2) == 0, "another program has the number of one that was killed"
    assert [trial.state for trial in study().trials] == [TrialState.COMPLETE] * 2


def test_without_the_extra_the_line_says_what_to_install(monkeypatch, capsys):
    for module in ("search", "storage"):
        monkeypatch.delitem(sys.modules, f"streetlab.sweeps.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search() == 2
    line = capsys.readouterr().err
    assert "pip install 'streetlab[sweep]'" in line
    assert line.count("\n") == 1
