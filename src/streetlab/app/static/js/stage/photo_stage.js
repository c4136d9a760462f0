/** The stage of a segmented photo, painted in the browser from one picture of class ids. */

import {element} from "../controls/dom.js";
import {Layers} from "./layers.js";
import {blend, greyOf, paintIds, paintOutlines, sharesOf} from "../paint/paint.js";

/** The id that no class has: such pixels show the photo. */
const NONE = 255;

export class PhotoStage {
  #painted = null;

  /**
   * @param {Element} container
   * @param {{onHover?, onShares?, view?, divided?}} options `onHover({id, confidence, x, y} | null)`: what is under the
   *   pointer, confidence 0-1 or null; `onShares(shares)`: one per class; the rest as in `Layers`
   */
  constructor(container, {onHover = () => {}, onShares = () => {}, view, divided} = {}) {
    this.onShares = onShares;
    this.layers = new Layers(container, {view, divided, onPoint: point => onHover(point && this.idAt(point.x, point.y))});
    this.photo = element("img", {class: "photo", draggable: false});
    this.fill = element("canvas", {class: "overlay", "aria-hidden": "true"});
    this.lines = element("canvas", {class: "outlines", "aria-hidden": "true"});
    this.layers.photo.append(this.photo);
    this.layers.over.append(this.fill, this.lines);
    this.only = null;
  }

  /** Show a finished job; resolves when the photo and its ids are here. */
  async load(job, model) {
    const {files, width, height} = job.result;
    this.photo.alt = job.name;
    this.photo.src = files.photo;
    const [ids, confidence] = await Promise.all([greyOf(files.ids), greyOf(files.confidence), this.photo.decode()]);
    this.width = width;
    this.height = height;
    this.ids = ids.values;
    this.confidence = confidence.values;
    this.classes = model.classes.length;
    this.#painted = null;
    for (const canvas of [this.fill, this.lines]) Object.assign(canvas, {width, height});
    this.pixels = new ImageData(width, height);
    this.layers.resize(width, height);
    this.onShares(sharesOf(this.ids, this.classes));
  }

  /** Paint with a paint style; a new opacity alone costs nothing. */
  repaint(paintStyle) {
    if (!this.ids) return;
    this.fill.style.opacity = paintStyle.alpha;
    const {hidden, threshold, outlines} = paintStyle;
    const style = JSON.stringify([[...hidden], paintStyle.colors, threshold, outlines]);
    if (this.#painted?.style === style && this.#painted.only === this.only) return;
    this.#painted = {style, only: this.only};
    this.#paint(this.fill, paintIds, paintStyle);
    this.#paint(this.lines, paintOutlines, paintStyle);
  }

  #paint(canvas, painter, paintStyle) {
    painter(this.only ?? this.ids, this.width, this.height, paintStyle, this.confidence, new Uint32Array(this.pixels.data.buffer));
    canvas.getContext("2d").putImageData(this.pixels, 0, 0);
  }

  /** Paint only the pixels where `mask` (one byte per pixel) is not 0; null: all. Takes effect at the next repaint. */
  showOnly(mask) {
    this.only = mask && this.ids.map((id, at) => mask[at] ? id : NONE);
    this.layers.frame.classList.toggle("dimmed", mask !== null);
  }

  /** Get {id, confidence, x, y} of a pixel; null outside. */
  idAt(x, y) {
    if (!this.ids || x < 0 || y < 0 || x >= this.width || y >= this.height) return null;
    const at = y * this.width + x;
    return {id: this.ids[at], confidence: this.confidence[at] / 255, x, y};
  }

  /** Encode the photo with its overlay as a PNG, with the same pixels as the server paints. */
  async snapshot(paintStyle) {
    const canvas = new OffscreenCanvas(this.width, this.height);
    const context = canvas.getContext("2d");
    if (this.only) context.filter = getComputedStyle(this.photo).filter;
    context.drawImage(this.photo, 0, 0, this.width, this.height);
    const shown = context.getImageData(0, 0, this.width, this.height);
    blend(shown.data, this.only ?? this.ids, this.width, this.height, paintStyle, this.confidence);
    context.putImageData(shown, 0, 0);
    return canvas.convertToBlob({type: "image/png"});
  }

  destroy() {
    this.layers.destroy();
  }
}
