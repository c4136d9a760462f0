"""Requests and responses of the API for /openapi.json."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from streetlab.app.jobs.job import Kind, State
from streetlab.plots.paint import PaintRequest

Task = Literal["classification", "segmentation"]
Files = dict[str, str]
Mode = Literal["resized", "direct", "window"]
UNLIKE_SHARE = "Share of the frames compared, one of every ten, that are unlike the training photos"
UNLIKE = "Whether the photo, or most of a video, is unlike the training photos; null where the model cannot tell"


class Fault(BaseModel):
    """The body of every response with a 4xx or 5xx status."""

    error: str = Field(description="One line: the value and what is allowed", examples=["no such job"])


class ModelClass(BaseModel):
    """One class of a model; its id is its place in the list."""

    name: str
    color: str = Field(description="#rrggbb")
    category: str | None = None
    criterion: str | None = None


class ModelEntry(BaseModel):
    """One finished run, checkpoint or exported model."""

    model_config = ConfigDict(extra="allow")
    id: str = Field(description="Stable; to be given as `model`")
    name: str
    title: str
    task: Task
    variant: str | None = Field(description="Which of the six networks of the original study")
    data_set: str | None
    trained_on: str | None = Field(None, description="The data set in plain words: drawn streets, or its name")
    image_size: tuple[int, int] = Field(description="Height and width that it was trained at")
    classes: list[ModelClass]
    ordinal: bool = Field(description="Whether the order of the classes is a scale")
    objective: str | None
    score: float | None = Field(description="The objective on the tested split")
    metrics: dict[str, float]
    split: str | None
    parameters: int | None
    gmacs: float | None
    checkpoint_bytes: int | None
    images_per_second: float | None
    ended: str | None
    calibrated: bool = Field(description="Whether its probabilities are calibrated")
    activations: bool = Field(description="Whether it takes cam=true: classifiers do, exported ones do not")


class Limits(BaseModel):
    """Limits on uploads."""

    upload_bytes: int
    pixels: int = Field(description="Of a photo or frame")
    video_frames: int
    formats: list[str] = Field(description="Detected by content, not by name")
    videos: bool
    expire_minutes: float


class Models(BaseModel):
    """The models, and the limits on uploads."""

    models: list[ModelEntry] = Field(description="The best score first within a task")
    limits: Limits


class Accepted(BaseModel):
    """A job that has been queued."""

    id: str = Field(description="Unguessable; whoever has it can see, cancel and delete the job")
    url: str
    state: State
    position: int | None = Field(description="1: the next in the queue; null: it does not wait")


class Progress(BaseModel):
    """Progress, in frames of a video or in photos."""

    done: int
    total: int | None
    per_second: float | None
    seconds_left: float | None


class Activation(BaseModel):
    """The class activation map of one class, 8-bit grey at the photo's size; all of a photo have one scale."""

    model_config = ConfigDict(populate_by_name=True)
    class_: int = Field(alias="class")
    file: str


class _Result(BaseModel):
    model_config = ConfigDict(extra="allow")
    task: Task
    files: Files = Field(description="Addresses by role: photo, ids, confidence, palette, csv")


class SegmentedPhoto(_Result):
    """Class ids and confidence (largest probability × 255) as 8-bit grey PNGs at the photo's own size."""

    task: Literal["segmentation"]
    width: int
    height: int
    shares: list[float] = Field(description="Of each class in the photo")
    unlike_training: bool | None = Field(None, description=UNLIKE)
    milliseconds: dict[str, float]


class ClassifiedPhoto(_Result):
    """Probabilities, and with cam=true class activation maps."""

    task: Literal["classification"]
    width: int
    height: int
    probabilities: list[float]
    prediction: int
    calibrated: bool
    activations: list[Activation] | None = None
    activation_scale: float | None = None
    unlike_training: bool | None = Field(None, description=UNLIKE)


class SegmentedVideo(_Result):
    """Photo as H.264, ids as lossless VP9 whose picture `layout` explains; both have the same frames and times."""

    task: Literal["segmentation"]
    width: int
    height: int
    fps: str = Field(examples=["30000/1001"])
    frames: int
    times: list[float] = Field(description="Seconds of each frame")
    layout: dict[str, Any]
    shares: list[float]
    flicker: float | None
    flicker_raw: float | None
    audio: bool
    broken: str | None = Field(description="Why the end is missing")
    note: str | None = Field(None, description="What was done about time stamps that start over")
    unlike_training: bool | None = Field(None, description=UNLIKE)
    unlike_share: float | None = Field(None, description=UNLIKE_SHARE)


class ClassifiedVideo(_Result):
    """Probabilities of each frame."""

    task: Literal["classification"]
    fps: str
    frames: int
    times: list[float]
    probabilities: list[list[float]]
    prediction: int
    unlike_training: bool | None = Field(None, description=UNLIKE)
    unlike_share: float | None = Field(None, description=UNLIKE_SHARE)


class Rendered(BaseModel):
    """The overlay that a render job has painted."""

    model_config = ConfigDict(extra="allow")
    files: Files


class JobView(BaseModel):
    """The current state of a job."""

    id: str
    kind: Kind
    name: str
    model: str
    state: State = Field(description="partial: a video whose end is missing")
    position: int | None
    progress: Progress
    error: str | None = Field(description="One line, where it failed")
    expires: float | None = Field(description="Seconds since 1970; null until it has ended")
    result: SegmentedPhoto | ClassifiedPhoto | SegmentedVideo | ClassifiedVideo | Rendered | None


def without_defaults(described: dict[str, Any]) -> dict[str, Any]:
    """Remove FastAPI's default 422 from an OpenAPI description; this server responds with 400 instead."""
    for methods in described["paths"].values():
        for operation in methods.values():
            default = operation["responses"].get("422", {}).get("content", {}).get("application/json", {})
            if default.get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        described.get("components", {}).get("schemas", {}).pop(name, None)
    return described


class Download(BaseModel):
    """A request to download: one part of one job comes as it is, anything else as a zip."""

    model_config = ConfigDict(extra="forbid")
    jobs: list[str] = Field(min_length=1, max_length=200)
    look: PaintRequest = PaintRequest()
    parts: list[Annotated[str, Field(max_length=40)]] = Field(
        min_length=1, max_length=20, description="ids, palette, confidence, overlay, csv"
    )
