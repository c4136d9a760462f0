"""The command `streetlab app`: serve the page until Ctrl-C, with a storage that is deleted at the end."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from streetlab.app.media.server_folder import kept_folder, private_folder
from streetlab.app.settings import Settings, settings_of
from streetlab.config import plain
from streetlab.config.options import Flag, Folder, checked
from streetlab.errors import UserError
from streetlab.progress import LineFormatter

if TYPE_CHECKING:
    from fastapi import FastAPI

_MOST_CONNECTIONS = 512
_NEAR_PORTS = 100


def run(cfg: DictConfig) -> None:
    """Run the command with the keys of conf/app.yaml; return after Ctrl-C or SIGTERM.

    Raises:
        UserError: the packages of the extra are missing; a value is out of range; the port is taken.
    """
    values = plain(cfg)
    opens = checked(Flag, values["open"], "open")
    kept = None if values["folder"] is None else checked(Folder, values["folder"], "folder")
    with private_folder() if kept is None else kept_folder(kept) as storage:
        serve(settings_of(values, storage), opens=opens)


def serve(settings: Settings, opens: bool = False) -> None:
    """Serve until a signal ends it.

    Args:
        opens: show the page in a browser once the server answers.
    """
    try:
        import uvicorn

        from streetlab.app.jobs.heaps import share_heaps
        from streetlab.app.protocol import Protocol, Server
        from streetlab.app.server import create_app
    except ImportError as error:
        raise UserError(f"the app needs {error.name}: pip install 'streetlab[app]'") from error

    share_heaps()
    listening = listen(settings.host, settings.port)
    with listening, _log():
        address = _address(settings.host, listening.getsockname()[1])
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=3,
        )
        server = Server(config, lambda: _greet(app, settings, address, opens))
        with _ended_by_signal():
            server.run(sockets=[listening])
        app.state.jobs.close()  # once more, for a second Ctrl-C leaves it out


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes a free one.

    Raises:
        UserError: the port is taken (the nearest free one is named), or the host is none of this machine's.
    """
    try:
        return _bound(host, port)
    except PermissionError:
        raise UserError(f"port: {port} is open to administrators only; try port=8000") from None
    except socket.gaierror as error:
        raise UserError(f"host: '{host}' is not known ({error.strerror}); allowed: a name or address of here") from None
    except OSError as error:
        free = _nearest_free(host, port)
        if free is None:
            raise UserError(f"host: cannot listen at {host} ({error.strerror or error})") from None
        raise UserError(f"port: {port} is taken; port={free} is free") from None


def _bound(host: str, port: int) -> socket.socket:
    bare = host.strip("[]")
    family, kind, protocol, _, address = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would share a port that is in use
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)  # tells now, not later, whether another listens there
    except BaseException:
        made.close()
        raise
    return made


def _nearest_free(host: str, port: int) -> int | None:
    for candidate in range(port + 1, min(port + _NEAR_PORTS, 65536)):
        with contextlib.suppress(OSError):
            _bound(host, candidate).close()
            return candidate
    return None


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown and not shown.startswith('[') else shown}:{port}"


def _greet(app: FastAPI, settings: Settings, address: str, opens: bool) -> None:
    from streetlab.app.security import is_loopback

    print(f"streetlab app: {address} (Ctrl-C ends it)", flush=True)
    if app.state.resumed:
        print(app.state.resumed, flush=True)
    if not is_loopback(settings.host):
        print(
            f"streetlab: warning: host={settings.host} lets everyone who reaches this machine upload files and use its "
            "models, without a password and unencrypted; put a proxy with both before it, or leave host= out",
            file=sys.stderr,
            flush=True,
        )
    if opens:
        _aside(lambda: webbrowser.open(address))
    _aside(lambda: _warm_up(app, settings))


def _warm_up(app: FastAPI, settings: Settings) -> None:
    """Load what the first visitor and the first job would else wait for."""
    if not app.state.catalog.models():
        print(f"no finished run under {settings.runs} yet: `make demo` trains one; the page says more", flush=True)
    if app.state.processes is not None:
        app.state.processes.start()
        return
    for module in ("streetlab.app.jobs.work", "streetlab.inference.predictor"):
        import_module(module)


def _aside(target: Callable[[], object]) -> None:
    threading.Thread(target=target, daemon=True).start()


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """End the block on SIGTERM or Ctrl-C without an exception: both are the normal way to stop a server."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop) if threading.current_thread() is threading.main_thread() else None
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _log() -> Iterator[None]:
    """Write warnings and errors, with the time, to the error stream."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("streetlab", "uvicorn")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
