"""HRNetV2: the original code's layout and arithmetic, written down here once more, are the oracle."""

import copy
import pickle

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from streetlab.errors import UserError
from streetlab.networks.cost import describe, parameter_count
from streetlab.networks.groups import modules_to_keep_in_eval, select_parameters
from streetlab.networks.hrnetv2 import HEADS, hrnetv2
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

torch.set_num_threads(1)


def official_layout(width, num_classes):
    """Keys and shapes of a checkpoint of HRNet-Semantic-Segmentation's `hrnet_w*` with two-layer head."""
    shapes = {}

    def conv(name, to, of, kernel, bias=False):
        shapes[f"{name}.weight"] = (to, of, kernel, kernel)
        if bias:
            shapes[f"{name}.bias"] = (to,)

    def norm(name, channels):
        shapes.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    def conv_norm(name, first, to, of, kernel):
        conv(f"{name}.{first}", to, of, kernel)
        norm(f"{name}.{first + 1}", to)

    conv("conv1", 64, 3, 3)
    norm("bn1", 64)
    conv("conv2", 64, 64, 3)
    norm("bn2", 64)
    for block in range(4):
        name, given = f"layer1.{block}", 256 if block else 64
        for number, (to, of, kernel) in enumerate([(64, given, 1), (64, 64, 3), (256, 64, 1)], start=1):
            conv(f"{name}.conv{number}", to, of, kernel)
            norm(f"{name}.bn{number}", to)
        if not block:
            conv_norm(f"{name}.downsample", 0, 256, 64, 1)
    channels = [width, 2 * width, 4 * width, 8 * width]
    conv_norm("transition1.0", 0, channels[0], 256, 3)
    conv_norm("transition1.1.0", 0, channels[1], 256, 3)
    conv_norm("transition2.2.0", 0, channels[2], channels[1], 3)
    conv_norm("transition3.3.0", 0, channels[3], channels[2], 3)
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        for module in range(modules):
            place = f"stage{stage}.{module}"
            for branch in range(stage):
                for block in range(4):
                    for number in (1, 2):
                        conv(f"{place}.branches.{branch}.{block}.conv{number}", channels[branch], channels[branch], 3)
                        norm(f"{place}.branches.{branch}.{block}.bn{number}", channels[branch])
            for i in range(stage):
                for j in range(stage):
                    if j > i:
                        conv_norm(f"{place}.fuse_layers.{i}.{j}", 0, channels[i], channels[j], 1)
                    for k in range(i - j):
                        to = channels[i] if k == i - j - 1 else channels[j]
                        conv_norm(f"{place}.fuse_layers.{i}.{j}.{k}", 0, to, channels[j], 3)
    conv("last_layer.0", sum(channels), sum(channels), 1, bias=True)
    norm("last_layer.1", sum(channels))
    conv("last_layer.3", num_classes, sum(channels), 1, bias=True)
    return shapes


def official_state(width, num_classes):
    random = torch.Generator().manual_seed(width)
    state = {}
    for key, shape in official_layout(width, num_classes).items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        elif len(shape) == 4:
            fan_in = shape[1] * shape[2] * shape[3]
            state[key] = torch.randn(shape, generator=random) * (2 / fan_in) ** 0.5
        elif key.endswith("running_var"):
            state[key] = torch.rand(shape, generator=random) + 0.5
        elif key.endswith(".weight"):
            state[key] = torch.rand(shape, generator=random) * 0.4 + 0.3
        else:
            state[key] = torch.randn(shape, generator=random) * 0.1
    return state


