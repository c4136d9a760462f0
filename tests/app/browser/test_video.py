"""The stage of videos: photo and ids of one frame, whatever is done to it; nothing is asked of the server again."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("av", reason="videos need streetlab[video]")

from tests.support.numbered_video import (
    BITS,
    CLASSES,
    FPS,
    numbered_confidence,
    numbered_ids,
    write_numbered,
)
from tests.support.page_bench import bench
from tests.support.videos import make_video

from streetlab.plots.figure import hex_color
from streetlab.plots.paint import PaintStyle, class_shares, paint

SIZE = (53, 91)
FRAMES = 100
PALETTE = tuple((13 * k, 255 - 13 * k, 40) for k in range(CLASSES))
FILES = {"photo": "/files/photo.mp4", "ids": "/files/ids.webm", "csv": "/files/shares.csv"}

OPEN = """async ([job, model]) => {
  const {VideoStage} = await import("/static/js/stage/video_stage.js");
  const text = bytes => btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
  window.told = {hover: [], shares: null, seen: []};
  // what the two canvases say when a frame was painted: its number in the photo, its ids by their colours
  window.shown = () => {
    const {width, height} = stage.photo;
    const photo = stage.photo.getContext("2d").getImageData(0, height >> 1, width, 1).data;
    const overlay = stage.fill.getContext("2d").getImageData(0, 0, width, height).data;
    let number = 0;
    for (let bit = 0; bit < BITS; bit++) {
      if (photo[4 * Math.floor((bit + 0.5) * width / BITS)] > 128) number |= 1 << bit;
    }
    const ids = new Uint8Array(width * height).map((_, at) => Math.round(overlay[4 * at] / 13));
    return [number, text(ids)];
  };
  window.stage = new VideoStage(document.querySelector(".host"), {
    onHover: point => told.hover.push(point),
    onShares: shares => { told.shares = Array.from(shares); },
    onTime: ({frame, playing}) => window.watched && told.seen.push([frame, ...shown(), playing]),
  });
  await stage.load(job, model);
  window.look = {alpha: 0.5, hidden: new Set(), colors: model.palette, outlines: false, threshold: 0};
  stage.repaint(look);
}""".replace("BITS", str(BITS))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A folder with the videos of a job, and the job's result."""
    folder = tmp_path_factory.mktemp("film")
    sound = make_video(folder / "sound.mp4", frames=FRAMES, fps=FPS, audio="aac")
    return folder, write_numbered(folder, FRAMES, SIZE, sound) | {"files": FILES}


@pytest.fixture(scope="module")
def address(film):
    with bench(film[0]) as url:
        yield url


@pytest.fixture
def opened(visit, address, film):
    """`opened(prepare, **result)`: a visit with the film on the page's `stage`; the script `prepare` runs before."""

    def open_(prepare="", **result):
        opened = visit(address)
        opened.page.evaluate(f"() => {{ {prepare} }}")
        classes = [{"name": f"class {k}", "color": hex_color(color)} for k, color in enumerate(PALETTE)]
        job = {"id": "x" * 24, "kind": "video", "name": "street.mp4", "result": film[1] | result}
        opened.page.evaluate(OPEN, [job, {"classes": classes, "palette": PALETTE}])
        return opened

    return open_


def ids_in(text):
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(SIZE)


def assert_is_frame(frame, number, ids):
    assert number == frame, f"the photo is frame {number} where frame {frame} is told"
    wrong = (ids_in(ids) != numbered_ids(frame, SIZE)).sum()
    assert wrong == 0, f"{wrong} ids of frame {frame} are wrong"


def wait_until(page, condition):
    page.wait_for_function(f"() => {condition}", timeout=60_000)


def test_each_of_100_frames_has_its_photo_and_exactly_its_ids(opened):
    page = opened().page
    order = np.random.default_rng(0).permutation(FRAMES).tolist()
    found = page.evaluate(
        "async order => { const all = []; for (const n of order) all.push([await stage.seekFrame(n), ...shown()]); "
        "return all; }",
        order,
    )
    assert [frame for frame, *_ in found] == order
    for frame, number, ids in found:
        assert_is_frame(frame, number, ids)


PLAYERS = {
    "a usual browser": "",
    "one whose frames have no luma": 'Object.defineProperty(VideoFrame.prototype, "format", {get: () => null})',
    "one without VideoFrame": "delete window.VideoFrame",
}


@pytest.mark.parametrize(
    "player",
    [
        "a usual browser",
        pytest.param("one whose frames have no luma", marks=pytest.mark.slow),
        "one without VideoFrame",
    ],
)
def test_playing_never_shows_ids_over_the_photo_of_another_frame(opened, player):
    page = opened(PLAYERS[player]).page
    for frame in (7, 8, 93, 40):
        number, ids = page.evaluate("async frame => { await stage.seekFrame(frame); return shown(); }", frame)
        assert_is_frame(frame, number, ids)
    page.evaluate("async () => { window.watched = true; await stage.seekFrame(70); stage.play(); }")
    wait_until(page, "stage.frame === 99 && !told.seen.at(-1)[3]")
    seen = page.evaluate("told.seen")
    assert len({frame for frame, *_ in seen}) >= 4, "hardly a frame was painted"
    assert [frame for frame, *_ in seen] == sorted(frame for frame, *_ in seen)
    for frame, number, ids, _ in seen:
        assert_is_frame(frame, number, ids)


