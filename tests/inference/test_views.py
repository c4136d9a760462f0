"""What a network is shown: words that mean nothing are refused, windows say what the evaluation's windows say."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.crafted_runs import CLASSIFIER, POINTWISE, write_run
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from streetlab.errors import UserError
from streetlab.inference.predictor import Predictor
from streetlab.inference.views import Views
from streetlab.loading.augment import normalize
from streetlab.synthetic import draw_scene
from streetlab.tasks.test_time import TestTime, window_starts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="module")
def segmenter(folder):
    return Predictor.from_run(write_run(folder / "segmenter"), device="cpu")


@pytest.fixture(scope="module")
def pointwise(folder):
    return Predictor.from_run(write_run(folder / "pointwise", POINTWISE), device="cpu", batch_size=2)


def scene(height, width):
    drawn = draw_scene(3, max(height, 32), max(width, 32)).image
    return Image.fromarray(np.ascontiguousarray(drawn[:height, :width]))


def as_images(photo):
    return normalize(torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "windows"}, ("mode: 'windows'", "did you mean 'window'?")),
        ({"window": (64, 64)}, ("window:", "mode=window")),
        ({"mode": "window", "window": (64, 8)}, ("window:", "at least 32")),
        ({"mode": "window", "window": (64.0, 64)}, ("window:", "whole pixels")),
        ({"mode": "window", "window": 64}, ("window: '64'",)),
        ({"mode": "window", "overlap": 1}, ("overlap: 1",)),
        ({"mode": "window", "overlap": "half"}, ("overlap: 'half'",)),
        ({"scales": ()}, ("scales:",)),
        ({"scales": (0.01,)}, ("scales:", "0.1 to 8")),
        ({"scales": "1.0"}, ("scales: '1.0'",)),
        ({"flip": "yes"}, ("flip: 'yes'",)),
    ],
)
def test_views_that_mean_nothing_are_refused_in_one_line(options, words):
    with pytest.raises(UserError) as refused:
        Views(**options)
    assert all(word in str(refused.value) for word in words)
    assert "\n" not in str(refused.value)


def test_equal_views_are_one_key_of_a_cache():
    assert len({Views("window", [64, 96], scales=[1, 2]), Views("window", (64, 96), scales=(1.0, 2.0))}) == 1


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"scales": (0.75, 1.5)}, {"flip": True, "scales": (1.0, 1.3)}])
@pytest.mark.parametrize(("size", "batch_size"), [((130, 150), 1), ((130, 150), 5), ((70, 40), 5), ((20, 300), 5)])
def test_windows_give_the_probabilities_of_an_evaluation(segmenter, options, size, batch_size):
    photo = scene(*size)
    views = Views("window", (64, 64), **options)
    predictor = Predictor.from_run(segmenter.checkpoint.parents[1], device="cpu", views=views, batch_size=batch_size)
    with torch.inference_mode():
        score = lambda images: predictor.network(images).logits  # noqa: E731
        expected = TestTime(window=(64, 64), **options)(score, as_images(photo)).exp()
    scores = predictor.scores([photo])
    assert (scores.exp() - expected).abs().max() < 1e-5
    (answer,) = predictor.predict([photo])
    assert np.array_equal(answer.ids, scores[0].argmax(dim=0).numpy())
    assert np.abs(answer.confidence / 255 - expected[0].amax(dim=0).numpy()).max() < 0.003


@pytest.mark.parametrize("mode", ["resized", "direct"])
@pytest.mark.parametrize("options", [{"flip": True}, {"flip": True, "scales": (0.75, 1.0, 1.5)}])
def test_mirrored_and_at_several_scales_means_what_it_means_in_an_evaluation(segmenter, mode, options):
    photo = scene(64, 96)
    with torch.inference_mode():
        expected = TestTime(**options)(lambda images: segmenter.network(images).logits, as_images(photo))
    assert torch.equal(segmenter.seen_through(Views(mode, **options)).scores([photo]), expected)


def test_a_classifier_is_asked_for_the_mirrored_photo_as_well(folder):
    predictor = Predictor.from_run(write_run(folder / "classifier", CLASSIFIER), device="cpu")
    photo = scene(64, 96)
    mirrored = Image.fromarray(np.array(photo)[:, ::-1])
    one, other = (answer.probabilities for answer in predictor.predict([photo, mirrored]))
    (both,) = predictor.seen_through(Views(flip=True)).predict([photo])
    assert np.abs(one - other).max() > 1e-4, "or the mirrored photo says nothing"
    assert both.probabilities == pytest.approx((one + other) / 2, abs=1e-6)


def test_a_classifier_always_sees_the_whole_photo_at_its_training_size(folder):
    predictor = Predictor.from_run(write_run(folder / "whole", CLASSIFIER), device="cpu")
    shown = predictor.seen_through(Views("window", (32, 32), flip=True))
    assert (shown.views.mode, shown.views.window, shown.views.flip) == ("resized", None, True)


SMALL_FIELD = {"_target_": "tests.support.crafted_runs.Convolutions", "_partial_": True, "sides": [3, 3]}
REACH = 2  # pixels that two 3x3 convolutions see to each side


def test_sliding_window_and_whole_image_agree_for_a_network_with_a_small_receptive_field(folder):
    """What a window's edge hides is more than the network's reach away from most pixels: there they are one.

    Nearer to an edge a window shows the network its own replicated border, so that a mean over windows differs from
    the whole image by what the neighbours weigh; with neighbours of little weight all pixels agree.
    """
    photo = scene(200, 260)
    both = [Views("direct"), Views("window", (64, 96), overlap=0.5)]
    for damped, everywhere in ((1.0, False), (0.002, True)):
        record = write_run(folder / f"damped{damped}", SMALL_FIELD | {"damped": damped})
        predictor = Predictor.from_run(record, device="cpu")
        direct, window = (predictor.seen_through(views).scores([photo])[0] for views in both)
        apart = (direct.softmax(dim=0) - window.exp()).abs().amax(dim=0)
        rows, columns = far_from_edges(200, 64), far_from_edges(260, 96)
        inside = rows[:, None] & columns
        assert inside.float().mean() > 0.6
        assert apart[inside].max() < 1e-5
        assert (apart.max() < 1e-3) == everywhere
        if everywhere:
            answers = [predictor.seen_through(views).predict([photo])[0] for views in both]
            assert (answers[0].ids == answers[1].ids).mean() > 0.999


def far_from_edges(length, window):
    """The places of a side that lie no nearer than the reach to an edge of a window within the image."""
    far = torch.ones(length, dtype=torch.bool)
    for start in window_starts(length, window, 0.5):
        for edge in (start, start + window):
            if 0 < edge < length:
                far[edge - REACH : edge + REACH] = False
    return far


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive at any one time."""

    def __init__(self):
        super().__init__()
        self.most = self.now = 0
        self.users: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key, size = storage.data_ptr(), storage.nbytes()
                self.users[key] = self.users.get(key, 0) + 1
                self.now += size if self.users[key] == 1 else 0
                weakref.finalize(tensor, self._gone, key, size)
        self.most = max(self.most, self.now)
        return made

    def _gone(self, key, size):
        self.users[key] -= 1
        self.now -= size if self.users[key] == 0 else 0


