"""A trained network that predicts photos of any size, from a run, a checkpoint or an exported file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from streetlab.datasets.decode import resize, to_photo
from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.task_spec import TASKS
from streetlab.datasets.training_domain import TrainingDomain
from streetlab.errors import UserError, first_line
from streetlab.inference.compiled_predictor import CompiledPredictor, uncompiled
from streetlab.inference.exported import ExportedNetwork
from streetlab.inference.hardware import computing_in, fitting
from streetlab.inference.load_model import LoadedModel, load_checkpoint, load_export, load_run
from streetlab.inference.predictions import Classified, Segmented, marked
from streetlab.inference.upsample import enlarged_labels, in_bands, labelled, rows_of_a_band
from streetlab.inference.views import Views
from streetlab.inference.windows import slide
from streetlab.loading.augment import normalize
from streetlab.networks.cam import class_activation
from streetlab.records.record import RunRecord
from streetlab.tasks.test_time import log_probabilities, rescaled
from streetlab.training.memory import is_out_of_memory

ALL_ACTIVATED = 6
"""Up to so many classes, each has an activation map; beyond, the predicted class alone."""
RESIZED = Views()
Item = TypeVar("Item")
Photo = str | Path | np.ndarray | Image.Image


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network with its views of photos. It predicts whole photos as `streetlab evaluate` does.

    Made by `from_run`, `from_checkpoint` and `from_export`.

    Attributes:
        network: in eval mode on the device; several predictors may share it.
        name: of the run, or of the file where that lies in none.
        task: classification or segmentation.
        label_space: the classes.
        image_size: height and width that the network was trained at.
        checkpoint, sha256, epoch: the file of the weights, its hash, how many epochs they have behind them.
        fitted: the temperature that the run fitted for these weights; None where it has none.
        device: where the network computes.
        precision: what it computes in; of an exported file fp32, fp16 or int8.
        views: what it sees of a photo.
        batch_size: how many images of training size it is shown at once; of larger ones fewer.
        data_set: name of the data set that the network was trained on; None where that is not known.
        domain: tells photos that are unlike the training photos; None where none was fitted.
        tested_with: words of the command for the views that the run was tested with; empty where there was one view.
    """

    network: nn.Module = field(repr=False)
    name: str
    task: str
    label_space: LabelSpace
    image_size: tuple[int, int]
    checkpoint: Path
    sha256: str
    epoch: int
    fitted: float | None
    device: torch.device
    precision: str
    views: Views
    batch_size: int
    data_set: str | None = None
    domain: TrainingDomain | None = field(default=None, repr=False)
    tested_with: str = ""

    @classmethod
    def from_run(
        cls,
        run: RunRecord | Path | str,
        checkpoint: str = "best",
        *,
        device: str = "auto",
        precision: str = "auto",
        views: Views = RESIZED,
        batch_size: int = 8,
    ) -> Predictor:
        """The network of a run.

        Args:
            run: its record or folder.
            checkpoint: best, last or a file.
            device: auto, cpu, cuda or cuda:N.
            precision: auto (what the run computed in, where this hardware has it), 32-true, bf16-mixed or 16-mixed.

        Raises:
            UserError: no such run, checkpoint, device or precision; a checkpoint that is damaged.
        """
        return cls._of(load_run(run, checkpoint, device, precision), views, batch_size)

    @classmethod
    def from_checkpoint(
        cls,
        path: Path | str,
        *,
        device: str = "auto",
        precision: str = "auto",
        views: Views = RESIZED,
        batch_size: int = 8,
    ) -> Predictor:
        """The network of a checkpoint that may come from anybody: none but streetlab's own networks are built.

        Raises:
            UserError: as `from_run`; and where it names another's code.
        """
        return cls._of(load_checkpoint(Path(path), device, precision), views, batch_size)

    @classmethod
    def from_export(
        cls,
        path: Path | str,
        *,
        device: str = "auto",
        precision: str = "auto",
        views: Views = RESIZED,
        batch_size: int = 8,
    ) -> Predictor:
        """The model of an exported file; of a `.pt2` file only one's own, see `ExportedNetwork.open`.

        Args:
            device: as of `from_run`; auto takes a GPU only where what opens the file computes there.
            precision: auto, or the file's own, which is part of the graph.

        Raises:
            UserError: as `ExportedNetwork.open`; no such device; another precision than the file's.
        """
        return cls._of(load_export(Path(path), device, precision), views, batch_size)

    @classmethod
    def _of(cls, opened: LoadedModel, views: Views, batch_size: int) -> Predictor:
        if type(batch_size) is not int or batch_size < 1:
            raise UserError(f"batch_size: '{batch_size}' is not a whole number of 1 or more")
        task = opened.label_space.task
        return cls(
            opened.network, opened.name, task, opened.label_space, opened.image_size, opened.path, opened.sha256,
            opened.epoch, opened.temperature, opened.device, opened.precision, _views_for(task, views), batch_size,
            opened.data_set, opened.domain, opened.tested_with,
        )  # fmt: skip

    def seen_through(self, views: Views) -> Predictor:
        """The same network shown other views of a photo."""
        return replace(self, views=_views_for(self.task, views))

    def compiled(self) -> Predictor:
        """The same with graphs of the network for the sizes of batch that it is shown more than once.

        Raises:
            UserError: the network is an exported file, a graph already.
        """
        if isinstance(self.network, ExportedNetwork):
            raise UserError(f"compile: {self.checkpoint.name} is a graph already; compile=true is for runs")
        return replace(self, network=CompiledPredictor(self.network))

    @property
    def temperature(self) -> float | None:
        """The divisor of the logits before the softmax; None without one, as for means over several views."""
        return self.fitted if self.views.whole.plain else None

    @property
    def per_pixel(self) -> bool:
        """True where each pixel is given a class, and not each photo."""
        return self.label_space.spec.per_pixel

    @property
    def has_activations(self) -> bool:
        """Tell whether activation maps can be made: of a classifier, not of an exported file, which has no layers."""
        return not self.per_pixel and not isinstance(self.network, ExportedNetwork)

    @property
    def memory_bytes(self) -> int:
        """The bytes of the network's parameters and buffers on its device; of an exported file its size."""
        if isinstance(self.network, ExportedNetwork):
            return self.network.file_bytes
        return sum(t.numel() * t.element_size() for t in (*self.network.parameters(), *self.network.buffers()))

    @torch.inference_mode()
    def predict(
        self, photos: Sequence[Photo], activations: bool = False, go_on: Callable[[], None] = lambda: None
    ) -> list[Classified] | list[Segmented]:
        """Predict each photo.

        Args:
            photos: of any sizes: paths, arrays (H, W, 3) of uint8 in RGB, or Pillow's RGB images.
            activations: with class activation maps: of all classes up to six, else of the predicted one.
            go_on: called before and after the network sees photos and before every batch of windows; may raise to stop.

        Raises:
            UserError: maps of a network that gives each pixel a class, or of an exported one; a photo that the
                network does not take at its own size, or that does not decode; too little memory.
        """
        if activations:
            self._refuse_activations()
        if isinstance(photos, str | Path | np.ndarray | Image.Image):
            raise UserError("photos: predict takes several; give one as predict([photo])")
        upright = [to_photo(photo) for photo in photos]
        predictions = self._predict(upright, activations, go_on)
        if self.domain is None:
            return predictions
        return marked(predictions, self.domain.is_unlike([resize(_rgb(photo), self.image_size) for photo in upright]))

    def _predict(
        self, photos: Sequence[Image.Image], activations: bool, go_on: Callable[[], None]
    ) -> list[Classified] | list[Segmented]:
        if not self.per_pixel:
            return [
                answer for batch in _parts(photos, self.batch_size) for answer in self._classify(batch, activations)
            ]
        if self.views.mode == "window":
            return [labelled(self._slide(photo, go_on), _size(photo)) for photo in photos]
        answers: dict[int, Segmented] = {}
        for places in self._batches(photos):
            go_on()
            scores = self._whole([photos[place] for place in places])
            go_on()
            answers |= {
                place: self.segmented(one, _size(photos[place])) for place, one in zip(places, scores, strict=True)
            }
        return [answers[place] for place in range(len(photos))]

    @torch.inference_mode()
    def scores(self, photos: Sequence[Image.Image], go_on: Callable[[], None] = lambda: None) -> Tensor:
        """Logits, or the logarithm of mean probabilities where there are several views, of photos of one size.

        Args:
            go_on: as of `predict`.

        Returns:
            float32 on the device: (B, K), or (B, K, h, w) of the size that the network sees, before upsampling.

        Raises:
            ValueError: no photo, or photos of several sizes.
            UserError: as `predict`.
        """
        if len({photo.size for photo in photos}) != 1:
            raise ValueError(f"scores: {len(photos)} photos of {len({photo.size for photo in photos})} sizes, not one")
        if self.views.mode == "window":
            return torch.stack([torch.cat(list(self._slide(photo, go_on)), dim=1) for photo in photos])
        batches = [self._whole([photos[place] for place in places]) for places in self._batches(photos)]
        return batches[0] if len(batches) == 1 else torch.cat(batches)

    @torch.inference_mode()
    def segmented(self, scores: Tensor, size: tuple[int, int]) -> Segmented:
        """Class ids and confidence at `size` = (H, W) of the scores (K, h, w) of one photo."""
        return enlarged_labels(scores, size)

    def _classify(self, photos: Sequence[Image.Image], activations: bool) -> Iterator[Classified]:
        images = self._images(photos)
        scores = self._seen(images).double()
        probabilities = (scores / (self.temperature or 1.0)).softmax(dim=1).float().cpu().numpy()
        predictions = probabilities.argmax(axis=1).tolist()
        if not activations:
            for row, prediction in zip(probabilities, predictions, strict=True):
                yield Classified(row, prediction)
            return
        count = len(self.label_space)
        activated = [tuple(range(count)) if count <= ALL_ACTIVATED else (prediction,) for prediction in predictions]
        # the n-th map of every photo at once
        with self._failures(images):
            maps = torch.stack(
                [class_activation(uncompiled(self.network), images, labels) for labels in zip(*activated, strict=True)]
            )
        for photo, row, prediction, classes, own in zip(
            photos, probabilities, predictions, activated, maps.unbind(dim=1), strict=True
        ):
            large = F.interpolate(own[None], size=_size(photo), mode="bilinear", align_corners=False)[0]
            yield Classified(row, prediction, large.numpy(), classes)

    def _whole(self, photos: Sequence[Image.Image]) -> Tensor:
        """Scores of photos that make one batch."""
        if isinstance(self.network, ExportedNetwork) and self.views.whole.plain:
            pixels = self._pixels(photos)
            with self._failures(pixels.permute(0, 3, 1, 2)):
                return self.network.logits(pixels)
        return self._seen(self._images(photos))

    def _pixels(self, photos: Sequence[Image.Image]) -> Tensor:
        """`(B, h, w, 3)` uint8 at the size that the network sees."""
        own = self.views.mode == "direct"
        shown = [resize(_rgb(photo), _size(photo) if own else self.image_size) for photo in photos]
        return torch.from_numpy(np.stack(shown))

    def _images(self, photos: Sequence[Image.Image]) -> Tensor:
        """`(B, 3, h, w)` float32, normalised, at the size that the network sees."""
        shown = self._pixels(photos)
        with fitting(f"{len(photos)} photos of {_times(shown.shape[1:])}", self.device):
            return normalize(shown.to(self.device).permute(0, 3, 1, 2))

    def _seen(self, images: Tensor) -> Tensor:
        """Scores of normalised images of one size, averaged over the views of a whole image."""
        with self._failures(images), computing_in(self.precision, self.device):
            whole = self.views.whole
            if self.per_pixel or whole.plain:
                return whole(self._logits, images).float()
            views = [rescaled(images, scale) for scale in whole.scales]
            if whole.flip:
                views += [view.flip(-1) for view in views]
            return log_probabilities(torch.stack([self._probabilities(view) for view in views]).sum(dim=0))

    def _logits(self, images: Tensor) -> Tensor:
        output = self.network(images)
        return getattr(output, "logits", output)

    def _probabilities(self, images: Tensor) -> Tensor:
        return self._logits(images).float().softmax(dim=1)

    def _slide(self, photo: Image.Image, go_on: Callable[[], None]) -> Iterator[Tensor]:
        """Log-probabilities of a photo as bands `(K, rows, W)` from the top, averaged over windows and views."""
        pixels = torch.from_numpy(np.array(_rgb(photo))).permute(2, 0, 1)
        window, size = self.views.window or self.image_size, _size(photo)
        rows = min(window[0], size[0], rows_of_a_band(len(self.label_space), size[1]))

        def probabilities(crops: Tensor) -> Tensor:
            go_on()
            images = crops.to(self.device)
            images = normalize(images) if crops.dtype == torch.uint8 else images
            with self._failures(images), computing_in(self.precision, self.device):
                return self._probabilities(images)

        def bands(view: Tensor, back: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
            chunks = slide(probabilities, view, (window[0], window[1]), self.views.overlap, self.batch_size)
            return in_bands(map(back, chunks), view.shape[-2], size, rows)

        streams = []
        for scale in self.views.scales:
            view = pixels if scale == 1.0 else rescaled(normalize(pixels[None]), scale)[0]
            streams.append(bands(view, lambda chunk: chunk))
            if self.views.flip:
                streams.append(bands(view.flip(-1), lambda chunk: chunk.flip(-1)))
        for parts in zip(*streams, strict=True):
            yield log_probabilities(sum(parts[1:], parts[0])[None])[0]

    def _batches(self, photos: Sequence[Image.Image]) -> Iterator[Sequence[int]]:
        """Places of photos that the network is shown together: of one size, and no more pixels than are usual."""
        alike: dict[tuple[int, int], list[int]] = {}
        for place, photo in enumerate(photos):
            alike.setdefault(_size(photo) if self.views.mode == "direct" else self.image_size, []).append(place)
        for (height, width), places in alike.items():
            usual = self.batch_size * self.image_size[0] * self.image_size[1]
            yield from _parts(places, min(self.batch_size, max(1, usual // (height * width))))

    def _refuse_activations(self) -> None:
        if self.per_pixel:
            raise UserError(f"activations: {self.name} gives each pixel a class; maps are made of classifiers")
        if not self.has_activations:
            raise UserError(f"activations: {self.checkpoint.name} is an exported model; maps are made of runs")

    @contextmanager
    def _failures(self, images: Tensor) -> Iterator[None]:
        """Turn the network's errors into one line: images of a size that it does not take, too little memory."""
        size = _times(images.shape[-2:])
        with fitting(f"{len(images)} images of {size}", self.device):
            try:
                yield
            except (AssertionError, RuntimeError, ValueError) as error:
                usual = self.views.mode == "resized" and set(self.views.scales) == {1.0}  # the training size alone
                if usual or is_out_of_memory(error) or isinstance(error, torch.AcceleratorError):
                    raise
                raise UserError(
                    f"mode: {type(uncompiled(self.network)).__name__} of {self.name} does not take photos of {size} "
                    f"({first_line(error) or type(error).__name__}); mode=resized with scales=[1.0] shows it "
                    f"{_times(self.image_size)}, as it was trained"
                ) from error


def _views_for(task: str, views: Views) -> Views:
    return replace(views, mode="resized", window=None) if not TASKS[task].per_pixel else views


def _rgb(photo: Image.Image) -> Image.Image:
    if photo.mode != "RGB":
        raise ValueError(f"a photo of mode {photo.mode}: streetlab.datasets.decode.read_photo makes it RGB")
    return photo


def _parts(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _size(photo: Image.Image) -> tuple[int, int]:
    return photo.height, photo.width


def _times(shape: Sequence[int]) -> str:
    return f"{shape[0]}x{shape[1]}"