def test_looks_hover_and_shares_ask_nothing_of_the_server_at_rest_and_playing(opened):
    visit = opened()
    page = visit.page
    page.evaluate("stage.seekFrame(12)")
    before = len(visit.requests)
    page.evaluate("""async () => {
      const plain = {...look};
      const changes = [{hidden: new Set([1, 2])}, {outlines: true}, {threshold: 0.5}, {alpha: 0.1}];
      for (const change of changes) stage.repaint({...look, ...change});
      stage.repaint(plain);
      stage.play();
    }""")
    wait_until(page, "stage.frame > 14")
    page.evaluate("stage.repaint({...look, hidden: new Set(Array.from({length: 19}, (_, id) => id)), outlines: true})")
    wait_until(page, "stage.frame > 18")
    page.evaluate("stage.pause()")
    assert page.evaluate("Math.max(...stage.fill.getContext('2d').getImageData(0, 0, 91, 53).data)") == 0
    frame = page.evaluate("stage.frame")
    assert page.evaluate("told.shares") == class_shares(numbered_ids(frame, SIZE), CLASSES).tolist()
    assert [url for url in visit.requests[before:] if not url.endswith((".mp4", ".webm"))] == []


def test_the_pointer_finds_class_and_confidence_also_when_the_frame_changes(opened):
    page = opened().page
    page.evaluate("stage.seekFrame(20)")
    box = page.locator(".world canvas.photo").bounding_box()
    x, y = 60, 21
    page.mouse.move(box["x"] + box["width"] * (x + 0.5) / SIZE[1], box["y"] + box["height"] * (y + 0.5) / SIZE[0])
    wait_until(page, "told.hover.length > 0")
    for frame in (20, 57):
        page.evaluate("frame => stage.seekFrame(frame)", frame)
        point = page.evaluate("told.hover.at(-1)")
        assert (point["x"], point["y"], point["id"]) == (x, y, numbered_ids(frame, SIZE)[y, x])
        assert point["confidence"] == pytest.approx(numbered_confidence(frame, SIZE)[y, x] / 255)
    assert page.evaluate("[stage.idAt(-1, 0), stage.idAt(0, 53)]") == [None, None]


def test_a_snapshot_has_the_bytes_of_the_server_s_painter(opened):
    page = opened().page
    plain = {"alpha": 0.4, "hidden": [4], "outlines": True, "threshold": 0.3}
    text, photo = page.evaluate(
        """async plain => {
          await stage.seekFrame(33);
          const png = await stage.snapshot({...look, ...plain, hidden: new Set(plain.hidden)});
          const bytes = new Uint8Array(await png.arrayBuffer());
          const text = values => btoa(Array.from(values, byte => String.fromCharCode(byte)).join(""));
          return [text(bytes), text(stage.photo.getContext("2d").getImageData(0, 0, 91, 53).data)];
        }""",
        plain,
    )
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))
    photo = np.frombuffer(base64.b64decode(photo), np.uint8).reshape(*SIZE, 4)[..., :3]
    look = PaintStyle(PALETTE, alpha=0.4, hidden=frozenset({4}), outlines=True, threshold=0.3)
    assert np.array_equal(shown, paint(photo, numbered_ids(33, SIZE), look, numbered_confidence(33, SIZE)))


def test_keys_and_controls_move_the_video(opened):
    page = opened().page
    page.keyboard.press(".")
    page.keyboard.press(".")
    wait_until(page, "stage.frame === 2")
    page.keyboard.press(",")
    wait_until(page, "stage.frame === 1")
    page.get_by_role("slider", name="frame").fill("98")
    wait_until(page, "stage.frame === 98")
    assert re.sub(r"\s+", " ", page.locator(".transport .time").text_content()) == "0:03.3 / 0:03.3frame 99 of 100"
    page.get_by_role("combobox", name="speed").select_option("2")
    page.get_by_role("button", name="start again at the end").click()
    page.evaluate("document.activeElement.blur()")  # a key belongs to the button that has the focus
    page.keyboard.press(" ")
    wait_until(page, "stage.frame > 2 && stage.frame < 90")  # it went round
    assert page.evaluate("document.querySelector('video').playbackRate") == 2
    page.get_by_role("button", name="pause (space)").click()
    page.get_by_role("button", name="play (space)").wait_for()
    sound = page.get_by_role("button", name="sound")
    was = sound.get_attribute("aria-pressed")
    sound.click()
    wait_until(page, f"document.querySelector('.control.sound').ariaPressed !== '{was}'")
    page.evaluate("""async () => {
      await stage.pause();
      await stage.seekFrame(5);
      document.activeElement.blur();
      localStorage.setItem("streetlab.shortcuts", "off");
    }""")
    page.keyboard.press(".")
    page.evaluate("stage.seekFrame(stage.frame)")
    assert page.evaluate("stage.frame") == 5


