"""The plain words that `streetlab COMMAND --help` says before Hydra's own text: what it does, examples, groups."""

from __future__ import annotations

import textwrap

from streetlab.config.composition import composer

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("", "classify drawn streets; needs no data"),
        ("dataset=image_folder dataset.root=~/photos", "your photos, in one folder for each class"),
        ("dataset=camvid dataset.root=data/camvid model=smp", "photos with masks: what is where in a street"),
        ("experiment=cleanliness_pretrained seed=3 output=outputs/third", "a preset, another seed, a folder by name"),
        ("-m optimizer=adam,sgd seed=0,1,2", "six runs, one after another"),
    ),
    "evaluate": (("run=outputs/cleanliness/RUN split=val", "test on another split"),),
    "compare": (
        ("runs=outputs", "rank all finished runs"),
        ("runs=[outputs/a,outputs/b] delta=0.01", "two folders of runs; a difference below 0.01 counts as none"),
    ),
    "predict": (("run=outputs/cleanliness/RUN source=~/new-photos", "classes or masks of a folder of photos"),),
    "survey": (
        ("run=outputs/cleanliness/RUN source=~/week streets=streets.gpkg", "how clean each street is"),
        ("source=outputs/predict/RUN/predictions.csv cells=9", "of photos that are predicted, by cells of a grid"),
        (
            "plan streets=streets.gpkg run=outputs/cleanliness/RUN half_width=3",
            "how many streets to visit",
        ),
    ),
    "app": (("open=true", "serve the page on this machine and open it"),),
    "explain": (("run=outputs/cleanliness/RUN n=8", "eight photos with what the network looked at"),),
    "export": (("run=outputs/cleanliness/RUN", "a file for ONNX Runtime"),),
    "compress": (("run=outputs/cleanliness/RUN ratio=0.5", "half the channels, trained on"),),
    "audit": (("dataset=image_folder dataset.root=~/photos", "copies, leaks and broken files"),),
    "check": (("", "everything in conf/"), ("--config-dir mine", "and your own configs")),
    "cache": (("", "what it holds"), ("delete=true", "empty it")),
    "fetch": (
        ("", "the list"),
        ("camvid", "one of it, into data/"),
        ("[taco,resnet18] output=/big/disk", "two, elsewhere"),
    ),
    "runs": (("", "those below outputs/"), ("~/runs", "those of another folder")),
    "open": (
        ("", "the newest page below outputs/"),
        ("page=index open=false", "write an index and print its path"),
    ),
    "completion": (("bash", "print the script for bash"), ("bash install=true", "write it to where bash reads it")),
    "doctor": (("", "look at this machine"),),
}
"""Words after `streetlab COMMAND`, and what they do."""

GROUPS = {
    "experiment": "a whole study's setting; every other word still changes it",
    "dataset": "photos with classes or with masks; it chooses the task",
    "task": "what is learnt, and by which metric the best epoch is chosen",
    "model": "the network",
    "regime": "the phases of training: what trains when, and for how long",
    "optimizer": "how weights follow gradients",
    "scheduler": "how the learning rate changes within a phase",
    "loss": "what training makes small",
    "augment": "random changes of training photos, and of their masks with them",
    "transforms": "further changes of training photos, such as torchvision's",
    "mix": "training photos mixed with others of their batch, and their labels with them",
    "trainer": "hardware and precision",
    "logger": "where numbers go besides the run record",
    "callbacks": "progress, the guard against NaN, averaged weights",
    "sweep": "with -m: which presets and seeds, or what is searched",
    "scale": "the scale of a city on which a survey reports its grades",
    "debug": "small versions of everything, for a first try",
}
"""What each group of `conf/` decides."""

_INDENT = " " * 6


def introduction(command: str, summary: str, typed: str | None = None) -> str:
    """Return the words before Hydra's own help of a command.

    Args:
        command: the name of its config.
        summary: the command's line in the list of commands.
        typed: what is typed for it; None: the same as its config.
    """
    name = typed or command
    lines = [f"streetlab {name} [key=value ...]", "", f"{summary[0].upper()}{summary[1:]}.", "", "Examples:"]
    first, _, second = name.partition(" ")
    for words, meaning in EXAMPLES.get(first, ()):
        if words.startswith(second):
            lines += [f"  streetlab {first} {words}".rstrip(), f"      {meaning}"]
    with composer() as compose:
        chosen = compose.defaults(command)
        groups = [group for group in GROUPS if group in chosen]
        if groups:
            lines += ["", "Groups, chosen by GROUP=NAME; a * marks what is chosen without a word:"]
        for group in groups:
            names = [f"*{name}" if name == chosen[group] else name for name in compose.choices(group)]
            lines.append(f"  {group}: {GROUPS[group]}")
            lines += textwrap.wrap(" ".join(names), 100, initial_indent=_INDENT, subsequent_indent=_INDENT)
    lines += [
        "",
        "Any key of the config below is changed in the same way: optimizer.lr=0.01 sets lr in optimizer.",
        f"`streetlab {name} ... --cfg job` prints the config that the words make, and runs nothing.",
        "",
    ]
    return "\n".join(lines)
