"""Losses against torch's cross-entropy and the formulas by hand, and where there is nothing to learn from."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from streetlab.config.composition import config_folder
from streetlab.config.targets import instantiate
from streetlab.errors import UserError
from streetlab.tasks.losses import CrossEntropy, DiceLoss, LovaszLoss, OhemCrossEntropy, WeightedSum, lovasz_softmax

WEIGHTS = [0.2, 1.0, 3.0, 0.5]
LOSSES = {
    "cross_entropy": CrossEntropy(),
    "weighted": CrossEntropy(label_smoothing=0.1, class_weights=WEIGHTS),
    "ohem": OhemCrossEntropy(),
    "weighted_ohem": OhemCrossEntropy(class_weights=WEIGHTS),
    "dice": DiceLoss(),
    "lovasz": LovaszLoss(),
    "sum": WeightedSum({"ce": CrossEntropy(), "lovasz": LovaszLoss()}, {"ce": 1.0, "lovasz": 0.5}),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@pytest.fixture(params=[(), (6, 5)], ids=["photos", "pixels"])
def batch(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    """Logits over four classes, of which the last is absent, and labels of which some are ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(16, 4, *request.param, generator=generator, requires_grad=True)
    labels = torch.randint(0, 3, (16, *request.param), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = 255
    labels[0] = 255
    return logits, labels


def valid(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """`(N, K)` probabilities and `(N, K)` one-hot labels of what is not ignored."""
    rows = labels.flatten() != 255
    probabilities = logits.softmax(dim=1).movedim(1, -1).flatten(0, -2)[rows]
    return probabilities, F.one_hot(labels.flatten()[rows], logits.shape[1]).float()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_and_its_gradient_are_torchs(batch, weights: list[float] | None, smoothing: float) -> None:
    logits, labels = batch
    tensor = None if weights is None else torch.tensor(weights)
    found = CrossEntropy(smoothing, weights)(logits, labels)
    wanted = F.cross_entropy(logits, labels, tensor, ignore_index=255, label_smoothing=smoothing)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits))


@pytest.mark.parametrize("loss", ["cross_entropy", "weighted", "ohem", "weighted_ohem"])
def test_probabilities_of_one_class_are_its_label(loss: str) -> None:
    logits = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(16) % 4
    found = LOSSES[loss](logits, F.one_hot(labels, 4).float())
    torch.testing.assert_close(found, LOSSES[loss](logits, labels))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_probabilities_and_its_gradient_are_torchs(smoothing: float) -> None:
    logits, targets = torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    found = CrossEntropy(smoothing)(logits, targets.softmax(dim=1))
    wanted = F.cross_entropy(logits, targets.softmax(dim=1), label_smoothing=smoothing)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits))


def test_small_class_weights_leave_the_mean_as_it_is() -> None:
    logits, labels = torch.tensor([[0.0, 2.0]]), torch.tensor([0])
    found = CrossEntropy(class_weights=[1e-6, 1e-3])(logits, labels)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_keeping_all_examples_is_cross_entropy(batch, weights: list[float] | None) -> None:
    logits, labels = batch
    found = OhemCrossEntropy(keep=1.0, class_weights=weights)(logits, labels)
    torch.testing.assert_close(found, CrossEntropy(class_weights=weights)(logits, labels))


@pytest.mark.parametrize("keep", [0.01, 0.25, 0.7])
def test_hard_examples_are_the_ones_with_the_largest_loss(batch, keep: float) -> None:
    logits, labels = batch
    each = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")[labels != 255]
    hardest = each.topk(max(1, round(keep * len(each)))).values
    found = OhemCrossEntropy(keep)(logits, labels)
    torch.testing.assert_close(found, hardest.mean())
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(hardest.mean(), logits))


def test_weighted_hard_examples_are_a_weighted_mean(batch) -> None:
    logits, labels = batch
    weights = torch.tensor(WEIGHTS)
    each = F.cross_entropy(logits, labels, weights, ignore_index=255, reduction="none")[labels != 255]
    hardest = each.topk(round(0.25 * len(each)))
    wanted = hardest.values.sum() / weights[labels[labels != 255]][hardest.indices].sum()
    torch.testing.assert_close(OhemCrossEntropy(0.25, class_weights=WEIGHTS)(logits, labels), wanted)


