"""The public API: light to import, typed, the examples of its page run, and a process is left as it was."""

from __future__ import annotations

import inspect
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from shapely import LineString

import streetlab
from streetlab import cli
from streetlab.records.record import RunRecord
from tests.support.street_files import write_features
from tests.support.tiny_runs import TINY, write_photos

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "python.md").read_text()
EXAMPLES = {
    title: code
    for title, section in (part.split("\n", 1) for part in PAGE.split("\n## "))
    if (code := "\n".join(re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)))
}
TASKS = (
    "Train two regimes and compare them",
    "Load a run and predict an array",
    "Read the predictions of a finished run into a table",
    "Audit a folder",
    "Explain a run",
)
QUICK = (*TINY, "debug=limit")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The variables that the page's examples leave behind, run one after the other."""
    folder = tmp_path_factory.mktemp("notebook")
    write_photos(folder / "photos", {"train": 4, "val": 2, "test": 2})
    lines = [LineString([(4.3 + 0.001 * i, 52.0), (4.3 + 0.001 * i, 52.001)]) for i in range(300)]
    write_features(folder / "streets.gpkg", lines, crs="EPSG:28992")
    names: dict[str, Any] = {"folder": folder}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for code in EXAMPLES.values():
            exec(compile(code, "docs/reference/python.md", "exec"), names)
        yield names
    finally:
        os.chdir(before)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_photos(tmp_path / "photos", {"train": 2, "val": 1, "test": 1})


def test_every_task_of_a_notebook_takes_six_lines_at_most():
    lines = {title: [line for line in EXAMPLES[title].splitlines() if line.strip()] for title in TASKS}
    assert {title: len(code) for title, code in lines.items() if len(code) > 6} == {}


def test_every_public_name_is_in_an_example():
    used = set(re.findall(r"streetlab\.(\w+)", "\n".join(EXAMPLES.values())))
    assert used >= {*streetlab.__all__} - {"Run", "__version__"}


def test_two_regimes_are_trained_and_compared(ran: dict[str, Any]):
    assert [run.state for run in ran["runs"]] == ["completed", "completed"]
    board = ran["comparison"].to_pandas()
    assert sorted(board.name) == ["regime=from_scratch", "regime=full_finetune"]
    by_run = {run.path: run.metrics["test"]["macro_f1"] for run in ran["runs"]}
    assert dict(zip(map(Path, board.records), board.test_macro_f1, strict=True)) == by_run
    assert ran["comparison"].page.is_file()


def test_an_array_a_path_and_an_image_are_predicted_alike(ran: dict[str, Any]):
    predictor, photo = ran["predictor"], ran["folder"] / "photos" / "test" / "clean" / "clean_0.png"
    image = Image.open(photo)
    answers = predictor.predict([photo, str(photo), np.asarray(image), image])
    assert all(np.array_equal(answer.probabilities, answers[0].probabilities) for answer in answers)
    assert predictor.label_space.names[ran["answer"].prediction] in ("clean", "litter", "medium")


def test_a_photo_on_its_side_is_turned_upright(ran: dict[str, Any]):
    predictor, photo = ran["predictor"], ran["folder"] / "photos" / "test" / "clean" / "clean_0.png"
    upright = Image.open(photo)
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    lying.getexif()[0x0112] = 6  # what a phone writes: turn by 90 degrees clockwise
    first, second = predictor.predict([upright, lying])
    assert np.array_equal(first.probabilities, second.probabilities)


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        (["nowhere.png"], "nowhere.png: "),
        ([np.zeros((3, 8, 8), np.uint8)], r"\(H, W, 3\) of uint8, RGB; found \(3, 8, 8\) of uint8"),
        ([np.zeros((8, 8, 3))], r"found \(8, 8, 3\) of float64"),
        (np.zeros((8, 8, 3), np.uint8), r"predict\(\[photo\]\)"),
        ("a.png", r"predict\(\[photo\]\)"),
        ([None], "found NoneType"),
    ],
)
def test_what_is_no_photo_is_refused_in_one_line(ran: dict[str, Any], photos: Any, message: str):
    with pytest.raises(streetlab.UserError, match=message):
        ran["predictor"].predict(photos)


def test_predictions_are_read_as_the_file_has_them(ran: dict[str, Any]):
    import pandas as pd

    written = pd.read_csv(ran["run"].path / "predictions.csv", keep_default_na=False)
    written = written[written.split == "test"].drop(columns="split").reset_index(drop=True)
    pd.testing.assert_frame_equal(ran["table"], written, check_exact=False, rtol=1e-8, check_dtype=False)
    assert set(ran["wrong"].id) == set(written.id[written.label != written.prediction])
    assert ran["run"].predictions().ids == ran["run"].predictions("test").ids


