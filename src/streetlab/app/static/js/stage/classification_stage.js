/** The stage of a classification: a photo with the map of a class, or a video with its probabilities over time. */

import {GroundAttention} from "./attention.js";
import {TimeChart} from "./chart.js";
import {element} from "../controls/dom.js";
import {FrameTimes} from "./frame_times.js";
import {heatGradient, paintHeat} from "../paint/heat.js";
import {Layers} from "./layers.js";
import {SyncedVideos} from "./synced_videos.js";
import {sourceOf} from "./media.js";
import {greyOf} from "../paint/paint.js";
import {ProbabilityBars} from "./probabilities.js";
import {Transport} from "./transport.js";

export class ClassificationStage {
  #videos = null;
  #maps = new Map();
  #chosen = null;
  #other = null;
  #painted = null;
  #gone = false;

  /**
   * @param {Element} container
   * @param {{onShares?, onTime?, onGone?, view?, divided?}} options as in `VideoStage`; the shares are the
   *   probabilities; `onGone()`: the server has forgotten a job
   */
  constructor(container, {onShares = () => {}, onTime = () => {}, onGone = () => {}, view, divided} = {}) {
    this.container = container;
    this.onShares = onShares;
    this.onTime = onTime;
    this.layers = new Layers(container, {view, divided});
    this.layers.frame.classList.add("unnamed");
    this.fill = element("canvas", {class: "overlay", "aria-hidden": "true"});
    const ground = element("canvas", {class: "ground", "aria-hidden": "true", hidden: true});
    this.layers.over.append(this.fill, ground);
    this.attention = new GroundAttention(ground, onGone);
    this.note = element("p", {class: "stage-note quiet", role: "status", hidden: true});
    this.below = element("div", {class: "below-stage labels"}, this.note);
    container.append(this.below);
  }

  /** Show a finished job; resolves when the photo with the predicted class's map, or the first frame, is here. */
  async load(job, model) {
    this.job = job;
    this.model = model;
    const {activations = [], calibrated} = job.result;
    this.bars = new ProbabilityBars(model, {
      calibrated, mapped: new Set(activations.map(entry => entry.class)), onChoose: id => this.choose(id),
    });
    this.below.append(this.bars.box);
    await (job.kind === "video" ? this.#loadVideo() : this.#loadPhoto());
  }

  /** Show the map of a class that has one. */
  async choose(id) {
    if (!this.#maps.has(id)) return;
    this.#chosen = id;
    this.bars.choose(id);
    this.relate(this.#other);
    const map = await this.#maps.get(id)();
    if (this.#chosen !== id) return;
    this.map = map.values;
    this.#painted = null;
    if (this.paintStyle) this.repaint(this.paintStyle);
  }

  /** Show how the map overlaps the ground of another job, a segmentation of the same photo; null: of none. */
  relate(other) {
    this.#other = other;
    if (this.#chosen !== null) this.attention.show(this.job, other, this.#chosen, this.model.classes[this.#chosen].name);
  }

  /** Paint with a paint style: its opacity, and its threshold as the least heat. */
  repaint(paintStyle) {
    this.paintStyle = paintStyle;
    this.fill.style.opacity = paintStyle.alpha;
    if (!this.map || this.#painted === paintStyle.threshold) return;
    this.#painted = paintStyle.threshold;
    paintHeat(this.map, paintStyle, new Uint32Array(this.pixels.data.buffer));
    this.fill.getContext("2d").putImageData(this.pixels, 0, 0);
  }

  /** Pixels have no classes here. */
  idAt() {
    return null;
  }

  get frame() {
    return this.#videos.frame;
  }

  seekFrame(frame) {
    return this.#videos.seek(frame);
  }

  play() {
    this.#videos.play();
  }

  pause() {
    return this.#videos.pause();
  }

  /** Encode the photo or frame with the map as a PNG. */
  async snapshot(paintStyle) {
    const {width, height} = this.job.result;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    context.drawImage(this.photo, 0, 0, width, height);
    context.globalAlpha = paintStyle.alpha;
    context.drawImage(this.fill, 0, 0, width, height);
    return canvas.convertToBlob({type: "image/png"});
  }

  destroy() {
    this.#gone = true;
    this.#videos?.destroy();
    this.transport?.destroy();
    this.layers.destroy();
    this.below.remove();
  }

  async #loadPhoto() {
    const {files, width, height, probabilities, prediction, activations = []} = this.job.result;
    this.photo = element("img", {class: "photo", draggable: false, alt: this.job.name, src: files.photo});
    this.layers.photo.append(this.photo);
    this.layers.resize(width, height);
    Object.assign(this.fill, {width, height});
    this.pixels = new ImageData(width, height);
    for (const entry of activations) {
      let map = null;
      this.#maps.set(entry.class, () => (map ??= greyOf(entry.file)));
    }
    this.bars.show(probabilities);
    this.onShares(probabilities);
    if (this.#maps.size) this.below.append(this.#scale(), this.attention.box);
    await Promise.all([this.photo.decode(), this.choose(prediction)]);
  }

  async #loadVideo() {
    const {files, width, height, fps, times, audio, probabilities, broken, note} = this.job.result;
    const canvas = element("canvas", {class: "photo", role: "img", width, height, "aria-label": this.job.name});
    this.photo = canvas;
    this.layers.photo.append(this.photo);
    this.layers.resize(width, height);
    const source = sourceOf(files.photo, !audio);
    this.below.prepend(source);
    this.times = new FrameTimes(times, fps);
    const say = error => this.#say(error.message);
    this.#videos = new SyncedVideos([source], this.times, (_, [picture]) => {
      canvas.getContext("2d", {alpha: false}).drawImage(picture, 0, 0);
    }, {onChange: () => this.#tell(), onError: say});
    const colors = this.model.classes.map(({color}) => color);
    this.chart = new TimeChart(probabilities, colors, summaryOf(probabilities, this.model), frame => this.seekFrame(frame).catch(say));
    this.bars.box.before(this.chart.box);
    await this.#videos.load();
    if (this.#gone) return;
    this.transport = new Transport(this.below, {videos: this.#videos, times: this.times, leader: source, audio}, say);
    source.after(this.transport.box);
    this.#say(broken ? `The end of the video is missing: ${broken}` : note ? `About this video: ${note}` : "");
  }

  #scale() {
    const bar = element("i", {"aria-hidden": "true"});
    bar.style.background = heatGradient();
    return element("p", {class: "heat-scale quiet"}, "looked at: little", bar, "most in any class");
  }

  #tell() {
    const {frame, playing} = this.#videos;
    const probabilities = this.job.result.probabilities[frame];
    this.bars.show(probabilities);
    this.chart.show(frame);
    this.onShares(probabilities);
    this.transport?.update();
    this.onTime({frame, frames: this.times.count, seconds: this.times.startOf(frame), playing});
  }

  #say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }
}

/** Summarise a video by the most probable class of each frame: "of 100 frames: Clean 80, Litter 20". */
function summaryOf(probabilities, {classes}) {
  const counts = classes.map(() => 0);
  for (const shares of probabilities) counts[shares.indexOf(Math.max(...shares))]++;
  const counted = classes.map(({name}, id) => counts[id] && `${name} ${counts[id]}`).filter(Boolean);
  return `probabilities over time; of ${probabilities.length} frames: ${counted.join(", ")}`;
}
