"""The server on a real socket: slow, broken and crowded connections."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import uvicorn
from tests.support.app_stand_ins import MODEL, Served, photo_bytes, wait_for

from streetlab.app import protocol
from streetlab.app.command import listen

PATIENCE = 60.0
CHUNK = bytes(64 * 1024)


class Listening:
    """A server with stand-ins that listens on a free port."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._socket = listen("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        ready = threading.Event()
        config = uvicorn.Config(
            served.app, http=protocol.Protocol, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
        self._server = protocol.Server(config, ready.set)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        self._socket.close()

    @contextlib.contextmanager
    def connected(self, head: str) -> Iterator[socket.socket]:
        """A connection on which a request's head has been sent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(f"{head}\r\nHost: 127.0.0.1\r\n".encode())
            yield connection

    def uploads(self) -> list[str]:
        return [path.name for path in (self.served.settings.storage / "uploads").iterdir()]


@pytest.fixture
def listening(serve):
    made = []

    def start(**settings) -> Listening:
        made.append(Listening(serve(**settings)))
        return made[-1]

    yield start
    for one in made:
        one.close()


def _answer(connection: socket.socket) -> tuple[int, str]:
    """Status and error of what comes back until the connection is closed."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


UPLOAD = f"POST /api/predict?model={MODEL} HTTP/1.1"


def test_an_upload_that_stands_still_is_ended(listening):
    one = listening(idle_seconds=0.3)
    with one.connected(UPLOAD) as connection:
        connection.sendall(b"Content-Length: 1000\r\n\r\n" + photo_bytes()[:50])
        status, error = _answer(connection)
    assert (status, error) == (408, "nothing arrived for 0.3 s")
    assert not one.uploads()


def test_an_upload_that_crawls_is_ended(listening):
    one = listening(idle_seconds=0.5)
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.02):
                connection.sendall(b"1\r\nx\r\n")

    with one.connected(UPLOAD) as connection:
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        dripping = threading.Thread(target=drip, args=(connection,))
        dripping.start()
        try:
            status, error = _answer(connection)
        finally:
            stop.set()
            dripping.join()
    assert status == 408
    assert "slower than 1024 bytes per second" in error or "nothing arrived" in error  # on a machine that stalls
    assert not one.uploads()


def test_other_visitors_are_served_while_an_upload_stands_still(listening):
    one = listening()
    with one.connected(UPLOAD) as connection:
        connection.sendall(b"Content-Length: 1000\r\n\r\n" + photo_bytes()[:50])
        wait_for(lambda: one.uploads() != [])
        assert httpx.get(f"{one.address}/api/models", timeout=PATIENCE).status_code == 200
    wait_for(lambda: one.uploads() == [])  # the visitor has hung up
    assert not one.served.jobs._jobs


