"""How much of the bare network's speed does training reach? Bare network | streetlab | the original study's loop.

Three ways to train ResNet-18 on the same photos, in turn, several rounds, in one process each with the same
threads: a loop that feeds the network one batch from memory, `streetlab train`'s own objects, and a loop that
decodes every photo with Pillow in workers and trains in float32 and PyTorch's default layout.

    python benchmarks/training_speed.py --root ../shared/data/street_cleanliness
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder as TorchvisionFolder

from streetlab.config import instantiate, plain
from streetlab.config.composition import composer
from streetlab.training.build import build_experiment
from streetlab.training.phases import Phase
from streetlab.training.provenance import provenance
from streetlab.training.schedules import none
from streetlab.training.trainer import resolve_accelerator, resolve_precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="photos as in the original study; default: synthetic streets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=8, help="batches of 32 per way and round")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    options = parser.parse_args()
    data = [f"dataset.root={options.root}"] if options.root else ["dataset=synthetic_cleanliness"]
    with composer() as compose:
        cfg = compose.compose("train", ["experiment=cleanliness_from_scratch", *data])
    precision = resolve_precision("auto", resolve_accelerator("auto"))
    ways: dict[str, Callable[[], float]] = {
        f"bare network, {precision}": lambda: bare(options.batches, precision),
        f"streetlab, {precision}": lambda: streetlab(cfg, options.batches),
    }
    if options.root:
        ways["original's loop, 32-true"] = lambda: original(options.root, options.batches)
        ways["bare network, 32-true"] = lambda: bare(options.batches, "32-true")
    for way in ways.values():  # warm-up: caches, primitives, threads
        way()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            rates[name].append(way())
    reference = statistics.median(next(iter(rates.values())))
    print(f"| ResNet-18 training, 224 px, batch 32 | images/s (median of {options.rounds}) | min-max | share of bare |")
    print("|---|---:|---:|---:|")
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.1f} | {min(values):.1f}-{max(values):.1f} | {median / reference:.0%} |")
    where = provenance()
    print(f"\n{where['processor']}, {where['threads']} threads, {where['device']}, torch {where['packages']['torch']}")
    if options.json:
        options.json.write_text(json.dumps({"images_per_second": rates} | where, indent=2))


def bare(batches: int, precision: str) -> float:
    """Images per second of the network alone: one batch, resident, forward to optimizer step."""
    from timm import create_model

    bf16 = precision == "bf16-mixed"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = torch.channels_last if bf16 else torch.contiguous_format
    network = create_model("resnet18", num_classes=3).to(device, memory_format=layout).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    images = torch.randn(32, 3, 224, 224, device=device).to(memory_format=layout)
    labels = torch.randint(0, 3, (32,), device=device)
    started = time.perf_counter()
    for _ in range(batches):
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            logits = network(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if device == "cuda":
        torch.cuda.synchronize()
    return 32 * batches / (time.perf_counter() - started)


def streetlab(cfg, batches: int) -> float:
    """Images per second of streetlab's training epochs, cached, with its callbacks, metrics and augmentation."""
    experiment = build_experiment(cfg, plain(cfg))
    experiment.data.setup()
    experiment.regime.phases = [Phase("train", epochs=1, train=("all",))]
    with tempfile.TemporaryDirectory() as folder:
        trainer = instantiate(
            cfg.trainer,
            callbacks=[experiment.regime, experiment.stopwatch, pl.callbacks.ModelCheckpoint(folder)],
            loggers=[],
            root=Path(folder),
        )
        trainer.limit_train_batches, trainer.limit_val_batches = batches, 1
        experiment.regime.scheduler = none  # a plateau would want a whole validation
        experiment.regime.fit(trainer, experiment.task, experiment.data)
    return experiment.stopwatch.summary()["images_per_second"]


def original(root: Path, batches: int) -> float:
    """Images per second of the usual loop: Pillow and torchvision transforms in two workers, float32."""
    from torchvision.models import resnet18

    steps = transforms.Compose(
        [
            transforms.RandomResizedCrop(224, scale=(0.8, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(7),
            transforms.ColorJitter(0.15, 0.15, 0.10, 0.02),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    loader = DataLoader(TorchvisionFolder(str(root / "train"), steps), batch_size=32, shuffle=True, num_workers=2)
    network = resnet18(num_classes=3).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    started, count = time.perf_counter(), 0
    for number, (images, labels) in enumerate(loader):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        count += len(images)
        if number + 1 == batches:
            break
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
