/** Ground attention: the share of a classifier's activation map that lies on the ground of a segmentation. */

import * as api from "../api/client.js";
import {element, percent} from "../controls/dom.js";
import {greyOf} from "../paint/paint.js";

const LINE = 0xffffffff;
const AROUND = 0xff000000;

/** Write the server's numbers as a sentence. */
export function sentenceOf({on_ground: onGround, ground_looked_at: lookedAt, ground}, name) {
  if (ground === 0) return "The second model sees no ground in this photo.";
  if (onGround === null) return `Nothing in this photo speaks for ${name}.`;
  const share = `${percent(onGround)} of what speaks for ${name} lies on the ground, which is ${percent(ground)} of the photo`;
  return `${share}; ${percent(lookedAt)} of the ground is looked at closely.`;
}

/** @import {Job} from "../api/client.js" */

/** Show the sentence about two finished jobs of one photo, and draw the outline of the ground. */
export class GroundAttention {
  #turn = 0;

  /** @param {HTMLCanvasElement} canvas of the photo's size, over it @param {() => void} onGone called if the server has deleted a job */
  constructor(canvas, onGone) {
    this.canvas = canvas;
    this.onGone = onGone;
    this.box = element("p", {class: "attention", role: "status", hidden: true});
  }

  /**
   * @param {Job} job the classification's @param {Job|null} other the segmentation's; null: none is chosen
   * @param {number} chosen the class whose map is shown @param {string} name of that class
   */
  async show(job, other, chosen, name) {
    const turn = ++this.#turn;
    this.box.hidden = this.canvas.hidden = !other;
    if (!other) return;
    try {
      const [overlap, ids] = await Promise.all([api.attention(job.id, other.id, chosen), greyOf(other.result.files.ids)]);
      if (turn !== this.#turn) return;
      this.box.textContent = sentenceOf(overlap, name);
      this.#outline(ids, new Set(other.result.ground));
    } catch (error) {
      if (turn !== this.#turn) return;
      this.box.textContent = error.message;
      if (error.status === 404) this.onGone();
    }
  }

  /** Draw a white line inside the ground's edge and a dark one outside, visible on any photo. */
  #outline({values, width, height}, ground) {
    const pixels = new ImageData(width, height);
    const out = new Uint32Array(pixels.data.buffer);
    const table = Uint8Array.from({length: 256}, (_, id) => Number(ground.has(id)));
    const reach = Math.max(1, Math.round(Math.max(width, height) / 600));
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const inside = table[values[at]];
        const edge =
          (x >= reach && table[values[at - reach]] !== inside) ||
          (x + reach < width && table[values[at + reach]] !== inside) ||
          (y >= reach && table[values[at - reach * width]] !== inside) ||
          (y + reach < height && table[values[at + reach * width]] !== inside);
        if (edge) out[at] = inside ? LINE : AROUND;
      }
    }
    Object.assign(this.canvas, {width, height});
    this.canvas.getContext("2d").putImageData(pixels, 0, 0);
  }
}
