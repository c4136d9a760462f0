"""`streetlab completion`: print or install a shell's completion script, and answer it at each Tab key."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from streetlab.errors import UserError
from streetlab.io import files

if TYPE_CHECKING:
    from omegaconf import DictConfig

SHELLS = ("bash", "zsh", "fish")
_FILES = {
    "bash": "~/.local/share/bash-completion/completions/streetlab",
    "zsh": "~/.streetlab.zsh",
    "fish": "~/.config/fish/completions/streetlab.fish",
}
"""Where a shell looks for completions of a user's own; zsh is told to by a line in ~/.zshrc."""


def run(cfg: DictConfig) -> None:
    """Entry point of the command; `cfg` is conf/completion.yaml.

    Raises:
        UserError: it names no shell that can be completed.
    """
    from streetlab.config.options import Flag, OneOf, checked  # not at each Tab key

    if cfg.shell is None:
        raise UserError(f"shell: name one of {', '.join(SHELLS)}, such as streetlab completion bash")
    known: TypeAlias = Annotated[str, OneOf(SHELLS)]
    shell = checked(known, cfg.shell, "shell")
    installs = checked(Flag, cfg.install, "install")
    print(f"written: {install(shell)}; it works in the next shell" if installs else script(shell))


def install(shell: str) -> Path:
    """Write a shell's script to where it is read at each start.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(_FILES[shell]).expanduser()
    files.write_text(path, script(shell) + "\n")
    if shell == "zsh":
        rc, line = Path("~/.zshrc").expanduser(), f"source {_FILES[shell]}\n".encode()
        before = rc.read_bytes() if rc.exists() else b""
        if line not in before:
            files.write_bytes(rc, before + b"\n" * (before[-1:] not in (b"", b"\n")) + line)
    return path


def script(shell: str) -> str:
    """Return the lines that make a shell complete streetlab."""
    from streetlab.config.composition import composer
    from streetlab.hydra_compat import completion_script

    lines = [f"# to install it: streetlab completion {shell} install=true"]
    if shell == "zsh":  # whose plugin is bash's
        lines += ["autoload -Uz compinit bashcompinit && compinit && bashcompinit"]
    with composer():
        return "\n".join([*lines, completion_script(shell, "streetlab")])


def respond(words: Sequence[str], commands: Iterable[str]) -> str:
    """Answer Hydra's protocol, `-sc install=SHELL` and `-sc query=SHELL`, which the scripts speak.

    Raises:
        UserError: it asks for something else.
    """
    action, _, shell = "".join(words[:1]).partition("=")
    if action not in ("install", "query") or shell not in SHELLS:
        raise UserError(f"-sc takes install=SHELL or query=SHELL, not '{' '.join(words)}' (SHELL: bash, ...)")
    return script(shell) if action == "install" else next_words(shell, list(commands))


def next_words(shell: str, commands: Sequence[str]) -> str:
    """Return the words that may come next in the line that the shell has put into `COMP_LINE`.

    A line that cannot be completed, such as one with an unknown group, gives no words.
    """
    words = os.environ.get("COMP_LINE", "").split(" ")[1:]
    separator = "\n" if shell == "fish" else " "
    if len(words) < 2:
        return separator.join(name for name in commands if name.startswith("".join(words)))
    if words[0] not in commands:
        return ""
    if words[0] == "completion":
        return separator.join(SHELLS)
    return separator.join(_matches(words[0], words[1:]))


def _matches(command: str, words: list[str]) -> list[str]:
    from streetlab.config.command_line import arrange
    from streetlab.config.composition import composer
    from streetlab.config.quoting import PATH_KEYS
    from streetlab.hydra_compat import complete, complete_path

    *before, word = words
    key, sign, path = word.partition("=")
    if sign and key in PATH_KEYS:
        return [f"{key}={match}" for match in complete_path(path)]
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        line = arrange([given for given in before if given])
        with composer(line.config_dir):
            return complete(command, line.overrides, word)
    return []
