/**
 * Read class ids from the frames of an id stream, a lossless video that stores them in its luma.
 *
 * A pixel of the upper part is `16 + layout.step * id`; below, at half size, confidence in 20 levels is
 * `16 + 10 * level`. Chroma is neutral, so that after the conversion to RGB by the formula of BT.601 and BT.709
 * (limited range: 16 to 235 become 0 to 255) red is round((luma - 16) * 255 / 219), which a table turns back.
 */

const CONFIDENCE_STEP = 10;
const CONFIDENCE_LEVELS = 20;
const LUMA_FIRST = new Set(["I420", "I420A", "NV12"]);

/** Make the table byte to value (Uint8Array of 256), where value v is stored as luma `16 + step * v`. */
export function valuesOf(step, fromRed = false) {
  return Uint8Array.from({length: 256}, (_, byte) => {
    const above = fromRed ? (byte * 219) / 255 : byte - 16;
    return Math.max(0, Math.round(above / step));
  });
}

/** The byte of a level, halves to the even one, as the server rounds: a threshold may lie between the two. */
function confidenceOf(level) {
  const value = (level * 255) / CONFIDENCE_LEVELS;
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

export class IdFrames {
  #layout;
  #tables;
  #planes = new Uint8Array(0);
  #canvas = null;
  #coarse = null;
  #whole = null;

  /**
   * @param {{width: number, height: number, step: number, ids: number[], confidence: number[]|null}} layout of a job's result;
   *   `ids` and `confidence` are [x, y, w, h]
   */
  constructor(layout) {
    this.#layout = layout;
    const [, , width, height] = layout.ids;
    this.width = width;
    this.height = height;
    this.ids = new Uint8Array(width * height);
    const levels = [valuesOf(CONFIDENCE_STEP), valuesOf(CONFIDENCE_STEP, true)].map(table =>
      table.map(level => confidenceOf(Math.min(level, CONFIDENCE_LEVELS))),
    );
    this.#tables = {
      luma: [valuesOf(layout.step), levels[0]],
      red: [valuesOf(layout.step, true), levels[1]],
    };
    if (layout.confidence) this.#coarse = new Uint8Array(layout.confidence[2] * layout.confidence[3]);
  }

  /** Read `ids` and confidences of one frame: a VideoFrame, or a paused video. */
  async read(picture) {
    if (LUMA_FIRST.has(picture.format)) await this.#readLuma(picture);
    else this.#readRed(picture);
    this.#whole = null;
  }

  /** 0 to 1 in steps of 0.05, or null where the stream has none. */
  confidenceAt(x, y) {
    if (!this.#coarse) return null;
    const [, , width, height] = this.#layout.confidence;
    return this.#coarse[Math.min(y >> 1, height - 1) * width + Math.min(x >> 1, width - 1)] / 255;
  }

  /** (width * height) bytes, 255 = certain, each of the stored values over 2×2 pixels; null where there are none. */
  confidence() {
    if (!this.#coarse) return null;
    if (this.#whole) return this.#whole;
    const [, , width, height] = this.#layout.confidence;
    this.#whole = new Uint8Array(this.width * this.height);
    for (let y = 0, at = 0; y < this.height; y++) {
      const row = Math.min(y >> 1, height - 1) * width;
      for (let x = 0; x < this.width; x++, at++) this.#whole[at] = this.#coarse[row + Math.min(x >> 1, width - 1)];
    }
    return this.#whole;
  }

  /** Copy the decoded luma plane: exact, and several times faster than through a canvas. */
  async #readLuma(picture) {
    const size = picture.allocationSize();
    if (this.#planes.length < size) this.#planes = new Uint8Array(size);
    const [{offset, stride}] = await picture.copyTo(this.#planes);
    this.#take(this.#planes.subarray(offset), stride, 1, this.#tables.luma);
  }

  #readRed(picture) {
    const {width, height} = this.#layout;
    this.#canvas ??= new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
    this.#canvas.drawImage(picture, 0, 0, width, height);
    this.#take(this.#canvas.getImageData(0, 0, width, height).data, 4 * width, 4, this.#tables.red);
  }

  #take(bytes, stride, step, [values, levels]) {
    copyPart(bytes, stride, step, this.#layout.ids, values, this.ids);
    if (this.#coarse) copyPart(bytes, stride, step, this.#layout.confidence, levels, this.#coarse);
  }
}

function copyPart(bytes, stride, step, [left, top, width, height], table, out) {
  for (let y = 0, at = 0; y < height; y++) {
    let from = (top + y) * stride + left * step;
    for (let x = 0; x < width; x++, at++, from += step) out[at] = table[bytes[from]];
  }
}