def test_hard_examples_that_are_all_right_are_counted_without_the_ignored_ones() -> None:
    logits, labels = torch.tensor([[200.0, 0.0], [0.0, 0.0], [0.0, 200.0]]), torch.tensor([0, 255, 1])
    assert OhemCrossEntropy(keep=1.0)(logits, labels) == 0


def test_dice_is_the_formula_over_valid_pixels(batch) -> None:
    logits, labels = batch
    p, y = valid(logits, labels)
    dice = 1 - 2 * (p * y).sum(0) / (p + y).sum(0)
    wanted = (dice * (y.sum(0) > 0)).mean()  # an absent class costs nothing but counts in the mean
    torch.testing.assert_close(DiceLoss()(logits, labels), wanted)


def test_dice_and_its_gradient_are_those_of_segmentation_models_pytorch(batch) -> None:
    logits, labels = batch
    theirs = smp.losses.DiceLoss(mode="multiclass", ignore_index=255, from_logits=True)
    found, wanted = DiceLoss()(logits, labels), theirs(logits, labels)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits))


def test_lovasz_is_the_sum_over_the_jaccard_losses_of_the_largest_errors(batch) -> None:
    # Berman et al. 2018, eq. 8-9: the extension is linear between the sets of the n largest errors
    logits, labels = batch
    p, y = valid(logits, labels)
    losses = []
    for k in range(3):  # the fourth class is absent
        errors, order = (y[:, k] - p[:, k]).abs().sort(descending=True)
        mine, before, total = y[order, k], 0.0, torch.zeros(())
        for n in range(1, len(errors) + 1):
            missed, false = mine[:n].sum(), (1 - mine[:n]).sum()
            jaccard_loss = 1 - (mine.sum() - missed) / (mine.sum() + false)
            total = total + errors[n - 1] * (jaccard_loss - before)
            before = jaccard_loss
        losses.append(total)
    torch.testing.assert_close(LovaszLoss()(logits, labels), torch.stack(losses).mean())


def test_lovasz_without_reading_counts_and_its_gradient_are_those_of_segmentation_models_pytorch(batch) -> None:
    logits, labels = batch
    theirs = smp.losses.LovaszLoss(mode="multiclass", ignore_index=255, from_logits=True)
    found, wanted = lovasz_softmax(logits.softmax(dim=1), labels, 255), theirs(logits, labels)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits))
    nothing = lovasz_softmax(logits.softmax(dim=1), torch.full_like(labels, 255), 255)
    assert nothing == 0
    assert not torch.autograd.grad(nothing, logits)[0].any()


@pytest.mark.parametrize("loss", [DiceLoss(), LovaszLoss()])
def test_region_losses_are_computed_in_float32_also_under_autocast(loss: nn.Module, batch) -> None:
    logits, labels = batch
    rounded = logits.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(rounded, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(rounded.float(), labels))


def test_a_weighted_sum_is_one_and_skips_what_weighs_nothing(batch) -> None:
    logits, labels = batch
    parts = {"ce": CrossEntropy(), "dice": DiceLoss()}
    found = WeightedSum(parts, {"dice": 0.5, "ce": 2.0})(logits, labels)
    torch.testing.assert_close(found, 2 * parts["ce"](logits, labels) + 0.5 * parts["dice"](logits, labels))

    class Never(nn.Module):
        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            raise AssertionError

    found = WeightedSum({"ce": CrossEntropy(), "never": Never()}, {"ce": 1.0, "never": 0.0})(logits, labels)
    torch.testing.assert_close(found, parts["ce"](logits, labels))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_softmax_that_losses_share_changes_neither_their_sum_nor_its_gradient(batch, weights, smoothing) -> None:
    logits, labels = batch
    parts = {"ce": CrossEntropy(smoothing, weights), "dice": DiceLoss(), "ohem": OhemCrossEntropy()}
    found = WeightedSum(parts, dict.fromkeys(parts, 1.0))(logits, labels)
    wanted = torch.stack([loss(logits, labels) for loss in parts.values()]).sum()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits))


