"""`hf://owner/name` brings weights from a hub through its own client, and ends in one line at once where it can't."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from streetlab.errors import UserError
from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.hub_weights import hub_file, repository_of
from streetlab.networks.smp_network import smp_network

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """A hub on this machine: files by `owner/name/file`, all at one commit."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        content = self.answer()
        if content is not None:
            self.wfile.write(content)

    def answer(self) -> bytes | None:
        owner, name, _, revision, *path = self.path.removeprefix("/").split("/")
        content = self.server.files.get(f"{owner}/{name}/{'/'.join(path)}")
        known = any(file.startswith(f"{owner}/{name}/") for file in self.server.files)
        fault = "" if known else "RepoNotFound"
        fault = fault or ("" if revision in ("main", "v1", COMMIT) else "RevisionNotFound")
        fault = fault or ("" if content is not None else "EntryNotFound")
        self.send_response(404 if fault else 200)
        if fault:
            self.send_header("X-Error-Code", fault)
        content = None if fault else content
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        return content

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _safetensors(network: torch.nn.Module, path: Path) -> bytes:
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, path)
    return path.read_bytes()


def test_a_repositorys_weights_fill_the_network_and_their_commit_is_known(hub: Hub, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = timm_classifier(10, "test_resnet")
    hub.files["mine/streets/model.safetensors"] = _safetensors(theirs, tmp_path / "theirs.safetensors")
    ours = timm_classifier(3, "test_resnet", weights="hf://mine/streets@v1")
    assert torch.equal(ours.state_dict()["layer1.0.conv1.weight"], theirs.state_dict()["layer1.0.conv1.weight"])
    assert repository_of(hub_file("hf://mine/streets")) == {"repository": "mine/streets", "commit": COMMIT}
    assert repository_of(tmp_path / "theirs.safetensors") is None


def test_older_repositories_hold_a_pytorch_file(hub: Hub, tmp_path: Path) -> None:
    torch.save(timm_classifier(3, "test_resnet").state_dict(), tmp_path / "old.bin")
    hub.files["mine/old/pytorch_model.bin"] = (tmp_path / "old.bin").read_bytes()
    assert hub_file("hf://mine/old").name == "pytorch_model.bin"


def test_what_was_brought_before_is_there_without_the_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["mine/streets/model.safetensors"] = b"weights"
    before = hub_file("hf://mine/streets")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_file("hf://mine/streets") == before
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    assert hub_file("hf://mine/streets").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("hf://mine", "allowed is hf://OWNER/NAME or hf://OWNER/NAME@REVISION"),
        ("hf://mine/none", "has no such repository, or it is private (HF_TOKEN)"),
        ("hf://mine/streets@v9", "the repository has no revision v9"),
        ("hf://mine/streets", "the repository has no model.safetensors or pytorch_model.bin"),
    ],
)
def test_what_is_not_there_is_one_line(hub: Hub, source: str, line: str) -> None:
    hub.files["mine/streets/readme"] = b"no weights"
    with pytest.raises(UserError) as caught:
        hub_file(source)
    assert str(caught.value).startswith(f"model.weights={source}: ")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("offline", [True, False])
def test_out_of_reach_of_the_hub_the_error_comes_at_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set" if offline else "127.0.0.1:9 can't be reached"):
        hub_file("hf://mine/streets")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "build",
    [
        lambda: timm_classifier(3, "resnet18", weights="imagenet"),
        lambda: smp_network(3, "linknet", "tu-mobilenetv4_conv_small", weights="imagenet"),
    ],
)
def test_weights_of_other_libraries_on_the_hub_are_given_up_at_once_too(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, build: Callable[[], object]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(UserError, match=r"could not be fetched from timm's hub .*model\.weights=FILE"):
        build()
    assert time.monotonic() - began < 5
    assert constants.HF_HUB_OFFLINE is False


def test_a_folder_in_the_hubs_layout_fills_a_segformer_of_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = smp_network(19, "segformer", "tu-test_resnet", decoder_segmentation_channels=32)
    model = theirs.get_submodule("model")
    model.save_pretrained(tmp_path / "segformer")  # type: ignore[operator]  # as smp-hub's repositories are written
    assert (tmp_path / "segformer" / "model.safetensors").is_file()
    ours = smp_network(
        11, "segformer", "tu-test_resnet", weights=tmp_path / "segformer", decoder_segmentation_channels=32
    )
    assert torch.equal(
        ours.state_dict()["model.decoder.fuse_stage.0.weight"], theirs.state_dict()["model.decoder.fuse_stage.0.weight"]
    )
    report = ours.load_report
    assert [key for key, _, _ in report.reshaped] == [  # type: ignore[union-attr]
        "model.segmentation_head.0.weight",
        "model.segmentation_head.0.bias",
    ]
