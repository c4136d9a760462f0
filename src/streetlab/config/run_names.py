"""Name run folders: the readable overrides and eight digits of the resolved config's hash."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from streetlab.config.moved import first_target
from streetlab.config.quoting import unquote
from streetlab.config.values import without_hydra
from streetlab.io.files import file_sha256
from streetlab.io.hub_folder import is_of_hub, weights_file

# What does not change the result: where it is written, who watches, and on what it computes.
LEFT_OUT = (
    "hydra",
    "output",
    "study",
    "resume",
    "data",  # what comes of it stands in dataset.root and model.weights
    "pretrained",
    "sweep",
    "logger",
    "num_workers",
    "dataset.cache_dir",
    "dataset.on_device",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.strategy",
    "trainer.num_nodes",
    "trainer.profiler",
    "trainer.compile",
    "trainer.checkpointing",
    "callbacks.progress",
    "model.channels",  # what comes of model.pruning; with every seed others
)
# Known by their last component: the same data and weights lie elsewhere on another machine.
PATHS = ("dataset.root", "dataset.split_file", "dataset.soft_labels", "model.weights")
# What they hold counts in a name too: a split of other photos, or a new one, may well be called split.json again.
BY_CONTENT = ("dataset.split_file",)
# Whatever they are called, what they hold counts in an identity.
FILES = ("dataset.split_file", "dataset.soft_labels", "model.weights")
# A run, known by its best epoch alone, wherever it lies and whatever it is called.
TEACHER = "teacher"
# They came after the first records; where they are null, those are still found.
OFF_WHERE_NULL = (
    "dataset.folds",
    "dataset.fold",
    "dataset.test_from",
    "dataset.values",
    "dataset.soft_labels",
    TEACHER,
    "distillation",
    "transforms",
    "mix",
    "model.drop_path",
    "regime.layer_decay",
    "task.test_flip",
    "metrics",
    "model.zero_init_head",
)
# Data sets that take a split file since then; of the others the key was always there.
_SPLIT_FILE_OFF = tuple(
    first_target(f"streetlab.datasets.{name}") for name in ("camvid.CamVid", "cityscapes.Cityscapes", "concat.Concat")
)

MAX_LENGTH = 100
_HASH_LENGTH = 8


def run_name(overrides: Iterable[str], config: DictConfig | Mapping[str, Any], keep: Iterable[str] = ()) -> str:
    """`<overrides>-<8 hex>`: one path component of at most 100 characters from [A-Za-z0-9._+-].

    Args:
        overrides: the words of the command line that belong to the config (not `hydra.*`).
        config: the config that they make.
        keep: keys that tell the jobs of a sweep apart although a single run's name leaves them out.
    """
    tree = _as_dict(config)
    asked = _last_given(overrides)
    keep = {_bare(key) for key in keep}
    kept = {key: _text(asked[key]) for key in sorted(keep) if key in asked}
    shown = {key: value for key, value in asked.items() if key in keep or not _is_left_out(key, tree)}
    payload: Any = [_essence(tree), kept] if kept else _essence(tree)
    return _with_hash(_slug(shown, tree), _digest(payload))


def sweep_name(swept: Iterable[str], fixed: Iterable[str], config: DictConfig | Mapping[str, Any]) -> str:
    """`<swept keys>-<fixed overrides>-<8 hex>`, without swept values: a longer sweep finds its jobs again.

    A preset of the group `sweep` stands in place of the swept keys.

    Args:
        swept: the keys that are swept.
        fixed: the other overrides.
        config: a config of the sweep; it tells choices (`model=`) from values (`seed=`).
    """
    tree = _as_dict(config)
    keys = sorted({_bare(key) for key in swept}, key=lambda key: _rank(key, tree))
    asked = _last_given(fixed)
    preset = asked.pop("sweep", None)
    shown = {key: value for key, value in asked.items() if not _is_left_out(key, tree)}
    names = _clean(_text(preset)) if preset else "_x_".join(_clean(key.split(".")[-1]) for key in keys)
    slug = f"{names}-{_slug(shown, tree)}" if shown else names
    values = {key: _named_value(key, value) for key, value in sorted(shown.items())}
    return _with_hash(slug, _digest([sorted(keys), values]))


def fresh(folder: Path) -> Path:
    """The folder, or the first of `<folder>-2`, `<folder>-3`, ... that is missing or empty."""
    numbered, number = folder, 1
    while numbered.exists() and any(numbered.iterdir()):
        number += 1
        numbered = folder.with_name(f"{folder.name}-{number}")
    return numbered


def config_hash(
    config: DictConfig | Mapping[str, Any], split_file: str | None = None, teacher: str | None = None
) -> str:
    """SHA-256 (hex) of everything in the config that can change the result.

    Args:
        split_file: SHA-256 (hex) of what `dataset.split_file` held, where that is known; by default it is read.
        teacher: the same of the best epoch of the run that `teacher` names.
    """
    return _digest(_essence(_as_dict(config), split_file, teacher))


def identity_hash(config: DictConfig | Mapping[str, Any], contents: Mapping[str, str]) -> str:
    """SHA-256 (hex) of the request, independent of the places and names of data and weights.

    Args:
        contents: SHA-256 (hex) of what lies at a key of the config, see `file_keys`; one that is not there counts by
            its last component.
    """
    return _digest(_reduced(_as_dict(config), lambda key, value: _by_contents(key, value, contents)))


def file_keys(config: Mapping[str, Any]) -> dict[str, Path]:
    """The files that a config names and whose contents count: dotted key → path; they may not be there."""
    files: dict[str, Path] = {}

    def note(key: str, value: str) -> str:
        if matches(key, FILES):
            files[key] = weights_file(Path(value).expanduser())
        elif key == TEACHER:
            files[key] = Path(value).expanduser() / "checkpoints" / "best.ckpt"
        return value

    _reduced(config, note)
    return files


def located(config: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Resolve each relative path of data and weights from `home`, where that exists."""

    def locate(node: object, key: str) -> Any:
        if isinstance(node, Mapping):
            return {name: locate(child, f"{key}.{name}" if key else str(name)) for name, child in node.items()}
        if isinstance(node, str) and matches(key, (*PATHS, TEACHER)) and (home / Path(node).expanduser()).exists():
            return str(home / Path(node).expanduser())
        return node

    return locate(config, "")