def official_forward(state, images):
    """The original forward pass in eval mode, up to the images' size."""

    def conv_norm(x, conv, norm, stride=1):
        weight = state[f"{conv}.weight"]
        x = F.conv2d(x, weight, state.get(f"{conv}.bias"), stride, weight.shape[-1] // 2)
        parts = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts)

    def block(x, name):
        y, last = x, 3 if f"{name}.conv3.weight" in state else 2
        for number in range(1, last + 1):
            y = conv_norm(y, f"{name}.conv{number}", f"{name}.bn{number}")
            y = y.relu() if number < last else y
        if f"{name}.downsample.0.weight" in state:
            x = conv_norm(x, f"{name}.downsample.0", f"{name}.downsample.1")
        return (x + y).relu()

    def blocks(x, name):
        for number in range(4):
            x = block(x, f"{name}.{number}")
        return x

    def enlarged(x, size):
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    def module(xs, name):
        xs = [blocks(x, f"{name}.branches.{branch}") for branch, x in enumerate(xs)]
        fused = []
        for i, target in enumerate(xs):
            total = 0
            for j, x in enumerate(xs):
                place = f"{name}.fuse_layers.{i}.{j}"
                if j > i:
                    x = enlarged(conv_norm(x, f"{place}.0", f"{place}.1"), target.shape[-2:])
                for k in range(i - j):
                    x = conv_norm(x, f"{place}.{k}.0", f"{place}.{k}.1", stride=2)
                    x = x.relu() if k < i - j - 1 else x
                total = total + x
            fused.append(total.relu())
        return fused

    x = conv_norm(images, "conv1", "bn1", stride=2).relu()
    x = blocks(conv_norm(x, "conv2", "bn2", stride=2).relu(), "layer1")
    xs = [conv_norm(x, "transition1.0.0", "transition1.0.1").relu()]
    xs.append(conv_norm(x, "transition1.1.0.0", "transition1.1.0.1", stride=2).relu())
    xs = module(xs, "stage2.0")
    xs.append(conv_norm(xs[-1], "transition2.2.0.0", "transition2.2.0.1", stride=2).relu())
    for number in range(4):
        xs = module(xs, f"stage3.{number}")
    xs.append(conv_norm(xs[-1], "transition3.3.0.0", "transition3.3.0.1", stride=2).relu())
    for number in range(3):
        xs = module(xs, f"stage4.{number}")
    x = torch.cat([xs[0], *(enlarged(x, xs[0].shape[-2:]) for x in xs[1:])], dim=1)
    x = conv_norm(x, "last_layer.0", "last_layer.1").relu()
    return enlarged(F.conv2d(x, state["last_layer.3.weight"], state["last_layer.3.bias"]), images.shape[-2:])


@pytest.fixture(scope="module")
def w18():
    return official_state(18, 19)


@pytest.fixture(scope="module")
def w18_file(w18, tmp_path_factory):
    """As the original's training writes it: a prefix, and the loss beside the network."""
    file = tmp_path_factory.mktemp("weights") / "hrnet_w18_cityscapes.pth"
    state = {f"model.{key}": value for key, value in w18.items()}
    torch.save({"state_dict": {**state, "loss.criterion.weight": torch.ones(19)}, "epoch": 484}, file)
    return file


@pytest.mark.parametrize(
    ("width", "head", "parameters", "gmacs"),
    [
        (48, "official", 65_859_379, 46.7),
        (48, "plain", 65_325_120 + 721 * 19, 42.5),
        (48, "custom", 65_325_120 + 720 * 9 * 256 + 2 * 256 + 257 * 19, 56.0),
        (18, "official", 9_641_119, 9.2),
    ],
)
def test_the_cost_is_the_published_one(width, head, parameters, gmacs):
    with torch.device("meta"):
        network = hrnetv2(19, width, head=head)
        cost = describe(network, (256, 512))
    assert cost["parameters"] == parameters
    assert cost["gmacs"] == pytest.approx(gmacs, rel=0.003)


@pytest.mark.parametrize("width", [18, 48])
@pytest.mark.parametrize("wrapping", ["bare", "trained"])
def test_an_official_checkpoint_loads_key_for_key_and_gives_the_official_logits(width, wrapping, tmp_path):
    state = official_state(width, 19)
    content = state if wrapping == "bare" else {"state_dict": {f"model.{key}": value for key, value in state.items()}}
    torch.save(content, tmp_path / "official.pth")
    network = hrnetv2(19, width, weights=tmp_path / "official.pth", head="official", dropout=0.2).eval()
    report = network.load_report
    assert report.missing == report.unexpected == report.reshaped == []
    assert {key.removeprefix("backbone.") for key in report.loaded} == set(state)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected, logits = official_forward(state, images), network(images).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("size", [(33, 47), (64, 64), (100, 37), (5, 1)])
