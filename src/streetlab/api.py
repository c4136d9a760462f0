"""The public Python API: each command as a function that takes plain values and returns its result.

A function does what the command of its name does: it composes the same config, raises the same errors (as
`streetlab.UserError`) and writes the same files. `overrides` are the command's words, such as `["seed=3"]`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streetlab.config.quoting import expand_home, quote
from streetlab.errors import UserError
from streetlab.records.locate import locate_run, make_importable
from streetlab.records.record import RunRecord
from streetlab.records.record import find_runs as find_records

if TYPE_CHECKING:
    from torch import nn

    from streetlab.audit.command import Audit
    from streetlab.compare.command import Comparison
    from streetlab.explain.command import Explanation
    from streetlab.export.command import Exported
    from streetlab.inference.command import PredictResult
    from streetlab.survey.command import SurveyResult
    from streetlab.survey.plan_command import PlanResult

PathLike = str | os.PathLike[str]
RunLike = RunRecord | PathLike
"""A run's record or folder."""


class Run(RunRecord):
    """A run's record that also loads its network.

    `config`, `status`, `metrics` and `model` are read from the folder each time; `predictions()` and `history()` are
    its tables.
    """

    def load_network(self, checkpoint: str = "best") -> nn.Module:
        """Load the run's network, in eval mode on the CPU; it takes normalised images (B, 3, H, W) float32.

        `Predictor.from_run` takes photos as they are.

        Args:
            checkpoint: best, last or a file.

        Raises:
            UserError: no such checkpoint, or a damaged one.
        """
        from streetlab.checkpoints.load_network import rebuild_network
        from streetlab.checkpoints.read import find_checkpoint, read_weights

        make_importable(self)
        weights = read_weights(find_checkpoint(self, checkpoint))
        return rebuild_network(weights, trusted=weights.belong_to(self))


def load_run(path: PathLike) -> Run:
    """Open the record of a run, of any state.

    Raises:
        UserError: no such folder, or no record in it; the nearest run is named.
    """
    return Run(locate_run(str(path)).path)


def find_runs(root: PathLike = "outputs") -> list[Run]:
    """Find every run at or below a folder, sorted by path; `fault()` says of each why it cannot be reported.

    Raises:
        UserError: the folder is not there.
    """
    return [Run(record.path) for record in find_records(Path(root).expanduser())]


def train(
    experiment: str | None = None,
    overrides: Sequence[str] = (),
    *,
    output: PathLike | None = None,
    config_dir: PathLike | None = None,
) -> Run:
    """Train one run and test its best epoch; a run that is complete already is not trained again.

    Args:
        experiment: a preset of `conf/experiment`, such as cleanliness_pretrained.
        overrides: as of `streetlab train`.
        output: the run's folder; None: one that is named by the overrides, below `outputs`.
        config_dir: a further folder of configs, as of `--config-dir`.

    Raises:
        UserError: as of the command.
    """
    own = {"experiment": experiment, "output": output}
    return Run(_call("train", own, overrides, config_dir).record.path)


def evaluate(
    run: RunLike,
    overrides: Sequence[str] = (),
    *,
    checkpoint: str | None = None,
    split: str | None = None,
    output: PathLike | None = None,
) -> Run:
    """Test a run's checkpoint again, on other data, sizes or views than it was trained with; returns a record of that.

    Args:
        run: the record or folder.
        overrides: of the run's config: `["dataset=camvid", "image_size=[256,512]"]`.
        checkpoint: best (where None), last, or a file.
        split: train, val, test or all; None: val and test.
        output: the folder of the result; None: one below the run.

    Raises:
        UserError: as of `streetlab evaluate`.
    """
    own = {"run": _path(run), "checkpoint": checkpoint, "split": split, "output": output}
    record, _ = _call("evaluate", own, overrides)
    return Run(record.path)