def does_not_name_a_run(key: str) -> bool:
    """Check that two values of the key may give a run the same name: a swept one is kept in the jobs' names."""
    return _bare(key) == "trainer" or matches(_bare(key), (*LEFT_OUT, *PATHS))


def has_teacher(config: Mapping[str, Any]) -> bool:
    """Check that a run of this config has a teacher; without one `distillation` has no effect."""
    return config.get(TEACHER) is not None


def _essence(tree: Mapping[str, Any], split_file: str | None = None, teacher: str | None = None) -> dict[str, Any]:
    """The config without what `LEFT_OUT` names, and with paths reduced to their last component and their contents."""

    def named(key: str, value: str) -> Any:
        if matches(key, BY_CONTENT):
            known = split_file if key == "dataset.split_file" else None
            return [_last_component(value), known or _content_hash(value)]
        if key == TEACHER:
            return teacher or _content_hash(str(Path(value) / "checkpoints" / "best.ckpt"))
        return _last_component(value) if matches(key, PATHS) else value

    return _reduced(tree, named)


def _by_contents(key: str, value: str, contents: Mapping[str, str]) -> str | None:
    if matches(key, ("dataset.root",)):
        return None  # its photos are compared one by one
    return contents.get(key, _last_component(value)) if key == TEACHER or matches(key, FILES) else value


def _reduced(tree: Mapping[str, Any], text: Callable[[str, str], Any]) -> dict[str, Any]:
    """Drop all values that do not change the result; replace each text by `text(key, value)`."""

    def reduce(node: object, key: str) -> Any:
        if isinstance(node, Mapping):
            children = {name: f"{key}.{name}" if key else str(name) for name in node}  # a mask's value is a number
            return {
                str(name): reduce(node[name], path)
                for name, path in children.items()
                if not matches(path, LEFT_OUT) and not _is_progress(node[name], path) and not _is_off(node, name, path)
            }
        if isinstance(node, (list, tuple)):
            return [reduce(item, key) for item in node]  # members of a list keep the list's key
        if isinstance(node, str):
            return first_target(node) if key.endswith("._target_") else text(key, node)
        return node

    return reduce(tree if has_teacher(tree) else {**tree, "distillation": None}, "")


def matches(key: str, patterns: Iterable[str]) -> bool:
    """Check that the key or a node above it is one of the patterns; in `dataset` also at any depth (concat)."""
    if any(key == pattern or key.startswith(pattern + ".") for pattern in patterns):
        return True
    first, _, rest = key.partition(".")
    return first == "dataset" and f"dataset.{rest.rpartition('.')[2]}" in patterns