def test_a_missing_end_and_a_video_that_does_not_play_are_said(opened):
    page = opened(broken="ended after 100 frames: the file is cut off").page
    note = page.locator(".stage-note")
    note.wait_for()
    assert note.text_content() == "The end of the video is missing: ended after 100 frames: the file is cut off"
    with pytest.raises(Exception, match="this browser does not play the video"):
        opened(files=FILES | {"ids": "/files/gone.webm"})


def test_a_video_of_one_frame_is_a_video(opened, film):
    folder = film[0] / "one"
    folder.mkdir()
    one = write_numbered(folder, 1, SIZE) | {"files": {"photo": "/files/one/photo.mp4", "ids": "/files/one/ids.webm"}}
    page = opened(**one).page
    assert_is_frame(0, *page.evaluate("shown()"))
    page.evaluate("stage.play()")
    wait_until(page, "document.querySelector('.control.play').title.startsWith('play')")
    page.evaluate("stage.seekFrame(5)")
    assert_is_frame(0, *page.evaluate("shown()"))


def test_leaving_in_the_middle_leaves_nothing_behind(opened, film):
    page = opened().page
    page.evaluate("async () => { stage.play(); stage.seekFrame(70).catch(() => {}); stage.destroy(); }")
    assert page.evaluate("[...document.querySelectorAll('video, canvas, .transport')].length") == 0
    page.evaluate(
        """async ([result, classes]) => {
      const {VideoStage} = await import("/static/js/stage/video_stage.js");
      const other = new VideoStage(document.querySelector(".host"));
      const loaded = other.load({id: "x", kind: "video", name: "street.mp4", result}, {classes});
      other.destroy();
      await loaded;
    }""",
        [film[1], [{"name": "road", "color": "#102030"}]],
    )
    assert page.evaluate("[...document.querySelectorAll('video, canvas, .transport')].length") == 0
    page.keyboard.press(" ")


@pytest.mark.parametrize("player", ["a usual browser", "one whose frames have no luma"])
def test_streams_of_any_number_of_classes_are_read_exactly(visit, address, film, player):
    from streetlab.inference.video.id_stream import IdStreamReader, IdStreamWriter

    folder, _ = film
    size = (41, 63)
    page = visit(address).page
    page.evaluate(f"() => {{ {PLAYERS[player]} }}")
    for classes in (2, 20, 60, 220):
        path = folder / f"{classes}.webm"
        with IdStreamWriter(path, size, classes, FPS, 1 / FPS) as stream:
            ids, confidence = (np.resize(np.arange(number, dtype=np.uint8), size) for number in (classes, 256))
            stream.write(ids, confidence, 0)
        found = page.evaluate(
            """async ([src, layout]) => {
              const [{IdFrames}, {firstFrame, pictureOf}] =
                await Promise.all(["id_frames", "media"].map(name => import(`/static/js/stage/${name}.js`)));
              const video = Object.assign(document.createElement("video"), {src, muted: true, preload: "auto"});
              document.body.append(video);
              await firstFrame(video);
              const frames = new IdFrames(layout);
              await frames.read(pictureOf(video));
              video.remove();
              return [Array.from(frames.ids), Array.from(frames.confidence())];
            }""",
            [f"/files/{path.name}", stream.layout.to_dict()],
        )
        with IdStreamReader(path) as reader:
            ((ids, confidence, _),) = reader
        assert ids.max() == classes - 1
        assert confidence is not None
        assert found == [ids.reshape(-1).tolist(), confidence.reshape(-1).tolist()]


def test_an_overlay_video_of_the_server_plays_with_its_sound(visit, address, film):
    from streetlab.inference.video.sinks import render_overlay

    folder, result = film
    render_overlay(
        folder / "photo.mp4",
        folder / "ids.webm",
        PaintStyle(PALETTE),
        folder / "overlay.mp4",
        audio_from=folder / "photo.mp4",
    )
    page = visit(address).page
    page.evaluate("""async () => {
      const {firstFrame} = await import("/static/js/stage/media.js");
      window.video = document.createElement("video");
      Object.assign(video, {src: "/files/overlay.mp4", muted: true, loop: true});
      document.body.append(video);
      await firstFrame(video);
      await video.play();
    }""")
    wait_until(page, "video.currentTime > 0.3 && video.readyState >= 3")
    width, height, seconds, sound = page.evaluate(
        "[video.videoWidth, video.videoHeight, video.duration, video.webkitAudioDecodedByteCount > 0]"
    )
    assert (width, height) == (SIZE[1] + 1, SIZE[0] + 1)
    assert seconds == pytest.approx(result["times"][-1] + 1 / FPS, abs=0.1)
    assert sound
