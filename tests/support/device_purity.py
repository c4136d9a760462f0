"""What a training can be made of, each part run once on the meta device: the table of experiments/endurance/devices.md.

`python -m tests.support.device_purity` prints it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tests.support.meta_device import (
    META,
    PHOTOS,
    SMP,
    STREETS,
    STRONG,
    TINY,
    OneDevice,
    build_experiment_of,
    evaluate_a_batch,
    no_autocast_on_meta,
    train_a_step,
)  # fmt: skip

from streetlab.errors import first_line
from streetlab.tasks.distillation import Distillation
from streetlab.training.build import Experiment
from streetlab.training.ema import EMA

ON_PHOTOS, ON_STREETS = (*PHOTOS, *TINY), (*STREETS, *SMP)


@dataclass(frozen=True)
class Combination:
    """One part of a training, and a small run that has it.

    Attributes:
        part: the config group or what else can be chosen.
        name: the choice.
        words: overrides of `streetlab train`.
        further: see `build_experiment_of`.
        change: what is done to the experiment before its first step.
        reads: why it cannot run without reading values, where it is known that it cannot.
    """

    part: str
    name: str
    words: tuple[str, ...]
    further: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Experiment], None] = lambda experiment: None
    reads: str = ""

    def __str__(self) -> str:
        return f"{self.part}-{self.name}"

    def run(self, folder: Path) -> None:
        """A step of training, a batch of validation and one of the best epoch's test, none of which may read a value.

        Raises:
            Exception: torch's, of an operation that the meta device has not.
        """
        with no_autocast_on_meta():
            experiment = build_experiment_of(self.words, folder, self.further)
            self.change(experiment)
            experiment.task.to("meta")
            train_a_step(experiment)
            for fitting in (True, False):
                evaluate_a_batch(experiment, fitting)


def _taught(kind: str, features: float = 0.0) -> Callable[[Experiment], None]:
    def change(experiment: Experiment) -> None:
        space = experiment.task.label_space
        with tempfile.TemporaryDirectory() as folder:
            teacher = build_experiment_of(ON_STREETS if space.spec.per_pixel else ON_PHOTOS, Path(folder)).task.network
        experiment.task.learn_from(Distillation(teacher, experiment.task.network, kind=kind, features=features))

    return change


def _averaged(warmup: bool) -> Callable[[Experiment], None]:
    def change(experiment: Experiment) -> None:
        average = EMA(0.9, warmup)
        trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=META))
        average.setup(trainer, experiment.task, "fit")
        experiment.task.to("meta")
        with OneDevice():
            for step in range(1, 4):
                trainer = SimpleNamespace(global_step=step)
                average.on_train_batch_end(trainer, experiment.task, None, None, step)

    return change


_TORCHMETRICS = "torchmetrics (chosen by a config alone) selects and counts by reading back"


def _metric(name: str, **options: Any) -> dict[str, Any]:
    return {"metrics": {"added": {"_target_": f"torchmetrics.classification.{name}", **options}}}


def combinations() -> Iterator[Combination]:
    """Each choice of each part, in small runs on drawn photos and streets."""
    for task, words in (("photos", ON_PHOTOS), ("streets", ON_STREETS)):
        yield Combination("task", task, words)
        for augment in ("none", "original", "strong"):
            yield Combination("augment", f"{augment}, {task}", (*words, f"augment={augment}"))
        for optimizer in ("adam", "adamw", "sgd"):
            yield Combination("optimizer", f"{optimizer}, {task}", (*words, f"optimizer={optimizer}"))
        for regime in ("frozen_then_unfrozen", "full_finetune"):
            yield Combination("regime", f"{regime}, {task}", (*words, f"regime={regime}"))
        yield Combination("trainer", f"checkpointing, {task}", (*words, "trainer.checkpointing=true"))
        yield Combination("dataset", f"on_device, {task}", (*words, "dataset.on_device=true"))
        for warmup in (False, True):
            name = f"{'warmed up, ' * warmup}{task}"
            yield Combination("averaged weights", name, words, change=_averaged(warmup))
        for losses in (("cross_entropy", "ohem"), ("dice_cross_entropy", "lovasz_cross_entropy", "ohem_lovasz")):
            for loss in losses if task == "streets" or len(losses) == 2 else ():
                yield Combination("loss", f"{loss}, {task}", (*words, f"loss={loss}", *STRONG))
        weights = [1 + number / 10 for number in range(19 if task == "streets" else 3)]
        smoothed = (*words, f"loss.class_weights={weights}", "loss.label_smoothing=0.1")
        yield Combination("loss", f"class weights and smoothing, {task}", smoothed)
        yield Combination("distillation", f"pixel, {task}", words, change=_taught("pixel"))
        yield Combination("distillation", f"pixel and features, {task}", words, change=_taught("pixel", 0.5))
        yield Combination(
            "metric", f"MulticlassF1Score, {task}", words, _metric("MulticlassF1Score"), reads=_TORCHMETRICS
        )
    yield Combination("distillation", "channel and features, streets", ON_STREETS, change=_taught("channel", 0.5))
    yield Combination("loss", "weights by photos", (*ON_PHOTOS, "loss.class_weights=balanced"))
    for mix in ("mixup", "cutmix", "mixup_cutmix"):
        yield Combination("mix", mix, (*ON_PHOTOS, f"mix={mix}", *STRONG))
    yield Combination("transforms", "rand_augment", (*ON_PHOTOS, "transforms=rand_augment"))
    yield Combination("test-time view", "test_flip, photos", (*ON_PHOTOS, "task.test_flip=true"))
    for view in ("scales=[0.5,1.0]", "flip=true", "window=[32,64]"):
        yield Combination("test-time view", f"{view}, streets", (*ON_STREETS, f"task.test_time.{view}"))
    yield from _networks()


def _networks() -> Iterator[Combination]:
    for model in ("resnet18", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        yield Combination("model", model, (*PHOTOS, f"model={model}"))
    for name in ("test_vit", "test_efficientnet", "convnext_atto", "mobilenetv3_small_050"):
        yield Combination("model", f"timm_classifier, {name}", (*PHOTOS, TINY[0], f"model.name={name}"))
    for model in ("deeplabv3_resnet50", "deeplabv3_resnet101", "hrnetv2_w18", "hrnetv2_w48"):
        yield Combination("model", model, (*STREETS, f"model={model}", "model.weights=none"))
    yield Combination("model", "hrnetv2_w18, small", (*STREETS, "model=hrnetv2_w18", "model.small=true"))
    decoders = ("unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus", "pan")
    for decoder in (*decoders, "upernet", "segformer"):
        yield Combination("model", f"smp, {decoder}", (*STREETS, *SMP, f"model.decoder={decoder}"))
    dpt = (*STREETS, "image_size=[224,224]", *SMP, "model.decoder=dpt", "model.encoder=tu-vit_tiny_patch16_224")
    yield Combination("model", "smp, dpt", dpt)


def main() -> None:
    """Print the table, a row at a time."""
    print("| part | choice | step, validation, test on the meta device |\n|---|---|---|")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for each in combinations():
            torch.manual_seed(0)
            try:
                each.run(Path(folder))
                outcome = "run"
            except Exception as error:
                expected = each.reads and isinstance(error, NotImplementedError | RuntimeError)
                failed += not expected
                outcome = f"read values: {each.reads}" if expected else f"**{first_line(error)[:100]}**"
            print(f"| {each.part} | {each.name} | {outcome} |", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