def test_an_audit_holds_the_rows_of_its_file(ran: dict[str, Any]):
    import pandas as pd

    written = pd.read_csv(ran["audit"].page.with_name("findings.csv"), keep_default_na=False)
    assert list(ran["audit"].to_pandas().columns) == list(written.columns)
    assert list(ran["audit"].to_pandas().kind) == list(written.kind)


def test_an_explanation_is_where_the_command_writes_it(ran: dict[str, Any]):
    assert ran["explanation"].page.is_relative_to(ran["runs"][0].path / "explain")
    assert ran["explanation"].metrics["explained"]["split"] == "test"


def test_the_other_commands_return_what_they_wrote(ran: dict[str, Any]):
    import pandas as pd

    assert ran["again"].metrics["evaluated"]["splits"] == ["val"]
    assert ran["again"].metrics["val"]["macro_f1"] == ran["runs"][0].metrics["val"]["macro_f1"]
    assert len(ran["files"]) == 24
    assert list(ran["files"].filter(like="p_")) == ["p_clean", "p_litter", "p_medium"]
    assert ran["model"].is_file()
    assert 2 <= len(ran["visit"]) < 300
    assert len(pd.read_csv(ran["folder"] / "outputs/survey/plan/sample.csv")) == len(ran["visit"])
    weights = ran["predictor"].network.state_dict()
    assert all(np.array_equal(weights[key], tensor) for key, tensor in ran["network"].state_dict().items())


def test_a_run_is_the_one_that_the_command_line_would_find(photos: Path):
    run = streetlab.train(overrides=[*QUICK, f"dataset.root={photos}", "regime=single"])
    ended = run.status["ended"]
    assert cli.run(["train", *QUICK, f"dataset.root={photos}", "regime=single"]) == 0
    assert [record.path.resolve() for record in streetlab.find_runs()] == [run.path.resolve()]
    assert run.status["ended"] == ended
    assert isinstance(run, RunRecord)


