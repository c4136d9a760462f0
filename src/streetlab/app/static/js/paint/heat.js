/** Paint activation maps as heat, in the colours of `streetlab.plots.heat`. */

/** Matplotlib's `inferno` from a quarter on, at every 15th of 256 values. */
const STOPS = [
  [87, 16, 110], [105, 22, 110], [122, 29, 109], [140, 35, 105], [159, 42, 99], [176, 49, 91], [192, 58, 81], [208, 69, 69], [222, 82, 56],
  [233, 97, 43], [241, 115, 29], [248, 135, 14], [251, 155, 6], [252, 176, 20], [249, 199, 47], [244, 221, 79], [241, 241, 121], [252, 255, 164],
];
const APART = 15;

/** Opacity grows faster than the heat, so that low heat stays visible. */
const POWER = 0.6;

/** Uint32Array(256): RGBA of each heat (little endian); nothing below `threshold` (0 to 1), and nothing at 0. */
export function heatTable(threshold = 0) {
  return Uint32Array.from({length: 256}, (_, value) => {
    if (value < threshold * 255) return 0;
    const at = Math.min(STOPS.length - 2, Math.floor(value / APART));
    const [red, green, blue] = STOPS[at].map((from, channel) => Math.round(from + (STOPS[at + 1][channel] - from) * (value / APART - at)));
    const alpha = Math.round(255 * (value / 255) ** POWER);
    return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

/** Paint the heat at full opacity into `out` (Uint32Array); the canvas has the opacity of the paint style. */
export function paintHeat(values, paintStyle, out) {
  const table = heatTable(paintStyle.threshold);
  for (let at = 0; at < out.length; at++) out[at] = table[values[at]];
}

/** The colours from cold to hot, for a scale bar: a CSS gradient. */
export const heatGradient = () => `linear-gradient(to right, ${STOPS.map(rgb => `rgb(${rgb.join(" ")})`).join(", ")})`;