def test_any_size_gives_logits_of_that_size(size, w18, w18_file):
    network = hrnetv2(19, 18, weights=w18_file, head="official").eval()
    images = torch.randn(1, 3, *size)
    height, width = (-side % 32 for side in size)
    with torch.no_grad():
        logits = network(images).logits
        expected = official_forward(w18, F.pad(images, (0, width, 0, height), mode="replicate"))
    assert logits.shape == (1, 19, *size)
    tolerance = 1e-5 * expected.abs().max().item()
    torch.testing.assert_close(logits, expected[..., : size[0], : size[1]], rtol=1e-5, atol=tolerance)


def test_a_large_photo_of_an_odd_size_gives_logits_of_its_size():
    with torch.no_grad():
        assert hrnetv2(3, 18).eval()(torch.randn(1, 3, 1100, 700)).logits.shape == (1, 3, 1100, 700)


@pytest.mark.parametrize("head", ["plain", "custom"])
def test_another_head_takes_the_official_backbone_and_says_that_it_is_fresh(head, w18, w18_file):
    network = hrnetv2(19, 18, weights=w18_file, head=head)
    report = network.load_report
    assert torch.equal(
        network.backbone.stage4[2].branches[3][3].conv2.weight, w18["stage4.2.branches.3.3.conv2.weight"]
    )
    assert set(report.missing) == {key for key in network.state_dict() if key.startswith("last_layer.")}
    assert {key for key in report.unexpected if key.startswith("last_layer.")} == {
        key for key in w18 if key.startswith("last_layer.")
    }
    assert "not in the file (last_layer." in report.summary()
    assert "of the file not used (" in report.summary()


def test_a_head_for_other_classes_is_made_anew_and_reported(w18_file):
    report = hrnetv2(11, 18, weights=w18_file, head="official").load_report
    assert [key for key, _, _ in report.reshaped] == ["last_layer.3.weight", "last_layer.3.bias"]
    assert "last_layer.3.weight (19, 270, 1, 1) and last_layer.3.bias (19,) replaced for 11 classes" in report.summary()


@pytest.mark.parametrize("head", HEADS)
def test_a_checkpoint_of_streetlab_loads_with_dropout_or_without(head, tmp_path):
    trained = hrnetv2(3, 18, head=head, dropout=0.4)
    state = {f"network.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "best.ckpt")
    network = hrnetv2(3, 18, head=head, weights=tmp_path / "best.ckpt")
    assert list(network.state_dict()) == list(trained.state_dict())
    assert len(network.load_report.loaded) == len(state)
    other = hrnetv2(3, 18, head="custom" if head == "plain" else "plain", weights=tmp_path / "best.ckpt").load_report
    assert not any(key.startswith("last_layer.") for key in other.loaded)
    assert other.reshaped == []


def test_timms_classifier_fills_the_backbone_from_a_file_and_from_the_hub(tmp_path, monkeypatch):
    classifier = timm.create_model("hrnet_w18")
    nn.init.normal_(classifier.bn1.running_mean)
    given = classifier.state_dict()
    torch.save(given, tmp_path / "w.pth")
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *a, **k: dict(given))
    from_file = hrnetv2(3, 18, weights=tmp_path / "w.pth")
    from_hub = hrnetv2(3, 18, weights="imagenet")
    for network in (from_file, from_hub):
        assert all(torch.equal(v, given[k]) for k, v in network.backbone.state_dict().items())
    assert len(from_file.load_report.loaded) == 1830
    assert "classifier.weight" in from_file.load_report.unexpected


def test_another_architectures_file_is_refused(w18_file, tmp_path):
    with pytest.raises(UserError, match=r"weights of another architecture: .*backbone of hrnetv2_w30 needs fit"):
        hrnetv2(19, 30, weights=w18_file)
    torch.save(timm.create_model("hrnet_w18_small_v2").state_dict(), tmp_path / "small.pth")
    with pytest.raises(UserError, match=r"small\.pth: weights of another architecture"):
        hrnetv2(19, 18, weights=tmp_path / "small.pth")


