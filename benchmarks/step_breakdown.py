"""Where does a training step's time go? Data, forward, backward, optimizer, callbacks, metrics, the rest.

Lightning tells a profiler when each of its actions starts and stops; the time between two such moments goes to the
innermost action that runs, and every action belongs to one part. The device is synchronised at each moment, so on a
GPU the parts add up to more than a free step, which is measured in turn without the profiler.

    python benchmarks/step_breakdown.py
    python benchmarks/step_breakdown.py --network hrnet_3 --batch-size 16 trainer=gpu
    python benchmarks/step_breakdown.py --slow-data 200

`--slow-data` plants a delay where batches are fetched; it must show in the data's row. Words at the end go to
streetlab's config.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.profilers import Profiler
from short_training import CASES, Streetlab, compose, default_batch_size, drawn, on_gpu, synchronize
from tables import Table, arguments, publish, spread
from torchmetrics import Metric

from streetlab.progress import track

PARTS = {
    "data: fetching": r"dataloader_next|\.val_next",
    "data: to the device": r"before_batch_transfer|batch_to_device",
    "data: augmentation": r"on_after_batch_transfer",
    "forward and loss": r"\.(training|validation)_step$",
    "backward": r"\.backward$",
    "optimizer": r"\.optimizer_(step|zero_grad)$|\.configure_gradient_clipping$",
    "metrics": r"^metrics|\]\w+Task\.on_validation_epoch_(start|end)$",
    "logging and callbacks": r"^\[Callback\]|^logging",
    "the rest": r"",
}
"""Which actions of Lightning's, and of `_Watch`, make up which part; the first that matches."""
STAGES = ("training", "validation")


class StepClock(Profiler):
    """Adds up the seconds of every part of an epoch, for training and validation.

    Attributes:
        trainer: says whether an epoch trains or validates; set by `_Watch`.
        seconds: by stage and part.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trainer: pl.Trainer | None = None
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0

    def start(self, action_name: str) -> None:
        self._charge()
        self._running.append(action_name)

    def stop(self, action_name: str) -> None:
        self._charge()
        self._running.pop()

    def forget(self, stage: str) -> None:
        """Begin anew: what an epoch does once, such as compiling, it does with its first batch."""
        for part in PARTS:
            self.seconds[stage, part] = 0.0

    def _charge(self) -> None:
        """Give the time since the last moment to what ran in it, where an epoch was running."""
        synchronize()
        now = time.perf_counter()
        if "run_training_epoch" in self._running and self.trainer is not None:
            stage = "validation" if self.trainer.validating else "training"
            self.seconds[stage, part_of(self._running[-1])] += now - self._since
        self._since = now

    def teardown(self, stage: str | None) -> None:
        """Nothing to close; what Lightning would log here is in the table."""


def part_of(action: str) -> str:
    """The part that an action's time is counted in."""
    return next(part for part, pattern in PARTS.items() if re.search(pattern, action))


class _Watch(pl.Callback):
    """Lets the clock see what Lightning does not tell a profiler: `self.log`, metrics, loggers."""

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock
        self._undo: list[Callable[[], None]] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._clock.trainer = trainer
        self._time(pl_module, "log", "metrics")
        for module in pl_module.modules():
            if isinstance(module, Metric):
                self._time(module, "update", "metrics")
        for logger in trainer.loggers:
            self._time(logger, "log_metrics", "logging")
            self._time(logger, "save", "logging")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        while self._undo:
            self._undo.pop()()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self._clock.forget("training")

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if batch_idx == 0:
            self._clock.forget("validation")

    def _time(self, owner: Any, method: str, action: str) -> None:
        original = getattr(owner, method)
        mine = method in vars(owner)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self._clock.profile(action):
                return original(*args, **kwargs)

        setattr(owner, method, timed)
        self._undo.append(lambda: setattr(owner, method, original) if mine else delattr(owner, method))


class _Delayed:
    """A collate function that takes its time; picklable, workers may run it."""

    def __init__(self, collate: Callable[[Any], Any], seconds: float) -> None:
        self._collate, self._seconds = collate, seconds

    def __call__(self, batch: Any) -> Any:
        time.sleep(self._seconds)
        return self._collate(batch)


