"""What strangers may send: each gets its answer, nothing is written where it should not be, and we go on serving."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.app_stand_ins import MODEL, Served, encoded, photo_bytes, tree
from tests.support.videos import make_video

from streetlab.app.jobs.queue import ID
from streetlab.datasets.content import heif_readable

LIMITS = {"upload_bytes": 300_000, "pixels": 1_000_000, "video_frames": 150, "visitor_pixels": 100_000_000}
PNG = photo_bytes(size=(60, 40))
JPEG = photo_bytes(size=(60, 40), suffix=".jpg")


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header says width × height, whatever its data hold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("../../evil.py", "print('evil')")
    return buffer.getvalue()


def endless_gif() -> bytes:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in range(200)]
    return encoded(frames[0], ".gif", save_all=True, append_images=frames[1:], loop=0, duration=1)


def bmp_of(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def gif_of(width: int, height: int) -> bytes:
    descriptor = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0)
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + descriptor + b"\x08\x02\x00\x01\x00;"


def tiff_with_endless_directory() -> bytes:
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<HHHIII", 1, 256, 4, 1, 60, 8)


def exif_bomb() -> bytes:
    exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\xff\xff" + bytes(5000)
    return JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + JPEG[2:]


def text_bomb() -> bytes:
    body = b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return PNG[:33] + chunk + PNG[33:]


# name → the file, the statuses that are proper for it (202: the job's states follow), and the states
UPLOADS: dict[str, tuple[bytes, int, tuple[str, ...]]] = {
    "empty": (b"", 400, ()),
    "one byte": (b"\xff", 415, ()),
    "text": (b"hello, this is a photo, honestly", 415, ()),
    "HTML": (b"<!DOCTYPE html><script>alert(1)</script>", 415, ()),
    "HTML after blanks": (b"\n\n  <html><script>alert(1)</script>", 415, ()),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', 415, ()),
    "SVG with an XML head": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', 415, ()),
    "XML with entities": (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>', 415, ()),
    "PDF": (b"%PDF-1.7\n1 0 obj", 415, ()),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run", 415, ()),
    "ZIP": (archive(), 415, ()),
    "gzip of a photo": (gzip.compress(PNG), 415, ()),
    "ELF": (b"\x7fELF" + bytes(200), 415, ()),
    "Python pickle": (b"\x80\x04\x95" + bytes(50), 415, ()),
    "HEIC head alone": (b"\0\0\0\x18ftypheic" + bytes(100), 422 if heif_readable() else 415, ()),
    "AVIF head alone": (b"\0\0\0\x1cftypavif" + bytes(100), 422, ()),
    "JPEG 2000 head alone": (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100), 422, ()),
    "ICO": (b"\0\0\1\0\1\0" + bytes(100), 415, ()),
    "PPM": (b"P6 4 4 255\n" + bytes(48), 415, ()),
    "PSD": (b"8BPS\0\1" + bytes(100), 415, ()),
    "sound": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(100), 415, ()),
    "playlist of a local file": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 415, ()),
    "playlist of another host": (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n", 415, ()),
    "concatenation script": (b"ffconcat version 1.0\nfile '/etc/passwd'\n", 415, ()),
    "DASH manifest": (b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>', 415, ()),
    "SDP": (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 9 RTP/AVP 96\r\n", 415, ()),
    "JPEG cut in half": (JPEG[: len(JPEG) // 2], 422, ()),
    "JPEG header alone": (JPEG[:20], 422, ()),
    "JPEG start alone": (b"\xff\xd8\xff", 422, ()),
    "PNG cut in half": (PNG[: len(PNG) // 2], 422, ()),
    "PNG signature alone": (PNG[:8], 422, ()),
    "PNG with a broken checksum": (PNG[:45] + bytes([PNG[45] ^ 255]) + PNG[46:], 422, ()),
    "PNG without data": (png_of(40, 40), 422, ()),
    "PNG of no pixels": (png_of(0, 0), 422, ()),
    "GIF of a web page": (b"GIF89a/*" + b"<script>alert(1)</script>" * 9 + b"*/=1", 422, ()),
    "GIF cut off": (gif_of(60, 40), 422, ()),
    "WebP cut off": (photo_bytes(suffix=".webp")[:60], 422, ()),
    "BMP cut off": (bmp_of(60, 40), 422, ()),
    "BMP that is text": (b"BMW is a car maker", 422, ()),
    "TIFF whose directory never ends": (tiff_with_endless_directory(), 422, ()),
    "bomb by pixels, PNG": (png_of(50_000, 50_000), 413, ()),
    "bomb by pixels, beyond Pillow's own limit": (png_of(2**31 - 1, 2**31 - 1), 413, ()),
    "bomb by pixels, just too many": (png_of(1001, 1000), 413, ()),
    "bomb by pixels, GIF": (gif_of(65_535, 65_535), 413, ()),
    "bomb by pixels, BMP": (bmp_of(40_000, 40_000), 413, ()),
    "bomb by bytes": (PNG + bytes(LIMITS["upload_bytes"]), 413, ()),
    "bomb in a comment": (text_bomb(), 422, ()),
    "JPEG with a ZIP behind it": (JPEG + archive(), 202, ("done",)),
    "PNG with a web page behind it": (PNG + b"<script>alert(1)</script>", 202, ("done",)),
    "JPEG with damaged EXIF": (exif_bomb(), 202, ("done",)),
    "endless GIF": (endless_gif(), 202, ("done",)),
    "photo of one pixel": (photo_bytes(size=(1, 1)), 202, ("done",)),
    "photo of one row": (photo_bytes(size=(500, 1)), 202, ("done",)),
    "MP4 box without a video": (b"\0\0\0\x20ftypisom" + bytes(100), 422, ()),
    "Matroska head alone": (b"\x1aE\xdf\xa3" + bytes(200), 422, ()),
    "AVI head alone": (b"RIFF\xff\xff\0\0AVI LIST" + bytes(200), 422, ()),
    "MP4 box before a playlist": (b"\0\0\0\x10ftypisom\0\0\0\0#EXTM3U\nfile:///etc/passwd\n", 422, ()),
}  # fmt: skip


def _half_video(folder: Path) -> bytes:
    whole = make_video(folder / "v.mp4", frames=60).read_bytes()
    return whole[: len(whole) * 2 // 3]


def _video_without_index(folder: Path) -> bytes:
    whole = make_video(folder / "v.mp4", frames=30).read_bytes()
    place = whole.index(b"moov")
    return whole[:place] + b"skip" + whole[place + 4 :]


def _video_of(folder: Path, **what: Any) -> bytes:
    return make_video(folder / "v.mp4", **what).read_bytes()


def _video_without_frames(folder: Path) -> bytes:
    whole = make_video(folder / "v.mp4", frames=1).read_bytes()
    return whole[: whole.index(b"mdat") + 4]


def _zeros_for_pictures(folder: Path) -> bytes:
    whole = make_video(folder / "v.mp4", frames=30).read_bytes()
    place = whole.index(b"mdat") + 4
    return whole[:place] + bytes(len(whole) - place)


VIDEOS: dict[str, tuple[Callable[[Path], bytes], int, tuple[str, ...]]] = {
    "half a video": (_half_video, 202, ("partial",)),
    "video without its index": (_video_without_index, 422, ()),
    "video of one frame": (lambda folder: _video_of(folder, frames=1), 202, ("done",)),
    "video of no frame": (_video_without_frames, 422, ()),
    "video whose pictures are zeros": (_zeros_for_pictures, 422, ()),
    "video of too many frames": (lambda folder: _video_of(folder, frames=151, size=(16, 16)), 413, ()),
    "video of too many pixels": (lambda folder: _video_of(folder, frames=1, size=(1002, 1002)), 413, ()),
    "bomb by frames": (lambda folder: _video_of(folder, frames=120, size=(960, 960)), 413, ()),
    "video of text": (lambda folder: b"\0\0\0\x14ftypqt  \0\0\0\0" + b"moov" * 50, 422, ()),
}

BODY = {"content": PNG}
JOB = "A" * 24
REQUESTS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "no model": ("POST", "/api/predict", BODY, 400),
    "unknown model": ("POST", "/api/predict?model=nothing", BODY, 404),
    "model that is a path": ("POST", "/api/predict?model=../../../etc/passwd", BODY, 404),
    "model that is a path, encoded": ("POST", "/api/predict?model=..%2f..%2fetc%2fpasswd%00", BODY, 404),
    "unknown parameter": ("POST", f"/api/predict?model={MODEL}&modle=a", BODY, 400),
    "parameter given twice": ("POST", f"/api/predict?model={MODEL}&mode=direct&mode=window", BODY, 400),
    "unknown mode": ("POST", f"/api/predict?model={MODEL}&mode=sideways", BODY, 400),
    "flip that is no truth": ("POST", f"/api/predict?model={MODEL}&flip=maybe", BODY, 400),
    "scales without end": ("POST", f"/api/predict?model={MODEL}&scales=inf", BODY, 400),
    "scales that are nothing": ("POST", f"/api/predict?model={MODEL}&scales=nan,1", BODY, 400),
    "scales that are many": ("POST", f"/api/predict?model={MODEL}&scales=1,1,1,1,1,1", BODY, 400),
    "scale that is huge": ("POST", f"/api/predict?model={MODEL}&scales=1000", BODY, 400),
    "smooth of one": ("POST", f"/api/predict?model={MODEL}&smooth=1", BODY, 400),
    "smooth that is nothing": ("POST", f"/api/predict?model={MODEL}&smooth=nan", BODY, 400),
    "name without end": ("POST", f"/api/predict?model={MODEL}&name={'x' * 5000}", BODY, 400),
    "no body and no source": ("POST", f"/api/predict?model={MODEL}", {}, 400),
    "source that is unknown": ("POST", f"/api/predict?model={MODEL}&source={JOB}", {}, 404),
    "source that is a path": ("POST", f"/api/predict?model={MODEL}&source=../{JOB}", {}, 404),
    "source and a file": ("POST", f"/api/predict?model={MODEL}&source={JOB}", BODY, 400),
    "job of another": ("GET", f"/api/jobs/{JOB}", {}, 404),
    "job whose id is short": ("GET", "/api/jobs/a", {}, 404),
    "job whose id is a path": ("GET", "/api/jobs/..%2f..%2fetc%2fpasswd", {}, 404),
    "job whose id has another alphabet": ("GET", f"/api/jobs/{'%D0%B0' * 24}", {}, 404),
    "list of jobs": ("GET", "/api/jobs", {}, 404),
    "delete the job of another": ("DELETE", f"/api/jobs/{JOB}", {}, 404),
    "delete all jobs": ("DELETE", "/api/jobs/", {}, 404),
    "file of another": ("GET", f"/api/jobs/{JOB}/files/ids.png", {}, 404),
    "file by a path": ("GET", f"/api/jobs/{JOB}/files/../../../etc/passwd", {}, 404),
    "file by an encoded path": ("GET", f"/api/jobs/{JOB}/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd", {}, 404),
    "render of another": ("POST", f"/api/jobs/{JOB}/render", {"json": {}}, 404),
    "render of a look that is a list": ("POST", f"/api/jobs/{JOB}/render", {"json": [1]}, 400),
    "render of an unknown key": ("POST", f"/api/jobs/{JOB}/render", {"json": {"alpah": 1}}, 400),
    "render beyond opaque": ("POST", f"/api/jobs/{JOB}/render", {"json": {"alpha": 7}}, 400),
    "render of a colour that is markup": ("POST", f"/api/jobs/{JOB}/render", {"json": {"colors": ["<img>"]}}, 400),
    "render of broken JSON": (
        "POST", f"/api/jobs/{JOB}/render", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400
    ),
    "render of nested JSON": (
        "POST", f"/api/jobs/{JOB}/render",
        {"content": b"[" * 30_000, "headers": {"Content-Type": "application/json"}}, 400,
    ),
    "attention of another": ("GET", f"/api/jobs/{JOB}/attention?with={JOB}", {}, 404),
    "download of another": ("POST", "/api/download", {"json": {"jobs": [JOB], "parts": ["ids"]}}, 404),
    "download of nothing": ("POST", "/api/download", {"json": {"jobs": [], "parts": []}}, 400),
    "download of a thousand": ("POST", "/api/download", {"json": {"jobs": [JOB] * 1000, "parts": ["ids"]}}, 400),
    "download that is no JSON": ("POST", "/api/download", {"content": b"jobs=1"}, 400),
    "download that is long": ("POST", "/api/download", {"content": bytes(100_000)}, 413),
    "GET with a body": ("GET", "/api/models", {"content": b"x"}, 400),
    "DELETE with a body": ("DELETE", f"/api/jobs/{JOB}", {"content": b"x"}, 400),
    "length that is no number": ("POST", "/api/download", {"content": b"x", "headers": {"Content-Length": "1e3"}}, 400),
    "length that is negative": ("POST", "/api/download", {"content": b"x", "headers": {"Content-Length": "-1"}}, 400),
    "length beyond all": (
        "POST", f"/api/predict?model={MODEL}", {"content": b"x", "headers": {"Content-Length": "9" * 30}}, 413
    ),
    "GET of the upload address": ("GET", "/api/predict", {}, 405),
    "unknown method": ("BREW", "/api/predict", {}, 405),
    "preflight": ("OPTIONS", "/api/predict", {"headers": {"Origin": "http://evil.example"}}, 403),
    "wrong Host": ("GET", "/api/models", {"headers": {"Host": "evil.example"}}, 403),
    "wrong Origin": (
        "POST", f"/api/predict?model={MODEL}", {**BODY, "headers": {"Origin": "http://evil.example"}}, 403
    ),
    "form": (
        "POST", f"/api/predict?model={MODEL}",
        {"content": b'--b\r\nContent-Disposition: form-data; name="f"; filename="../../a"\r\n\r\nx\r\n--b--',
         "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 415,
    ),
    "static file by a path": ("GET", "/static/../server.py", {}, 404),
    "static file by an encoded path": ("GET", "/static/%2e%2e/server.py", {}, 404),
    "static file by an encoded slash": ("GET", "/static/..%2fserver.py", {}, 404),
    "static file from the root": ("GET", "/static//etc/passwd", {}, 404),
    "static file with a zero": ("GET", "/static/index.html%00", {}, 404),
    "static file whose name is endless": ("GET", "/static/" + "a" * 5000, {}, 404),
    "folder of static files": ("GET", "/static/js", {}, 404),
    "Swagger": ("GET", "/docs", {}, 404),
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the server's storage, and with what is none of its business."""
    root = tmp_path_factory.mktemp("root")
    (root / "storage").mkdir()
    (root / "secret.txt").write_text("secret")
    return root