def test_without_the_hub_the_error_says_how_to_pass_a_file(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("Cannot reach https://hub.example/x: offline.\nsecond line")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    with pytest.raises(UserError, match=r"hrnet_w18 could not be fetched from timm's .*model\.weights=FILE") as caught:
        hrnetv2(3, 18, weights="imagenet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 47}, r"width=47: HRNetV2 has the widths 18, 30, 32, 40, 44, 48, 64; the nearest is 48"),
        ({"width": "w48"}, r"width=w48: HRNetV2 has the widths 18"),
        ({"head": "offical"}, r"did you mean 'official'\? allowed: plain, official, custom"),
        ({"weights": "imagnet"}, r"did you mean 'imagenet'\? allowed: none, imagenet or a file"),
        ({"dropout": -0.1}, r"model\.dropout=-0\.1: allowed"),
        ({"small": 2}, r"model\.small: '2' is not true or false"),
        ({"small": True}, r"model\.small: only width 18 has a small version, not 48"),
    ],
)
def test_a_wrong_option_is_one_line(options, message):
    with pytest.raises(UserError, match=message) as caught:
        hrnetv2(3, **options)
    assert "\n" not in str(caught.value)


def test_head_and_backbone_share_no_parameter_and_hold_every_one():
    with torch.device("meta"):
        network = hrnetv2(4, 18, head="official", dropout=0.2)
    head, backbone, everything, stage4 = (
        [name for name, _ in select_parameters(network, [group])] for group in ("head", "backbone", "all", "stage4")
    )
    assert head == [f"last_layer.{n}.{part}" for n in (0, 1, 3) for part in ("weight", "bias")]
    assert not set(head) & set(backbone)
    assert set(head) | set(backbone) == set(everything) == {name for name, _ in network.named_parameters()}
    assert stage4 == [name for name in backbone if name.startswith("backbone.stage4.")]
    assert all(select_parameters(network, [group]) for group in network.parameter_groups)
    frozen = modules_to_keep_in_eval(network, ["head"])
    assert not any(module in frozen for module in network.last_layer.modules())
    assert all(module in frozen for module in network.backbone.modules())


@pytest.mark.parametrize("head", HEADS)
def test_dropout_acts_before_the_last_layer_in_training_alone(head):
    network = hrnetv2(3, 18, head=head, dropout=0.5).eval()
    seen = []
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    dropout = next(module for module in network.modules() if isinstance(module, nn.Dropout))
    with torch.no_grad():
        for dropout.training in (True, False):
            network(torch.ones(1, 3, 64, 64))
    dropped = (seen[0] == 0) & (seen[1] != 0)
    assert 0.45 < dropped.sum() / (seen[1] != 0).sum() < 0.55


@pytest.mark.parametrize("head", HEADS)
def test_half_precision_and_channels_last_train(head):
    network = hrnetv2(3, 18, head=head, dropout=0.1).to(memory_format=torch.channels_last).train()
    images = torch.randn(2, 3, 70, 64).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(images)
    assert output.logits.dtype == torch.float32
    assert output.aux is None
    output.logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_it_declares_what_the_rest_of_streetlab_asks_for():
    network = hrnetv2(4, 18)
    assert network.task == "segmentation"
    assert network.normalization == {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    assert network.load_report is None
    again = pickle.loads(pickle.dumps(copy.deepcopy(network)))
    assert parameter_count(again) == parameter_count(network)


@pytest.mark.slow
def test_an_exported_network_takes_images_of_other_sizes():
    network = hrnetv2(3, 18).eval()
    any_size = torch.export.Dim.DYNAMIC
    exported = torch.export.export(
        network, (torch.randn(2, 3, 64, 96),), dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},)
    ).module()
    for size in ((50, 77), (64, 64)):
        images = torch.randn(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(exported(images).logits, network(images).logits)
