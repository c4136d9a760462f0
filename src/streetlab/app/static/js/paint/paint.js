/**
 * Paint class ids: pure functions over typed arrays, without DOM or requests.
 *
 * A paint style is {alpha, hidden: Set of ids, colors: [[r, g, b], ... one per class], outlines: bool, threshold: 0 to 1}.
 * The rules are those of `streetlab.plots.paint`, so that the page shows what a download will hold: a pixel is shown where
 * its class is not hidden and its confidence is at least `threshold * 255`; an outline is a shown pixel with a
 * neighbour (left, right, above, below; inside the picture) of another id.
 *
 * Pixels are Uint32 of RGBA bytes, little endian, as a canvas's ImageData holds them on every machine with a browser.
 */

const OPAQUE = 0xff000000;
const NEVER = 0;

/** Uint32Array(256): the pixel of each id at full weight; 0 (transparent) where the class is hidden or there is none. */
export function tableOf(paintStyle) {
  const table = new Uint32Array(256);
  paintStyle.colors.forEach(([red, green, blue], id) => {
    if (!paintStyle.hidden.has(id)) table[id] = (OPAQUE | (blue << 16) | (green << 8) | red) >>> 0;
  });
  return table;
}

/**
 * Paint the overlay at full opacity into `out` (Uint32Array of width * height). The canvas over the photo has the
 * opacity `paintStyle.alpha`.
 */
export function paintIds(ids, width, height, paintStyle, confidence, out) {
  const table = tableOf(paintStyle);
  const count = width * height;
  const least = leastOf(paintStyle);
  if (!confidence || least <= 0) {
    for (let at = 0; at < count; at++) out[at] = table[ids[at]];
    return;
  }
  for (let at = 0; at < count; at++) out[at] = confidence[at] >= least ? table[ids[at]] : NEVER;
}

/** Paint the outlines alone into `out`, all other pixels transparent, for a second canvas of full opacity. */
export function paintOutlines(ids, width, height, paintStyle, confidence, out) {
  if (!paintStyle.outlines) {
    out.fill(NEVER);
    return;
  }
  paintIds(ids, width, height, paintStyle, confidence, out);
  const right = width - 1;
  const below = height - 1;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const id = ids[at];
      const edge =
        (x > 0 && ids[at - 1] !== id) ||
        (x < right && ids[at + 1] !== id) ||
        (y > 0 && ids[at - width] !== id) ||
        (y < below && ids[at + width] !== id);
      if (!edge) out[at] = NEVER;
    }
  }
}

/**
 * Paint the overlay into the photo's own array, byte for byte like `streetlab.plots.paint.paint`.
 *
 * @param photo Uint8ClampedArray of RGBA bytes, changed in place
 */
export function blend(photo, ids, width, height, paintStyle, confidence) {
  const count = width * height;
  const table = tableOf(paintStyle);
  const least = confidence ? leastOf(paintStyle) : 0;
  const edges = new Uint32Array(paintStyle.outlines ? count : 0);
  if (paintStyle.outlines) paintOutlines(ids, width, height, paintStyle, confidence, edges);
  for (let at = 0; at < count; at++) {
    const color = table[ids[at]];
    if (color === NEVER || (least > 0 && confidence[at] < least)) continue;
    const weight = paintStyle.outlines && edges[at] !== NEVER ? 1 : paintStyle.alpha;
    for (let channel = 0; channel < 3; channel++) {
      const value = (color >>> (8 * channel)) & 255;
      const place = 4 * at + channel;
      photo[place] = Math.floor(photo[place] * (1 - weight) + value * weight + 0.5);
    }
  }
  return photo;
}

/** Float64Array(classes): the share of each class among the pixels that have one; all 0 where none has. */
export function sharesOf(ids, classes) {
  const counts = new Uint32Array(256);
  for (let at = 0; at < ids.length; at++) counts[ids[at]]++;
  const shares = Float64Array.from(counts.subarray(0, classes));
  const total = shares.reduce((sum, count) => sum + count, 0);
  return total ? shares.map(count => count / total) : shares;
}

/**
 * Read the exact values of an 8-bit grey PNG, without colour management and premultiplied alpha.
 *
 * @param source a Blob, or the address of one on this server
 * @returns {Promise<{values: Uint8Array, width: number, height: number}>}
 */
export async function greyOf(source) {
  const blob = source instanceof Blob ? source : await fetched(source);
  const picture = await createImageBitmap(blob, {colorSpaceConversion: "none", premultiplyAlpha: "none"});
  const {width, height} = picture;
  const context = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
  context.drawImage(picture, 0, 0);
  picture.close();
  const pixels = context.getImageData(0, 0, width, height).data;
  const values = new Uint8Array(width * height);
  for (let at = 0; at < values.length; at++) values[at] = pixels[4 * at];
  return {values, width, height};
}

function leastOf(paintStyle) {
  return Math.ceil(paintStyle.threshold * 255);
}

async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: the server answered ${answer.status}`);
  return answer.blob();
}