def slow_down(data: pl.LightningDataModule, seconds: float) -> None:
    """Plant a delay in the fetching of every training batch."""
    build = data.train_dataloader

    def slow() -> Any:
        loader = build()
        loader.collate_fn = _Delayed(loader.collate_fn, seconds)
        return loader

    data.train_dataloader = slow  # type: ignore[method-assign]


def main(words: list[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--network", choices=CASES, default="resnet18", metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--batches", type=int, help="of each epoch (default: 8, on a GPU 30)")
    parser.add_argument("--batch-size", type=int, help="default: by network and device")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="default: by network")
    parser.add_argument("--slow-data", type=float, default=0.0, metavar="MS", help="delay of every batch's fetching")
    parser.add_argument("words", nargs="*", help="of streetlab's config")
    options = parser.parse_intermixed_args(words)
    started = time.perf_counter()
    case = CASES[options.network]
    usual = default_batch_size(case)
    batch_size = options.batch_size or (min(16, usual) if options.quick and not on_gpu() else usual)
    case = replace(case, size=tuple(options.size or case.size), batch_size=(batch_size, batch_size))
    batches = options.batches or (30 if on_gpu() else 4 if options.quick else 8)
    with tempfile.TemporaryDirectory() as folder:
        cfg = compose(case, drawn(case, (batches + 1) * batch_size, 2 * batch_size), Path(folder), options.words)
        streetlab = Streetlab(cfg)
        if options.slow_data:
            slow_down(streetlab.experiment.data, options.slow_data / 1000)
        free, rounds = [], []
        for _ in track(range(options.rounds), "epochs"):
            free.append(1000 * batch_size / streetlab.train(batches))
            rounds.append(broken_down(streetlab, batches))
    parts = {stage: {part: [1000 * one[stage, part] for one in rounds] for part in PARTS} for stage in STAGES}
    title = f"{case.title}, {case.size[1]}×{case.size[0]}, batch {batch_size}"
    if options.slow_data:
        title += f", every batch delayed by {options.slow_data:g} ms"
    notes = [f"Medians of {options.rounds} epochs of {batches} steps. Free of the clock, a step takes "
             f"{spread(free)} ms. The first step of every epoch is left out."]  # fmt: skip
    tables = [
        _table(parts["training"], f"A training step: {title}", notes),
        _table(parts["validation"], "A batch of validation, and what an epoch adds to it", []),
    ]
    numbers = {"case": options.network, "title": title, "batches": batches, "slow_data_ms": options.slow_data}
    numbers |= {"free_step_ms": free, "ms": parts}
    publish(
        "step_breakdown", "Where does a step's time go?", tables, numbers, options.output, time.perf_counter() - started
    )


def broken_down(streetlab: Streetlab, batches: int) -> Mapping[tuple[str, str], float]:
    """Seconds of one training step by `("training", part)` and of one batch of validation, in an epoch of both."""
    clock = StepClock()
    streetlab.train(batches, val_batches=2, profiler=clock, callbacks=[_Watch(clock)])
    times = {"training": batches, "validation": 1}
    return {(stage, part): clock.seconds[stage, part] / times[stage] for stage in STAGES for part in PARTS}


def _table(parts: Mapping[str, list[float]], title: str, notes: list[str]) -> Table:
    """Milliseconds and shares, the parts of the data below their sum."""
    data = [part for part in parts if part.startswith("data: ")]
    rounds = range(len(next(iter(parts.values()))))
    totals = [sum(values[i] for values in parts.values()) for i in rounds]
    of_data = [sum(parts[part][i] for part in data) for i in rounds]

    def row(name: str, values: list[float]) -> list[str]:
        share = spread([value / total for value, total in zip(values, totals, strict=True)])
        return [name, str(spread(values)), f"{share.median:.1%}"]

    rows = [row("data", of_data), *(row(f"· {part.removeprefix('data: ')}", parts[part]) for part in data)]
    rows += [row(part, values) for part, values in parts.items() if part not in data and any(values)]
    return Table(["part", "ms", "share"], [*rows, row("in all", totals)], title, notes)


if __name__ == "__main__":
    main()