@pytest.mark.parametrize("options", [{}, {"flip": True}])
def test_the_memory_of_a_sliding_window_does_not_grow_with_the_height(pointwise, options):
    predictor = pointwise.seen_through(Views("window", (64, 64), **options))

    def most_bytes(height):
        photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, 80, 3), dtype=np.uint8))
        # the photo's pixels and their mirror image; ids and confidence, the answer itself
        own = height * 80 * (3 * (1 + len(options)) + 2)
        with LiveTensors() as live:
            (answer,) = predictor.predict([photo])
        assert answer.ids.shape == (height, 80)
        return live.most - own

    short, tall = most_bytes(1000), most_bytes(20_000)
    scores = 20_000 * 80 * len(predictor.label_space) * 4
    assert tall < scores / 10
    assert tall == pytest.approx(short, abs=0.02 * scores)


def test_direct_shows_no_more_pixels_at_once_than_a_batch_of_training_size(segmenter):
    seen = []
    handle = segmenter.network.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    try:
        small, large = scene(32, 48), scene(128, 192)
        segmenter.seen_through(Views("direct")).predict([small] * 9 + [large] * 5)
    finally:
        handle.remove()
    assert [shape[0] for shape in seen] == [8, 1, 2, 2, 1]
    assert max(shape[0] * shape[2] * shape[3] for shape in seen) <= 8 * 64 * 96


def test_a_size_that_the_network_does_not_take_is_one_line(folder):
    predictor = Predictor.from_run(write_run(folder / "picky", POINTWISE), device="cpu")
    predictor.network.register_forward_pre_hook(refuse_narrow)
    with pytest.raises(UserError, match=r"picky does not take photos of 33x7 \(too narrow\); mode=resized") as refused:
        predictor.seen_through(Views("direct")).predict([scene(33, 7)])
    assert "\n" not in str(refused.value)


def refuse_narrow(module, inputs):
    if inputs[0].shape[-1] < 32:
        raise ValueError("too narrow\nfor this network")
