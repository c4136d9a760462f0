/** The view that all pictures on the stage share: zoom, position, divider. */

const MOST = 40;

/**
 * Zoom and divider, in units that fit pictures of any size; "change" is dispatched after each change.
 *
 * `zoom` is 1 where the whole picture fits its frame; (`x`, `y`) is the point of the picture, in shares of its width
 * and height, that lies in the middle of the frame; `divider` is the share of the frame, from the left, that shows the
 * bare photo (null: no divider).
 */
export class View extends EventTarget {
  zoom = 1;
  x = 0.5;
  y = 0.5;
  divider = null;

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  /** Zoom by a factor so that the point (x, y) of the picture stays where it is on the screen. */
  zoomBy(factor, x = this.x, y = this.y) {
    const zoom = Math.min(MOST, Math.max(1, this.zoom * factor));
    const kept = this.zoom / zoom;
    this.#moveTo(x + (this.x - x) * kept, y + (this.y - y) * kept, zoom);
  }

  /** Move the picture; dx and dy are shares of its width and height. */
  moveBy(dx, dy) {
    this.#moveTo(this.x - dx, this.y - dy, this.zoom);
  }

  reset() {
    this.#moveTo(0.5, 0.5, 1);
  }

  #moveTo(x, y, zoom) {
    // the picture always covers the area that it covers unzoomed
    const room = 0.5 - 0.5 / zoom;
    this.zoom = zoom;
    this.x = Math.min(0.5 + room, Math.max(0.5 - room, x));
    this.y = Math.min(0.5 + room, Math.max(0.5 - room, y));
    this.#changed();
  }

  /** Set the divider to a share of the frame; null removes it. */
  divide(share) {
    this.divider = share === null ? null : Math.min(1, Math.max(0, share));
    this.#changed();
  }
}
