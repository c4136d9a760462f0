"""Request about a finished run: its record, its config with overrides, and the weights of one of its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pydantic
from omegaconf import DictConfig

from streetlab.checkpoints.read import TrainedWeights, find_checkpoint, read_weights
from streetlab.config.command_line import own_keys
from streetlab.config.options import CLOSED, Output
from streetlab.config.recorded import RecordedConfig, recorded_config
from streetlab.config.run_names import matches
from streetlab.records.locate import locate_run
from streetlab.records.record import RunRecord

UNSEEN = ("dataset.cache_dir", "dataset.on_device")
"""The keys of a data set that change nothing about its photos."""


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class RunKeys:
    """The keys that commands about a run have in common; their configs say what each is for."""

    run: str
    checkpoint: str
    output: Output


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class OverrideKeys(RunKeys):
    """The same for commands that apply further words to the run's config."""

    overrides: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RunRequest:
    """Request about a run.

    Attributes:
        run: the record; nothing in it is changed.
        config: the run's, with the overrides.
        choices: from its config groups, where it tells, and those made anew.
        weights: the checkpoint's.
        words: the overrides; a command adds those of its own keys.
        changed: the dotted keys that the overrides change.
    """

    run: RunRecord
    config: DictConfig
    choices: Mapping[str, str]
    weights: TrainedWeights
    words: Sequence[str]
    changed: Sequence[str]

    @property
    def own_data(self) -> bool:
        """True if the photos should be those that the run saw, since no override names others."""
        return not any(matches(key, ("data", "dataset")) and not matches(key, UNSEEN) for key in self.changed)

    @property
    def temperature(self) -> float | None:
        """The temperature that the run fitted for these very weights, if any."""
        return fitted_temperature(self.run, self.weights)


def read_run_request(
    keys: OverrideKeys, command: str, check: Callable[[RunRecord, RecordedConfig], None]
) -> RunRequest:
    """Find the run, apply the overrides to its config, and read the weights.

    Args:
        command: whose keys are suggested for a typo.
        check: refuses runs and overrides that are not for the command; called before the weights are read.

    Raises:
        UserError: no such run or checkpoint, an override that does not fit the run's config, or one that `check`
            refuses.
    """
    run = locate_run(keys.run)
    recorded = recorded_config(run.located_config, keys.overrides, own_keys(command))
    check(run, recorded)
    choices = dict(run.known_status.get("choices") or {}) | recorded.choices
    weights = read_weights(find_checkpoint(run, keys.checkpoint))
    return RunRequest(run, recorded.config, choices, weights, keys.overrides, recorded.keys)


def fitted_temperature(run: RunRecord, weights: TrainedWeights) -> float | None:
    """The temperature that the run fitted on its val for the very weights that are tested, if any."""
    completed = run.known_status.get("state") == "completed"
    if not completed or weights.path.resolve() != (run.checkpoints / "best.ckpt").resolve():
        return None
    metrics = run.metrics
    return metrics[metrics["eval_split"]].get("temperature")
