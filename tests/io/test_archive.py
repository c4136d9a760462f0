"""Files inside a zip are the files that were put there, for any number of threads; damage is one clear line."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets.decode import UnreadablePhoto, read_mask, read_photo
from streetlab.errors import UserError
from streetlab.io.archive import ZipMember, zip_names


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.mkdir("a")
        for number in range(8):
            photo = tmp_path / f"{number}.png"
            Image.fromarray(random.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(photo)
            file.write(photo, f"a/{number}.png")
    return path


def test_a_member_reads_as_the_file_that_was_packed(archive: Path, tmp_path: Path) -> None:
    assert zip_names(archive, "dataset.root") == [f"a/{number}.png" for number in range(8)]
    member, packed = ZipMember(archive, "a/3.png"), (tmp_path / "3.png").read_bytes()
    assert str(member) == "photos.zip!a/3.png"
    stream = member.open()
    assert stream.read() == packed
    stream.seek(1)
    assert stream.read(3) == b"PNG"
    assert member.content_hash() == hashlib.sha256(packed).hexdigest()
    np.testing.assert_array_equal(np.asarray(read_photo(member)), np.asarray(read_photo(tmp_path / "3.png")))


def test_many_threads_and_another_process_read_the_right_bytes(archive: Path, tmp_path: Path) -> None:
    wanted = [(tmp_path / f"{number}.png").read_bytes() for number in range(8)]
    members = [ZipMember(archive, f"a/{number}.png") for number in range(8)] * 50
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda member: member.open().read(), members)) == wanted * 50
    assert pickle.loads(pickle.dumps(members[5])).open().read() == wanted[5]


def test_the_fingerprint_changes_with_the_contents_and_not_with_the_other_members(
    archive: Path, tmp_path: Path
) -> None:
    first, second = (ZipMember(archive, f"a/{number}.png") for number in range(2))
    before = first.fingerprint()
    assert before == ZipMember(archive, "a/0.png").fingerprint() != second.fingerprint()
    assert first.content_hash() != second.content_hash()
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "1.png", "a/0.png")
    assert first.fingerprint() != before
    assert first.open().read() == (tmp_path / "1.png").read_bytes()
    assert ZipMember(tmp_path / "none.zip", "a").fingerprint().endswith(":missing")
    assert ZipMember(archive, "b.png").fingerprint().endswith(":closed")


def test_a_cut_or_foreign_zip_is_one_line_with_what_to_do(archive: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(archive.read_bytes()[:900])
    with pytest.raises(UserError, match=r"^dataset\.root: .*cut\.zip is damaged or no zip \(.*\); download it again$"):
        zip_names(cut, "dataset.root")
    with pytest.raises(UserError, match=r"^dataset\.root: cannot read .*none\.zip \(No such file"):
        zip_names(tmp_path / "none.zip", "dataset.root")
    with pytest.raises(UnreadablePhoto, match=r"^cut\.zip!a/0\.png: does not decode \(the zip .*cut\.zip is damaged"):
        read_photo(ZipMember(cut, "a/0.png"))


@pytest.mark.parametrize("read", [read_photo, read_mask])
def test_damage_to_one_member_names_it_and_leaves_the_others(archive: Path, read) -> None:
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        start = file.getinfo("a/2.png").header_offset
    content[start + 60 : start + 90] = bytes(30)
    archive.write_bytes(content)
    with pytest.raises(UnreadablePhoto, match=r"^photos\.zip!a/2\.png: does not decode \(the zip .* is damaged: .*\)$"):
        read(ZipMember(archive, "a/2.png"))
    assert read_photo(ZipMember(archive, "a/3.png")).size == (24, 16)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/9.png", "is damaged: There is no item named 'a/9.png'"),
        ("notes.txt", r"not an image \(it begins with b'wor"),
    ],
)
def test_what_is_no_image_is_named_by_archive_and_member(archive: Path, name: str, message: str) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("notes.txt", "words")
    with pytest.raises(UnreadablePhoto, match=f"^photos.zip!{name}: .*{message}"):
        read_photo(ZipMember(archive, name))