@pytest.fixture(scope="module")
def one_server(root):
    """All of this is thrown at one server."""
    served = Served(root / "storage", **LIMITS)
    yield served
    served.close()


@pytest.fixture
def guarded(one_server, root):
    """The server in a tree whose files are compared afterwards, and which must still work then."""
    served = one_server
    yield served
    outside = {path for path in tree(root) if not path.startswith("storage/")}
    assert outside == {"storage", "secret.txt"}
    kept = {f"jobs/{id_}" for id_ in served.jobs._jobs} | {"jobs", "uploads"}
    uploads = {f"uploads/{job.upload.name}" for job in served.jobs._jobs.values() if job.upload}
    stray = {path for path in tree(served.settings.storage) if path not in kept | uploads and path.count("/") < 2}
    assert not stray, "something was written that belongs to no job"
    good = served.done(PNG, name="good.png")
    assert good["state"] == "done", "the server does not go on serving"
    for id_ in list(served.jobs._jobs):
        served.client.delete(f"/api/jobs/{id_}")
    assert tree(served.settings.storage) == {"jobs", "uploads"}


def _send(served: Served, content: bytes, name: str, status: int, states: tuple[str, ...]) -> None:
    answer = served.upload(content, name=name)
    assert answer.status_code == status, answer.text
    if status != 202:
        _is_one_line(answer, served)
        assert not served.jobs._jobs
        assert not list(served.settings.storage.glob("uploads/*")), "a refused upload is still there"
        return
    assert ID.fullmatch(answer.json()["id"])
    job = served.ended(answer.json()["id"])
    assert job["state"] in states, job
    for url in job["result"]["files"].values():
        file = served.client.get(url)
        assert file.status_code == 200
        assert b"<script" not in file.content, "it came back as it was sent"
        assert b"PK\x03\x04" not in file.content, "it came back as it was sent"