def test_an_upload_that_says_it_is_too_long_is_refused_before_it_is_sent(listening):
    one = listening(upload_bytes=1000)
    with one.connected(UPLOAD) as connection:
        connection.sendall(b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
        status, error = _answer(connection)
    assert (status, error.startswith("the body is longer than")) == (413, True)


def test_an_upload_that_does_not_say_how_long_it_is_is_cut_off_at_the_limit(listening):
    one = listening(upload_bytes=1_000_000)
    sent = []

    def body() -> Iterator[bytes]:
        for _ in range(100):
            sent.append(len(CHUNK))
            yield CHUNK

    with contextlib.suppress(httpx.WriteError):  # or the answer is seen: both are an end
        answer = httpx.post(f"{one.address}/api/predict", params={"model": MODEL}, content=body(), timeout=PATIENCE)
        assert answer.status_code == 413
    wait_for(lambda: one.uploads() == [])
    assert httpx.get(f"{one.address}/api/models", timeout=PATIENCE).status_code == 200


def test_a_request_whose_headers_never_end_is_closed(listening, monkeypatch):
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    one = listening()
    with one.connected("GET / HTTP/1.1") as connection:
        connection.settimeout(PATIENCE)
        assert connection.recv(1) == b""
    with one.connected("GET /api/models HTTP/1.1") as connection:  # nor may a second request on the same connection
        connection.sendall(b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass


def _photo(number: int) -> tuple[list[bytes], str]:
    """The pieces of a photo of about 1 MB, no two alike, and the SHA-256 of them all."""
    pieces = [photo_bytes(number), *[CHUNK] * 16]
    return pieces, hashlib.sha256(b"".join(pieces)).hexdigest()


def test_50_uploads_at_once_are_all_answered_each_with_its_own_result(listening):
    count, waiting_most = 50, 8
    one = listening(queue=waiting_most)
    waiting: list[int] = []
    one.served.work.before = lambda job: waiting.append(len(one.served.jobs._turns.waiting))
    one.served.work.gate.clear()  # all arrive before the first is done
    asked = [_photo(number) for number in range(count)]
    refused = []
    again = threading.Lock()
    limits = httpx.Limits(max_connections=count)
    with httpx.Client(base_url=one.address, timeout=PATIENCE, limits=limits) as client:

        def send(number: int) -> httpx.Response:
            parameters = {"model": MODEL, "name": f"{number}.png"}
            return client.post("/api/predict", params=parameters, content=iter(asked[number][0]))

        def visit(number: int) -> dict:
            answer = send(number)
            if answer.status_code == 429:
                with again:  # those who were refused come back one by one
                    while answer.status_code == 429:
                        assert int(answer.headers["retry-after"]) >= 1
                        refused.append(number)
                        one.served.work.gate.set()
                        wait_for(lambda: len(one.served.jobs._turns.waiting) < waiting_most)
                        answer = send(number)
            assert answer.status_code == 202, answer.text
            url = answer.json()["url"]
            wait_for(lambda: client.get(url).json()["state"] not in ("queued", "running"), every=0.2)
            return client.get(url).json()

        tracemalloc.start()
        try:
            with ThreadPoolExecutor(count) as visitors:
                jobs = list(visitors.map(visit, range(count)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert [job["state"] for job in jobs] == ["done"] * count
    assert [job["result"]["sha256"] for job in jobs] == [sha256 for _, sha256 in asked]
    assert [job["name"] for job in jobs] == [f"{number}.png" for number in range(count)]
    assert len({job["id"] for job in jobs}) == count
    assert refused, "the queue was never full: the test does not show what it is to show"
    assert max(waiting) <= waiting_most
    assert peak < 50e6, f"{peak / 1e6:.0f} MB, visitors included, for {count} uploads of 1 MB"
    assert len(one.uploads()) == count


def test_an_upload_takes_no_more_memory_than_a_few_pieces(listening):
    one = listening()
    size = 64
    pieces = [photo_bytes(), *[CHUNK] * (size * 16)]
    tracemalloc.start()
    try:
        answer = httpx.post(
            f"{one.address}/api/predict", params={"model": MODEL}, content=iter(pieces), timeout=PATIENCE
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 202, answer.text
    assert peak < 16e6, f"{peak / 1e6:.0f} MB for an upload of {size} MB"


def test_50_visitors_who_vanish_in_the_middle_leave_nothing_and_hold_up_nobody(listening):
    one = listening()
    content = photo_bytes(size=(200, 100))
    with contextlib.ExitStack() as connections:
        for _ in range(50):
            connection = connections.enter_context(one.connected(UPLOAD))
            connection.sendall(f"Content-Length: {len(content)}\r\n\r\n".encode() + content[: len(content) // 2])
        wait_for(lambda: len(one.uploads()) == 50)
        good = httpx.post(f"{one.address}/api/predict", params={"model": MODEL}, content=content, timeout=PATIENCE)
        assert good.status_code == 202
        job = good.json()["id"]
        wait_for(lambda: one.served.jobs.get(job).state == "done")
    wait_for(lambda: len(one.uploads()) == 1)
    assert [known.id for known in one.served.jobs._jobs.values()] == [job]
    assert one.served.jobs.storage.bytes == sum(
        path.stat().st_size for path in one.served.settings.storage.rglob("*") if path.is_file()
    )


def test_an_upload_that_comes_a_byte_at_a_time_is_taken_and_others_are_served_meanwhile(listening):
    one = listening(idle_seconds=120)
    content = photo_bytes(size=(8, 8))
    with one.connected(UPLOAD) as connection:
        connection.sendall(f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode())
        served = []
        for place in range(len(content)):
            connection.sendall(content[place : place + 1])
            if place % 50 == 0:
                served.append(httpx.get(f"{one.address}/api/models", timeout=PATIENCE).status_code)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 202")
    assert served
    assert set(served) == {200}


def test_a_visitor_who_reads_the_answer_a_byte_at_a_time_holds_up_nobody(listening):
    one = listening()
    good = httpx.post(f"{one.address}/api/predict", params={"model": MODEL}, content=photo_bytes(3, (700, 700)))
    url = good.json()["url"]
    wait_for(lambda: one.served.jobs.get(good.json()["id"]).state == "done")
    with one.connected(f"GET {url}/files/photo.jpg HTTP/1.1") as connection:
        connection.sendall(b"\r\n")
        assert connection.recv(1) == b"H"
        whole = httpx.get(f"{one.address}{url}/files/photo.jpg", timeout=PATIENCE)
        assert whole.status_code == 200
        assert connection.recv(1) == b"T"
    httpx.delete(f"{one.address}{url}")
    wait_for(lambda: one.uploads() == [])