def predict(
    run: RunLike,
    source: PathLike | Sequence[PathLike],
    overrides: Sequence[str] = (),
    *,
    output: PathLike | None = None,
) -> PredictResult:
    """Predict photos, folders and videos, and write classes, masks, overlays and tables.

    `Predictor` predicts arrays and images in memory.

    Args:
        run: the record or folder, a checkpoint's file, or an exported model.
        source: a photo, video, folder or glob, or several.
        overrides: further keys of `streetlab predict`: `["mode=window", "device=cpu"]`.
        output: the folder of the results; None: `outputs/predict/<run>`.

    Returns:
        the entry of each file; one that could not be predicted is among `errors`, and no exception.

    Raises:
        UserError: as of `streetlab predict`.
    """
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    return _call("predict", {"run": _path(run), "source": sources, "output": output}, overrides)


def compare(
    runs: RunLike | Sequence[RunLike],
    overrides: Sequence[str] = (),
    *,
    objective: str | None = None,
    baseline: RunLike | None = None,
    output: PathLike | None = None,
) -> Comparison:
    """Rank finished runs and test them against one of them; writes the leaderboard and a page.

    Args:
        runs: records, run folders, or folders with runs below them.
        overrides: further keys of `streetlab compare`: `["delta=0.03"]`.
        objective: what ranks the runs; None: the task's own.
        baseline: a configuration's name, or a run; None: the best.
        output: the folder of the files; None: `compare` below the first of `runs`.

    Returns:
        `rows` of the leaderboard, `verdicts`, `notes`; `to_pandas()` gives leaderboard.csv.

    Raises:
        UserError: as of `streetlab compare`: no finished run, runs of several tasks or of different photos.
    """
    listed = [runs] if isinstance(runs, str | os.PathLike | RunRecord) else list(runs)
    own = {
        "runs": [_path(run) for run in listed],
        "objective": objective,
        "baseline": None if baseline is None else _path(baseline),
        "output": output,
    }
    return _call("compare", own, overrides)


def audit(folder: PathLike | None = None, overrides: Sequence[str] = (), *, output: PathLike | None = None) -> Audit:
    """Look for duplicates, broken files and odd images in a data set, and draw a split of it without leaks.

    Args:
        folder: of images in a folder for each class; of any other data set, where `overrides` choose one:
            `["dataset=camvid"]`.
        overrides: words about the data set, and further keys of `streetlab audit`: `["seed=1"]`.
        output: the folder of the page and tables; None: `outputs/audit/<data set>`.

    Returns:
        `findings`, `split`, `notes`, `headline`; `to_pandas()` gives findings.csv.

    Raises:
        UserError: as of `streetlab audit`.
    """
    chosen = any(word.partition("=")[0] in ("dataset", "experiment") for word in overrides)
    dataset = None if chosen or folder is None else "image_folder"
    return _call("audit", {"dataset": dataset, "dataset.root": folder, "output": output}, overrides)


def explain(
    run: RunLike,
    overrides: Sequence[str] = (),
    *,
    split: str | None = None,
    method: str | None = None,
    n: int | None = None,
    output: PathLike | None = None,
) -> Explanation:
    """Draw what in its photos a run's network looks at, and score how far these maps can be trusted.

    Args:
        run: the record or folder.
        overrides: further keys of `streetlab explain`, or of the run's config.
        split: train, val, test or all; None: the one that the run reports.
        method: grad_cam (where None), layer_cam, score_cam, ...
        n: photos for each pair true → predicted; with masks so many of the worst and best.
        output: the folder of the gallery; None: `explain` below the run.

    Raises:
        UserError: as of `streetlab explain`.
    """
    own = {"run": _path(run), "split": split, "method": method, "n": n, "output": output}
    return _call("explain", own, overrides)


