/** Find the pixels where two models disagree, comparing classes by name. */

const IDS = 256;
const MOST_SWAPS = 6;

/**
 * @param {Uint8Array} first ids of the first model
 * @param {Uint8Array} second ids of the second model, of the same photo
 * @param {string[]} firstNames the first model's classes in the order of their ids
 * @param {string[]} secondNames the second model's
 * @returns {{mask: Uint8Array, share: number, swaps: {first: number, second: number, share: number}[]}} 1 in `mask`
 *   where the names differ; the share of such pixels; the most frequent pairs of ids, shares of the whole photo
 */
export function differenceOf(first, second, firstNames, secondNames) {
  if (first.length !== second.length) throw new RangeError(`photos of ${first.length} and ${second.length} pixels`);
  const differs = new Uint8Array(IDS * IDS).fill(1);
  firstNames.forEach((name, id) => {
    const other = secondNames.indexOf(name);
    if (other >= 0) differs[id * IDS + other] = 0;
  });
  const mask = new Uint8Array(first.length);
  const counts = new Uint32Array(IDS * IDS);
  for (let at = 0; at < first.length; at++) {
    const pair = first[at] * IDS + second[at];
    if (differs[pair]) {
      mask[at] = 1;
      counts[pair]++;
    }
  }
  const pairs = [...counts.keys()].filter(pair => counts[pair]);
  const total = pairs.reduce((sum, pair) => sum + counts[pair], 0);
  const swaps = pairs
    .sort((one, other) => counts[other] - counts[one])
    .slice(0, MOST_SWAPS)
    .map(pair => ({first: Math.floor(pair / IDS), second: pair % IDS, share: counts[pair] / first.length}));
  return {mask, share: first.length ? total / first.length : 0, swaps};
}
