/** The stage of a segmented video: photo and ids of the same frame, painted in the browser. */

import {element} from "../controls/dom.js";
import {FrameTimes} from "./frame_times.js";
import {IdFrames} from "./id_frames.js";
import {Layers} from "./layers.js";
import {SyncedVideos} from "./synced_videos.js";
import {rgbOf} from "../paint/paint_style.js";
import {sourceOf} from "./media.js";
import {blend, paintIds, paintOutlines, sharesOf} from "../paint/paint.js";
import {Transport} from "./transport.js";

const SLOW = "This machine decodes the two videos too slowly to play them together: it shows the frames that it can, without sound.";

export class VideoStage {
  #videos = null;
  #point = null;
  #gone = false;

  /**
   * @param {Element} container
   * @param {{onHover?, onShares?, onTime?, view?, divided?}} options `onHover({id, confidence, x, y} | null)`: what is
   *   under the pointer; `onShares(shares)`: of the frame that is shown; `onTime({frame, frames, seconds, playing})`:
   *   after each frame; the rest as in `Layers`
   */
  constructor(container, {onHover = () => {}, onShares = () => {}, onTime = () => {}, view, divided} = {}) {
    this.container = container;
    this.onHover = onHover;
    this.onShares = onShares;
    this.onTime = onTime;
    this.layers = new Layers(container, {view, divided, onPoint: point => {
      this.#point = point;
      this.#hover();
    }});
    this.photo = element("canvas", {class: "photo", role: "img"});
    this.fill = element("canvas", {class: "overlay", "aria-hidden": "true"});
    this.lines = element("canvas", {class: "outlines", "aria-hidden": "true"});
    this.layers.photo.append(this.photo);
    this.layers.over.append(this.fill, this.lines);
    this.note = element("p", {class: "stage-note quiet", role: "status", hidden: true});
    this.below = element("div", {class: "below-stage"}, this.note);
    container.append(this.below);
  }

  /** Show a finished job; resolves when the first frame and its ids are painted. */
  async load(job, model) {
    const {files, layout, width, height, times, fps, audio, broken, note} = job.result;
    this.classes = model.classes.length;
    this.times = new FrameTimes(times, fps);
    this.frames = new IdFrames(layout);
    this.paintStyle ??= {alpha: 0.5, hidden: new Set(), colors: model.classes.map(({color}) => rgbOf(color)), outlines: false, threshold: 0};
    this.remark = broken ? `The end of the video is missing: ${broken}` : note ? `About this video: ${note}` : "";
    this.photo.setAttribute("aria-label", job.name);
    for (const canvas of [this.photo, this.fill, this.lines]) Object.assign(canvas, {width, height});
    this.pixels = new ImageData(width, height);
    this.layers.resize(width, height);
    const sources = [sourceOf(files.photo, !audio), sourceOf(files.ids, true)];
    this.below.prepend(...sources);
    this.#videos = new SyncedVideos(sources, this.times, (_, pictures) => this.#draw(pictures), {
      onChange: () => this.#tell(),
      onError: error => this.#say(error.message),
    });
    await this.#videos.load();
    if (this.#gone) return;
    this.transport = new Transport(this.below, {videos: this.#videos, times: this.times, leader: sources[0], audio}, error => this.#say(error.message));
    this.#tell();
  }

  /** Paint with a paint style: the frame that is shown, and those to come. */
  repaint(paintStyle) {
    this.paintStyle = paintStyle;
    if (this.#videos) this.#paint();
  }

  /** Get {id, confidence (0-1, or null), x, y} of a pixel of the current frame; null outside. */
  idAt(x, y) {
    if (!this.frames || x < 0 || y < 0 || x >= this.frames.width || y >= this.frames.height) return null;
    return {id: this.frames.ids[y * this.frames.width + x], confidence: this.frames.confidenceAt(x, y), x, y};
  }

  get frame() {
    return this.#videos.frame;
  }

  /** Seek a frame; resolves with its number when it and its ids are painted. */
  seekFrame(frame) {
    return this.#videos.seek(frame);
  }

  play() {
    this.#videos.play();
  }

  /** Pause; resolves when the current frame stands still. */
  pause() {
    return this.#videos.pause();
  }

  /** Encode the frame with its overlay as a PNG. */
  async snapshot(paintStyle) {
    const {width, height} = this.photo;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    context.drawImage(this.photo, 0, 0);
    const shown = context.getImageData(0, 0, width, height);
    blend(shown.data, this.frames.ids, width, height, paintStyle, this.#confidence(paintStyle));
    context.putImageData(shown, 0, 0);
    return canvas.convertToBlob({type: "image/png"});
  }

  destroy() {
    this.#gone = true;
    this.#videos?.destroy();
    this.transport?.destroy();
    this.layers.destroy();
    this.below.remove();
  }

  /** @param {CanvasImageSource[]} pictures the photo and its ids */
  async #draw([photo, ids]) {
    await this.frames.read(ids);
    // a padded pixel of an odd side stays outside the canvas
    this.photo.getContext("2d", {alpha: false}).drawImage(photo, 0, 0);
    this.#paint();
    this.onShares(sharesOf(this.frames.ids, this.classes));
    this.#hover();
  }

  #paint() {
    this.fill.style.opacity = this.paintStyle.alpha;
    this.#paintOn(this.fill, paintIds);
    this.lines.hidden = !this.paintStyle.outlines;
    if (this.paintStyle.outlines) this.#paintOn(this.lines, paintOutlines);
  }

  #paintOn(canvas, painter) {
    const {width, height} = canvas;
    painter(this.frames.ids, width, height, this.paintStyle, this.#confidence(this.paintStyle), new Uint32Array(this.pixels.data.buffer));
    canvas.getContext("2d").putImageData(this.pixels, 0, 0);
  }

  /** Get the confidences of all pixels, only if a threshold needs them: spreading them takes time. */
  #confidence(paintStyle) {
    return paintStyle.threshold > 0 ? this.frames.confidence() : null;
  }

  #hover() {
    this.onHover(this.#point && this.idAt(this.#point.x, this.#point.y));
  }

  #tell() {
    const {frame, playing, stepping} = this.#videos;
    this.#say(playing && stepping ? SLOW : this.remark);
    this.transport?.update();
    this.onTime({frame, frames: this.times.count, seconds: this.times.startOf(frame), playing});
  }

  #say(text) {
    if (this.note.textContent === text) return;
    this.note.textContent = text;
    this.note.hidden = !text;
  }
}
