"""What a training chooses on a machine with GPUs, shown on one that has none but says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from tests.support.meta_device import META, PHOTOS, STREETS, TINY, build_experiment_of
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import SGD, Adam, AdamW
from torch.utils.data import DataLoader

from streetlab.config import instantiate
from streetlab.config.composition import composer
from streetlab.errors import UserError
from streetlab.records.record import RunRecord
from streetlab.training import compile_callback
from streetlab.training.batch_size import AutoBatchSize
from streetlab.training.compile_callback import CompileCallback
from streetlab.training.optimizers import build_fused
from streetlab.training.precision import resolve_accelerator, resolve_precision
from streetlab.training.trainer import build_trainer

CUDA = torch.device("cuda", 0)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`gpus(2, capability=(8, 0))`: the machine says that it has so many, each with 80 GB."""

    def pretend(count: int, capability: tuple[int, int] = (8, 0)) -> None:
        properties = SimpleNamespace(total_memory=80_000_000_000, name="pretended", major=capability[0])
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device=None: 0)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device=None: None)

    return pretend


def trainer_of(*words: str) -> Any:
    with composer() as compose:
        cfg = compose.compose("train", words)
    return instantiate(cfg.trainer)


@pytest.mark.parametrize(("capability", "precision"), [((8, 0), "bf16-mixed"), ((7, 5), "16-mixed")])
def test_auto_takes_one_gpu_and_the_precision_that_it_computes_in(gpus, capability, precision) -> None:
    gpus(2, capability)
    trainer = trainer_of("trainer=auto")
    assert isinstance(trainer.accelerator, CUDAAccelerator)
    assert isinstance(trainer.strategy, SingleDeviceStrategy)
    assert (trainer.strategy.root_device, trainer.num_devices, trainer.precision) == (CUDA, 1, precision)


def test_ddp_takes_all_gpus_of_the_machine(gpus) -> None:
    gpus(3)
    trainer = trainer_of("trainer=ddp")
    assert isinstance(trainer.strategy, DDPStrategy)
    assert [device.index for device in trainer.strategy.parallel_devices] == [0, 1, 2]
    assert (trainer.world_size, trainer.precision) == (3, "bf16-mixed")


def test_a_trainer_of_the_cpu_leaves_gpus_alone(gpus) -> None:
    gpus(2)
    assert trainer_of("trainer=cpu").strategy.root_device.type == "cpu"


def loaders(words: tuple[str, ...], folder: Path, device: torch.device) -> Iterator[DataLoader]:
    data = build_experiment_of(words, folder).data
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        strategy=SimpleNamespace(root_device=device), global_rank=0, world_size=1, training=True
    )
    return iter((data.train_dataloader(), data.val_dataloader()))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_pinned_for_a_gpu_alone_and_workers_stay(tmp_path, workers) -> None:
    words = (*PHOTOS, *TINY, f"num_workers={workers}")
    for device in (CUDA, torch.device("cpu")):
        for loader in loaders(words, tmp_path, device):
            assert loader.pin_memory is (device == CUDA)
            assert (loader.num_workers, loader.persistent_workers) == (workers, workers > 0)
            assert loader.prefetch_factor == (2 if workers else None)


@pytest.mark.parametrize("words", [(*PHOTOS, *TINY), (*STREETS, "model=hrnetv2_w18", "model.small=true")], ids=str)
def test_a_data_set_on_the_device_sends_row_numbers_alone_and_is_copied_once(tmp_path, words) -> None:
    data = build_experiment_of((*words, "dataset.on_device=true"), tmp_path).data
    (batch,) = iter(data.train_dataloader())
    assert {name for name, value in batch.items() if isinstance(value, torch.Tensor)} == {"rows"}
    data.trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
    for _ in range(2):
        images = data.train_batch(2, META)["images"]
        assert images.device == META
    resident = data._resident["train"]
    assert resident["images"].device == META
    assert data._on_device("train", batch["rows"].to(META))["images"].shape[0] == len(batch["rows"])
    assert data._resident["train"] is resident


