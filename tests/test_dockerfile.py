"""The image: its lines are sound, what it copies is there, and its default command serves as nobody in particular."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from streetlab import cli

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text()
LINES = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n\s*", "", TEXT).splitlines()
    if line.strip() and not line.startswith("#")
]


def values(instruction: str) -> list[str]:
    return [value for name, value in LINES if name == instruction]


def test_hadolint_finds_nothing():
    beside = Path(sys.executable).parent / "hadolint"
    program = shutil.which("hadolint") or (str(beside) if beside.is_file() else pytest.skip("no hadolint here"))
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there_and_reaches_the_build():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [word for copied in values("COPY") if "--from" not in copied for word in copied.split()[:-1]]
    assert {"src", "conf", "pyproject.toml", "constraints.txt"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source
    assert ignored[1] == "*", "nothing else travels, such as photos and outputs"


def test_the_default_command_composes_and_serves_to_the_published_port(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert [json.loads(value) for value in values("ENTRYPOINT")] == [["streetlab"]]
    (command,) = (json.loads(value) for value in values("CMD"))
    assert cli.run([*command, "--cfg", "job"]) == 0
    printed = capsys.readouterr().out
    assert "host: 0.0.0.0\n" in printed
    assert f"port: {values('EXPOSE')[0]}\n" in printed
    assert "runs: outputs\n" in printed
    assert values("WORKDIR")[-1] == "/streetlab", "where the comment's command mounts outputs/"


def test_the_image_runs_as_an_unprivileged_user_by_number_on_a_read_only_root():
    user, group = values("USER")[-1].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert LINES.index(["USER", f"{user}:{group}"]) < LINES.index(["ENTRYPOINT", '["streetlab"]'])
    environment = dict(pair.split("=", 1) for pair in values("ENV")[0].split() if "=" in pair)
    assert environment["HOME"] == "/tmp"
    assert environment["MPLCONFIGDIR"].startswith("/tmp/")
    assert "docker run --read-only --tmpfs /tmp " in TEXT


def test_the_base_is_pinned_and_no_host_is_named():
    stages = [value.split() for value in values("FROM")]
    names = {words[2] for words in stages if len(words) == 3}
    for image, *_ in stages:
        assert image in names or image == "${DEVICE}" or re.fullmatch(r"python:3\.\d+-slim-\w+", image), image
    assert {"cpu", "cuda"} <= names
    assert values("ARG")[0] == "DEVICE=cpu"
    assert set(re.findall(r"https?://([\w.-]+)", TEXT)) == {"localhost"}
    assert not re.search(r"\w\.(io|com|org)\b", TEXT)


def test_the_extras_that_it_installs_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r"'\.\[([\w,]+)\]'", TEXT)
    assert {"app"} <= set(installed.split(",")) <= extras.keys()
