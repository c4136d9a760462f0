"""A taught loss is what its formulas say, and the teacher is only ever asked."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from tests.support.crafted_runs import Convolutions
from torch import Tensor, nn

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.segmentation import SegmentationOutput
from streetlab.networks.smp_network import smp_network
from streetlab.tasks.distillation import Distillation, attention_distance, channel_divergence, pixel_divergence


def logits_of(seed: int, *shape: int) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels_of(seed: int, *shape: int, ignored: float = 0.3) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, shape, generator=random)
    return labels.masked_fill(torch.rand(shape, generator=random) < ignored, 255)


def test_the_divergence_of_one_photo_is_the_one_computed_by_hand():
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    # at temperature 2 the teacher says 3/4 and 1/4, the student one half each
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert pixel_divergence(student, teacher, torch.tensor([0]), 2.0).item() == pytest.approx(4 * by_hand)


def test_pixels_that_no_label_covers_teach_nothing():
    student, teacher, labels = logits_of(0, 2, 4, 3, 5), logits_of(1, 2, 4, 3, 5), labels_of(2, 2, 3, 5)
    valid = labels != 255
    assert 0 < valid.sum() < valid.numel()
    rows = [logits.movedim(1, -1)[valid].double() / 3 for logits in (student, teacher)]
    expected = 9 * F.kl_div(rows[0].log_softmax(1), rows[1].softmax(1), reduction="batchmean")
    assert pixel_divergence(student, teacher, labels, 3.0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_channel_divergence_compares_where_each_class_lies():
    student, teacher, labels = logits_of(0, 2, 4, 3, 5), logits_of(1, 2, 4, 3, 5), labels_of(2, 2, 3, 5)
    total = 0.0
    for image in range(2):
        valid = labels[image] != 255
        for channel in range(4):
            found, wanted = (logits[image, channel][valid].double() / 4 for logits in (student, teacher))
            total += F.kl_div(found.log_softmax(0), wanted.softmax(0), reduction="sum").item()
    assert channel_divergence(student, teacher, labels, 4.0).item() == pytest.approx(16 * total / 8, rel=1e-5)


@pytest.mark.parametrize("divergence", [pixel_divergence, channel_divergence])
def test_images_without_a_label_add_zero_and_zero_gradients(divergence):
    student = (1000 * logits_of(0, 2, 4, 3, 5)).requires_grad_(True)
    loss = divergence(student, 1000 * logits_of(1, 2, 4, 3, 5), torch.full((2, 3, 5), 255), 1.0)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


@pytest.mark.parametrize("divergence", [pixel_divergence, channel_divergence])
def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn(divergence):
    logits, labels = logits_of(0, 2, 4, 3, 5), labels_of(1, 2, 3, 5)
    assert divergence(logits, logits, labels, 2.0).item() == pytest.approx(0, abs=1e-6)
    assert divergence(logits, logits_of(3, 2, 4, 3, 5), labels, 2.0).item() > 0.1


def test_attention_is_compared_whatever_the_widths_sizes_and_scales():
    maps = logits_of(0, 2, 6, 4, 8)
    assert attention_distance(maps, 7 * torch.cat([maps, maps], dim=1)).item() == pytest.approx(0, abs=1e-6)
    left, right = torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 4, 4)
    left[..., 0], right[..., 2:] = 1.0, 5.0
    assert attention_distance(left, right).item() == pytest.approx(2)  # nowhere the same, as far apart as can be


class Scores(nn.Module):
    """The crafted convolutions as the segmentation networks give their scores."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network = Convolutions(4, [3, 1])

    def forward(self, images: Tensor) -> SegmentationOutput:
        return SegmentationOutput(self.network(images))


def test_the_loss_mixes_labels_and_teacher_by_the_weight():
    teacher, student = Scores(0), Scores(1)
    images, labels = logits_of(2, 2, 3, 6, 6), labels_of(3, 2, 6, 6)
    distillation = Distillation(teacher, student, temperature=2.0, weight=0.25)
    logits = student(images).logits
    told = distillation(images, logits, labels)
    expected = 0.25 * pixel_divergence(logits, teacher(images).logits, labels, 2.0)
    assert told.item() == pytest.approx(expected.item(), rel=1e-6)
    assert distillation.mixed(torch.tensor(8.0), told).item() == pytest.approx(6 + expected.item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["pixel", "channel"])
def test_a_student_without_labels_of_its_own_comes_to_agree_with_its_teacher(kind):
    teacher, student = Scores(0), Scores(1)
    before = copy.deepcopy(teacher.state_dict())
    images, labels = logits_of(2, 4, 3, 12, 12), labels_of(3, 4, 12, 12, ignored=0.0)
    distillation = Distillation(teacher, student, kind=kind, temperature=1.0, weight=1.0)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.03)
    losses = []
    for _ in range(60):
        told = distillation(images, student(images).logits, labels)
        optimizer.zero_grad()
        distillation.mixed(torch.tensor(0.0), told).backward()
        optimizer.step()
        losses.append(told.item())
    assert losses[-1] < 0.2 * losses[0]
    assert all(torch.equal(before[key], tensor) for key, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_divergence_is_computed_in_float32_under_autocast():
    teacher, student = Scores(0), Scores(1)
    images, labels = logits_of(2, 2, 3, 6, 6), labels_of(3, 2, 6, 6)
    distillation = Distillation(teacher, student, temperature=2.0, weight=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        logits, taught = student(images).logits, teacher(images).logits
        told = distillation(images, logits, labels)
    assert logits.dtype == taught.dtype == torch.bfloat16
    assert told.dtype == torch.float32
    expected = pixel_divergence(logits.float(), taught.float(), labels, 2.0)
    assert told.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_features_teach_the_layers_before_the_last_ones(task):
    def network(encoder: str) -> nn.Module:
        if task == "classification":
            return timm_classifier(4, encoder)
        return smp_network(4, decoder="linknet", encoder=f"tu-{encoder}")

    torch.manual_seed(0)
    teacher, student = network("test_resnet"), network("test_efficientnet")
    images = logits_of(0, 2, 3, 64, 64)
    labels = labels_of(1, 2, ignored=0.0) if task == "classification" else labels_of(1, 2, 64, 64)
    distillation = Distillation(teacher, student, weight=0.0, features=2.0)
    keys = set(student.state_dict())
    output = student(images)
    told = distillation(images, output if task == "classification" else output.logits, labels)
    told.backward()
    assert 0 < told.item() <= 4
    learning = {name for name, p in student.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    head = set(student.parameter_groups["head"])
    assert learning
    assert not any(name.startswith(tuple(head)) for name in learning)
    assert set(student.state_dict()) == keys


def test_a_copy_of_a_taught_task_shares_the_teacher():
    holder = {"distillation": Distillation(Scores(0), Scores(1))}
    assert copy.deepcopy(holder)["distillation"] is holder["distillation"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kind": "chanel"}, "distillation.kind: 'chanel' is not one of pixel, channel; did you mean 'channel'?"),
        ({"temperature": 0.0}, "distillation.temperature: 0.0 is not a number above 0"),
        ({"temperature": math.nan}, "distillation.temperature: nan is not a number above 0"),
        ({"weight": 1.5}, "distillation.weight: 1.5 is not a share (0 to 1)"),
        ({"features": -1.0}, "distillation.features: -1.0 is not a number from 0"),
    ],
)
def test_a_setting_out_of_range_is_one_line(setting, message):
    with pytest.raises(UserError) as raised:
        Distillation(Scores(0), Scores(1), **setting)
    assert str(raised.value) == message