@every_loss
def test_what_is_ignored_changes_nothing_and_gets_no_gradient(loss: nn.Module, batch) -> None:
    logits, labels = batch
    ignored = (labels == 255).unsqueeze(1)
    other = torch.where(ignored, logits * 7 - 3, logits)
    torch.testing.assert_close(loss(other, labels), loss(logits, labels))
    (gradient,) = torch.autograd.grad(loss(logits, labels), logits)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    assert (gradient * ignored).abs().sum() == 0


@every_loss
def test_a_right_answer_costs_less_than_a_wrong_one(loss: nn.Module, batch) -> None:
    _, labels = batch
    right = F.one_hot(labels.clamp(max=3), 4).movedim(-1, 1) * 10.0
    assert 5 * loss(right, labels) < loss(-right, labels)


@every_loss
def test_an_all_ignored_batch_is_no_nan(loss: nn.Module, batch) -> None:
    logits, labels = batch
    value = loss(logits, torch.full_like(labels, 255))
    value.backward()
    assert value.shape == ()
    assert value.item() == 0
    assert logits.grad.abs().sum() == 0


@every_loss
def test_a_loss_that_is_not_finite_stays_so_for_the_guard_to_see(loss: nn.Module, batch) -> None:
    logits, labels = batch
    labels[1] = 0
    broken = logits.detach().clone()
    broken[1] = torch.nan
    assert not loss(broken, labels).isfinite()


@every_loss
def test_losses_add_nothing_to_a_checkpoint(loss: nn.Module) -> None:
    assert not loss.state_dict()


def choices() -> list[str]:
    return sorted(path.stem for path in (config_folder() / "loss").glob("*.yaml"))


@pytest.mark.parametrize("choice", choices())
def test_every_choice_of_loss_can_be_made_and_trains(choice: str, batch) -> None:
    logits, labels = batch
    loss = instantiate(yaml.safe_load((config_folder() / "loss" / f"{choice}.yaml").read_text()))
    loss(logits, labels).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(label_smoothing=1.5), r"loss\.label_smoothing: 1\.5 is not a share \(0 to 1\)"),
        (lambda: CrossEntropy(class_weights=[1.0, 0.0]), r"loss\.class_weights: \[1\.0, 0\.0\] is not a list"),
        (lambda: CrossEntropy(class_weights=2.0), r"loss\.class_weights: 2\.0 is not a list"),
        (lambda: OhemCrossEntropy(class_weights=["a"]), r"loss\.class_weights: \['a'\] is not a list"),
        (lambda: OhemCrossEntropy(keep=0), r"loss\.keep: 0 is not a share above 0"),
        (
            lambda: WeightedSum({"dice": CrossEntropy()}, {"dise": 1.0}),
            r"loss\.weights\.dise: no loss of that name \(there are dice\); did you mean 'dice'\?",
        ),
        (
            lambda: WeightedSum({"ce": CrossEntropy(), "dice": DiceLoss()}, {"ce": 1.0}),
            r"loss\.losses\.dice: no weight of that name in loss\.weights",
        ),
        (lambda: WeightedSum({"ce": CrossEntropy()}, {"ce": -1}), r"loss\.weights\.ce: -1 is not a number from 0"),
        (lambda: WeightedSum({"ce": CrossEntropy()}, {"ce": 0}), r"leaves no loss to train on"),
    ],
)
def test_a_setting_out_of_range_is_named_with_what_is_allowed(make, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("loss", [CrossEntropy, OhemCrossEntropy])
def test_class_weights_of_another_number_of_classes_are_named(loss: type[nn.Module], batch) -> None:
    with pytest.raises(UserError, match=r"loss\.class_weights: 3 numbers for the 4 classes"):
        loss(class_weights=[1.0, 2.0, 3.0])(*batch)
