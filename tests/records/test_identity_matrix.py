"""Check each command after data or weights changed: skip, resume, go on, begin anew or refuse, never mix."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.tiny_runs import CLASSES, TINY

from streetlab import cli
from streetlab.io.files import file_sha256
from streetlab.records.record import RunRecord, find_runs
from streetlab.training.phases import PhaseSchedule

SHORT = ("regime=single", "regime.phases=[{name: train, epochs: 2, train: [all]}]")


class World:
    """A project folder with photos, weights, and records of each kind made from them."""

    def __init__(self) -> None:
        self.root, self.weights = "photos", "weights/start.ckpt"

    def words(self, *further: str, split_file: bool = False) -> list[str]:
        words = [*TINY, *SHORT, f"dataset.root={self.root}", f"model.weights={self.weights}", *further]
        return [*words, "dataset.split_file=split.json"] if split_file else words


def draw_photos(root: Path, first: int = 0) -> None:
    """Write 6 + 3 + 3 photos of each class as bitmaps, whose pixels can change without their size."""
    for split, count in {"train": 6, "val": 3, "test": 3}.items():
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                seed = [first, label, number, len(split)]
                pixels = np.random.default_rng(seed).integers(0, 160, (24, 24, 3)).astype(np.uint8)
                pixels[..., label] += 60
                Image.fromarray(pixels).save(root / split / name / f"{number}.bmp")


def write_split(path: Path, photos: Path, swap: bool = False) -> None:
    entries = {}
    for photo in sorted(photos.rglob("*.bmp")):
        split = photo.relative_to(photos).parts[0]
        swapped = {"0.bmp": {"val": "test", "test": "val"}.get(split, split)}.get(photo.name, split)
        entries[file_sha256(photo)] = {"split": swapped if swap else split}
    path.write_text(json.dumps({"format": "streetlab split 1", "seed": 0, "photos": entries}))


# ---- what happens to the world -------------------------------------------------------------------------------------


def nothing(world: World) -> None:
    pass


def root_moved(world: World) -> None:
    Path("elsewhere").mkdir()
    Path("photos").rename("elsewhere/photos")
    world.root = "elsewhere/photos"


def root_renamed(world: World) -> None:
    Path("photos").rename("pictures")
    world.root = "pictures"


def photo_added(world: World) -> None:
    pixels = np.random.default_rng(99).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("photos/train/clean/new.bmp")


def photo_removed(world: World) -> None:
    Path("photos/train/clean/0.bmp").unlink()


def photo_changed(world: World) -> None:
    Image.fromarray(np.full((24, 24, 3), 7, np.uint8)).save("photos/test/clean/0.bmp")


def photo_relabelled(world: World) -> None:
    Path("photos/train/clean/0.bmp").rename("photos/train/litter/moved.bmp")


def cache_stale(world: World) -> None:
    """Change pixels but neither size nor modification time, as a copy with its times preserved does."""
    photo = Path("photos/train/clean/0.bmp")
    status, pixels = photo.stat(), bytearray(photo.read_bytes())
    pixels[-100:] = bytes(100)
    photo.write_bytes(pixels)
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))


def weights_changed(world: World) -> None:
    shutil.copy("weights/other.ckpt", "weights/start.ckpt")


def weights_renamed(world: World) -> None:
    Path("weights/start.ckpt").rename("weights/begin.ckpt")
    world.weights = "weights/begin.ckpt"


def split_changed(world: World) -> None:
    write_split(Path("split.json"), Path("photos"), swap=True)


PHOTOS_CHANGED = (photo_added, photo_removed, photo_changed, photo_relabelled, cache_stale)
SAME_DATA = (nothing, root_moved, root_renamed)
CHANGES = (*SAME_DATA, *PHOTOS_CHANGED, weights_changed, weights_renamed, split_changed)


# ---- what is done then; each returns what came of it ---------------------------------------------------------------


Outcome = Callable[[World, bool, pytest.CaptureFixture], str]


def run(capsys: pytest.CaptureFixture, *words: str) -> str:
    """Run a command and say what it did."""
    before = {record.path for record in find_runs("outputs")}
    capsys.readouterr()
    code = cli.run(words)
    printed = capsys.readouterr()
    assert code in (0, 2, 130), printed.err
    if code == 2 or "cannot be resumed" in printed.err:
        line = printed.err.strip().splitlines()[-1]
        assert "then," in line or "other photos" in line, line
        return "refused"
    if "already completed, skipped" in printed.out:
        return "skipped"
    if "resuming after epoch" in printed.err:
        return "resumed"
    return "new" if {record.path for record in find_runs("outputs")} - before else "rewritten"


def train(world: World, split_file: bool, capsys: pytest.CaptureFixture) -> str:
    return run(capsys, "train", *world.words(split_file=split_file))


def resume(world: World, split_file: bool, capsys: pytest.CaptureFixture) -> str:
    return run(capsys, "train", *world.words("seed=7", split_file=split_file))


def sweep(world: World, split_file: bool, capsys: pytest.CaptureFixture) -> str:
    return run(capsys, "train", "-m", *world.words("seed=choice(1)", split_file=split_file))


def search(world: World, split_file: bool, capsys: pytest.CaptureFixture) -> str:
    """Run one trial more than there are."""
    sought = ("sweep=optuna", "optimizer.lr=interval(0.001,0.01)", "hydra.sweeper.n_trials=2")
    words = [word for word in world.words(*sought, split_file=split_file) if word != "optimizer.lr=0.01"]
    outcome = run(capsys, "train", "-m", *words)
    _folder, *others = {path.parent for path in Path("outputs").rglob("optuna.db")}
    return outcome if outcome == "refused" else ("new" if others else "goes on")


def folds(world: World, split_file: bool, capsys: pytest.CaptureFixture) -> str:
    return run(capsys, "train", *world.words("dataset.folds=3", "dataset.fold=0", split_file=split_file))


def teacher(world: World, split_file: bool, capsys: pytest.CaptureFixture) -> str:
    return run(capsys, "train", *world.words("teacher=outputs/teacher", split_file=split_file))


def later(command: str, *words: str) -> Outcome:
    """A command about a finished run: `same` where its earlier answer is written anew, `beside` where a new one is."""

    def ask(world: World, split_file: bool, capsys: pytest.CaptureFixture) -> str:
        name = "with_split" if split_file else "plain"
        root = [] if world.root == "photos" else [f"dataset.root={world.root}"]
        if root and command == "export":
            return "same"  # takes no word for data; without them it measures no quality
        answers = Path(f"outputs/{name}/{command}") if command != "compress" else Path("outputs")
        files = (path for path in answers.rglob("*") if path.is_file() and ".cache" not in path.parts)
        before = {path: path.read_bytes() for path in files if path.suffix != ".json"}
        capsys.readouterr()
        assert cli.run([command, f"run=outputs/{name}", *words, *root]) == 0, capsys.readouterr().err
        printed = capsys.readouterr()
        told = "these photos are not those of" in printed.out + printed.err
        answer = Path(printed.out.strip().splitlines()[-1])
        if told:  # nothing earlier is replaced
            assert [path for path, content in before.items() if path.read_bytes() != content] == []
            assert not any(path.is_relative_to(answer) for path in before)
        return "beside" if told else "same"

    return ask


evaluate = later("evaluate")
explain = later("explain", "scores=false", "n=1")
export = later("export", "precision=int8", "evaluate=false")
compress = later("compress", "epochs=0", "ratio=0.3")

NEW_OR_SKIPPED = dict.fromkeys(SAME_DATA, "skipped") | dict.fromkeys(PHOTOS_CHANGED, "new")
NEW_OR_SKIPPED |= {weights_changed: "new", weights_renamed: "skipped", split_changed: "new"}
ANSWERS = dict.fromkeys((*SAME_DATA, weights_changed, weights_renamed), "same")
ANSWERS |= dict.fromkeys((*PHOTOS_CHANGED, split_changed), "beside")

EXPECTED: dict[Outcome, dict[Callable[[World], None], str]] = {
    train: NEW_OR_SKIPPED,
    # the split file's contents stand in a run's name, so that another one never meets the interrupted record
    resume: dict.fromkeys((*SAME_DATA, weights_renamed), "resumed")
    | dict.fromkeys((*PHOTOS_CHANGED, weights_changed), "refused")
    | {split_changed: "new"},
    # a sweep's folder is named by its words; in another one its jobs are others
    sweep: NEW_OR_SKIPPED | {root_renamed: "new", weights_renamed: "new"},
    search: dict.fromkeys((nothing, root_moved), "goes on")
    | dict.fromkeys((*PHOTOS_CHANGED, weights_changed, split_changed), "refused")
    | {root_renamed: "new", weights_renamed: "new"},
    folds: NEW_OR_SKIPPED,
    teacher: NEW_OR_SKIPPED,
    evaluate: ANSWERS,
    explain: ANSWERS,
    export: ANSWERS,
    compress: ANSWERS,
}
FEW_CHANGES = (root_renamed, photo_relabelled, cache_stale, weights_changed)
FEW_COMMANDS = (train, resume, evaluate)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The folder that the world lives in, and a copy of it as it was made."""
    live, kept = tmp_path_factory.mktemp("world") / "live", tmp_path_factory.mktemp("kept") / "copy"
    live.mkdir()
    before = Path.cwd()
    os.chdir(live)
    try:
        draw_photos(Path("photos"))
        write_split(Path("split.json"), Path("photos"))
        base = [*TINY, *SHORT, "dataset.root=photos", "regime.max_epochs=1"]
        Path("weights").mkdir()
        for seed, name in enumerate(("start", "other")):
            assert cli.run(["train", *base, f"seed={seed}", f"output=first/{name}"]) == 0
            shutil.copy(f"first/{name}/checkpoints/best.ckpt", f"weights/{name}.ckpt")
        assert cli.run(["train", *World().words("output=outputs/teacher")]) == 0
        for split_file, name in ((False, "plain"), (True, "with_split")):
            assert cli.run(["train", *World().words(f"output=outputs/{name}", split_file=split_file)]) == 0
        shutil.copytree(live, kept)
        os.chdir(before)
        yield live, kept
    finally:
        os.chdir(before)


