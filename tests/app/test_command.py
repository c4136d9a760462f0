"""`streetlab app` from the command line to Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from streetlab.app.command import listen, serve
from streetlab.app.settings import Settings
from streetlab.errors import UserError

PATIENCE = 120.0


def _start(folder: Path, *words: str) -> tuple[subprocess.Popen[str], str]:
    """The command in a process of its own, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streetlab", "app", "port=0", *words],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, line + process.stdout.read()
    return process, found[0]


@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_it_says_where_it_is_opens_without_a_model_and_ends_clean(tmp_path, stop):
    words = () if stop == signal.SIGINT else ("host=0.0.0.0", "hosts=[streets.example.org]")
    process, address = _start(tmp_path, *words)
    try:
        page = httpx.get(address, timeout=PATIENCE)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert httpx.get(f"{address}/api/models", timeout=PATIENCE).json()["models"] == []
        (storage,) = tmp_path.glob("streetlab-app-*")
        assert storage.stat().st_mode & 0o077 == 0
        process.send_signal(stop)
        assert process.wait(PATIENCE) == 0
        said = process.stdout.read()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in said
    assert not list(tmp_path.glob("streetlab-app-*")), "what was uploaded is still there"
    assert ("without a password" in said) is (stop == signal.SIGTERM)


def test_a_port_that_is_taken_is_one_line_with_a_free_one(tmp_path):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port: {port} is taken; port=\d+ is free") as refused:
            serve(Settings(storage=tmp_path, port=port))
        free = int(re.findall(r"\d+", str(refused.value))[-1])
        assert port < free <= port + 100


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host.invalid"])
def test_a_host_that_is_not_here_is_one_line(host):
    with pytest.raises(UserError, match=r"^host: "):
        listen(host, 0)


def test_a_socket_of_our_own_is_reused_at_once_after_a_restart():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            first.accept()[0].close()
    listen("127.0.0.1", port).close()


def test_without_its_packages_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match=r"the app needs uvicorn: pip install 'streetlab\[app\]'"):
        serve(Settings(storage=tmp_path))


def test_the_server_is_ready_before_torch_is():
    code = "import sys, streetlab.app.server; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE).returncode == 0