def export(
    run: RunLike,
    overrides: Sequence[str] = (),
    *,
    format: str | None = None,
    precision: str | None = None,
    output: PathLike | None = None,
) -> Exported:
    """Write a run's network as one file, and compare the file with the network.

    Args:
        run: the record or folder.
        overrides: further keys of `streetlab export`: `["evaluate=false"]`.
        format: onnx (where None), or torch.
        precision: fp32 (where None), fp16 or int8.
        output: the folder of the file and its report; None: `export` below the run.

    Raises:
        UserError: as of `streetlab export`.
    """
    own = {"run": _path(run), "format": format, "precision": precision, "output": output}
    return _call("export", own, overrides)


def survey(
    run: RunLike | None,
    source: PathLike | Sequence[PathLike],
    overrides: Sequence[str] = (),
    *,
    streets: PathLike | None = None,
    output: PathLike | None = None,
) -> SurveyResult:
    """Put photos with places into streets, districts or cells of a grid; writes tables and maps.

    Args:
        run: the record or folder that predicts; None: `source` is a predictions.csv.
        source: photos, videos, folders or globs; or the table.
        overrides: further keys of `streetlab survey`: `["districts=districts.gpkg"]`.
        streets: a file of lines; None: cells of a grid.
        output: the folder of the results; None: `outputs/survey/<source>`.

    Returns:
        `photos` and `segments` as data frames, `survey` (what survey.json holds), `notes`, `errors`.

    Raises:
        UserError: as of `streetlab survey`.
    """
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    values = {"run": None if run is None else _path(run), "source": sources, "streets": streets, "output": output}
    return _call("survey", values, overrides)


def survey_plan(
    streets: PathLike,
    overrides: Sequence[str] = (),
    *,
    run: RunLike | None = None,
    pilot: PathLike | None = None,
    half_width: float | None = None,
    output: PathLike | None = None,
) -> PlanResult:
    """Say how many streets to visit, and the photos of how many to grade by hand, and draw them at random.

    Args:
        streets: a file of lines.
        overrides: further keys of `streetlab survey plan`: `["photos=5"]`.
        run: a run, whose test part tells how the model errs; or else
        pilot: the folder of a survey with grades.
        half_width: of the 95% interval of the mean severity, in points; None: 3.
        output: the folder of the sample; None: `outputs/survey/plan`.

    Returns:
        `plan`, `sample` (the streets to visit, as a data frame with geometry), `total`.

    Raises:
        UserError: as of `streetlab survey plan`.
    """
    own = {
        "streets": streets,
        "run": None if run is None else _path(run),
        "pilot": pilot,
        "half_width": half_width,
        "output": output,
    }
    return _call("survey_plan", own, overrides)


_MODULES = {
    "train": "streetlab.training.command",
    "evaluate": "streetlab.training.evaluate",
    "predict": "streetlab.inference.command",
    "compare": "streetlab.compare.command",
    "audit": "streetlab.audit.command",
    "explain": "streetlab.explain.command",
    "export": "streetlab.export.command",
    "survey": "streetlab.survey.command",
    "survey_plan": "streetlab.survey.plan_command",
}
"""Where the `perform` of each command is."""


def _call(command: str, values: Mapping[str, Any], overrides: Sequence[str], config_dir: PathLike | None = None) -> Any:
    """Run a command with these values of its keys, None of which leaves a key at its default, and further words."""
    from streetlab.config.call import call

    if isinstance(overrides, str):
        raise UserError(f"overrides: '{overrides}' is one text; give a list, [{overrides!r}]")
    words = [f"{key}={_word(value)}" for key, value in values.items() if value is not None]
    perform = import_module(_MODULES[command]).perform
    return call(command, [*words, *overrides], perform, None if config_dir is None else Path(config_dir))


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    if not isinstance(value, str | os.PathLike):
        return str(value)
    text = expand_home(os.fspath(value))
    return text if re.fullmatch(r"[A-Za-z_]\w*", text) else quote(text)


def _path(run: RunLike) -> PathLike:
    return run.path if isinstance(run, RunRecord) else run
