"""The app on a port of its own, over records of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Served:
    """A server on a free port: where it listens, its settings, and the models that stand behind it."""

    url: str
    settings: Any
    catalog: Any


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address at which uvicorn serves `app`, until the block is left."""
    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server takes too long to start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


VARIANTS = tuple(f"segmentation_{network}_{number}" for network in ("deeplabv3", "hrnet") for number in (1, 2, 3))