@pytest.fixture
def world(template: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> World:
    live, kept = template
    shutil.rmtree(live)
    shutil.copytree(kept, live)
    monkeypatch.chdir(live)
    return World()


def make_record(asked: Outcome, world: World, split_file: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what the command finds: a complete run, an interrupted one, a sweep, a search of one trial, an answer."""
    if asked is search:
        sought = ("sweep=optuna", "optimizer.lr=interval(0.001,0.01)", "hydra.sweeper.n_trials=1")
        words = [word for word in world.words(*sought, split_file=split_file) if word != "optimizer.lr=0.01"]
        assert cli.run(["train", "-m", *words]) == 0
        return
    original = PhaseSchedule.on_train_epoch_start

    def stop_in_second_epoch(self: PhaseSchedule, trainer, pl_module) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
        original(self, trainer, pl_module)

    with monkeypatch.context() as patch:
        if asked is resume:
            patch.setattr(PhaseSchedule, "on_train_epoch_start", stop_in_second_epoch)
        captured: pytest.CaptureFixture = _Ignored()  # type: ignore[assignment]
        asked(world, split_file, captured)


class _Ignored:
    """Stands for pytest's capture where nobody looks at what a command says."""

    def readouterr(self):
        from types import SimpleNamespace

        return SimpleNamespace(out=".", err="")


CELLS = [
    pytest.param(
        change,
        asked,
        marks=[] if change in FEW_CHANGES and asked in FEW_COMMANDS else pytest.mark.slow,
        id=f"{change.__name__}-{next(name for name, value in list(globals().items()) if value is asked)}",
    )
    for asked in EXPECTED
    for change in CHANGES
]


@pytest.mark.parametrize(("change", "asked"), CELLS)
def test_what_came_before_is_taken_for_the_same_only_where_photos_and_weights_are(
    change: Callable[[World], None],
    asked: Outcome,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    split_file = change is split_changed
    make_record(asked, world, split_file, monkeypatch)
    hashes = {record.path: record.known_status.get("split_hash") for record in find_runs("outputs")}
    change(world)
    assert asked(world, split_file, capsys) == EXPECTED[asked][change]
    for path, split_hash in hashes.items():
        assert RunRecord(path).status.get("split_hash") == split_hash