def _is_progress(node: object, key: str) -> bool:
    return (
        key.startswith("callbacks.")
        and isinstance(node, Mapping)
        and "progress" in str(node.get("_target_", "")).rpartition(".")[2].lower()
    )


def _is_off(parent: Mapping[str, Any], name: str, key: str) -> bool:
    if parent[name] is not None:
        return False
    later = name == "split_file" and first_target(str(parent.get("_target_"))) in _SPLIT_FILE_OFF
    return later or matches(key, OFF_WHERE_NULL)


def _content_hash(path: str) -> str | None:
    """SHA-256 (hex) of a file's bytes; None where it cannot be read, which its reader reports."""
    file = Path(path).expanduser()
    try:
        stat = file.stat()
        return _hash_of(file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    except OSError:
        return None


@functools.lru_cache(maxsize=8)
def _hash_of(file: Path, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """A file's hash, cached until the file is written to: names are computed several times in a run."""
    return file_sha256(file)


def _is_left_out(key: str, tree: Mapping[str, Any]) -> bool:
    # The choice of a trainer is a choice of hardware; what else it may set is in the hash.
    return key == "trainer" or matches(key, LEFT_OUT) or key.startswith("hydra/")


def _last_given(overrides: Iterable[str]) -> dict[str, str | None]:
    """Key to text of the value, the last one given counting; a deleted key (`~key`) has None."""
    asked: dict[str, str | None] = {}
    for word in overrides:
        key, sign, value = word.partition("=")
        deleted = key.startswith("~")
        asked[_bare(key)] = None if deleted else (value if sign else "")
    return asked


def _bare(key: str) -> str:
    """The key without Hydra's marks: `+debug` and `debug@_global_` are `debug`."""
    return key.lstrip("+~").split("@")[0]


def _text(value: str | None) -> str:
    return "~" if value is None else unquote(value)


def _named_value(key: str, value: str | None) -> str:
    text = _text(value)
    return _last_component(text) if matches(key, PATHS) else text


def _is_choice(key: str, tree: Mapping[str, Any]) -> bool:
    """Check that `key=` chooses from a group: its node is a mapping or, as for experiment, the whole root."""
    return "/" in key or ("." not in key and (key not in tree or isinstance(tree[key], Mapping)))


def _rank(key: str, tree: Mapping[str, Any]) -> tuple[int, str]:
    """Sort key: the experiment, then other choices, then values, so that word order does not change the name."""
    if key == "experiment":
        return 0, key
    return (1 if _is_choice(key, tree) else 2), key


def _slug(asked: Mapping[str, str | None], tree: Mapping[str, Any]) -> str:
    parts = []
    for key in sorted(asked, key=lambda key: _rank(key, tree)):
        value, name = asked[key], _clean(re.split(r"[./]", key)[-1])
        if value is None:
            parts.append(f"no_{name}")
            continue
        text = _clean(_last_component(_text(value)) if "/" in value else _number(_text(value)))
        parts.append(text if _is_choice(key, tree) and text else f"{name}_{text}")
    return "-".join(part for part in parts if part)


def _clean(text: str) -> str:
    """Reduce to ASCII letters, digits and `._+-`; umlauts lose their dots, lists become `64x64`."""
    text = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    text = re.sub(r"^[\[({]+|[\])}]+$", "", text.strip())
    text = re.sub(r"(?<=\d)\s*,\s*(?=[\d.])", "x", text)
    return re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9._+-]+", "-", text)).strip("-") if text != "-" else ""


def _number(text: str) -> str:
    """Write one number in one way: 1e-3 is 0.001."""
    return repr(float(text)) if re.fullmatch(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?", text) else text


def _last_component(text: str) -> str:
    if is_of_hub(text):
        return text
    return Path(os.path.abspath(Path(text))).name or "root"  # noqa: PTH100  (resolve() would follow links)


def _with_hash(slug: str, digest: str) -> str:
    slug = slug.lstrip(".-") or "default"
    return f"{slug[: MAX_LENGTH - _HASH_LENGTH - 1].rstrip('.-_')}-{digest[:_HASH_LENGTH]}"


def _digest(payload: object) -> str:
    text = json.dumps(payload, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_dict(config: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(config, DictConfig):
        return dict(config)
    return OmegaConf.to_container(without_hydra(config), resolve=True)  # type: ignore[return-value]