def _is_one_line(answer: Any, served: Served) -> None:
    assert list(answer.json()) == ["error"]
    line = answer.json()["error"]
    assert line.strip()
    assert len(line.splitlines()) == 1
    assert len(line) < 400
    assert str(served.settings.storage) not in line
    assert "Traceback" not in line


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", UPLOADS)
def test_hostile_uploads(guarded, name):
    content, status, states = UPLOADS[name]
    _send(guarded, content, "../../<img src=x onerror=alert(1)>.jpg", status, states)


@pytest.mark.parametrize("name", VIDEOS)
def test_hostile_videos(guarded, name, tmp_path):
    make, status, states = VIDEOS[name]
    _send(guarded, make(tmp_path), "..%2f..%2fv.mp4", status, states)


@pytest.mark.parametrize("name", REQUESTS)
def test_hostile_requests(guarded, name):
    method, path, how, status = REQUESTS[name]
    answer = guarded.client.request(method, path, **how)
    assert answer.status_code == status, answer.text
    _is_one_line(answer, guarded)
    assert "root:" not in answer.text


def test_ids_cannot_be_guessed(serve):
    served = serve()
    ids = {served.upload(photo_bytes(seed)).json()["id"] for seed in range(20)}
    assert len(ids) == 20
    assert all(len(id_) == 24 and ID.fullmatch(id_) for id_ in ids)
    shared = set.intersection(*({(place, sign) for place, sign in enumerate(id_)} for id_ in ids))
    assert not shared, "a place of the id is the same in all"