def test_a_training_leaves_the_process_as_it_was(photos: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["notebook", "--of", "its=own"])
    own = photos.parent / "own"
    own.mkdir()
    (own / "config.yaml").write_text("mine: 1\n")
    logger = logging.getLogger("streetlab")

    def state() -> tuple[Any, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        logs = [(log.level, log.propagate, list(log.handlers)) for log in (logger, logging.getLogger())]
        return list(sys.argv), handlers, logs, os.environ.get("HYDRA_FULL_ERROR"), list(sys.path), Path.cwd()

    with initialize_config_dir(str(own), version_base="1.3"):
        hydra, before = GlobalHydra.instance().hydra, state()
        streetlab.train(overrides=[*QUICK, f"dataset.root={photos}", "regime=single"])
        with pytest.raises(streetlab.UserError):
            streetlab.train(overrides=[*QUICK, "dataset.root=nowhere"])
        assert state() == before
        assert GlobalHydra.instance().hydra is hydra
        assert compose("config") == {"mine": 1}


def test_a_notebook_is_not_started_again_as_further_processes(photos: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)
    words = [word for word in QUICK if not word.startswith("trainer")]
    with pytest.raises(streetlab.UserError, match="a notebook or prompt is one process"):
        streetlab.train(overrides=[*words, f"dataset.root={photos}", "trainer=ddp_cpu"])
    assert not list(photos.parent.glob("outputs/*/*"))


def test_a_training_may_run_in_another_thread(photos: Path):
    runs: list[streetlab.Run] = []
    words = [*QUICK, f"dataset.root={photos}", "regime=single"]
    threads = [threading.Thread(target=lambda s=seed: runs.append(streetlab.train(overrides=[*words, f"seed={s}"])))
               for seed in (1, 2)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.config["seed"] for run in runs) == [1, 2]
    assert {run.state for run in runs} == {"completed"}


def test_configs_and_classes_of_a_folder_of_ones_own_are_used(photos: Path):
    (photos.parent / "mine" / "optimizer").mkdir(parents=True)
    (photos.parent / "mine" / "my_parts.py").write_text("from torch.optim import SGD\n\n\nclass Slow(SGD): pass\n")
    node = {"_target_": "my_parts.Slow", "_partial_": True, "lr": 1e-4}
    (photos.parent / "mine" / "optimizer" / "slow.yaml").write_text(yaml.safe_dump(node))
    words = [word for word in QUICK if not word.startswith("optimizer")]
    run = streetlab.train(overrides=[*words, f"dataset.root={photos}", "optimizer=slow"], config_dir="mine")
    assert run.config["optimizer"]["_target_"] == "my_parts.Slow"
    assert run.state == "completed"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: streetlab.train("cleanlines_pretrained"), "did you mean 'cleanliness_pretrained'"),
        (lambda: streetlab.train(overrides=["sed=3"]), "no key 'sed'; did you mean 'seed'"),
        (lambda: streetlab.train(overrides="seed=3"), r"'seed=3' is one text; give a list, \['seed=3'\]"),
        (lambda: streetlab.train(overrides=["-m", "seed=1,2"]), "a sweep is of several jobs; call train once for each"),
        (lambda: streetlab.train(overrides=["sweep=cleanliness_regimes"]), "call train once for each"),
        (lambda: streetlab.train(overrides=["--cfg", "job"]), "--cfg is an option of the command line"),
        (lambda: streetlab.train(config_dir="nowhere"), "config_dir: no folder"),
        (lambda: streetlab.load_run("nowhere"), "run: no folder nowhere"),
        (lambda: streetlab.find_runs("nowhere"), "nowhere: no such folder"),
        (lambda: streetlab.compare(["nowhere"]), "nowhere: no such folder"),
        (lambda: streetlab.audit("nowhere"), "nowhere"),
        (lambda: streetlab.audit(), "which data set"),
        (lambda: streetlab.evaluate("nowhere"), "run: no folder nowhere"),
        (lambda: streetlab.explain("nowhere"), "run: no folder nowhere"),
        (lambda: streetlab.export("nowhere"), "run: no folder nowhere"),
        (lambda: streetlab.survey(None, "nothing.csv"), "source: no file nothing.csv"),
        (lambda: streetlab.survey_plan("nothing.gpkg"), "streets: no file nothing.gpkg"),
        (lambda: streetlab.predict("nowhere", "a.jpg"), "run: no folder nowhere"),
    ],
)
def test_faults_are_the_command_lines_own(call: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(streetlab.UserError, match=message):
        call()
    assert list(tmp_path.rglob("*")) == []


def test_a_file_that_cannot_be_predicted_is_no_exception(ran: dict[str, Any], tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    result = streetlab.predict(ran["runs"][0], tmp_path, output=tmp_path / "out")
    assert list(result.errors) == ["bad.png"]
    assert len(result.files) == 2


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_it_imports_nothing_else():
    heavy = "('torch', 'hydra', 'omegaconf', 'pydantic', 'numpy', 'yaml')"
    assert python(f"import sys, streetlab; dir(streetlab); print({{*{heavy}}} & {{*sys.modules}})") == "set()\n"


def test_reading_records_imports_no_torch(tmp_path: Path):
    code = f"import sys, streetlab; streetlab.find_runs({str(tmp_path)!r}); print('torch' in sys.modules)"
    assert python(code) == "False\n"


def test_a_function_stays_one_when_its_package_is_imported():
    code = (
        "import streetlab.compare.select as select, streetlab; from streetlab import audit, compare; "
        "print(callable(streetlab.compare), compare is streetlab.compare, callable(audit), callable(select.select))"
    )
    assert python(code) == "True True True True\n"


@pytest.mark.parametrize("name", ["audit", "compare", "explain", "export", "survey"])
def test_the_signature_of_a_package_is_its_functions(name: str):
    from streetlab import api

    assert inspect.signature(getattr(streetlab, name)) == inspect.signature(getattr(api, name))


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        streetlab.trian  # noqa: B018


@pytest.mark.slow
def test_a_notebook_trains_two_regimes_and_explains_one(tmp_path: Path):
    nbclient = pytest.importorskip("nbclient", reason="no nbclient: pip install -e '.[dev]' brings it")
    pytest.importorskip("ipykernel")
    from nbformat.v4 import new_code_cell, new_notebook

    write_photos(tmp_path / "photos", {"train": 2, "val": 1, "test": 1})
    cells = [next(iter(EXAMPLES.values())), EXAMPLES[TASKS[0]], EXAMPLES[TASKS[4]]]
    notebook = new_notebook(cells=[new_code_cell(code) for code in cells])
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = str(notebook.cells[1].outputs)
    assert "regime=from_scratch" in notebook.cells[1].outputs[-1]["data"]["text/html"]
    assert str(tmp_path) in str(notebook.cells[2].outputs[-1])
    assert 'install "ipywidgets"' not in shown
    assert shown.count("epoch 1/1") + shown.count("epoch 2/2") >= 2
