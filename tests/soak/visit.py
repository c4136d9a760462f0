"""Serve the page, predict some files through it, save the answers, end the server: one command that can be disturbed.

`python -m tests.soak.visit FOLDER FILE=MODEL ... -- WORDS` starts `streetlab app WORDS` on a free port and writes to
FOLDER what a visitor gets for each file from the run MODEL. The server's temporary files lie in
`tmp/`. Exit code 0 where all answers are saved; else 1, or that of the signal that ended it.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from streetlab.errors import UserError
from streetlab.io.files import write_bytes, write_json

_PATIENCE = 240.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of linux/prctl.h: a server without its visitor would stand there for ever


def _serve(words: list[str]) -> subprocess.Popen[str]:
    Path("tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "streetlab", "app", "port=0", *words], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(Path("tmp").resolve())},
        preexec_fn=lambda: ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL),
    )  # fmt: skip


def _answers(client: httpx.Client, path: Path, model: str) -> dict[str, Any]:
    """The result of a file's prediction and the files it names; without the job's id, which is drawn."""
    models = _json(client.get("/api/models"))["models"]
    (chosen,) = [one["id"] for one in models if one["name"] == model]
    query = {"model": chosen, "name": path.name}
    job = _json(client.post("/api/predict", params=query, content=path.read_bytes()))
    until = time.monotonic() + _PATIENCE
    while (view := _json(client.get(job["url"])))["state"] in ("queued", "running"):
        if time.monotonic() > until:
            raise UserError(f"{path}: no answer after {_PATIENCE:.0f} s")
        threading.Event().wait(0.1)  # time.sleep raises OSError under libfaketime
    if view["state"] != "done":
        raise UserError(f"{path}: {view['state']}: {view['error']}")
    names = sorted(set(re.findall(rf"/api/jobs/{re.escape(job['id'])}/files/([\w.]+)", str(view["result"]))))
    files = {name: client.get(f"{job['url']}/files/{name}") for name in names}
    for answer in files.values():
        _checked(answer)
    return {"": _without(job["id"], view["result"])} | {name: answer.content for name, answer in files.items()}


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise UserError(f"{answer.request.url.path}: {answer.status_code}: {answer.text[:200]}")
    return answer


def _json(answer: httpx.Response) -> Any:
    return _checked(answer).json()


def _without(id_: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(id_, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without(id_, inner) for inner in value]
    return value.replace(id_, "ID") if isinstance(value, str) else value


def main(words: list[str]) -> int:
    split = words.index("--")
    folder, wanted = Path(words[0]), [word.split("=", 1) for word in words[1:split]]
    signals: list[int] = []
    server = _serve(words[split + 1 :])

    def end(number: int, _: object) -> None:
        signals.append(number)
        if number == signal.SIGTERM:  # an interrupt reaches the server by itself
            server.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    assert server.stdout is not None
    address = re.search(r"http://\S+", server.stdout.readline())
    saved = False
    try:
        if address:
            # each request has its own connection: the server closes idle ones, which a slow visitor would meet
            alone = httpx.Limits(max_keepalive_connections=0)
            with httpx.Client(base_url=address[0], timeout=_PATIENCE, trust_env=False, limits=alone) as client:
                answers = {name: _answers(client, Path(name), model) for name, model in wanted}
            for name, files in answers.items():
                for part, content in files.items():
                    path = folder / (f"{Path(name).stem}-{part}" if part else f"{Path(name).stem}.json")
                    write_bytes(path, content) if part else write_json(path, content)
            saved = True
    except (UserError, httpx.HTTPError) as error:
        print(f"visit: {error}", file=sys.stderr)
    if server.poll() is None and not signals:
        server.send_signal(signal.SIGINT)
    code = server.wait()
    if code < 0:
        with suppress(OSError):  # SIGKILL has no other handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if code == 0 and not saved and signals:
        return 128 + signals[0]
    return code if code or saved else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
