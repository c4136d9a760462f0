"""Who is answered, and what every answer says to a browser."""

from __future__ import annotations

import pytest
from tests.support.app_stand_ins import MODEL, photo_bytes

from streetlab.app.security import HEADERS, Names, is_loopback

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.mark.parametrize(
    ("host", "authority", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:8000", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "LocalHost:9000", True),  # through a tunnel with another port
        ("127.0.0.1", "localhost.", True),
        ("127.0.0.1", "[::1]:8000", True),
        ("127.0.0.1", "127.0.0.2", True),
        ("127.0.0.1", "192.168.1.7:8000", False),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "evil.example:127", False),
        ("127.0.0.1", "127.0.0.1@evil.example", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "[::1]evil", False),
        ("::1", "[::1]:8000", True),
        ("0.0.0.0", "192.168.1.7:8000", True),
        ("0.0.0.0", "[fe80::1]:8000", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", "streets.example.org", True),
        ("streets.lan", "streets.lan:8000", True),
        ("streets.lan", "other.lan:8000", False),
    ],
)
def test_only_our_own_names_are_answered(host, authority, allowed):
    assert Names(host, ["streets.example.org"]).allows(authority) is allowed


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.2", False), ("streets.lan", False)],
)  # fmt: skip
def test_a_public_host_is_told_from_this_machine(host, loopback):
    assert is_loopback(host) is loopback


def test_every_answer_has_the_security_headers(served):
    broken = served.done(photo_bytes())["id"]
    (served.jobs.get(broken).folder / "ids.png").unlink()
    served.jobs.describe = None  # type: ignore[method-assign]  # a fault of ours
    answers = {
        "page": served.client.get("/"),
        "static": served.client.get("/static/index.html"),
        "api": served.client.get("/api/models"),
        "no such page": served.client.get("/nothing"),
        "no such file": served.client.get(f"/api/jobs/{broken}/files/ids.png"),
        "file": served.client.get(f"/api/jobs/{broken}/files/photo.jpg"),
        "wrong host": served.client.get("/", headers={"Host": "evil.example"}),
        "wrong method": served.client.put("/api/models"),
        "too long": served.client.post("/api/download", content=b"x" * 100_000),
        "fault": served.client.get(f"/api/jobs/{broken}"),
    }
    statuses = {name: answer.status_code for name, answer in answers.items()}
    assert statuses == {
        "page": 200, "static": 200, "api": 200, "no such page": 404, "no such file": 404, "file": 200,
        "wrong host": 403, "wrong method": 405, "too long": 413, "fault": 500,
    }  # fmt: skip
    for name, answer in answers.items():
        assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY, name
        for header, value in HEADERS.items():
            assert answer.headers[header] == value, name
        assert answer.headers["Cache-Control"], name
        if answer.status_code >= 400:
            assert list(answer.json()) == ["error"], name
            assert len(answer.json()["error"].splitlines()) == 1, name


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),  # not a browser
        ({"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "none"}, 202),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),  # another program's page on this machine
        ({"Origin": "http://localhost:8000"}, 403),  # not the name that it was asked by
        ({"Origin": "file://127.0.0.1:8000"}, 403),
        ({"Origin": "http://[127.0.0.1:8000"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_uploads_come_from_our_own_page_or_from_no_page(served, headers, status):
    answer = served.client.post("/api/predict", params={"model": MODEL}, content=photo_bytes(), headers=headers)
    assert answer.status_code == status, answer.text


def test_rebinding_a_name_to_this_machine_reaches_nothing(served):
    id_ = served.done(photo_bytes())["id"]
    evil = {"Host": "evil.example:8000", "Origin": "http://evil.example:8000", "Sec-Fetch-Site": "same-origin"}
    job = f"/api/jobs/{id_}"
    for method, path in (("GET", "/"), ("GET", "/api/models"), ("GET", job), ("DELETE", job)):
        assert served.client.request(method, path, headers=evil).status_code == 403
    assert served.job(id_)["state"] == "done"
