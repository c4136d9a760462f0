/** Numbers as people read them. */

/** "12.5", or a dash. */
export function points(value) {
  return value === null || value === undefined ? "–" : value.toFixed(1);
}

/** "[5.0, 20.0]", or a dash. */
export function interval(low, high) {
  return low === null || high === null ? "–" : `[${points(low)}, ${points(high)}]`;
}

/** "+12.5", "-3.0", or a dash. */
export function signed(value) {
  return value === null ? "–" : `${value > 0 ? "+" : ""}${points(value)}`;
}

/** "1 photo", "2 photos". */
export function countedPhotos(count) {
  return `${count} photo${count === 1 ? "" : "s"}`;
}

/** The address of a file beside the page; no part of its path is read as a scheme, a query or a fragment. */
export function address(path) {
  return `./${path.split("/").map(encodeURIComponent).join("/")}`;
}