@pytest.mark.parametrize("kind", [Adam, AdamW, SGD])
def test_optimizers_are_fused_on_a_gpu_unless_the_config_or_clipping_says_otherwise(kind) -> None:
    with FakeTensorMode():
        groups = [{"params": list(nn.Linear(3, 2, device="cuda").parameters()), "lr": 0.1}]
        assert build_fused(partial(kind, lr=0.1), groups).defaults["fused"] is True
        for build, may_fuse in ((partial(kind, lr=0.1), False), (partial(kind, lr=0.1, foreach=True), True)):
            assert not build_fused(build, groups, may_fuse).defaults.get("fused")


@pytest.mark.slow
def test_the_largest_batch_is_looked_for_from_256_with_spare_memory_on_every_gpu(gpus, tmp_path, monkeypatch) -> None:
    gpus(2)
    experiment = build_experiment_of((*PHOTOS, *TINY, "optimizer=sgd"), tmp_path)  # Adam's step asks the driver
    task, data, tried, spares = experiment.task, experiment.data, [], []
    rows = [data.samples("train")[0]] * 600
    monkeypatch.setattr(data, "samples", lambda split: rows)
    monkeypatch.setattr(data, "train_batch", lambda count, device: tried.append((count, device)) or count)
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: None)
    original = torch.empty

    def empty(*size: Any, **options: Any) -> torch.Tensor:
        if options.get("device") != CUDA:
            return original(*size, **options)
        spares.append((*size, options.get("dtype")))
        return original(0)

    def step(batch: int, index: int) -> torch.Tensor:
        if batch > 32:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.zeros(())

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr("streetlab.training.batch_size.without_a_trace", nullcontext)
    monkeypatch.setattr(task, "to", lambda device: task)
    monkeypatch.setattr(task, "training_step", step)
    trainer: Any = SimpleNamespace(
        strategy=SimpleNamespace(root_device=CUDA), world_size=2,
        precision_plugin=SimpleNamespace(forward_context=nullcontext),
    )  # fmt: skip
    assert AutoBatchSize(experiment.regime, RunRecord(tmp_path), {})._search(trainer, task, data) == 32
    assert tried == [(size, CUDA) for size in (256, 128, 64, 32, 32)]
    assert spares == [(4_000_000_000, torch.uint8)] * 4  # a twentieth of 80 GB, in each trial


def test_long_phases_on_a_gpu_are_compiled_with_sizes_that_are_fixed(tmp_path, monkeypatch) -> None:
    task, compiled = build_experiment_of((*PHOTOS, *TINY), tmp_path).task, []
    monkeypatch.setattr(task.network, "compile", lambda **options: compiled.append(options))
    monkeypatch.setattr(compile_callback, "WORTH_STEPS", 10)
    for asked, device, batches, wanted in (
        ("auto", CUDA, 5, True), ("auto", CUDA, 4, False), ("auto", torch.device("cpu"), 5, False),
        (True, CUDA, 1, True), (False, CUDA, 5, False),
    ):  # fmt: skip
        trainer: Any = SimpleNamespace(
            strategy=SimpleNamespace(root_device=device), num_training_batches=batches, current_epoch=0,
            fit_loop=SimpleNamespace(max_epochs=2),
        )  # fmt: skip
        callback = CompileCallback(asked)
        callback.on_train_start(trainer, task)
        callback.teardown(trainer, task, "fit")
        assert compiled == ([{"dynamic": False, "backend": "inductor"}, {"disable": True}] if wanted else [])
        compiled.clear()


def test_half_precision_without_bf16_hardware_scales_its_gradients(gpus) -> None:
    gpus(1, (7, 5))
    trainer = build_trainer("gpu")
    assert trainer.precision_plugin.scaler is not None  # type: ignore[attr-defined]


def test_a_mac_s_gpu_computes_in_float32_and_is_missed_elsewhere(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_accelerator("mps") == "mps"
    assert resolve_precision("auto", "mps") == "32-true"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match="'mps' but this is no Mac with a GPU"):
        resolve_accelerator("mps")
