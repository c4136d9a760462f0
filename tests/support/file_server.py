"""A local HTTP server of files that cuts connections, ignores ranges and answers with faults, as a test wants."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Files by name, and the faults of the next answers.

    Args:
        ranges: parts of files are served.
        tag: the files' ETag; empty: none is sent.
        length: a Content-Length is sent.
        cuts: so many bytes of the body come before the connection is cut, answer by answer; none: whole bodies.
        statuses: faults that come first, answer by answer.
        requests: the `Range` of each request for a file; empty without one.
        stated: file → SHA-256 that the server states, as a hub does: `hub/NAME` leads to the file elsewhere.
    """

    files: dict[str, bytes]
    ranges: bool = True
    tag: str = '"1"'
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    stated: dict[str, str] = field(default_factory=dict)
    root: str = ""

    def url(self, name: str) -> str:
        return f"{self.root}/{name}"


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            if not self._lead_on():
                self.send_error(404)

        def _lead_on(self) -> bool:
            name = self.path.removeprefix("/hub/")
            if name not in server.stated:
                return False
            self.send_response(302)
            self.send_header("Location", server.url(name))
            self.send_header("X-Linked-ETag", f'"{server.stated[name]}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return True

        def do_GET(self) -> None:
            if self.path.startswith("/hub/") and self._lead_on():
                return None
            server.requests.append(self.headers.get("Range", ""))
            body = server.files.get(self.path[1:])
            if server.statuses or body is None:
                return self.send_error(server.statuses.pop(0) if server.statuses else 404)
            start, size = 0, len(body)
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked and server.ranges and self.headers.get("If-Range", server.tag) == server.tag:
                start = int(asked[1])
                if start >= size:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{size}")
                    return self.end_headers()
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            else:
                self.send_response(200)
            if server.tag:
                self.send_header("ETag", server.tag)
            if server.length:
                self.send_header("Content-Length", str(size - start))
            self.end_headers()
            self.wfile.write(body[start:][: server.cuts.pop(0)] if server.cuts else body[start:])
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.root = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
