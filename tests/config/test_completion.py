"""The Tab key: real bash (and zsh, fish where they are installed) offers commands, groups, choices, keys and paths."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from streetlab import cli
from streetlab.config.completion import script


@pytest.fixture
def complete(monkeypatch, capsys, tmp_path):
    """`complete(line)`: the words offered at its end."""
    monkeypatch.chdir(tmp_path)

    def at_end_of(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        assert cli.run(["-sc", "query=bash"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out.split()

    return at_end_of


def test_commands_groups_choices_and_keys_are_offered(complete):
    assert complete("streetlab ") == list(cli.COMMANDS)
    assert complete("streetlab co") == ["compare", "compress", "completion"]
    assert complete("streetlab train optimizer=ad") == ["optimizer=adam", "optimizer=adamw"]
    assert complete("streetlab train -m seed=1 optimizer.l") == ["optimizer.lr="]
    assert complete("streetlab train dataset=camvid dataset.roo") == ["dataset.root="]
    assert "runs=" in complete("streetlab compare ")
    assert complete("streetlab completion ") == ["bash", "zsh", "fish"]


def test_paths_are_offered_where_a_key_takes_one(complete, tmp_path):
    (tmp_path / "outputs" / "run").mkdir(parents=True)
    (tmp_path / "outputs" / "notes.txt").touch()
    assert complete("streetlab predict run=out") == []  # nothing of that name below this folder's path
    assert complete("streetlab predict run=outputs/") == ["run=outputs/notes.txt", "run=outputs/run/"]


@pytest.mark.parametrize(
    "line", ["streetlab trian x", "streetlab train --nope x", "streetlab train model=x optimizer.l"]
)
def test_a_line_that_makes_no_sense_offers_nothing(complete, line):
    assert complete(line) == []


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["completion"], "shell: name one of bash, zsh, fish, such as streetlab completion bash"),
        (["completion", "bash", "install=maybe"], "install: 'maybe' is not true or false"),
        (["completion", "fsh"], "shell: 'fsh' is not one of bash, zsh, fish; did you mean 'fish'?"),
        (["-sc", "uninstall=bash"], "-sc takes install=SHELL or query=SHELL, not 'uninstall=bash' (SHELL: bash, ...)"),
    ],
)
def test_a_mistake_is_one_line(capsys, words, error):
    assert cli.run(words) == 2
    assert capsys.readouterr().err == f"streetlab: {error}\n"


SHELLS = {
    "bash": 'source ./script; COMP_LINE="streetlab train optimizer=ad"; COMP_POINT=${#COMP_LINE}; COMP_CWORD=2; '
    "hydra_bash_completion; printf '%s\\n' ${COMPREPLY[@]}",
    "fish": "source ./script; complete -C 'streetlab train optimizer=ad'",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes(shell, tmp_path, monkeypatch):
    program = shutil.which(shell) or pytest.skip(f"no {shell} here")
    command = tmp_path / "bin" / "streetlab"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m streetlab "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "script").write_text(script(shell))
    done = subprocess.run([program, "-c", SHELLS[shell]], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["optimizer=adam", "optimizer=adamw"], done.stderr


def test_the_script_says_how_it_is_installed(capsys):
    assert cli.run(["completion", "zsh"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# to install it: streetlab completion zsh install=true"
    assert lines[1].endswith("bashcompinit")


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/streetlab"),
        ("zsh", ".streetlab.zsh"),
        ("fish", ".config/fish/completions/streetlab.fish"),
    ],
)
def test_a_script_is_installed_where_the_shell_reads_it_and_once(shell, place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    rc = tmp_path / ".zshrc"
    rc.write_bytes(b"alias caf\xe9=ls")  # no UTF-8, and no line's end
    for _ in range(2):
        assert cli.run(["completion", shell, "install=true"]) == 0
    assert str(tmp_path / place) in capsys.readouterr().out
    assert (tmp_path / place).read_text(encoding="utf-8") == script(shell) + "\n"
    expected = b"alias caf\xe9=ls" + (b"\nsource ~/.streetlab.zsh\n" if shell == "zsh" else b"")
    assert rc.read_bytes() == expected
