"""Which files are predicted, and what their results are called."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from streetlab.datasets.content import HEAD_BYTES, HIDDEN, NEEDS_EXTRA, NO_IMAGE, UNREADABLE, kind_of
from streetlab.errors import UserError
from streetlab.inference.outputs import Names
from streetlab.inference.sources import find_items

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(400)
ODD_NAMES = [
    "a b (1).jpg",
    "x=1,y=2.png",
    "[bracketed].jpg",
    "街道 写真.jpg",
    'it\'s "so".png',
    "-dash.jpg",
    "100%.jpg",
]


def photo(path: Path, format: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), (9, len(str(path)) % 256, 7)).save(path, format=format)
    return path


def names(*sources: object, output: str = "out", recursive: bool = True) -> list[str]:
    return [item.file for item in find_items([str(source) for source in sources], Path(output), recursive).items]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_photos_are_known_by_their_bytes(format):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format=format)
    assert kind_of(buffer.getvalue()[:HEAD_BYTES]) == "photo"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x00\x00\x00\x20ftypisom", "video"),
        (b"\x00\x00\x00\x20ftypavif", "photo"),
        (b"\x00\x00\x00\x20ftypM4A ", None),
        (b"\x1a\x45\xdf\xa3\x01", "video"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (b"G" + bytes(187) + b"G", "video"),
        (b"%PDF-1.7", None),
        (b"BMW, VW and others", None),
        (b"P1 is a road", None),
        (b"<svg xmlns=", None),
        (b"", None),
    ],
)
def test_other_files_are_known_by_their_bytes(head, kind):
    assert kind_of(head) == kind


@pytest.mark.usefixtures("no_heif")
def test_a_folder_gives_what_it_holds_whatever_the_files_are_called(tmp_path):
    for name in ODD_NAMES:
        photo(Path("in", name))
    photo(Path("in/sub/deep/without suffix"))
    photo(Path("in/video.mp4"), "JPEG")  # its bytes are a photo's
    Path("in/broken.jpg").write_text("no photo, but it says so")
    Path("in/notes.txt").write_text("no photo")
    photo(Path("in/.hidden.png"))
    photo(Path("in/.cache/x.png"))
    photo(Path("in/@eaDir/thumbnail.jpg"))
    photo(Path("in/results/overlay/a.jpg"))
    os.mkfifo("in/pipe.jpg")
    Path("in/IMG_1.HEIC").write_bytes(HEIC)
    found = find_items(["in"], Path("in/results"))
    here = sorted([*ODD_NAMES, "broken.jpg", "video.mp4"])
    assert [item.file for item in found.items] == [*here, "sub/deep/without suffix"]
    assert {item.kind for item in found.items} == {"photo"}
    assert all(item.path == tmp_path / "in" / item.file for item in found.items)
    assert found.passed.counts == {NO_IMAGE: 1, HIDDEN: 1, UNREADABLE: 1, NEEDS_EXTRA: 1}
    assert found.passed.first[NEEDS_EXTRA] == "IMG_1.HEIC"
    (promised,) = find_items(["in/IMG_1.HEIC"], Path("in/results")).items
    assert promised.kind == "photo"
    assert "sub/deep/without suffix" not in names("in", output="in/results", recursive=False)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_file_of_any_name_is_meant_by_that_name(name):
    photo(Path("in", name))
    photo(Path("in/b.jpg"))
    assert names(Path("in", name)) == [name]


def test_a_glob_gives_what_matches_and_folders_with_all_they_hold():
    for name in ("day1/a.jpg", "day1/b.png", "day2/a.jpg", "day2/more/c.jpg", "day2/.d.jpg", "e.jpg"):
        photo(Path("in", name))
    assert names("in/day?/*.jpg") == ["day1/a.jpg", "day2/a.jpg"]
    assert names(Path("in/day2/*").absolute()) == ["a.jpg", "more/c.jpg"]
    assert names("in/**/*.jpg") == ["day1/a.jpg", "day2/a.jpg", "day2/more/c.jpg", "e.jpg"]
    assert names("in/*", recursive=False) == ["e.jpg"]
    assert names("in/day[1]/*") == ["day1/a.jpg", "day1/b.png"]


def test_several_sources_keep_their_own_names_and_no_file_comes_twice():
    for name in ("day1/a.jpg", "day2/a.jpg", "b.jpg"):
        photo(Path("in", name))
    assert names("in/day1", "in/day2", "in/b.jpg") == ["day1/a.jpg", "day2/a.jpg", "b.jpg"]
    assert names("in/b.jpg", "in", "in/*.jpg") == ["b.jpg", "in/day1/a.jpg", "in/day2/a.jpg"]


def test_links_out_of_a_folder_are_named_and_not_followed(tmp_path):
    photo(Path("secret/passport.jpg"))
    photo(Path("in/a.jpg"))
    photo(Path("in/sub/b.jpg"))
    (tmp_path / "in/link.jpg").symlink_to(tmp_path / "secret/passport.jpg")
    (tmp_path / "in/folder").symlink_to(tmp_path / "secret")
    (tmp_path / "in/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "in/again.jpg").symlink_to(tmp_path / "in/a.jpg")
    (tmp_path / "in/sub/up").symlink_to(tmp_path / "in")
    found = find_items(["in"], Path("out"))
    assert [item.file for item in found.items] == ["a.jpg", "sub/b.jpg"]
    assert sorted(found.links) == [Path("in/folder"), Path("in/gone.jpg"), Path("in/link.jpg")]
    found = find_items(["in/*"], Path("out"))
    assert {item.path.name for item in found.items} == {"a.jpg", "b.jpg"}
    assert Path("in/link.jpg") in found.links
    assert names("in/link.jpg") == ["link.jpg"], "a file that is named is meant"
    (tmp_path / "entry").symlink_to(tmp_path / "in")
    assert names("entry") == ["a.jpg", "sub/b.jpg"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "source: no file or folder nowhere"),
        ("stret", "did you mean 'street'?"),
        ("no/such/x.jpg", "there is no folder no/such"),
        ("street/*.png", "source: nothing matches street/*.png (a glob; quote it"),
        ("street/[x].jpg", "source: nothing matches street/[x].jpg"),
        (
            "street",
            "source: street: no photos and no videos there (1 file was not taken: 1 no image",
        ),
        ("empty", "source: empty: no photos and no videos there"),
        ("out/overlay", "source: out/overlay lies in the folder of the results"),
        ("out/overlay/a.jpg", "source: out/overlay/a.jpg lies in the folder of the results"),
        ("pipe", "source: pipe is neither a file nor a folder"),
        ("a\0b", "source: no file or folder a"),
    ],
)
def test_a_source_that_gives_nothing_is_one_line(source, said):
    for folder in ("street", "empty"):
        Path(folder).mkdir()
    Path("street/notes.txt").write_text("nothing to see")
    photo(Path("out/overlay/a.jpg"))
    os.mkfifo("pipe")
    with pytest.raises(UserError) as caught:
        find_items([source], Path("out"))
    assert said in str(caught.value)


def test_a_folder_that_is_closed_to_us_is_one_line(monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    photo(Path("in/a.jpg"))
    monkeypatch.setattr(os, "scandir", closed)  # root may read everything
    with pytest.raises(UserError, match=r"source: in: cannot be read \(Permission denied\)"):
        find_items(["in"], Path("out"))


def test_results_are_called_after_their_files_and_never_share_a_name():
    files = ["a.jpg", "a.png", "sub/a.jpg", "A.webp", "a.jpg.png", "b.tar.jpg", "c.jpg", "c.png/d.jpg", "no suffix"]
    given = Names([], files)
    stems = [given.stem(file) for file in files]
    assert stems[:3] == ["a", "a.png", "sub/a"]
    assert stems[3:] == ["A.webp", "a.jpg", "b.tar", "c.jpg", "c.png/d", "no suffix"]
    assert len({stem.casefold() for stem in stems}) == len(files)
    assert Names(stems, ["a.jpg"]).stem("a.jpg") == "a.jpg-2"


def test_no_result_lies_outside_its_folder_and_no_name_is_too_long(tmp_path):
    names = Names([], [])
    for file in ("../../etc/passwd.jpg", "/etc/passwd.jpg", "a/../../b.jpg"):
        path = tmp_path / "masks" / names.stem(file)
        assert Path(os.path.normpath(path)).is_relative_to(tmp_path / "masks")
    long = ["街" * 80 + f"{end}.jpg" for end in "ab"]
    stems = [names.stem(name) for name in long]
    assert len(set(stems)) == 2
    for stem in stems:
        (tmp_path / f".{stem}.png.123456-01234567.tmp").touch()
