"""Train a classifier with timm's own parts, put together as its train.py does: loader, optimizer, scheduler, AMP.

The network, optimizer, schedule and strength of augmentation are streetlab's defaults, so that only the loop differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from pathlib import Path

import timm
import torch
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, CheckpointSaver, accuracy, random_seed, update_summary


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("root", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("size", "batch-size", "epochs", "seed", "workers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--network", required=True)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--amp", choices=["none", "bfloat16"], default="none")
    options = parser.parse_args()
    device = torch.device("cpu")
    random_seed(options.seed, 0)
    model = timm.create_model(options.network, num_classes=3)
    if options.amp != "none":
        model = model.to(memory_format=torch.channels_last)
    shape = (3, options.size, options.size)
    config = resolve_data_config({"img_size": options.size, "crop_pct": 1.0, "crop_mode": "squash"}, model=model)
    shared = {"input_size": shape, "batch_size": options.batch_size, "use_prefetcher": False, "device": device,
              "num_workers": options.workers, "mean": config["mean"], "std": config["std"],
              "persistent_workers": options.workers > 0}  # fmt: skip
    train_photos = create_dataset("", root=options.root, split="train", is_training=True)
    val_photos = create_dataset("", root=options.root, split="val", is_training=False)
    train_loader = create_loader(
        train_photos, is_training=True, scale=(0.8, 1.0), color_jitter=(0.15, 0.15, 0.15, 0.02), color_jitter_prob=None,
        interpolation="bilinear", **shared,
    )  # fmt: skip
    val_loader = create_loader(
        val_photos, interpolation="bilinear", crop_pct=config["crop_pct"], crop_mode=config["crop_mode"], **shared
    )
    optimizer = create_optimizer_v2(model, opt="adam", lr=options.lr, weight_decay=1e-4)
    scheduler, _ = create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=options.epochs, warmup_epochs=0, min_lr=0.0,
        step_on_epochs=False, updates_per_epoch=len(train_loader),
    )  # fmt: skip
    loss_function = torch.nn.CrossEntropyLoss()
    autocast = contextlib.nullcontext
    if options.amp != "none":
        autocast = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    options.output.mkdir(parents=True, exist_ok=True)
    saver = CheckpointSaver(model, optimizer, checkpoint_dir=str(options.output), recovery_dir=str(options.output))
    images, seconds, scores, updates = [], [], [], 0
    for epoch in range(options.epochs):
        model.train()
        losses = AverageMeter()
        started, count = time.perf_counter(), 0
        for inputs, labels in train_loader:
            if options.amp != "none":
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            with autocast():
                loss = loss_function(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            updates += 1
            scheduler.step_update(num_updates=updates)
            losses.update(loss.item(), len(labels))
            count += len(labels)
        seconds.append(time.perf_counter() - started)
        images.append(count)
        model.eval()
        right = AverageMeter()
        with torch.inference_mode():
            for inputs, labels in val_loader:
                with autocast():
                    output = model(inputs)
                right.update(accuracy(output, labels)[0].item(), len(labels))
        scores.append(right.avg / 100)
        metrics = {"loss": losses.avg}, {"top1": right.avg}
        update_summary(epoch, *metrics, options.output / "summary.csv", write_header=epoch == 0)
        saver.save_checkpoint(epoch, metric=right.avg)
        scheduler.step(epoch + 1, right.avg)
    later = slice(1, None) if options.epochs > 1 else slice(None)
    print(json.dumps({"images_per_second": sum(images[later]) / sum(seconds[later]), "scores": scores}))


if __name__ == "__main__":
    main()
